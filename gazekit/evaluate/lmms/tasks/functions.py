"""What the YAML files beside name: prompts, scores and figures of gazekit, as lmms-eval calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gazekit.evaluate.benchmarks import TASKS
from gazekit.evaluate.scorers import aggregate, find, verdict


def text(name: str) -> Callable[[Mapping[str, Any]], str]:
    """The prompt of a task."""
    return lambda doc: TASKS[name].forms["lmms"].prompt(doc)


def scored(name: str) -> Callable[[Mapping[str, Any], Sequence[str]], dict[str, dict]]:
    """The record of an answer, under the name of the task's figure."""

    def process(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, dict]:
        said = verdict(name, results[0], doc)
        record = {**TASKS[name].kept(doc), "score": said.score, "parsed": said.parsed}
        return {find(name).headline: record, "parse_failure_rate": record}

    return process


def figure(name: str) -> Callable[[Sequence[Mapping[str, Any]]], float]:
    """The figure of a task over its records."""
    return lambda records: aggregate(name, records)[find(name).headline]


def failures(records: Sequence[Mapping[str, Any]]) -> float:
    """Share of answers that could not be read."""
    return sum(not record["parsed"] for record in records) / len(records)


def picture(doc: Mapping[str, Any]) -> list[Any]:
    """The image of a row."""
    found = doc["decoded_image"] if "decoded_image" in doc else doc["image"]
    return [found.convert("RGB")]


def _of(column: str, value: str) -> Callable[[Any], Any]:
    """Rows that have a value in a column."""
    return lambda rows: rows.filter(lambda said: said == value, input_columns=[column])


from_ade = _of("source", "ADE20K")
from_omni3d = _of("source", "Omni3D")
cv_bench_ade_text, cv_bench_ade_scored, cv_bench_ade_figure = (
    make("cv_bench_ade") for make in (text, scored, figure)
)
cv_bench_omni3d_text, cv_bench_omni3d_scored, cv_bench_omni3d_figure = (
    make("cv_bench_omni3d") for make in (text, scored, figure)
)
mmbench_cn_text, mmbench_cn_scored, mmbench_cn_figure = (
    make("mmbench_cn_dev_static") for make in (text, scored, figure)
)
mathvista_text, mathvista_scored, mathvista_figure = (
    make("mathvista_rule") for make in (text, scored, figure)
)
multi_choice_text, multi_choice_scored, multi_choice_figure = (
    make("tempcompass_multi_choice_rule") for make in (text, scored, figure)
)
yes_no_text, yes_no_scored, yes_no_figure = (
    make("tempcompass_yes_no_rule") for make in (text, scored, figure)
)
caption_matching_text, caption_matching_scored, caption_matching_figure = (
    make("tempcompass_caption_matching_rule") for make in (text, scored, figure)
)


def clip(doc: Mapping[str, Any]) -> list[str]:
    """The file of a row's video, where lmms-eval unpacks TempCompass."""
    import os

    home = os.path.expanduser(os.environ.get("HF_HOME", "~/.cache/huggingface"))
    return [os.path.join(home, "tempcompass", f"{doc['video_id']}.mp4")]
