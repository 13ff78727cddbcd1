"""What `gazekit data select` does and prints."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from gazekit.cli.data_check import bar
from gazekit.cli.output import print_facts, print_json
from gazekit.cli.prepare import load_quietly

if TYPE_CHECKING:
    from gazekit.data import JsonSource


def data_select(arguments: argparse.Namespace) -> int:
    """Writes the rows that a recipe keeps.

    Raises:
        ValueError: The recipe's data is not one file, or the new file is there already.
    """
    load_quietly()
    from gazekit.data.mixing.select import RowSelection, select_rows
    from gazekit.data.video import PyAVReader

    source = _source(arguments)
    with bar("finding rows") as progress:
        opened = replace(source, filters=()).open(progress)
    selection = RowSelection(
        rows=opened.rows,
        filters=tuple(source.filters),
        root=opened.root,
        length=PyAVReader() if arguments.durations else None,
    )
    with bar("judging rows") as progress:
        found = select_rows(selection, arguments.out, workers=arguments.workers, progress=progress)
    if arguments.json:
        said = {"file": str(arguments.out), "rows": found.rows, "kept": found.kept}
        print_json({**said, "left_out": dict(found.left_out)})
        return 0
    left_out = {f"left out by {name}": f"{number:,}" for name, number in found.left_out.items()}
    print_facts(str(arguments.out), {"rows": f"{found.rows:,}", **left_out, "kept": f"{found.kept:,}"})
    return 0


def _source(arguments: argparse.Namespace) -> JsonSource:
    """What the recipe's data reads, without what it trains."""
    from gazekit.contracts.section import build
    from gazekit.data import JsonSource
    from gazekit.recipe import load

    recipe = load(arguments.recipe, arguments.overrides)
    data = recipe.data or {}
    if "path" not in data:
        raise ValueError(
            f"data.path must be given for a selection, and the data of {arguments.recipe} names none; select from "
            "one file at a time"
        )
    named = {name: data[name] for name in ("path", "root", "filters") if data.get(name) is not None}
    return cast(
        JsonSource, build({"_target_": "gazekit.data.JsonSource", **named}, JsonSource, recipe.imports, {})
    )
