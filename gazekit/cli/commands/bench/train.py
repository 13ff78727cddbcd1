"""`gazekit bench train`: a training step, forward and backward."""

from __future__ import annotations

import argparse

from gazekit.cli.arguments import add_device, add_file, add_lot, add_shape, count, positive
from gazekit.cli.prepare import device_of


def add(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind of measurement."""
    train = kinds.add_parser(
        "train",
        help="a training step of attention or of decoder layers, routing included",
        description="A training step, forward and backward, of attention or of whole decoder layers: time and memory.",
        epilog="example:\n  gazekit bench train --shape qwen3-4b --visual 4608 --backend masked --scope attention\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_shape(train)
    add_lot(train)
    train.add_argument(
        "--mlp",
        type=positive,
        metavar="N",
        help="width of the MLPs (default: the shape's, else 3 x hidden dim)",
    )
    train.add_argument(
        "--scope",
        choices=("attention", "layer"),
        default="layer",
        help="what a step is: attention of a layer with scoring and routing, or whole layers (default: layer)",
    )
    train.add_argument("--layers", type=positive, default=1, metavar="N", help="whole layers (default: 1)")
    train.add_argument(
        "--visual",
        type=positive,
        nargs="+",
        default=[4608],
        metavar="N",
        help="visual tokens (default: 4608)",
    )
    train.add_argument(
        "--attend", type=positive, default=936, metavar="N", help="visual tokens looked at (default: 936)"
    )
    train.add_argument("--text", type=positive, default=512, metavar="N", help="text tokens (default: 512)")
    train.add_argument(
        "--context",
        type=count,
        default=4,
        metavar="N",
        help="context tokens of each 576 visual ones (default: 4)",
    )
    train.add_argument("--batch", type=positive, default=1, metavar="N", help="samples (default: 1)")
    train.add_argument(
        "--backend",
        nargs="+",
        default=["masked", "flex"],
        metavar="NAME",
        help="backends to measure, or auto (default: masked flex)",
    )
    train.add_argument("--repeats", type=positive, default=5, metavar="N", help="rounds (default: 5)")
    add_file(train)
    add_device(train)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints."""
    from gazekit.cli.bench_train import train

    train(arguments, device_of(arguments))
    return 0
