"""How fast, against the fastest dense attention on the same machine in the same run (level 3)."""

from gazekit.bench.decode import DecodeResult, DecodeShape, DecodeTable, DenseResult, bench_decode
from gazekit.bench.machine import machine, versions

__all__ = [
    "DecodeResult",
    "DecodeShape",
    "DecodeTable",
    "DenseResult",
    "bench_decode",
    "machine",
    "versions",
]
