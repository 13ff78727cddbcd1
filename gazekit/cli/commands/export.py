"""`gazekit export`: one Hugging Face folder out of a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gazekit.cli.arguments import add_command
from gazekit.cli.prepare import load_quietly


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    export = add_command(commands, "export", "write a run's model into one folder that from_pretrained reads")
    export.add_argument(
        "run", type=Path, metavar="RUN", help="folder of a run, finished or not, or of a saved model"
    )
    export.add_argument("out", type=Path, metavar="OUT", help="the new folder")
    export.add_argument("--dtype", help="type of the weights, as in bfloat16 (default: as they are)")
    export.add_argument(
        "--max-shard-size", default="5GB", help="of each file of weights (default: %(default)s)"
    )
    export.add_argument(
        "--language", action="store_true", help="the decoder alone, as the stock language model that it is"
    )
    export.add_argument(
        "--imports", nargs="+", default=[], metavar="MODULE", help="modules that a saved composition names"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the folder."""
    load_quietly()
    from gazekit.recipe.export import export

    out = export(
        arguments.run,
        arguments.out,
        dtype=arguments.dtype,
        max_shard_size=arguments.max_shard_size,
        language=arguments.language,
        imports=arguments.imports,
    )
    sys.stdout.write(f"saved the model in {out}\n")
    return 0
