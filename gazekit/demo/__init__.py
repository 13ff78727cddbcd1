"""The main job: a small Cambrian with gaze, trained, compared and shown (level 6)."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

__all__ = ["run"]

_QUICK = [
    "training.tower.steps=60",
    "training.stages.0.steps=4",
    "training.stages.1.steps=30",
]
_QUICK_CONTEXT = ["training.stages.0.steps=4"]
QUESTIONS, QUICK_QUESTIONS = 2000, 100


def run(
    *, out: Path, seed: int = 0, quick: bool = False, device: str = "auto", resume: bool = True
) -> dict[str, Any]:
    """Trains gaze and the dense baseline, compares them with what else could be done, and shows where gaze looks.

    Writes into `out`: `results.json`, `report.html`, `loss.png`, `openness.png`, `glances.png`, the model and its
    processor in `model`, an image to ask about in `example.png`, and the runs with their checkpoints in `runs`. A
    demo that was killed goes on where it stopped.

    Args:
        out: Folder.
        seed: Of everything random; the questions are the same for all seeds.
        quick: A minute's version with the same code, which promises nothing.
        device: "auto", "cpu", "cuda" or "mps".
        resume: Whether to go on with what lies in `out`; otherwise it is removed first.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError: `out` holds the demo of another seed or length.
    """
    from rich.console import Console

    from gazekit.contracts.device import choose_device
    from gazekit.demo.judging import judge
    from gazekit.demo.models import train_contestants
    from gazekit.demo.report import draw, print_results, results_of, save_results
    from gazekit.recipe import load
    from gazekit.recipe.train import clear, keep_recipe

    console, out = Console(), Path(out)
    start = perf_counter()
    if not resume:
        clear(out)
    recipe = load("tiny", [f"seed={seed}", *(_QUICK if quick else [])])
    with_context = load("tiny-context", [f"seed={seed}", *(_QUICK_CONTEXT if quick else [])])
    out.mkdir(parents=True, exist_ok=True)
    keep_recipe(recipe, out)
    (out / "runs").mkdir(exist_ok=True)
    place = choose_device(device)
    contestants = train_contestants(recipe, with_context, out / "runs", device=device)
    before = perf_counter()
    verdict = judge(contestants, questions=QUICK_QUESTIONS if quick else QUESTIONS, seed=seed, device=place)
    seconds = {
        **contestants.seconds,
        "training": contestants.trained,
        "evaluate": perf_counter() - before,
        "total": perf_counter() - start,
    }
    results = results_of(contestants, verdict, seed=seed, seconds=seconds)
    contestants.gaze.model.save_pretrained(out / "model")
    contestants.gaze.processor.save_pretrained(out / "model")
    verdict.items[0].image.save(out / "example.png")
    draw(contestants, verdict, results, out)
    save_results(results, out)
    print_results(results, console)
    _say_goodbye(console, out, verdict.items[0].question.text)
    return results


def _say_goodbye(console: Any, out: Path, question: str) -> None:
    console.print(f"Look around in [bold]{out / 'report.html'}[/bold], or ask about an image of your own:")
    console.print(f'  gazekit generate {out / "model"} --image {out / "example.png"} --ask "{question}"')
