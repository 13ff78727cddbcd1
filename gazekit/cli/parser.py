"""Which commands there are and what each takes. Nothing here is loaded but the standard library."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import gazekit

_OVERRIDES = """
overrides:
  path=value each, the value in YAML. A new _target_ replaces the part.
    gaze.route.k=8
    training.stages.0.steps=100
    gaze.route._target_=gazekit.route.RandomRouter
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="gazekit", description=gazekit.__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"gazekit {gazekit.__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_train(commands)
    _add_generate(commands)
    _add_evaluate(commands)
    _add_check(commands)
    _add_show(commands)
    _add_inspect(commands)
    _add_cost(commands)
    _add_bench(commands)
    doctor = _add(
        commands, "doctor", "say what is installed, which devices and backends can be used, and why not"
    )
    doctor.add_argument(
        "--build",
        action="store_true",
        help="build the native CPU kernel first (about a second, kept for later runs)",
    )
    return parser


def _add(
    commands: argparse._SubParsersAction, name: str, what: str, epilog: str = ""
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_demo(commands: argparse._SubParsersAction) -> None:
    demo = _add(
        commands,
        "demo",
        "train a small Cambrian with gaze and a dense one, compare them and show where gaze looks",
        "example:\n  gazekit demo --out demo\n",
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder of the results (default: demo)")
    demo.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    demo.add_argument("--quick", action="store_true", help="about one minute, with no promise of quality")
    _add_device(demo)
    _add_resume(demo)


def _add_train(commands: argparse._SubParsersAction) -> None:
    train = _add(commands, "train", "train what a recipe describes", _OVERRIDES)
    _add_recipe(train)
    train.add_argument("--out", type=Path, help="folder of the run (default: runs/<name of the recipe>)")
    _add_device(train)
    _add_resume(train)


def _add_generate(commands: argparse._SubParsersAction) -> None:
    generate = _add(
        commands,
        "generate",
        "answer a question about images",
        'example:\n  gazekit generate demo/model --image X.png --ask "read row 2"\n',
    )
    _add_model(generate)
    generate.add_argument(
        "--image", type=Path, action="append", default=[], metavar="FILE", help="an image; may be repeated"
    )
    generate.add_argument("--ask", required=True, metavar="TEXT", help="the question")
    generate.add_argument("--max-new-tokens", type=_positive, default=64, metavar="N", help="(default: 64)")
    _add_device(generate)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    evaluate = _add(
        commands,
        "evaluate",
        "measure a model on benchmarks",
        "example:\n  gazekit evaluate demo/model --benchmarks digits --limit 200\n",
    )
    _add_model(evaluate)
    evaluate.add_argument(
        "--benchmarks", nargs="+", default=["digits"], metavar="NAME", help="(default: digits)"
    )
    evaluate.add_argument(
        "--limit", type=_positive, metavar="N", help="samples of each benchmark (default: all)"
    )
    evaluate.add_argument(
        "--systems",
        nargs="+",
        default=["gaze"],
        metavar="NAME",
        help="of gaze, dense, random, eviction (default: gaze)",
    )
    _add_device(evaluate)


def _add_check(commands: argparse._SubParsersAction) -> None:
    check = _add(
        commands, "check", "say everything that is wrong with a recipe; nothing is built", _OVERRIDES
    )
    _add_recipe(check)


def _add_show(commands: argparse._SubParsersAction) -> None:
    show = _add(commands, "show", "print what a recipe comes to with its bases and overrides", _OVERRIDES)
    _add_recipe(show)


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    inspect = _add(
        commands,
        "inspect",
        "say what a model is made of and what gaze does to it; no weights are read",
        "examples:\n  gazekit inspect tiny --json\n"
        "  gazekit inspect my-vlm --gaze tiny gaze.route.k=8 --image 448x672\n",
    )
    inspect.add_argument(
        "target",
        metavar="TARGET",
        help="a recipe, the folder of a model, or its name on the hub (owner/name)",
    )
    inspect.add_argument("overrides", metavar="PATH=VALUE", nargs="*", help="changes to the recipe")
    inspect.add_argument("--gaze", metavar="RECIPE", help="take the gaze section of this recipe")
    inspect.add_argument(
        "--image",
        type=_pair("image", "heightxwidth in pixels", "448x448"),
        metavar="HxW",
        help="size of an image in pixels, for models that take any (default: the model's own, else 448x448)",
    )
    inspect.add_argument(
        "--imports",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules or .py files that the gaze may name",
    )
    _add_device(inspect)
    _add_json(inspect)


def _add_bench(commands: argparse._SubParsersAction) -> None:
    bench = _add(
        commands, "bench", "measure how fast gaze is, against the fastest dense attention in the same run"
    )
    kinds = bench.add_subparsers(dest="bench", metavar="WHAT", required=True)
    decode = kinds.add_parser(
        "decode",
        help="one generated token over a long visual cache, routing included",
        description="One generated token over a long visual cache, scoring and routing included.",
        epilog="example:\n  gazekit bench decode --shape qwen3-4b --visual 10240 --attend 1536 --share head\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    decode.add_argument(
        "--shape",
        default="qwen3-4b",
        metavar="SHAPE",
        help="qwen3-4b, qwen2.5-7b, tiny, or layers,heads,kv_heads,head_dim (default: qwen3-4b)",
    )
    decode.add_argument(
        "--visual",
        type=_positive,
        nargs="+",
        default=[10240],
        metavar="N",
        help="visual entries (default: 10240)",
    )
    decode.add_argument(
        "--attend", type=_positive, default=1536, metavar="N", help="visual entries looked at (default: 1536)"
    )
    decode.add_argument("--text", type=_count, default=600, metavar="N", help="text entries (default: 600)")
    decode.add_argument(
        "--context",
        type=_count,
        default=0,
        metavar="N",
        help="context entries of each 576 visual ones (default: 0)",
    )
    decode.add_argument("--batch", type=_positive, default=1, metavar="N", help="samples (default: 1)")
    decode.add_argument(
        "--share", choices=("head", "group"), default="head", help="who chooses regions (default: head)"
    )
    decode.add_argument(
        "--backend",
        nargs="+",
        default=["native", "gather", "masked"],
        metavar="NAME",
        help="backends to measure, or auto (default: native gather masked)",
    )
    decode.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16", help="(default: bf16)")
    decode.add_argument(
        "--layers", type=_positive, default=8, metavar="N", help="layers gone through in turn (default: 8)"
    )
    decode.add_argument("--repeats", type=_positive, default=15, metavar="N", help="rounds (default: 15)")
    decode.add_argument("--threads", type=_positive, default=1, metavar="N", help="CPU threads (default: 1)")
    decode.add_argument("--seed", type=_count, default=0, metavar="N", help="(default: 0)")
    decode.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    decode.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw cost against visual entries there (PNG)"
    )
    _add_device(decode)


def _add_cost(commands: argparse._SubParsersAction) -> None:
    cost = _add(
        commands,
        "cost",
        "count what gaze costs each query: entries, FLOPs, bytes",
        "examples:\n  gazekit cost tiny --frames 64 gaze.route.k=4\n"
        "  gazekit cost --units 8 --grid 24x24 --size 1,6,6 --k 20 --context 4 --shape qwen3-4b --json\n",
    )
    cost.add_argument("recipe", metavar="RECIPE", nargs="?", help="a name (tiny) or a path (my.yaml)")
    cost.add_argument("overrides", metavar="PATH=VALUE", nargs="*", help="changes to the recipe")
    shown = cost.add_mutually_exclusive_group()
    shown.add_argument("--units", type=_positive, metavar="N", help="images (default: 1)")
    shown.add_argument("--frames", type=_positive, metavar="N", help="frames of one video, instead of images")
    cost.add_argument(
        "--grid",
        type=_pair("grid", "rowsxcolumns of visual tokens", "24x24"),
        metavar="RxC",
        help="visual tokens of a unit (default: the recipe's, else 24x24)",
    )
    cost.add_argument("--size", type=_size, metavar="T,Y,X", help="tokens of a region (default: 1,6,6)")
    cost.add_argument("--k", type=_positive, metavar="N", help="regions that a query looks at")
    cost.add_argument("--context", type=_count, metavar="N", help="context tokens of a unit (default: 0)")
    cost.add_argument(
        "--shape",
        metavar="SHAPE",
        help="qwen3-4b, qwen2.5-7b, tiny, or layers,heads,kv_heads,head_dim (default: the recipe's, else qwen3-4b)",
    )
    cost.add_argument("--text", type=_count, default=0, metavar="N", help="text tokens in view (default: 0)")
    cost.add_argument(
        "--value-bytes",
        type=_positive,
        default=2,
        metavar="N",
        help="bytes of each key's values (default: 2, bf16)",
    )
    cost.add_argument(
        "--descriptor-bytes",
        type=_positive,
        default=4,
        metavar="N",
        help="bytes of each value of a region's descriptor (default: 4, fp32)",
    )
    cost.add_argument(
        "--softmax-flops",
        type=_count,
        default=0,
        metavar="N",
        help="operations of the softmax counted for each entry and head (default: 0)",
    )
    _add_json(cost)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a name (tiny) or a path (my.yaml)")
    parser.add_argument("overrides", metavar="PATH=VALUE", nargs="*", help="changes to the recipe")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a saved model")
    parser.add_argument(
        "--imports",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules or .py files of your own that the model's gaze may name",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="auto",
        help="auto (CUDA, MPS, CPU), cpu, mps, cuda or cuda:<number> (default: auto)",
    )


def _add_resume(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--resume",
        dest="resume",
        action="store_true",
        default=True,
        help="go on where an earlier run in the same folder stopped (default)",
    )
    choice.add_argument("--fresh", dest="resume", action="store_false", help="start from nothing")


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def _pair(name: str, what: str, example: str) -> Callable[[str], tuple[int, int]]:
    """Reads two numbers with an x between them."""

    def read(text: str) -> tuple[int, int]:
        first, cross, second = text.partition("x")
        if not (cross and first.isdecimal() and second.isdecimal() and int(first) and int(second)):
            raise argparse.ArgumentTypeError(f"{name} must be {what}, as in {example}, got {text!r}")
        return int(first), int(second)

    return read


def _size(text: str) -> tuple[int, int, int]:
    numbers = text.split(",")
    if len(numbers) != 3 or not all(word.isdecimal() and int(word) for word in numbers):
        raise argparse.ArgumentTypeError(
            f"size must be frames,rows,columns of a region in tokens, as in 1,6,6, got {text!r}"
        )
    return int(numbers[0]), int(numbers[1]), int(numbers[2])
