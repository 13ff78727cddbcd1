"""How fast, against the fastest dense attention on the same machine in the same run (level 3)."""

from gazekit.bench.decode import DecodeResult, DecodeShape, bench_decode
from gazekit.bench.machine import machine, versions
from gazekit.bench.offload import OffloadResult, OffloadShape, bench_offload
from gazekit.bench.residence import Residence, residence, restart_peak

__all__ = [
    "DecodeResult", "DecodeShape", "OffloadResult", "OffloadShape", "Residence", "bench_decode", "bench_offload",
    "machine", "residence", "restart_peak", "versions",
]  # fmt: skip
