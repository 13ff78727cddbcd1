"""What each command does. Rooms are loaded when a command needs them, so that help and errors are quick."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gazekit.cli.output import print_facts, print_faults, print_figures, print_json


def demo(arguments: argparse.Namespace) -> int:
    """Trains, compares and shows the small Cambrian."""
    _load_quietly()
    from gazekit.demo import run

    run(
        out=arguments.out,
        seed=arguments.seed,
        quick=arguments.quick,
        device=_device(arguments),
        resume=arguments.resume,
    )
    return 0


def train(arguments: argparse.Namespace) -> int:
    """Trains what a recipe describes."""
    from gazekit.recipe import load
    from gazekit.recipe.train import train as train_recipe

    _load_quietly()
    recipe = load(arguments.recipe, arguments.overrides)
    out = arguments.out or Path("runs") / recipe.name
    saved = train_recipe(recipe, out=out, device=_device(arguments), resume=arguments.resume)
    sys.stdout.write(f"saved the model in {saved}\n")
    return 0


def generate(arguments: argparse.Namespace) -> int:
    """Prints a model's answer."""
    model = _folder(arguments.model)
    for image in arguments.image:
        if not image.is_file():
            raise FileNotFoundError(f"there is no image {image}")
    _load_quietly()
    from gazekit.models import generate as answer

    text = answer(
        model,
        images=arguments.image,
        ask=arguments.ask,
        max_new_tokens=arguments.max_new_tokens,
        device=_device(arguments),
        imports=arguments.imports,
    )
    sys.stdout.write(f"{text}\n")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Measures a model and prints what came out."""
    model = _folder(arguments.model)
    _load_quietly()
    from gazekit.cli.evaluate import evaluate as measure

    results = measure(
        model,
        benchmarks=arguments.benchmarks,
        systems=arguments.systems,
        limit=arguments.limit,
        device=_device(arguments),
        imports=arguments.imports,
    )
    for benchmark, systems in results.items():
        print_figures(benchmark, systems)
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Lists the faults of a recipe."""
    from gazekit.recipe import check as faults_of

    faults = faults_of(arguments.recipe, arguments.overrides)
    if faults:
        print_faults(faults)
        return 1
    sys.stdout.write(f"{arguments.recipe}: no faults\n")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Prints a recipe as it was resolved."""
    from gazekit.recipe import load
    from gazekit.recipe import show as text_of

    sys.stdout.write(text_of(load(arguments.recipe, arguments.overrides)))
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """Prints what a model is made of and what gaze does to it."""
    _load_quietly()
    from gazekit.cli.inspect import inspect as look_into
    from gazekit.cli.tables import print_anatomy

    found = look_into(
        arguments.target,
        gaze=arguments.gaze,
        overrides=arguments.overrides,
        image=arguments.image,
        imports=arguments.imports,
        device=arguments.device,
    )
    (print_json if arguments.json else print_anatomy)(found)
    return 0


def cost(arguments: argparse.Namespace) -> int:
    """Prints what gaze costs each query."""
    _load_quietly()
    from gazekit.cli.cost import measure
    from gazekit.cli.tables import print_cost

    found = measure(arguments)
    (print_json if arguments.json else print_cost)(found)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Prints what is here and what is not."""
    from gazekit.cli.doctor import examine

    if arguments.build:
        from gazekit.kernels import native

        built = native.build()
        code = "AVX-512" if native.is_vectorised() else "portable code"
        sys.stdout.write(f"native kernel: {built} ({code})\n")
    for title, facts in examine().items():
        print_facts(title, facts)
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """Measures and prints how fast gaze is."""
    from gazekit.cli.bench import decode

    decode(arguments, _device(arguments))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": demo,
    "train": train,
    "generate": generate,
    "evaluate": evaluate,
    "check": check,
    "show": show,
    "inspect": inspect,
    "cost": cost,
    "bench": bench,
    "doctor": doctor,
}
"""By name, in the order in which help lists them."""


def _device(arguments: argparse.Namespace) -> str:
    from gazekit.contracts.device import choose_device

    return choose_device(arguments.device)


def _load_quietly() -> None:
    """Keeps transformers' own progress bars (loading, saving) quiet; read when it is first imported."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _folder(model: Path) -> Path:
    if not (model / "config.json").is_file():
        raise FileNotFoundError(f"{model} is no saved model: it has no config.json")
    return model
