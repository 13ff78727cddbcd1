"""What a run is spread over: how many processes, and what each of them holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Strategy = Literal["auto", "ddp", "fsdp2"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The processes of a run, one a device, and how they share the work.

    Example:
        >>> from gazekit.training import Machine
        >>> Machine(strategy="fsdp2", devices=8, num_nodes=2).strategy
        'fsdp2'

    Attributes:
        strategy: "ddp": each process holds the whole model and takes a share of the batch. "fsdp2": each also holds
            only a share of weights, gradients and optimizer states. "auto": "ddp" where there are several.
        devices: Processes on each node, one a device; "auto" takes as many as `torchrun` or SLURM has started there,
            else every CUDA device, else one.
        num_nodes: Nodes.
        timeout: Seconds after which a process that the others wait for is given up, and the run with it.
        compile: Compiles each layer of tower and decoder (`torch.compile`).
        peak_tflops: What a device can do at most, in 10^12 operations a second, to measure utilisation against; None =
            what is known of the device, and no utilisation where nothing is.

    Raises:
        ValueError: A field out of its range; the message names it.
    """

    strategy: Strategy = "auto"
    devices: int | Literal["auto"] = 1
    num_nodes: int = 1
    timeout: float | int = 1800
    compile: bool = False
    peak_tflops: float | int | None = None

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise ValueError(
                f"strategy must be one of {', '.join(get_args(Strategy))}, got {self.strategy!r}; "
                "fsdp2 is the one that shards the model"
            )
        if self.devices != "auto" and (isinstance(self.devices, str) or self.devices < 1):
            raise ValueError(f"devices must be at least 1, or auto for all there are, got {self.devices!r}")
        if self.num_nodes < 1:
            raise ValueError(f"num_nodes must be at least 1, got {self.num_nodes}")
        if not self.timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, got {self.timeout}; 1800 is usual")
        if self.peak_tflops is not None and not self.peak_tflops > 0:
            raise ValueError(
                f"peak_tflops must be above 0, got {self.peak_tflops}; leave it out for what is known of the device"
            )

    def local(self, present: int = 1, environment: Mapping[str, str] | None = None) -> int:
        """Processes on each node.

        Args:
            present: Devices of the kind that is trained on, for "auto".
            environment: Where launchers say what they have started; by default this process's.

        Raises:
            ValueError: A launcher has started another number of them.
        """
        started = _started(os.environ if environment is None else environment)
        if self.devices == "auto":
            return started or max(1, present)
        if started is not None and started != self.devices:
            raise ValueError(
                f"devices must be the number of processes that were started on this node, {started}, got "
                f"{self.devices}; write training.devices={started} or training.devices=auto"
            )
        return self.devices

    def total(self, present: int = 1, environment: Mapping[str, str] | None = None) -> int:
        """Processes of the run, over all nodes.

        Raises:
            ValueError: A launcher has started another number of them.
        """
        where = os.environ if environment is None else environment
        total = self.local(present, where) * self.num_nodes
        started = where.get("WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in where else None
        if started is not None and int(started) != total:
            nodes = int(started) // self.local(present, where)
            raise ValueError(
                f"num_nodes must be that of the processes that were started, {started} in all, got {self.num_nodes}; "
                f"write training.num_nodes={nodes}"
            )
        return total


def _started(environment: Mapping[str, str]) -> int | None:
    """Processes that a launcher has started on this node; None = this process was started by hand."""
    if "TORCHELASTIC_RUN_ID" in environment:
        return int(environment["LOCAL_WORLD_SIZE"])
    # A shell inside an allocation (salloc, srun --pty bash) is no launched process: its job is called bash.
    tasks = environment.get("SLURM_NTASKS_PER_NODE")
    if tasks and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return int(tasks)
    return None
