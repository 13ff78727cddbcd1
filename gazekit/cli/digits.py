"""The digits as a benchmark: answers word by word, and whether the model looked at what they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from gazekit.evaluate.provenance import versions
from gazekit.evaluate.reading import Outcome, read
from gazekit.evaluate.results import Record, Result
from gazekit.evaluate.systems import dense, gazes_of, looking, random
from gazekit.evict import QuestionEviction

if TYPE_CHECKING:
    from gazekit.cli.evaluate import Asked

QUESTIONS = 2000


def digits(subject: Any, asked: Asked, bar: Progress) -> dict[str, Result]:
    """The questions with each system. They take minutes at most, so a run that was cut short begins again."""
    from gazekit.data.digits import DigitsEvaluation

    items = DigitsEvaluation(length=asked.plan.limit or QUESTIONS, split="test")
    found: dict[str, Result] = {}
    for system in asked.systems:
        outcome, entries = _ask(subject, system, items, asked, bar)
        result = _result(subject, system, outcome, entries, asked)
        if asked.out is not None:
            result.save(asked.out / f"digits-{system}.json")
        found[system] = result
    return found


def refuse(asked: Asked) -> None:
    """Refuses what the digits cannot be asked with.

    Raises:
        ValueError: A budget or blindness is asked for.
    """
    if asked.budget is not None or asked.plan.blind:
        name = "--blind" if asked.plan.blind else "--budget"
        raise ValueError(f"{name} is for the benchmarks of images and videos; leave it out for digits")


def _ask(subject: Any, system: str, items: Any, asked: Asked, bar: Progress) -> tuple[Outcome, int | None]:
    """The answers of a system; of eviction besides the visual entries that it keeps, as many as gaze attends."""
    entries = None
    if system == "eviction":
        attended = _ask(subject, "gaze", items, asked, bar)[0].attended
        assert attended is not None, "gaze is watched"
        entries = max(1, round(float(attended.compute()["visual"])))
    gazes = gazes_of(subject.model)
    if system == "random":
        gazes = [random(gaze, asked.seed) for gaze in gazes]
    elif system != "gaze":
        gazes = [dense(gaze) for gaze in gazes]
    task = bar.add_task(f"digits, {system}", total=len(items))
    with looking(subject.model, gazes):
        outcome = read(
            subject.model,
            subject.processor,
            items,
            trace=entries is None,
            eviction=None if entries is None else QuestionEviction(budget=entries),
            progress=lambda done: bar.update(task, completed=done),
        )
    return outcome, entries


def _result(subject: Any, system: str, outcome: Outcome, entries: int | None, asked: Asked) -> Result:
    records = tuple(
        Record(
            id=str(place),
            prompt=answer.question,
            prediction=" ".join(filter(None, answer.said)),
            score=answer.right / answer.counted,
            doc={"kind": answer.kind, "answer": list(answer.expected), "given": answer.given},
        )
        for place, answer in enumerate(outcome.answers)
    )
    weight = next(subject.model.parameters())
    return Result(
        benchmark="digits",
        profile="gazekit",
        model=subject.name,
        system=system,
        scores=_figures(outcome, entries),
        settings={
            "limit": asked.plan.limit,
            "dtype": str(weight.dtype).removeprefix("torch."),
            "device": weight.device.type,
            "seed": asked.seed,
            "eviction": entries,
            "weights": subject.fingerprint,
        },
        versions=versions(),
        records=records,
    )


def _figures(outcome: Outcome, entries: int | None) -> dict[str, float]:
    """Figures by name.

    accuracy: share of answer words that are right; visual: visual entries that an answering query attends, averaged
    over layers and heads; share: those over all visual entries; routing, routing_random: share of answer words whose
    region was chosen, averaged over heads, and what chance gives.
    """
    figures = {"accuracy": outcome.accuracy}
    if entries is not None:
        figures["visual"] = float(entries)
    if outcome.attended is not None:
        attended = outcome.attended.compute()
        figures |= {"visual": float(attended["visual"]), "share": float(attended["share"])}
    if outcome.routing is not None:
        routing = outcome.routing.compute()
        figures |= {"routing": float(routing["mean"]), "routing_random": float(routing["mean_random"])}
    return figures
