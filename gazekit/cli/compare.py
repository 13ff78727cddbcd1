"""What `gazekit compare` finds and shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

from gazekit.cli.output import print_facts, print_table
from gazekit.evaluate.comparison import Comparison, Interval, compare
from gazekit.evaluate.literature import Published, published
from gazekit.evaluate.results import Result
from gazekit.evaluate.scorers import find


def results_at(path: Path) -> list[Result]:
    """The result in a file, or all in a folder and below, in the order of their names.

    Raises:
        FileNotFoundError: There is none.
        ValueError: A file that was named is no result.
    """
    if not path.is_dir():
        return [Result.load(path)]
    found = []
    for each in sorted(path.rglob("*.json")):
        try:
            found.append(Result.load(each))
        except ValueError:
            continue
    if not found:
        raise FileNotFoundError(
            f"there is no result in {path}; write some with gazekit evaluate MODEL --out {path}"
        )
    return found


def compare_all(first: Path, second: Path, *, resamples: int, seed: int) -> list[Comparison]:
    """Compares each result of the one with its counterpart of the other.

    Counterparts are of one benchmark and profile, and, unless each side has but one, of one system and both blind or
    both not.

    Raises:
        FileNotFoundError: A side has no result.
        ValueError: Nothing has a counterpart, something has several, or counterparts are not of the same samples.
    """
    one, other = results_at(first), results_at(second)
    pairs = []
    for mine in one:
        of_task = [
            [each for each in side if (each.benchmark, each.profile) == (mine.benchmark, mine.profile)]
            for side in (one, other)
        ]
        same = [each for each in of_task[1] if _looks(each) == _looks(mine)]
        if len(of_task[0]) == len(of_task[1]) == 1:
            same = of_task[1]
        alike = [each for each in of_task[0] if _looks(each) == _looks(mine)]
        if len(same) > 1 or (same and len(alike) > 1):
            raise ValueError(
                f"{mine.benchmark} ({mine.profile}, {mine.system}) is there {len(alike)} times in {first} and "
                f"{len(same)} times in {second}; name the files to compare"
            )
        pairs += [(mine, each) for each in same]
    if not pairs:
        have = [
            sorted({f"{each.benchmark} ({each.profile}, {each.system})" for each in side})
            for side in (one, other)
        ]
        raise ValueError(
            f"nothing can be compared: {first} has {', '.join(have[0])}; {second} has {', '.join(have[1])}"
        )
    return [compare(*pair, resamples=resamples, seed=seed) for pair in pairs]


def _looks(result: Result) -> tuple[str, bool]:
    """The system, and whether it was left without images."""
    return result.system, bool(result.settings.get("blind"))


def table_of(comparison: Comparison) -> dict[str, Any]:
    """A comparison for JSON, which has no NaN: bounds that are unknown are null."""
    table = asdict(comparison)
    for name in ("first", "second", "difference"):
        table[name] = {key: None if isnan(value) else value for key, value in table[name].items()}
    return table


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """A row for each benchmark: mean score of a sample in per cent, with intervals; then its own figures."""
    rows = [
        (
            f"{one.benchmark} ({one.profile})",
            f"{one.samples}" if one.groups == one.samples else f"{one.samples} in {one.groups} groups",
            _shown(one.first),
            _shown(one.second),
            _shown(one.difference, sign=True),
            f"{one.chance:.3f}",
        )
        for one in comparisons
    ]
    print_table(("mean score of a sample, %", "samples", "A", "B", "B - A", "by chance"), rows)
    for one in comparisons:
        figures = {
            name: " -> ".join("none" if value is None else f"{value:.4g}" for value in pair)
            for name, pair in one.scores.items()
        }
        print_facts(f"{one.benchmark}: its own figures, A -> B", figures)
    differing = {
        name: f"{pair[0]} -> {pair[1]}" for one in comparisons for name, pair in one.differing.items()
    }
    if differing:
        print_facts("what else differs, A -> B", differing)


def beside_published(paths: Sequence[Path]) -> dict[str, Any]:
    """Results in the columns of the paper's tables, and the paper's rows that have any of these columns.

    What only a judge can score stands under a name of its own (`..._rule`), beside which nothing is published.

    Returns:
        `columns`; `rows`, each with `model`, `method`, `entries`, `source` ("this run", "paper" or "literature") and
        `scores` by column; `notes` on runs that are not of a whole benchmark.

    Raises:
        FileNotFoundError: A path has no result.
        ValueError: None is of a benchmark of the paper.
    """
    runs: list[tuple[tuple[Path, str, str, str], dict[str, Any]]] = []
    notes: list[str] = []
    for path, one in ((where, each) for where in paths for each in results_at(where)):
        try:
            known = find(one.benchmark)
        except ValueError:
            continue
        if known.headline not in one.scores:
            continue
        column = f"{known.title}_rule" if known.judged else known.title
        method = f"{one.system}, blind" if one.settings.get("blind") else one.system
        run = (path, one.model, method, one.profile)
        # Two results of one column, of two budgets say, are two rows.
        free = (row for key, row in runs if key == run and column not in row["scores"])
        row = next(free, None) or {
            "model": one.model, "method": method, "entries": None, "source": "this run", "scores": {},
        }  # fmt: skip
        if not row["scores"]:
            runs.append((run, row))
        row["scores"][column] = one.scores[known.headline] * known.to_column
        remarks = []
        if (limit := one.settings.get("limit")) is not None:
            remarks.append(f"{limit} samples, not the whole benchmark")
        if one.profile != "cambrian":
            remarks.append(f"prompts and scorers of {one.profile}, not of the paper")
        if remarks:
            notes.append(f"{path}, {one.model}, {method}, {column}: {'; '.join(remarks)}")
    if not runs:
        names = ", ".join(map(str, paths))
        raise ValueError(
            f"no result in {names} is of a benchmark of the paper; evaluate with --benchmarks image or video"
        )
    columns = list(dict.fromkeys(name for _, row in runs for name in row["scores"]))
    printed = [_published_row(row, columns) for row in published()]
    return {
        "columns": columns,
        "rows": [*(row for _, row in runs), *(row for row in printed if row["scores"])],
        "notes": notes,
    }


def _published_row(row: Published, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "model": row.model,
        "method": row.method,
        "entries": row.entries,
        "source": row.source,
        "scores": {name: row.scores[name] for name in columns if name in row.scores},
    }


def print_published(found: dict[str, Any]) -> None:
    """The rows, the runs first."""
    columns = found["columns"]
    rows = [
        (
            ", ".join(filter(None, (row["model"], row["method"]))),
            row["entries"] or "",
            row["source"],
            *(f"{row['scores'][name]:.1f}" if name in row["scores"] else "" for name in columns),
        )
        for row in found["rows"]
    ]
    print_table(("model", "entries", "source", *columns), rows)
    if found["notes"]:
        # Two results of one column have one name: all that is to say of either stands beside it.
        remarks: dict[str, list[str]] = {}
        for name, _, remark in (note.rpartition(": ") for note in found["notes"]):
            remarks.setdefault(name, []).append(remark)
        print_facts("notes", {name: " | ".join(dict.fromkeys(said)) for name, said in remarks.items()})


def _shown(interval: Interval, sign: bool = False) -> str:
    mean, low, high = (100 * value for value in (interval.mean, interval.low, interval.high))
    if isnan(low):
        return f"{mean:+.1f}" if sign else f"{mean:.1f}"
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]" if sign else f"{mean:.1f} [{low:.1f}, {high:.1f}]"
