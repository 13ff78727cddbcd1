"""CV-Bench: counting and place in ADE20K and COCO (2D), depth and distance in Omni3D (3D)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from gazekit.evaluate.scorers.answers import option
from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import Row, accuracy, grouped
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right

_LETTER = re.compile(r"[(\s]*([A-Z])", re.IGNORECASE)


def lmms(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The first letter, if the answer begins with one, in brackets or not ("The answer is B" is T)."""
    if not (found := _LETTER.match(prediction.strip())):
        return Verdict(score=0.0, parsed=False)
    letter = found[1].upper()
    return right(letter == truth.strip("()"), letter)


def cambrian(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The first character of what follows "answer is"; in Omni3D the text of an option, if it is one character."""
    omni = doc.get("source") == "Omni3D"
    said = option(prediction, trailing=".:," if omni else ".")[:1]
    letter = truth.strip("()").lower()[:1]
    texts = doc.get("choices") or () if omni else ()
    hit = said in (letter, *texts["abcdefgh".find(letter) :][:1])
    return right(hit, said.upper()) if hit or said.isalnum() else Verdict(score=0.0, parsed=False)


def figures(records: Sequence[Row]) -> dict[str, float]:
    """Shares (0 to 1) of right answers: over all, as lmms-eval reports, and, where known, per `source`.

    With all three sources there is `cv_bench_official` too, the benchmark's own formula: the mean of 2D (the mean of
    ADE20K and COCO) and 3D, which lmms-eval holds but does not use.
    """
    known = [record for record in records if "source" in record]
    sources = {source: accuracy(of_source) for source, of_source in grouped(known, "source").items()}
    named = {f"cv_bench_acc_{str(source).lower()}": share for source, share in sources.items()}
    if {"ADE20K", "COCO", "Omni3D"} <= sources.keys():
        flat = (sources["ADE20K"] + sources["COCO"]) / 2
        named["cv_bench_official"] = (flat + sources["Omni3D"]) / 2
    return {"cv_bench_acc": accuracy(records), **named}


CV_BENCH = Benchmark(
    title="CV-Bench",
    truth=lambda doc: doc["answer"],
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=figures,
    cambrian_figures=figures,
    metric="cv_bench_acc",
)
CV_BENCH_ADE = replace(CV_BENCH, title="ADE")
CV_BENCH_OMNI3D = replace(CV_BENCH, title="Omni")
