"""Which benchmarks can be asked, by name and in groups."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from gazekit.evaluate.benchmarks import choices, mmbench, mme, reasoning, videos, words
from gazekit.evaluate.benchmarks.task import Task

_IMAGE = (
    mme.MME,
    mmbench.ENGLISH,
    mmbench.CHINESE,
    choices.MMVP,
    choices.REALWORLDQA,
    choices.CV_BENCH_ADE,
    choices.CV_BENCH_OMNI3D,
    words.GQA,
    choices.SCIENCEQA,
    reasoning.MMMU,
    reasoning.MATHVISTA,
    words.CHARTQA,
    words.OCRBENCH,
    words.TEXTVQA,
)
_VIDEO = (
    videos.VIDEOMME,
    videos.MLVU_DEV,
    videos.EGOSCHEMA,
    videos.LONGVIDEOBENCH,
    videos.NEXTQA,
    videos.TEMPCOMPASS,
)
TASKS: dict[str, Task] = {task.name: task for task in (*_IMAGE, *_VIDEO, videos.MLVU_TEST, *videos.FORMS)}
"""Benchmarks by name."""

GROUPS: dict[str, tuple[str, ...]] = {
    "image": tuple(task.name for task in _IMAGE),
    "video": tuple(task.name for task in _VIDEO),
}
"""The columns of the paper's two tables."""


def named(names: Sequence[str], also: Sequence[str] = ()) -> list[str]:
    """Names of benchmarks with groups written out, each once.

    Args:
        names: Of `TASKS`, `GROUPS` or `also`.
        also: What else is a benchmark.

    Raises:
        ValueError: An unknown name; the message names the nearest.
    """
    known = [*GROUPS, *also, *TASKS]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"benchmarks must be of {', '.join(known)}, got {name}{hint}")
    return list(dict.fromkeys(one for name in names for one in GROUPS.get(name, (name,))))
