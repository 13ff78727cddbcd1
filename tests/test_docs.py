"""What the documentation shows is true: Python runs, recipes pass the check, commands exist, pages are complete.

Every ``python`` block of a page runs, in order and in one namespace, unless the line above its fence is
``<!-- not run: REASON -->``. A block below ``<!-- file: NAME -->`` is written to that file for the blocks after it,
and a ``yaml`` block below ``<!-- recipe -->`` must pass the check of recipes. Console lines that call gazekit name
commands that exist.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

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
def test_the_python_of_a_page_runs(page: str, workplace: Path):
    names = {"__name__": "documentation"}
    for block in of(page, "python", "yaml", "text"):
        if block.mark.startswith("file: "):
            (workplace / block.mark.removeprefix("file: ")).write_text(block.code)
        elif runs(block):
            padded = "\n" * (block.line - 1) + block.code
            exec(compile(padded, str(ROOT / page), "exec"), names)
    for picture in workplace.glob("*.svg"):
        shown = ROOT / "docs/assets/rooms" / picture.name
        assert picture.read_text() == shown.read_text(), f"{shown} is not what {page} makes"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.mark == "recipe" for b in of(page, "yaml"))]
)
def test_the_recipes_of_a_page_pass_the_check(page: str):
    from gazekit.recipe import parse

    for block in of(page, "yaml"):
        if block.mark == "recipe":
            parse(block.code)


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
