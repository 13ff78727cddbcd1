"""What `gazekit evaluate` measures: one saved model, looking in several ways, on benchmarks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from gazekit.evaluate.reading import Outcome, read
from gazekit.evict import QuestionEviction
from gazekit.gaze import Gaze
from gazekit.models import CambrianConfig, CambrianForConditionalGeneration, CambrianProcessor, config_at
from gazekit.route import RandomRouter

Figures = dict[str, float]
"""accuracy: share of answer words that are right; visual: visual entries that an answering query attends, averaged
over layers and heads; share: those over all visual entries; routing, routing_random: share of answer words whose
region was chosen, averaged over heads, and what chance gives."""

DIGITS_QUESTIONS = 2000


def evaluate(
    model_dir: Path,
    *,
    benchmarks: Sequence[str] = ("digits",),
    systems: Sequence[str] = ("gaze",),
    limit: int | None = None,
    device: str = "cpu",
    imports: Iterable[str] = (),
) -> dict[str, dict[str, Figures]]:
    """Answers the questions of each benchmark with each system, greedily.

    Args:
        model_dir: A saved Cambrian and its processor.
        benchmarks: Of `BENCHMARKS`.
        systems: Of `SYSTEMS`.
        limit: Questions of each benchmark; None = all.
        device: As torch names it.
        imports: Modules of one's own that the model's composition names.

    Returns:
        Figures by benchmark and system.

    Raises:
        ValueError: A benchmark or system is unknown, or the model is no Cambrian or has no gaze that a system could
            change.
    """
    _known("benchmarks", benchmarks, BENCHMARKS)
    _known("systems", systems, SYSTEMS)
    if (found := config_at(model_dir).model_type) != CambrianConfig.model_type:
        raise ValueError(
            f"{model_dir} must hold a Cambrian, got a model of type {found!r}; ask it by gazekit generate, or measure "
            "it in Python by gazekit.evaluate"
        )
    processor = CambrianProcessor.from_pretrained(model_dir)
    model = (
        CambrianForConditionalGeneration.from_pretrained(model_dir, imports=tuple(imports)).to(device).eval()
    )
    gazes = [model.gaze] if isinstance(model.gaze, Gaze) else list(model.gaze or [])
    if not any(gaze.route for gaze in gazes) and set(systems) != {"dense"}:
        raise ValueError(
            f"{model_dir} has no gaze that routes, so it can only be measured with --systems dense"
        )
    with Progress(transient=True) as bar:
        return {
            name: {
                system: SYSTEMS[system](_Subject(model, processor, gazes, BENCHMARKS[name](limit), bar))
                for system in systems
            }
            for name in benchmarks
        }


class _Subject:
    """A model in front of the questions of one benchmark."""

    def __init__(self, model: Any, processor: Any, gazes: list[Gaze], items: Any, bar: Progress) -> None:
        self.model = model
        self.processor = processor
        self.gazes = gazes
        self.items = items
        self.bar = bar

    def ask(self, name: str, change: Callable[[Gaze], Gaze] | None = None, **options: Any) -> Outcome:
        """The answers, with another composition meanwhile where `change` gives one."""
        task = self.bar.add_task(name, total=len(self.items))
        try:
            if change is not None and self.gazes:
                self.model.set_gaze([change(gaze) for gaze in self.gazes])
            return read(
                self.model,
                self.processor,
                self.items,
                progress=lambda done: self.bar.update(task, completed=done),
                **options,
            )
        finally:
            if change is not None and self.gazes:
                self.model.set_gaze(self.gazes)


def _gaze(subject: _Subject) -> Figures:
    return _figures(subject.ask("gaze", trace=True))


def _dense(subject: _Subject) -> Figures:
    return _figures(subject.ask("dense", lambda gaze: replace(gaze, route=None), trace=True))


def _random(subject: _Subject) -> Figures:
    """Each router replaced by lots, as many regions as it chooses."""

    def draw(gaze: Gaze) -> Gaze:
        if gaze.route is None:
            return gaze
        if not hasattr(gaze.route, "k"):
            raise ValueError(
                f"systems: random needs a router with a fixed k, and {type(gaze.route).__name__} has none"
            )
        return replace(gaze, route=RandomRouter(k=gaze.route.k))

    return _figures(subject.ask("random", draw, trace=True))


def _eviction(subject: _Subject) -> Figures:
    """Dense attention to as many visual entries as gaze attends, chosen once from the question."""
    budget = max(1, round(_gaze(subject)["visual"]))
    outcome = subject.ask(
        f"eviction, {budget} entries",
        lambda gaze: replace(gaze, route=None),
        eviction=QuestionEviction(budget=budget),
    )
    return {**_figures(outcome), "visual": float(budget)}


def _figures(outcome: Outcome) -> Figures:
    figures = {"accuracy": outcome.accuracy}
    if outcome.attended is not None:
        attended = outcome.attended.compute()
        figures |= {"visual": float(attended["visual"]), "share": float(attended["share"])}
    if outcome.routing is not None:
        routing = outcome.routing.compute()
        figures |= {"routing": float(routing["mean"]), "routing_random": float(routing["mean_random"])}
    return figures


def _digits(limit: int | None) -> Any:
    from gazekit.data.digits import DigitsEvaluation

    return DigitsEvaluation(length=limit or DIGITS_QUESTIONS, split="test")


BENCHMARKS: dict[str, Callable[[int | None], Any]] = {"digits": _digits}
"""Questions by name, at most so many."""

SYSTEMS: dict[str, Callable[[_Subject], Figures]] = {
    "gaze": _gaze,
    "dense": _dense,
    "random": _random,
    "eviction": _eviction,
}
"""Ways to look, all with the weights of the one model: as it was saved; at everything; by lot; at what the question
picked once."""


def _known(argument: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{argument} must be of {', '.join(known)}, got {name}{hint}")
