"""`gazekit evaluate`: a model measured on benchmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

from gazekit.cli.arguments import add_command, add_device, add_json, add_model, add_resume, count, positive
from gazekit.cli.output import print_figures, print_json
from gazekit.cli.prepare import device_of, load_quietly, model_folder


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    evaluate = add_command(
        commands,
        "evaluate",
        "measure a model on benchmarks",
        "examples:\n  gazekit evaluate demo/model --benchmarks digits --limit 200\n"
        "  gazekit evaluate my-model --benchmarks image --systems gaze dense random --data DATA --out runs/mine\n"
        "  torchrun --nproc-per-node 8 -m gazekit evaluate my-model --benchmarks video --data DATA --out runs/mine\n",
    )
    add_model(evaluate)
    evaluate.add_argument(
        "--benchmarks",
        nargs="+",
        default=["digits"],
        metavar="NAME",
        help="digits, image, video, or single ones such as gqa (default: digits)",
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
    evaluate.add_argument(
        "--profile",
        choices=("lmms", "cambrian"),
        default="lmms",
        help="whose prompts and scorers (default: lmms)",
    )
    evaluate.add_argument(
        "--budget",
        type=float,
        metavar="SHARE",
        help="share of the visual tokens that a query may attend; the regions of gaze and random follow from it",
    )
    evaluate.add_argument("--blind", action="store_true", help="show neither images nor videos")
    evaluate.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with the data sets (default: from the hub)"
    )
    evaluate.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the results, a JSON file each (default: none is kept)",
    )
    evaluate.add_argument("--batch-size", type=positive, default=8, metavar="N", help="(default: 8)")
    evaluate.add_argument(
        "--frames", type=positive, default=32, metavar="N", help="of a video at most (default: 32)"
    )
    evaluate.add_argument(
        "--fps", type=float, default=1.0, metavar="N", help="frames of a video a second (default: 1)"
    )
    evaluate.add_argument(
        "--max-new-tokens", type=positive, metavar="N", help="of an answer (default: what the benchmark says)"
    )
    evaluate.add_argument("--seed", type=count, default=0, metavar="N", help="of regions by lot (default: 0)")
    add_resume(evaluate)
    add_json(evaluate)
    add_device(evaluate)


def run(arguments: argparse.Namespace) -> int:
    """Measures a model and prints what came out."""
    model = model_folder(arguments.model)
    if arguments.data is not None and not arguments.data.exists():
        raise FileNotFoundError(f"there is no folder {arguments.data}; name one that holds the data sets")
    load_quietly()
    from gazekit.cli.evaluate import Asked, evaluate_all, figures_of, is_first
    from gazekit.evaluate.harness import Plan

    asked = Asked(
        benchmarks=arguments.benchmarks,
        systems=arguments.systems,
        plan=Plan(
            profile=arguments.profile,
            limit=arguments.limit,
            batch_size=arguments.batch_size,
            blind=arguments.blind,
            frames=arguments.frames,
            fps=arguments.fps,
            max_new_tokens=arguments.max_new_tokens,
        ),
        budget=arguments.budget,
        seed=arguments.seed,
        data=arguments.data,
        out=arguments.out,
        resume=arguments.resume,
    )
    figures = figures_of(evaluate_all(model, asked, device=device_of(arguments), imports=arguments.imports))
    if not is_first():
        return 0
    if arguments.json:
        print_json(figures)
        return 0
    for benchmark, systems in figures.items():
        print_figures(benchmark, systems)
    return 0
