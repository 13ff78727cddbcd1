"""The file of answers that `gazekit generate` writes, and goes on with."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Answers:
    """Rows of `id`, `ask` and `answer` or `error`; on the terminal where there is no file.

    What was answered stays answered: rows with an error, and a last one that was cut, are left out of a file that is
    gone on with, and their prompts asked again.

    Args:
        path: The file; None = stdout.
        resume: Goes on with what is there, else begins anew.

    Attributes:
        done: The questions that have answers, by id.

    Raises:
        ValueError: The file holds something else.
    """

    def __init__(self, path: Path | None, *, resume: bool = True) -> None:
        self.path = path
        self.done: dict[str, str] = {}
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = list(_answered(path)) if resume and path.is_file() else []
        self.done = {str(row["id"]): str(row["ask"]) for row in kept}
        beside = path.with_name(f"{path.name}.part")
        with beside.open("w", encoding="utf-8") as file:
            file.writelines(_line(row) for row in kept)
        os.replace(beside, path)

    def has(self, name: str, ask: str) -> bool:
        """Whether a prompt is answered.

        Raises:
            ValueError: Under its id another question is.
        """
        if name in self.done and self.done[name] != ask:
            raise ValueError(
                f"{self.path} answers another question under the id {name}: {self.done[name]!r:.60}; "
                "name another file, or begin anew with --fresh"
            )
        return name in self.done

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a row; it is there whatever happens later."""
        if self.path is None:
            sys.stdout.write(_line(row))
            sys.stdout.flush()
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def _line(row: Mapping[str, Any]) -> str:
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # a name of a file that is not UTF-8, say: escaped it can be written
        line = json.dumps(row)
    return line + "\n"


def _answered(path: Path) -> Iterator[Mapping[str, Any]]:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines):
        try:
            row = json.loads(line) if line.strip() else None
        except json.JSONDecodeError:
            row = None if number == len(lines) - 1 else line  # the last may be cut
        if row is None:
            continue
        if not isinstance(row, dict) or not {"id", "ask"} <= set(row):
            raise ValueError(
                f"{path} must hold answers of gazekit generate, got {line!r:.60} in line {number + 1}; "
                "name another file, or begin anew with --fresh"
            )
        if "answer" in row:
            yield row
