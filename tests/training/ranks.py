"""Trains a tiny Cambrian on packed conversations, some without an image, as one process or as one of several.

``python -m tests.training.ranks FOLDER CASE ...`` where a case is a strategy, or `ddp:3:1` = killed in the optimizer
step after step 3, rank 1 alone (`all` = every rank), or `ddp:3:1:30` = it sleeps there instead, while the others wait
for 30 seconds at most. `watched` is what the tests call in their own process.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningDataModule
from torch.distributed.tensor import DTensor
from torch.utils.data import Dataset, DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from gazekit.data import DigitsData
from gazekit.data.batches import PackedBatches
from gazekit.data.conversation import Conversation, Message, Slot
from gazekit.training import Machine, Stage, fit_stage
from tests.training.test_cambrian import MOSAIC, make

ROOT = Path(__file__).parents[2]
# Which samples of each step have an image: all; one, so that a rank has none; none at all; some.
IMAGES = ("11111111", "00100000", "00000000", "10110100")
STAGE = Stage(
    name="ranks", steps=4, batch_size=8, accumulate=2, gradient_checkpointing=True, clip=1.0, warmup=0,
    decay="constant", weight_decay=0.1, checkpoint_every=1,
    learning_rates={"tower": 1e-3, "projector": 1e-3, "context": 1e-3, "language": 1e-3},
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    conversation: Conversation


class Mixed(Dataset):
    """Samples of the digits set, most of them robbed of their image."""

    def __init__(self, processor) -> None:
        plain = DigitsData(processor, mosaic=MOSAIC, batch_size=8, num_steps=4, validation_size=0)
        self.samples = plain.train_dataloader().dataset

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Said:
        step, place = divmod(index, 8)
        talk = self.samples[index].conversation
        if IMAGES[step][place] == "1":
            return Said(talk)
        messages = tuple(
            Message(one.role, tuple(part for part in one.content if part is not Slot.IMAGE))
            for one in talk.messages
        )
        return Said(Conversation(messages))


class MixedData(LightningDataModule):
    """`packing`: tokens of a row, or None."""

    def __init__(self, processor, *, parts: int, packing: int = 400) -> None:
        super().__init__()
        self.batches = PackedBatches(Mixed(processor), processor, packing=packing, step_size=8, parts=parts)

    def train_dataloader(self) -> StatefulDataLoader:
        ranks = {"num_replicas": self.trainer.world_size, "rank": self.trainer.global_rank}
        sampler = DistributedSampler(self.batches, shuffle=False, **ranks)
        return StatefulDataLoader(self.batches, batch_size=None, sampler=sampler, num_workers=0)


class Watch(Callback):
    """Notes what every step was taken with."""

    def __init__(self) -> None:
        self.steps: list[dict] = []
        self.ids: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.ids.append(batch["input_ids"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if pl_module._sums is not None:
            return
        found = {name: p.grad for name, p in pl_module.model.named_parameters() if p.grad is not None}
        whole = {name: g.full_tensor() if isinstance(g, DTensor) else g.clone() for name, g in found.items()}
        step = {"step": trainer.global_step, "loss": pl_module.loss, "ids": self.ids, "gradients": whole}
        self.steps.append(step)
        self.ids = []


class Stop(Callback):
    """SIGKILL in the middle of a step: nothing is flushed, nobody is told. Or a sleep in its place."""

    def __init__(self, step: int, who: str, sleep: float | None) -> None:
        self.step, self.who, self.sleep = step, who, sleep

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        if trainer.global_step == self.step and self.who in ("all", str(trainer.global_rank)):
            if self.sleep is None:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.sleep)


def watched(
    folder: Path, strategy: str = "auto", ranks: int = 1, *callbacks: Callback, timeout: float = 120.0
):
    """Trains in double precision; returns the model and what its steps were."""
    cambrian, watch = make(), Watch()
    cambrian.model.double()
    fit_stage(
        cambrian.model, MixedData(cambrian.processor, parts=STAGE.accumulate * ranks), STAGE, folder, device="cpu",
        progress=False, log_every=1, machine=Machine(strategy=strategy, devices=ranks, timeout=timeout),
        callbacks=[watch, *callbacks],
    )  # fmt: skip
    return cambrian.model, watch.steps


def launch(module: str, *words: str, ranks: int = 2) -> list[subprocess.Popen]:
    """Starts processes as torchrun does, without the process that it would be."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(ranks):
        told = {
            "TORCHELASTIC_RUN_ID": "test", "RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": ranks,
            "LOCAL_WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1,
            "PYTHONPATH": ROOT, "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        environment = {**os.environ, **{name: str(value) for name, value in told.items()}}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", module, *words], cwd=ROOT, env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
    return started


def finish(started: list[subprocess.Popen]) -> str:
    """What all of them said; they must have ended well."""
    said = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0] * len(said), "\n".join(said)
    return "\n".join(said)


def main(folder: Path, *cases: str) -> None:
    torch.set_num_threads(1)
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    for case in cases:
        strategy, step, who, wait = [*case.split(":"), "", "", ""][:4]
        timeout = float(wait or 120)
        stops = [Stop(int(step), who, 2 * timeout if wait else None)] if step else []
        model, steps = watched(folder / strategy, strategy, ranks, *stops, timeout=timeout)
        torch.save({"steps": steps, "weights": model.state_dict()}, folder / f"{strategy}-{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
    # Threads of gloo outlive the group, and would be waited for.
    sys.stdout.flush()
    os._exit(0)
