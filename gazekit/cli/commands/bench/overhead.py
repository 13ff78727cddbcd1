"""`gazekit bench overhead`: what it costs that a layer is made of parts."""

from __future__ import annotations

import argparse

from gazekit.cli.arguments import add_file, add_shape, count, positive


def add(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind of measurement."""
    overhead = kinds.add_parser(
        "overhead",
        help="a layer made of parts, beside the same computation written as one function",
        description="A layer made of parts, beside the same computation written as one function: a decoding step, or "
        "the prompt before it.",
        epilog="examples:\n  gazekit bench overhead --shape qwen3-4b --units 18 --k 42\n"
        "  gazekit bench overhead --phase both --units 2 --text 64 --k 8 --layers 2\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_shape(overhead)
    overhead.add_argument(
        "--phase",
        choices=("decode", "prefill", "both"),
        default="decode",
        help="one token after the prompt, or the prompt (minutes at the usual size) (default: decode)",
    )
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

    from gazekit.bench import PHASES, OverheadShape, bench_overhead, machine, versions
    from gazekit.cli.output import check_writable, print_table, write_json
    from gazekit.gaze import shape_of
    from gazekit.kernels import native

    check_writable(arguments.json)
    phases = PHASES if arguments.phase == "both" else (arguments.phase,)
    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    found = []
    try:
        if native.unbuildable() is None:
            native.build()
        for phase in phases:
            shape = OverheadShape(
                sizes=shape_of(arguments.shape), units=arguments.units, k=arguments.k, text=arguments.text,
                phase=phase, layers=arguments.layers, seed=arguments.seed,
            )  # fmt: skip
            *_, latest = bench_overhead(shape, repeats=arguments.repeats)
            found.append(latest)
        about = machine("cpu")
    finally:
        torch.set_num_threads(threads)
    title = f"{arguments.shape}, {arguments.units * 576:,} visual tokens, {arguments.k} regions, a layer"
    rows = []
    for one in found:
        name = f"{one.phase}, {one.backend}"
        extra, spread = f"{one.overhead:+.1%}", f"{one.spread:+.1%}"
        rows.append(
            (f"{name}: parts", f"{one.parts_ms:.3f}", extra, f"{one.once_ms:.3f}", spread, f"{one.error:.1e}")
        )
        rows.append((f"{name}: one function", f"{one.function_ms:.3f}", "", "", "", ""))
    print_table((title, "ms", "overhead", "ms once a forward", "with it", "error"), rows)
    if arguments.json is not None:
        table = {"overhead": [asdict(one) for one in found], "machine": about, "versions": versions()}
        write_json(arguments.json, table)
    return 0
