"""What the documentation shows is true: Python runs, recipes pass the check, commands exist, pages are complete.

Every ``python`` block of a page runs, in order and in one namespace, unless the line above its fence is
``<!-- not run: REASON -->``. A block below ``<!-- file: NAME -->`` is written to that file for the blocks after it,
and a ``yaml`` block below ``<!-- recipe -->`` must pass the check of recipes. Console lines that call gazekit name
commands that exist.

A page's pictures (``assets/<page>/``) are those that its Python writes into the working folder:
``pytest tests/test_docs.py --refresh-pictures`` puts what the pages make now in their place.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md")),
]

FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


settings.register_profile("docs", max_examples=8, derandomize=True, database=None)


@dataclass(frozen=True)
class Block:
    language: str
    mark: str
    code: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, each with the mark above it and the line its code starts on."""
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        yield Block(match["language"], match["mark"] or "", match["code"], line)


def of(page: str, *languages: str) -> list[Block]:
    return [block for block in blocks((ROOT / page).read_text()) if block.language in languages]


def pictures(page: str) -> list[Path]:
    """The pictures that a page shows as its own."""
    path = ROOT / page
    stem = re.escape(path.stem)
    own = rf"!\[[^\]]+\]\(((?:assets/{stem}/[\w.-]+)|(?:\.\./assets/rooms/{stem}\.svg))\)"
    return [(path.parent / name).resolve() for name in re.findall(own, path.read_text())]


def pinned(*names: str) -> bool:
    """Whether these libraries are those that the suite is run with."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return all(f"{name}=={version(name)}" in lines for name in names)


def share_apart(made: Path, shown: Path) -> float:
    """The share of spots of 4 x 4 pixels in which two pictures differ visibly; 1 where their sizes or drawings do."""
    if shown.suffix == ".svg":
        return float(made.read_text() != shown.read_text())
    with Image.open(made) as first, Image.open(shown) as second:
        if any(abs(a - b) > 8 for a, b in zip(first.size, second.size, strict=True)):
            return 1.0
        size = (second.width // 4, second.height // 4)
        one, other = (
            np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX), float)
            for image in (first, second)
        )
    return float((np.abs(one - other).max(axis=-1) > 32).mean())


SAME = 0.001 if pinned("matplotlib", "pillow") else 0.03  # other versions set letters and edges otherwise


def runs(block: Block) -> bool:
    return block.language == "python" and not block.mark.startswith(("not run", "file: "))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, whose modules are forgotten afterwards; laws are tried on a few cases only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before, profile = set(sys.modules), settings.get_current_profile_name()
    settings.load_profile("docs")
    yield tmp_path
    settings.load_profile(profile)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(runs, of(page, "python")))])
def test_the_python_of_a_page_runs(page: str, workplace: Path, request: pytest.FixtureRequest):
    names = {"__name__": "documentation"}
    for block in of(page, "python", "yaml", "text"):
        if block.mark.startswith("file: "):
            (workplace / block.mark.removeprefix("file: ")).write_text(block.code)
        elif runs(block):
            padded = "\n" * (block.line - 1) + block.code
            exec(compile(padded, str(ROOT / page), "exec"), names)
    for shown in pictures(page):
        made = workplace / shown.name
        if request.config.getoption("--refresh-pictures"):
            shown.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, shown)
        assert share_apart(made, shown) < SAME, f"{shown}: see --refresh-pictures"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.mark == "recipe" for b in of(page, "yaml"))]
)
def test_the_recipes_of_a_page_pass_the_check(page: str):
    from gazekit.recipe import parse

    for block in of(page, "yaml"):
        if block.mark == "recipe":
            parse(block.code)


def test_a_picture_with_another_region_is_told_from_the_same_picture(tmp_path: Path):
    shown = ROOT / "docs/assets/tour/route.png"
    with Image.open(shown) as image:
        picture = image.convert("RGB")
    picture.point(lambda level: min(255, level + 1)).save(tmp_path / "near.png")
    assert share_apart(tmp_path / "near.png", shown) == 0
    picture.paste((20, 20, 20), (452, 116, 480, 144))  # a region of the lake
    picture.save(tmp_path / "other.png")
    assert 0.001 < share_apart(tmp_path / "other.png", shown) < 0.03
    picture.crop((0, 0, 200, 200)).save(tmp_path / "cropped.png")
    assert share_apart(tmp_path / "cropped.png", shown) == 1


def test_every_asset_of_a_page_is_shown_and_small():
    shown = {picture for page in PAGES for picture in pictures(page)}
    assert set((ROOT / "docs/assets").glob("*/*")) == shown
    assert all(picture.stat().st_size < 150_000 for picture in shown)


def test_blocks_are_found_with_their_marks_and_lines():
    text = "# T\n\n<!-- not run: needs a model -->\n```python\nx\n```\n\n```yaml\na: 1\n```\n"
    first, second = blocks(text)
    assert (first.language, first.mark, first.code, first.line) == (
        "python",
        "not run: needs a model",
        "x\n",
        5,
    )
    assert (second.language, second.mark) == ("yaml", "")
    assert not runs(first)


def test_what_does_not_run_says_why():
    for page in PAGES:
        for block in of(page, "python"):
            reason = re.fullmatch(r"(not run|file): \S.*", block.mark)
            assert runs(block) or reason, f"{page}:{block.line} gives no reason"


def test_continuous_integration_runs_the_test_command_of_the_readme():
    commands = [line for line in (ROOT / "README.md").read_text().splitlines() if ".[test]" in line]
    assert commands[0] == (
        'python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e ".[test]" && .venv/bin/pytest'
    )
    assert "grep -F -m 1 '.[test]' README.md" in (ROOT / ".ci/run").read_text()


def test_the_commands_that_pages_show_exist():
    from gazekit.cli.commands import COMMANDS

    listed = set(re.findall(r"^\| `gazekit (\w+)", (ROOT / "docs/cli.md").read_text(), re.MULTILINE))
    assert listed == set(COMMANDS)
    for page in PAGES:
        for block in of(page, "console", "powershell"):
            assert set(re.findall(r"\bgazekit (\w+)", block.code)) <= set(COMMANDS), f"{page}:{block.line}"


def test_every_room_has_its_pages():
    rooms = {path.parent.name for path in ROOT.glob("gazekit/*/__init__.py")}
    described = {path.stem for path in ROOT.glob("docs/reference/*.md")}
    assert rooms - {"cli", "demo"} <= described


def test_every_decision_is_listed():
    pages = {path.name for path in ROOT.glob("docs/decisions/*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/decisions/index.md").read_text()))
