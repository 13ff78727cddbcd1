"""OCRBench: the text is somewhere in the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import Row, accuracy, grouped
from gazekit.evaluate.scorers.verdict import Doc, Verdict, listed, right

# Full-width signs of Asian fonts and the ideographic blank, as in ASCII.
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}
_FORMULAS = "Handwritten Mathematical Expression Recognition"
_SAMPLES = 1000


def lmms(prediction: str, doc: Doc, truth: Iterable[str], generator: Random | None = None) -> Verdict:
    """Any truth is in the answer, but for case, width and lines; in HME100k (formulas) but for blanks."""
    plain = _formula if doc["dataset"] == "HME100k" else _narrow
    return _holds(plain(prediction.strip()), [plain(answer) for answer in listed(truth)])


def cambrian(prediction: str, doc: Doc, truth: Iterable[str], generator: Random | None = None) -> Verdict:
    """Any truth is in the answer, but for case and lines; in formulas but for blanks.

    The script can ask for equality instead (`--extra_penalization`); Cambrian's benchmark runner does not.
    """
    plain = _formula if doc["question_type"] == _FORMULAS else _lower
    return _holds(plain(prediction), [plain(answer) for answer in listed(truth)])


def lmms_figures(records: Sequence[Row]) -> dict[str, float]:
    """`ocrbench_accuracy`: right answers over the benchmark's 1000, so that limited runs look low.

    lmms-eval adds to a counter that it never resets: a second evaluation in one process counts the first one too.
    That is left out here. `ocrbench_accuracy_seen` is over the records at hand.
    """
    right_ones = sum(float(record["score"]) for record in records)
    return {"ocrbench_accuracy": right_ones / _SAMPLES, "ocrbench_accuracy_seen": accuracy(records)}


def cambrian_figures(records: Sequence[Row]) -> dict[str, float]:
    """`ocrbench_accuracy`: the share of right answers, over all and per type of question."""
    types = grouped([record for record in records if "question_type" in record], "question_type")
    return {"ocrbench_accuracy": accuracy(records)} | {
        f"ocrbench_accuracy_{name}": accuracy(of_type) for name, of_type in types.items()
    }


def _holds(said: str, truths: list[str]) -> Verdict:
    """The verdict on an answer that holds any truth."""
    found = any(truth in said for truth in truths)
    return right(found, said) if said or found else Verdict(score=0.0, parsed=False)


def _lower(text: str) -> str:
    """Lower case on one line."""
    return text.lower().strip().replace("\n", " ")


def _narrow(text: str) -> str:
    """Likewise, without full-width signs."""
    return _lower(text.translate(_NARROW))


def _formula(text: str) -> str:
    """Without blanks and lines; case matters."""
    return text.strip().replace("\n", " ").replace(" ", "")


OCRBENCH = Benchmark(
    title="OCRBench",
    truth=lambda doc: doc["answer"],
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=lmms_figures,
    cambrian_figures=cambrian_figures,
    metric="ocrbench_accuracy",
)
