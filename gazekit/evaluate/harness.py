"""One benchmark put to one model: prompts, answers, scores, and what was looked at meanwhile."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from gazekit.evaluate.benchmarks import IMAGE_MARK, Rows, Task, read_frames
from gazekit.evaluate.benchmarks.loading import video_at
from gazekit.evaluate.journal import Answered, Journal, refuse_other
from gazekit.evaluate.provenance import versions
from gazekit.evaluate.responding import Question, Reply, Responder
from gazekit.evaluate.results import Record, Result
from gazekit.evaluate.scorers import PROFILES, aggregate, verdict


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a benchmark is put.

    Attributes:
        profile: Whose prompts and scorers: lmms or cambrian.
        limit: Samples, the first ones, and those that belong to the last of them; None = all.
        batch_size: Samples at a time. The same batches are made whoever answers them and wherever one goes on.
        blind: Images and videos are left out: what is right without looking.
        frames: Of a video at most.
        fps: Frames of a video that are shown a second, as long as `frames` suffice.
        max_new_tokens: Of an answer; None = what the benchmark says.

    Raises:
        ValueError: The profile is unknown, or a number is below 1.
    """

    profile: str = "lmms"
    limit: int | None = None
    batch_size: int = 8
    blind: bool = False
    frames: int = 32
    fps: float = 1.0
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {self.profile!r}")
        for name in ("limit", "batch_size", "frames", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not self.fps > 0:
            raise ValueError(f"fps must be above 0, got {self.fps}; 1 shows a frame each second")

    def tokens(self, task: Task) -> int:
        """Most new tokens of an answer."""
        return self.max_new_tokens or task.forms[self.profile].max_new_tokens


def evaluate(
    task: Task,
    docs: Rows,
    responder: Responder,
    plan: Plan | None = None,
    *,
    model: str = "",
    system: str = "gaze",
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    stem: str | None = None,
    resume: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Puts a benchmark to a model and scores what it says.

    Where torch's processes are joined (`torch.distributed`), each answers its share of the batches, and all get the
    whole. With `out`, each batch is on disk before the next is asked; a run that was cut short goes on where it was,
    and ends in the same file, byte for byte.

    Args:
        task: The benchmark.
        docs: Its samples, from `gazekit.evaluate.benchmarks.load`, or any rows with the same columns.
        responder: The model.
        plan: How it is put; None = all of it, as lmms-eval would.
        model: What the result says was measured.
        system: How it looked.
        settings: What else decides the answers, to be written into the result.
        out: Folder of the result, `STEM.json`, and of what is kept meanwhile; None = nothing is written.
        stem: Name of the file; None = `BENCHMARK-SYSTEM`, and `-blind`.
        resume: Whether to go on with what is in the folder, and to take a result that is there; else it is replaced.
        progress: Told after each batch how many samples of how many are done, those of other processes left out.

    Raises:
        ValueError: What is in the folder was made with other settings, a doc lacks a column, or there is no doc.
    """
    plan = plan or Plan()
    count = (
        len(docs) if plan.limit is None else min(-(-plan.limit // task.together) * task.together, len(docs))
    )
    if not count:
        raise ValueError(f"docs of {task.name} must not be empty, got none")
    asked = _settings(task, plan, responder, count, settings or {}) | {"model": model, "system": system}
    name = stem or f"{task.name}-{system}{'-blind' if plan.blind else ''}"
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    journal = None
    if out is not None:
        if (found := _before(out / f"{name}.json", asked, resume, rank)) is not None:
            return found
        journal = Journal(out, name, rank, asked)
        _wait()  # Nobody writes before all have read.
    done = journal.done if journal is not None else {}
    batches = [range(at, min(at + plan.batch_size, count)) for at in range(0, count, plan.batch_size)]
    mine = [number for number in range(len(batches)) if number not in done][rank::world]
    finished = sum(len(one.records) for one in done.values())
    for number in mine:
        answered = _batch(task, docs, batches[number], responder, plan)
        if journal is not None:
            journal.add(number, answered)
        done[number] = answered
        finished += len(answered.records)
        if progress is not None:
            progress(finished, count)
    done = _gathered(done)
    records = tuple(record for number in range(len(batches)) for record in done[number].records)
    result = Result(
        benchmark=task.name,
        profile=plan.profile,
        model=model,
        system=system,
        scores={**aggregate(task.name, records, plan.profile), **attended_by(records)},
        settings={name: value for name, value in asked.items() if name not in ("model", "system")}
        | {"backends": sorted({name for one in done.values() for name in one.backends})},
        versions=versions(),
        records=records,
    )
    if out is not None and journal is not None:
        if rank == 0:
            result.save(out / f"{name}.json")
        _wait()
        if rank == 0:
            journal.forget()
    return result


def question_of(task: Task, docs: Any, doc: Mapping[str, Any], plan: Plan) -> tuple[str, Question]:
    """The prompt of a doc and the question that it makes.

    Raises:
        ValueError: The doc lacks a column that the prompt needs.
    """
    form = task.forms[plan.profile]
    try:
        prompt = form.prompt(doc)
        shown = [] if plan.blind else (form.shown or task.shown)(doc)
    except KeyError as missing:
        raise ValueError(
            f"docs of {task.name} must have the column {missing}, got {', '.join(sorted(doc))}; are they rows of "
            f"{task.source.name}?"
        ) from missing
    if task.kind == "video" and shown:
        clips = [read_frames(video_at(docs, name), plan.frames, plan.fps) for name in shown]
        content = [{"type": "video"}, {"type": "text", "text": prompt}]
        return prompt, Question(messages=[{"role": "user", "content": content}], videos=clips)
    content = contents(prompt, 0 if plan.blind else len(shown))
    return prompt, Question(messages=[{"role": "user", "content": content}], images=shown)


def contents(prompt: str, images: int) -> list[dict[str, str]]:
    """A prompt's typed contents: images where their marks stand, or else in front."""
    pieces = prompt.split(IMAGE_MARK)
    if len(pieces) - 1 != images:
        pieces = [*[""] * images, "".join(pieces)]
    content: list[dict[str, str]] = []
    for place, piece in enumerate(pieces):
        if piece:
            content.append({"type": "text", "text": piece})
        if place < len(pieces) - 1:
            content.append({"type": "image"})
    return content


def attended_by(records: Sequence[Record]) -> dict[str, float]:
    """Entries that a query attended, over all queries of all samples that show something.

    Returns:
        Means by kind, `attended_visual`, `attended_context` and `attended_text`, and `attended_share`, visual entries
        over the visual tokens of the sample; nothing where nobody watched or nothing was shown. As
        `gazekit.evaluate.AttendedEntries` counts.
    """
    seen = [one.attended for one in records if one.attended and one.attended["visual_tokens"] > 0]
    queries = math.fsum(one["queries"] for one in seen)
    if not queries:
        return {}
    figures = {
        f"attended_{kind}": math.fsum(one[kind] * one["queries"] for one in seen) / queries
        for kind in ("visual", "context", "text")
    }
    shares = [one["visual"] / one["visual_tokens"] * one["queries"] for one in seen]
    return figures | {"attended_share": math.fsum(shares) / queries}


def _batch(task: Task, docs: Rows, places: range, responder: Responder, plan: Plan) -> Answered:
    some = [docs[place] for place in places]
    asked = [question_of(task, docs, doc, plan) for doc in some]
    replies = responder.respond(
        [question for _, question in asked],
        max_new_tokens=plan.tokens(task),
        until=task.forms[plan.profile].until,
    )
    records = [
        _record(task, doc, place, prompt, reply, plan)
        for doc, place, (prompt, _), reply in zip(some, places, asked, replies, strict=True)
    ]
    return Answered(records, sorted(responder.backends))


def _record(task: Task, doc: Mapping[str, Any], place: int, prompt: str, reply: Reply, plan: Plan) -> Record:
    said = verdict(task.name, reply.text, doc, plan.profile)
    return Record(
        id=task.sample(doc, place),
        prompt=prompt,
        prediction=reply.text,
        score=said.score,
        parsed=said.parsed,
        doc=task.kept(doc),
        attended=reply.attended,
        group=task.group(doc),
    )


def _settings(
    task: Task, plan: Plan, responder: Responder, count: int, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Whatever decides the answers."""
    form = task.forms[plan.profile]
    weight = next(responder.model.parameters())
    return {
        "benchmark": task.name,
        "data": {"name": task.source.name, "configs": list(task.source.configs), "split": task.source.split},
        **asdict(plan),
        "samples": count,
        "generation": {
            "max_new_tokens": plan.tokens(task), "until": list(form.until), "do_sample": False, "num_beams": 1,
        },
        "dtype": str(weight.dtype).removeprefix("torch."),
        "device": weight.device.type,
        **more,
    }  # fmt: skip


def _before(path: Path, asked: Mapping[str, Any], resume: bool, rank: int) -> Result | None:
    """The result of an earlier run with the same settings; without `resume` whatever is there goes away."""
    if not resume:
        if rank == 0:
            for old in (path, *path.parent.glob(f"{path.stem}.partial-*.jsonl")):
                old.unlink(missing_ok=True)
        _wait()
        return None
    if not path.is_file():
        return None
    found = Result.load(path)
    begun = {**found.settings, "model": found.model, "system": found.system}
    del begun["backends"]
    refuse_other(path, begun, json.loads(json.dumps(asked)))
    return found


def _gathered(done: dict[int, Answered]) -> dict[int, Answered]:
    """Every process's batches."""
    whole: dict[int, Answered] = {}
    for part in _everyones(done):
        whole |= part
    return whole


def _everyones(value: Any) -> list[Any]:
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()
