"""What an evaluation leaves behind: every sample's answer and what the benchmark makes of them, as one JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """One sample.

    Attributes:
        id: What names the sample in its benchmark; the same in every run.
        prompt: The text that was asked, without the chat template.
        prediction: What the model said.
        score: What the scorer gave it, as it counts for this sample alone.
        parsed: False = the scorer found no answer in the prediction; it counts as wrong.
        doc: Fields of the sample that scoring needs (category, question_id, answer ...), without images.
        attended: Mean entries that a query attended, by name; empty where nobody watched.
        group: What the sample shares with others (an image, a video, a circle of options): samples of one group are
            not independent, and an interval draws them together. "" = on its own.
    """

    id: str
    prompt: str
    prediction: str
    score: float
    parsed: bool = True
    doc: Mapping[str, Any] = field(default_factory=dict)
    attended: Mapping[str, float] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One system on one benchmark. Equal runs give equal files: nothing in it depends on when or how fast it ran.

    Attributes:
        benchmark: Task name, as `gazekit.evaluate.score` knows it.
        profile: Whose prompts and scorers: lmms or cambrian.
        model: What was measured.
        system: How it looked: gaze, dense, random, ...
        scores: The benchmark's figures by name, the main one first.
        settings: Generation, backend, dtype, seed, limit and whatever else decides the answers.
        versions: Of the libraries, by name.
        records: The samples, in the benchmark's order.
    """

    benchmark: str
    profile: str
    model: str
    system: str
    scores: Mapping[str, float]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    records: tuple[Record, ...]

    @property
    def parse_failure_rate(self) -> float:
        """Share of samples in whose prediction no answer was found; 0 without samples."""
        return sum(not one.parsed for one in self.records) / max(1, len(self.records))

    def save(self, path: Path) -> None:
        """Writes the file whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        table = {"format": FORMAT, **asdict(self), "parse_failure_rate": self.parse_failure_rate}
        beside = path.with_name(f".{path.name}.partial")
        beside.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(beside, path)

    @classmethod
    def load(cls, path: Path) -> Result:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no result, or one of another format.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no result {path}; write one with gazekit evaluate MODEL --out DIR"
            )
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from None
        if not isinstance(table, dict) or table.get("format") != FORMAT:
            raise ValueError(f"{path} is no result of gazekit evaluate of format {FORMAT}")
        missing = [each.name for each in fields(cls) if each.name not in table]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}; write it again with gazekit evaluate")
        try:
            records = tuple(Record(**one) for one in table["records"])
        except TypeError as error:
            raise ValueError(f"{path} has a record that is none: {error}") from None
        return cls(**{each.name: table[each.name] for each in fields(cls)} | {"records": records})
