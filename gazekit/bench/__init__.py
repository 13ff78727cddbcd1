"""How fast, against the fastest dense attention on the same machine in the same run (level 4)."""

from gazekit.bench.decode import DecodeResult, DecodeShape, bench_decode
from gazekit.bench.machine import machine, versions
from gazekit.bench.train import TrainResult, TrainShape, bench_train

__all__ = [
    "DecodeResult", "DecodeShape", "TrainResult", "TrainShape", "bench_decode", "bench_train", "machine", "versions",
]  # fmt: skip
