"""Writes the table of docs/systems.md from the recipes: `python -m tests.systems.page`."""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gazekit.recipe import load

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "systems.md"
BEGIN, END = "<!-- systems: begin -->", "<!-- systems: end -->"
_ORDER = ("gaze-image", "gaze-compressed", "gaze-video")


@dataclass(frozen=True)
class Entry:
    """What the head of a recipe says, and its composition."""

    name: str
    title: str
    attends: str
    source: str
    differs: str
    tiny: str
    composition: str


@cache
def entries() -> list[Entry]:
    """All systems, Gaze Attention first."""
    files = sorted(
        (ROOT / "recipes" / "systems").glob("*.yaml"), key=lambda file: (file.stem not in _ORDER, file.stem)
    )
    return [_entry(file) for file in files]


def _entry(file: Path) -> Entry:
    head = dict(re.findall(r"^# ([^:\n]+): (.*)$", file.read_text(), re.MULTILINE))
    title = next(iter(head))
    return Entry(
        name=file.stem,
        title=title,
        attends=head[title],
        source=head["Source"],
        differs=head.get("Differs", ""),
        tiny=head["Tiny"],
        composition=_lines(load(f"systems/{file.stem}").gaze),
    )


def fitting(name: str) -> list[str]:
    """The overrides that fit a recipe to the digits, as its head says them."""
    return next(one.tiny for one in entries() if f"systems/{one.name}" == name).split()


def _lines(gaze: object) -> str:
    """A composition, one line for each of its fields."""
    several = gaze if isinstance(gaze, list) else [gaze]
    parts = []
    for number, one in enumerate(several):
        mark = f"layer {number}: " if len(several) > 1 else ""
        if "branches" in one:
            parts += [f"branch: {_inline(branch)}" for branch in one["branches"]]
        one = {name: value for name, value in one.items() if name not in ("branches", "_target_")}
        if mark:
            parts.append(f"{mark}{_inline(one)}")
        else:
            parts += [f"{name}: {_value(value)}" for name, value in one.items()]
    return "<br>".join(f"`{part}`" for part in parts)


def _inline(gaze: dict) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in gaze.items())


def _value(value: object) -> str:
    """A part as it would be written in Python."""
    if isinstance(value, dict) and "_target_" in value:
        arguments = ", ".join(f"{name}={_value(one)}" for name, one in value.items() if name != "_target_")
        return f"{value['_target_'].rsplit('.', 1)[-1]}({arguments})"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)


def table() -> str:
    """The table, and below it what differs from the sources."""
    rows = [
        f"| **{one.title}**<br>`systems/{one.name}` | {one.composition} | {one.attends[0].upper()}{one.attends[1:]} "
        f"| {one.source} |"
        for one in entries()
    ]
    head = ["| system | composition | what a query attends to | source |", "| --- | --- | --- | --- |"]
    apart = [f"| {one.title} | {one.differs} |" for one in entries() if one.differs]
    return "\n".join(
        [
            *head,
            *rows,
            "",
            "Where a recipe differs from its source:",
            "",
            "| system | difference |",
            "| --- | --- |",
            *apart,
            "",
            "## What makes them sparse on the digits",
            "",
            "On the 8 x 8 visual tokens of `tiny` each of these trains a model that looks at less than everything:",
            "",
            "```console",
            *(
                shlex.join(["gazekit", "train", f"systems/{one.name}", *one.tiny.split()])
                for one in entries()
            ),
            "```",
        ]
    )


def renewed(page: str) -> str:
    """The page with the table as it should be."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
