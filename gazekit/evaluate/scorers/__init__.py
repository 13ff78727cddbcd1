"""Scorers of 19 benchmarks, each in the rules of lmms-eval and in those of Cambrian's scripts."""

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.door import PROFILES, aggregate, find, score, verdict
from gazekit.evaluate.scorers.table import BENCHMARKS
from gazekit.evaluate.scorers.verdict import Doc, Verdict

__all__ = [
    "BENCHMARKS", "PROFILES", "Benchmark", "Doc", "Verdict", "aggregate", "find", "score", "verdict",
]  # fmt: skip
