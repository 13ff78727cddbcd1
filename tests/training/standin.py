"""A model and data of a few hundred numbers, with everything that training must get right: parts, dropout, routing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from gazekit.gaze import Gaze
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from gazekit.schedule import ProgressiveSchedule
from gazekit.training import Stage, fit_stage

ROOT = Path(__file__).parents[2]
VOCABULARY, LENGTH, WIDTH = 11, 7, 8
RATES = {"projector": 1e-2, "language": 1e-2}


class Language(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH, bias=False)])
        self.dropout = nn.Dropout(dropout)
        self.__dict__["gaze_trace"] = None
        self.gaze = Gaze(
            partition=GridPartition(size=(1, 2, 2)),
            route=TopKRouter(k=1),
            schedule=ProgressiveSchedule(start=0.25, end=0.75),
        )


class TinyModel(nn.Module):
    """Reads pictures and tokens; openness scales what it sees, so that a wrong openness shows in the weights."""

    def __init__(self, *, dropout: float = 0.2, seed: int = 1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.config = SimpleNamespace(image_token_id=0, video_token_id=0)
        self.tower = nn.Sequential(nn.Linear(4, WIDTH), nn.Dropout(dropout))
        self.projector = nn.Linear(WIDTH, WIDTH)
        self.language_model = Language(dropout)
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.lm_head.weight = self.language_model.embed_tokens.weight
        self.openness_seen: list[float | None] = []

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        pixel_values: Tensor,
        clip_lengths: Tensor,
        num_items_in_batch: int | None = None,
        gaze_openness: float | None = None,
    ) -> SimpleNamespace:
        self.openness_seen.append(gaze_openness)
        features = self.tower(pixel_values.flatten(1))
        self.features_need_grad = features.requires_grad
        seen = self.projector(features) * (1.0 if gaze_openness is None else 0.5 + gaze_openness)
        language = self.language_model
        hidden = language.norm(language.embed_tokens(input_ids) + seen[:, None])
        logits = self.lm_head(language.dropout(language.layers[0](hidden).relu()))
        loss = functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum"
        )
        return SimpleNamespace(loss=loss / num_items_in_batch)


@dataclass
class Samples(Dataset):
    """Every sample is a function of its index; their numbers of supervised tokens differ."""

    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1000 + index)
        ids = torch.randint(1, VOCABULARY, (LENGTH,), generator=generator)
        supervised = torch.arange(LENGTH) >= int(torch.randint(1, LENGTH, (), generator=generator))
        return {
            "input_ids": ids,
            "attention_mask": torch.ones(LENGTH, dtype=torch.long),
            "labels": torch.where(supervised, ids, -100),
            "pixel_values": torch.rand(1, 2, 2, generator=generator),
            "clip_lengths": torch.ones(1, dtype=torch.long),
        }


class TinyData(LightningDataModule):
    def __init__(self, *, batch_size: int = 4, length: int = 4096, shuffle: bool = False) -> None:
        super().__init__()
        self.batch_size, self.shuffle = batch_size, shuffle
        self.samples = Samples(length)

    def train_dataloader(self) -> StatefulDataLoader:
        order = {"shuffle": self.shuffle}
        if self.trainer is not None and self.trainer.world_size > 1:
            ranks = {"num_replicas": self.trainer.world_size, "rank": self.trainer.global_rank}
            order = {"sampler": DistributedSampler(self.samples, shuffle=False, **ranks)}
        return StatefulDataLoader(self.samples, batch_size=self.batch_size, num_workers=0, **order)


def stage(**changes: object) -> Stage:
    fields = {
        "name": "tiny", "steps": 12, "batch_size": 4, "learning_rates": RATES, "weight_decay": 0.1,
        "checkpoint_every": 3,
    }  # fmt: skip
    return Stage(**{**fields, **changes})


def train(folder: Path, *, model: TinyModel | None = None, data: TinyData | None = None, **arguments: object):
    """Trains a stand-in (or goes on with it) and returns it."""
    model = TinyModel() if model is None else model
    chosen = arguments.pop("stage", None) or stage()
    fit_stage(model, data or TinyData(), chosen, folder, device="cpu", progress=False, **arguments)
    return model


def assert_same_weights(left: nn.Module, right: nn.Module) -> None:
    """Bit for bit."""
    mine, other = left.state_dict(), right.state_dict()
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        assert torch.equal(value, other[name]), name
