"""Asks all contestants the same questions about held-out scans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from gazekit.demo.models import Contestants
from gazekit.gaze import Gaze

if TYPE_CHECKING:
    from gazekit.evaluate.reading import Outcome
    from gazekit.models import Cambrian


@dataclass(frozen=True)
class Verdict:
    """What every contestant made of the same questions.

    Attributes:
        outcomes: By name: dense, gaze, gaze_context, random, eviction, eviction_2x, eviction_4x.
        head: Layer and head that routed best on the validation split.
        validation: Gaze on the validation split.
        items: The questions.
    """

    outcomes: dict[str, Outcome]
    head: tuple[int, int]
    validation: Outcome
    items: Any


def judge(contestants: Contestants, *, questions: int, seed: int, device: str) -> Verdict:
    """Greedy answers of all contestants to the same questions about scans that nobody has trained on.

    `random` is the gaze model with its router replaced by a random one. `eviction` is the dense model with as many
    visual entries as gaze attends, chosen once from the question for each layer and KV head; then with two and four
    times as many.
    """
    from gazekit.data.digits import DigitsEvaluation
    from gazekit.evaluate.reading import read
    from gazekit.evict import QuestionEviction
    from gazekit.partition import GridPartition
    from gazekit.route import RandomRouter, TopKRouter

    gaze, dense, context = contestants.gaze, contestants.dense, contestants.context
    for one in (gaze, dense, context):
        one.model.to(device).eval()
    items = DigitsEvaluation(length=questions, split="test")
    held = DigitsEvaluation(length=max(100, questions // 4), split="validation")
    composition = gaze.model.gaze
    assert isinstance(composition, Gaze)
    partition, route = composition.partition, composition.route
    assert isinstance(partition, GridPartition)
    assert isinstance(route, TopKRouter)
    budget = route.k * prod(partition.size)
    dense.model.set_gaze(replace(composition, route=None))
    outcomes: dict[str, Outcome] = {}
    with Progress(transient=True) as bar:

        def ask(name: str, contestant: Cambrian, what: Any = items, **options: Any) -> Outcome:
            task = bar.add_task(f"evaluating {name}", total=len(what))
            return read(
                contestant.model,
                contestant.processor,
                what,
                progress=lambda done: bar.update(task, completed=done),
                **options,
            )

        outcomes["dense"] = ask("dense", dense, trace=True)
        validation = ask("gaze on validation scans", gaze, held, trace=True)
        outcomes["gaze"] = ask("gaze", gaze, trace=True)
        outcomes["gaze_context"] = ask("gaze with context", context, trace=True)
        gaze.model.set_gaze(replace(composition, route=RandomRouter(k=route.k, seed=seed)))
        outcomes["random"] = ask("random routing", gaze)
        gaze.model.set_gaze(composition)
        for times, name in ((1, "eviction"), (2, "eviction_2x"), (4, "eviction_4x")):
            eviction = QuestionEviction(budget=times * budget)
            outcomes[name] = ask(f"eviction, {times * budget} entries", dense, eviction=eviction)
    assert validation.routing is not None
    return Verdict(outcomes, validation.routing.best_head(), validation, items)
