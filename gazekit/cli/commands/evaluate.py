"""`gazekit evaluate`: a model measured on benchmarks."""

from __future__ import annotations

import argparse

from gazekit.cli.arguments import add_command, add_device, add_model, positive
from gazekit.cli.output import print_figures
from gazekit.cli.prepare import device_of, load_quietly, model_folder


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    evaluate = add_command(
        commands,
        "evaluate",
        "measure a model on benchmarks",
        "example:\n  gazekit evaluate demo/model --benchmarks digits --limit 200\n",
    )
    add_model(evaluate)
    evaluate.add_argument(
        "--benchmarks", nargs="+", default=["digits"], metavar="NAME", help="(default: digits)"
    )
    evaluate.add_argument(
        "--limit", type=positive, metavar="N", help="samples of each benchmark (default: all)"
    )
    evaluate.add_argument(
        "--systems",
        nargs="+",
        default=["gaze"],
        metavar="NAME",
        help="of gaze, dense, random, eviction (default: gaze)",
    )
    add_device(evaluate)


def run(arguments: argparse.Namespace) -> int:
    """Measures a model and prints what came out."""
    model = model_folder(arguments.model)
    load_quietly()
    from gazekit.cli.evaluate import evaluate as measure

    results = measure(
        model,
        benchmarks=arguments.benchmarks,
        systems=arguments.systems,
        limit=arguments.limit,
        device=device_of(arguments),
        imports=arguments.imports,
    )
    for benchmark, systems in results.items():
        print_figures(benchmark, systems)
    return 0
