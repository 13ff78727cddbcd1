"""`gazekit bench overhead`: what it costs that a layer is made of parts."""

from __future__ import annotations

import argparse

from gazekit.cli.arguments import add_file, add_shape, count, positive


def add(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind of measurement."""
    overhead = kinds.add_parser(
        "overhead",
        help="a layer made of parts, beside the same computation written as one function",
        description="A decoding step of a layer made of parts, beside the same computation written as one function.",
        epilog="example:\n  gazekit bench overhead --shape qwen3-4b --units 18 --k 42\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_shape(overhead)
    overhead.add_argument(
        "--units", type=positive, default=18, metavar="N", help="units of 576 tokens (default: 18)"
    )
    overhead.add_argument(
        "--k", type=positive, default=42, metavar="N", help="regions looked at (default: 42)"
    )
    overhead.add_argument(
        "--text", type=positive, default=600, metavar="N", help="text tokens (default: 600)"
    )
    overhead.add_argument("--layers", type=positive, default=8, metavar="N", help="(default: 8)")
    overhead.add_argument("--repeats", type=positive, default=15, metavar="N", help="rounds (default: 15)")
    overhead.add_argument("--threads", type=positive, default=1, metavar="N", help="(default: 1)")
    overhead.add_argument("--seed", type=count, default=0, metavar="N", help="(default: 0)")
    add_file(overhead)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints."""
    from dataclasses import asdict

    import torch

    from gazekit.bench import OverheadShape, bench_overhead, machine, versions
    from gazekit.cli.output import check_writable, print_table, write_json
    from gazekit.gaze import shape_of

    check_writable(arguments.json)
    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        shape = OverheadShape(
            sizes=shape_of(arguments.shape), units=arguments.units, k=arguments.k, text=arguments.text,
            layers=arguments.layers, seed=arguments.seed,
        )  # fmt: skip
        *_, found = bench_overhead(shape, repeats=arguments.repeats)
        about = machine("cpu")
    finally:
        torch.set_num_threads(threads)
    title = f"{arguments.shape}, {arguments.units * 576:,} visual entries, {arguments.k} regions, a layer"
    rows = [
        ("made of parts", f"{found.parts_ms:.3f}", f"{found.overhead:+.1%}", f"{found.error:.1e}"),
        ("one function", f"{found.function_ms:.3f}", "", ""),
    ]
    print_table((title, "ms", "overhead", "error"), rows)
    if arguments.json is not None:
        table = {"overhead": asdict(found), "machine": about, "versions": versions()}
        write_json(arguments.json, table)
    return 0
