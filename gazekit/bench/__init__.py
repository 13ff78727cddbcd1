"""How fast, against the fastest dense attention on the same machine in the same run (level 4)."""

from gazekit.bench.decode import DecodeResult, DecodeShape, DecodeTable, DenseResult, bench_decode
from gazekit.bench.machine import machine, versions
from gazekit.bench.offload import bench_offload
from gazekit.bench.offload_figures import OffloadResult, OffloadShape
from gazekit.bench.overhead import PHASES, Overhead, OverheadShape, bench_overhead
from gazekit.bench.residence import Residence, residence, restart_peak
from gazekit.bench.train import TrainResult, TrainShape, bench_train

__all__ = [
    "PHASES",
    "DecodeResult",
    "DecodeShape",
    "DecodeTable",
    "DenseResult",
    "OffloadResult",
    "OffloadShape",
    "Overhead",
    "OverheadShape",
    "Residence",
    "TrainResult",
    "TrainShape",
    "bench_decode",
    "bench_offload",
    "bench_overhead",
    "bench_train",
    "machine",
    "residence",
    "restart_peak",
    "versions",
]
