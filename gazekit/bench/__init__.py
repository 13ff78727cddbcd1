"""How fast, against the fastest dense attention on the same machine in the same run (level 3)."""

from gazekit.bench.decode import DecodeResult, DecodeShape, bench_decode
from gazekit.bench.machine import machine, versions
from gazekit.bench.overhead import Overhead, OverheadShape, bench_overhead

__all__ = [
    "DecodeResult", "DecodeShape", "Overhead", "OverheadShape", "bench_decode", "bench_overhead", "machine", "versions",
]  # fmt: skip
