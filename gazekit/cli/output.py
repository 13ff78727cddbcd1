"""What the terminal shows: faults as a table, an error as a line."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gazekit.contracts.section import Fault


def print_error(error: Exception | str) -> None:
    """One line on stderr; several faults of a section as a table below it."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    faults = getattr(error, "faults", ())
    console.print("[bold red]error:[/]", end=" ")
    if len(faults) > 1:
        console.print(f"{len(faults)} faults", markup=False)
        print_faults(faults, stderr=True)
    else:
        console.print(str(faults[0]) if faults else _say(error), markup=False)


def _say(error: Exception | str) -> str:
    if isinstance(error, ModuleNotFoundError):
        name = (error.name or "").split(".")[0]
        extra = EXTRAS.get(name)
        return f"this needs {DISTRIBUTIONS.get(name, name)}: pip install " + (
            f"'gazekit[{extra}]'" if extra else name
        )
    return " ".join(str(error).split())


EXTRAS: Mapping[str, str] = {
    "sklearn": "demo",
    "matplotlib": "demo",
    "tensorboard": "demo",
    "hypothesis": "testing",
    "av": "video",
    "datasets": "datasets",
    "peft": "lora",
    "triton": "triton",
    "xformers": "xformers",
    "wandb": "logging",
}
"""Optional packages by the name they are imported under, and the extra of gazekit that installs each."""

DISTRIBUTIONS: Mapping[str, str] = {"sklearn": "scikit-learn"}
"""What is installed under another name than it is imported."""


def print_faults(faults: Iterable[Fault], *, stderr: bool = False) -> None:
    """A table of faults: where, what is wrong, what was probably meant."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("where", style="cyan", overflow="fold")
    table.add_column("what is wrong", overflow="fold")
    table.add_column("did you mean", style="green", overflow="fold")
    for fault in faults:
        table.add_row(*map(_literal, (fault.path or "(recipe)", fault.problem, fault.nearest or "")))
    Console(stderr=stderr, highlight=False).print(table)


def print_facts(title: str, facts: Mapping[str, str]) -> None:
    """Names and what there is to say of each, in two columns."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, fact in facts.items():
        table.add_row(_literal(f"  {name}"), _literal(fact))
    console = Console(highlight=False)
    console.print(title, style="bold", markup=False)
    console.print(table)


def print_figures(title: str, systems: Mapping[str, Mapping[str, float]]) -> None:
    """A table of figures, a row for each system; a figure that a system does not have is left blank."""
    from rich.console import Console
    from rich.table import Table

    columns = list(dict.fromkeys(name for figures in systems.values() for name in figures))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(_literal(title))
    for name in columns:
        table.add_column(_literal(name.replace("_", " ")), justify="right")
    for system, figures in systems.items():
        shown = [f"{figures[name]:.4g}" if name in figures else "" for name in columns]
        table.add_row(_literal(system), *shown)
    Console(highlight=False).print(table)


def print_json(found: object) -> None:
    """JSON on stdout."""
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def check_writable(*paths: Path | None) -> None:
    """Makes the folders of files that are written after a measurement, and tries now whether they can be; None = none.

    Raises:
        OSError: One cannot be written.
    """
    for path in filter(None, paths):
        there = path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        except OSError as error:
            raise OSError(f"{path} cannot be written ({error.strerror}); name another file") from error
        if not there:
            path.unlink()


def write_json(path: Path, found: object) -> None:
    """JSON in a file; what is not a number is null there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_finite(found), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table whose first column names what its other columns, numbers on the right, are of."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, name in enumerate(header):
        table.add_column(_literal(name), justify="right" if place else "left")
    for row in rows:
        table.add_row(*map(_literal, row))
    Console(highlight=False).print(table)


def _literal(text: str) -> str:
    """Text whose square brackets are no markup."""
    from rich.markup import escape

    return escape(text)
