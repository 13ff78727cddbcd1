"""What `gazekit evaluate` measures: one saved model, looking in several ways, on benchmarks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from gazekit.cli.digits import digits, refuse
from gazekit.evaluate.benchmarks import TASKS, Docs, Task, load, named
from gazekit.evaluate.harness import Plan, evaluate, question_of
from gazekit.evaluate.provenance import fingerprint
from gazekit.evaluate.responding import Responder
from gazekit.evaluate.results import Result
from gazekit.evaluate.systems import SYSTEMS, dense, gazes_of, k_within, limited, looking, random
from gazekit.evict import QuestionEviction
from gazekit.gaze import Gaze
from gazekit.models import CambrianConfig, config_at, open_saved
from gazekit.models.retrofit import apply_gaze

DIGITS = "digits"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks for.

    Attributes:
        benchmarks: Names and groups.
        systems: Of `SYSTEMS`.
        plan: How each benchmark is put.
        budget: Share of the visual tokens that gaze and random may attend; None = what the model was saved with.
        seed: Of regions by lot.
        data: Folder of the data sets; None = the hub.
        out: Folder of the results; None = none are kept.
        resume: Whether to go on with what is there.
    """

    benchmarks: Sequence[str] = (DIGITS,)
    systems: Sequence[str] = ("gaze",)
    plan: Plan = field(default_factory=Plan)
    budget: float | None = None
    seed: int = 0
    data: Path | None = None
    out: Path | None = None
    resume: bool = True


@dataclass(frozen=True)
class _Subject:
    """The model that is measured.

    Attributes:
        name: Its folder's name.
        model: With its weights.
        processor: Its own.
        fingerprint: Of its weights.
    """

    name: str
    model: Any
    processor: Any
    fingerprint: str


def evaluate_all(
    model_dir: Path, asked: Asked, *, device: str = "cpu", imports: Iterable[str] = ()
) -> dict[str, dict[str, Result]]:
    """Puts each benchmark to a saved model with each system.

    Returns:
        Results by benchmark and system.

    Raises:
        FileNotFoundError: A data set is not where it was looked for.
        ValueError: A benchmark or system is unknown, the model has no gaze that a system could change, or what is in
            the folder of results was made with other settings.
    """
    benchmarks = named(asked.benchmarks, also=(DIGITS,))
    _known_systems(asked.systems)
    cambrian = config_at(model_dir).model_type == CambrianConfig.model_type
    if DIGITS in benchmarks and not cambrian:
        raise ValueError(
            f"{model_dir} must hold a Cambrian to be measured on digits, got a model of type "
            f"{config_at(model_dir).model_type!r}; name other benchmarks"
        )
    if DIGITS in benchmarks:
        refuse(asked)
    docs = {name: load(TASKS[name], asked.data) for name in benchmarks if name != DIGITS}
    _join_processes()
    model, processor = open_saved(model_dir, device=_own(device), imports=imports)
    if not any(gaze.routes for gaze in gazes_of(model)) and set(asked.systems) != {"dense"}:
        raise ValueError(
            f"{model_dir} has no gaze that routes, so it can only be measured with --systems dense"
        )
    if not gazes_of(model):
        model = apply_gaze(model, Gaze())  # Dense, and watched.
    subject = _Subject(model_dir.resolve().name, model, processor, fingerprint(model))
    with Progress(console=Console(stderr=True), transient=True, disable=_rank() > 0) as bar:
        found: dict[str, dict[str, Result]] = {}
        for name in benchmarks:
            if name == DIGITS:
                found[name] = digits(subject, asked, bar)
            else:
                found[name] = _benchmark(subject, TASKS[name], docs[name], asked, bar)
        return found


def _benchmark(subject: _Subject, task: Task, docs: Docs, asked: Asked, bar: Progress) -> dict[str, Result]:
    """One benchmark with each system; eviction comes after gaze, whose entries it is given."""
    found: dict[str, Result] = {}
    gazes, settings = _within(subject, task, docs, asked)
    order = sorted(asked.systems, key=lambda system: system == "eviction")
    if "eviction" in order and "gaze" not in order:
        order.insert(0, "gaze")
    for system in order:
        more, eviction = dict(settings), None
        if system == "eviction":
            entries = max(1, round(found["gaze"].scores.get("attended_visual", 1.0)))
            eviction, more["eviction"] = QuestionEviction(budget=entries), entries
        changed = _changed(system, gazes, asked.seed)
        with looking(subject.model, changed):
            responder = Responder(subject.model, subject.processor, eviction=eviction)
            with _told(bar, f"{task.name}, {system}") as progress:
                found[system] = evaluate(
                    task,
                    docs,
                    responder,
                    asked.plan,
                    model=subject.name,
                    system=system,
                    settings=more | {"weights": subject.fingerprint, "seed": asked.seed, **_written(changed)},
                    out=asked.out,
                    resume=asked.resume,
                    progress=progress,
                )
    return {system: found[system] for system in asked.systems}


def _within(subject: _Subject, task: Task, docs: Docs, asked: Asked) -> tuple[list[Gaze], dict[str, Any]]:
    """The model's compositions, within the budget where there is one."""
    gazes = gazes_of(subject.model)
    if asked.budget is None:
        return gazes, {"budget": None}
    _, question = question_of(task, docs, docs[0], asked.plan)
    k = k_within(subject.model, subject.processor, question, asked.budget)
    return [limited(gaze, k) for gaze in gazes], {"budget": asked.budget, "k": k}


def _changed(system: str, gazes: Sequence[Gaze], seed: int) -> list[Gaze]:
    if system == "random":
        return [random(gaze, seed) for gaze in gazes]
    if system in ("dense", "eviction"):
        return [dense(gaze) for gaze in gazes]
    return list(gazes)


def _written(gazes: Sequence[Gaze]) -> dict[str, Any]:
    from gazekit.contracts.section import to_section

    return {"gaze": [to_section(gaze) for gaze in gazes]}


@contextmanager
def _told(bar: Progress, name: str) -> Iterator[Callable[[int, int], None]]:
    task = bar.add_task(name, total=None)
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        bar.stop_task(task)


def figures_of(results: Mapping[str, Mapping[str, Result]]) -> dict[str, dict[str, dict[str, float]]]:
    """The figures alone, by benchmark and system."""
    return {
        name: {system: dict(result.scores) for system, result in systems.items()}
        for name, systems in results.items()
    }


def is_first() -> bool:
    """Whether this process is the one that speaks."""
    return _rank() == 0


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _own(device: str) -> str:
    """The device of this process, where each has one."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


def _join_processes() -> None:
    """Joins the processes that torchrun started; what they exchange lies on the CPU."""
    import torch.distributed as dist

    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")


def _known_systems(names: Iterable[str]) -> None:
    import difflib

    for name in names:
        if name not in SYSTEMS:
            near = difflib.get_close_matches(name, SYSTEMS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"systems must be of {', '.join(SYSTEMS)}, got {name}{hint}")
