"""`gazekit cost`: what gaze costs each query."""

from __future__ import annotations

import argparse

from gazekit.cli.arguments import add_command, add_json, count, pair, positive, size
from gazekit.cli.output import print_json
from gazekit.cli.prepare import load_quietly


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    cost = add_command(
        commands,
        "cost",
        "count what gaze costs each query: entries, FLOPs, bytes",
        "examples:\n  gazekit cost tiny --frames 64 gaze.route.k=4\n"
        "  gazekit cost --units 8 --grid 24x24 --size 1,6,6 --k 20 --context 4 --shape qwen3-4b --json\n",
    )
    cost.add_argument("recipe", metavar="RECIPE", nargs="?", help="a name (tiny) or a path (my.yaml)")
    cost.add_argument("overrides", metavar="PATH=VALUE", nargs="*", help="changes to the recipe")
    shown = cost.add_mutually_exclusive_group()
    shown.add_argument("--units", type=positive, metavar="N", help="images (default: 1)")
    shown.add_argument("--frames", type=positive, metavar="N", help="frames of one video, instead of images")
    cost.add_argument(
        "--grid",
        type=pair("grid", "rowsxcolumns of visual tokens", "24x24"),
        metavar="RxC",
        help="visual tokens of a unit (default: the recipe's, else 24x24)",
    )
    cost.add_argument("--size", type=size, metavar="T,Y,X", help="tokens of a region (default: 1,6,6)")
    cost.add_argument("--k", type=positive, metavar="N", help="regions that a query looks at")
    cost.add_argument("--context", type=count, metavar="N", help="context tokens of a unit (default: 0)")
    cost.add_argument(
        "--shape",
        metavar="SHAPE",
        help="qwen3-4b, qwen2.5-7b, tiny, or layers,heads,kv_heads,head_dim (default: the recipe's, else qwen3-4b)",
    )
    cost.add_argument("--text", type=count, default=0, metavar="N", help="text tokens in view (default: 0)")
    cost.add_argument(
        "--value-bytes",
        type=positive,
        default=2,
        metavar="N",
        help="bytes of each key's values (default: 2, bf16)",
    )
    cost.add_argument(
        "--descriptor-bytes",
        type=positive,
        default=4,
        metavar="N",
        help="bytes of each value of a region's descriptor (default: 4, fp32)",
    )
    cost.add_argument(
        "--softmax-flops",
        type=count,
        default=0,
        metavar="N",
        help="operations of the softmax counted for each entry and head (default: 0)",
    )
    add_json(cost)


def run(arguments: argparse.Namespace) -> int:
    """Prints what gaze costs each query."""
    load_quietly()
    from gazekit.cli.cost import measure
    from gazekit.cli.tables import print_cost

    found = measure(arguments)
    (print_json if arguments.json else print_cost)(found)
    return 0
