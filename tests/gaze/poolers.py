"""Poolers that keep something of each token, for the tests of the loop."""

from dataclasses import dataclass

import torch
from torch import nn

from gazekit.contracts import Described, Look, Regions, Rows, Sizes, Summary
from gazekit.pool import MeanPooler


def _plain(look: Look, keys: torch.Tensor) -> Look:
    """A look with other keys, and queries and values of their width."""
    return Look(query=keys, key=keys, value=keys, layer=look.layer, scale=look.scale)


@dataclass(frozen=True, kw_only=True)
class HiddenPooler:
    """Regions by the mean of the hidden states that their tokens had, rows by their own."""

    def features(self, look: Look) -> torch.Tensor:
        assert look.hidden is not None
        assert look.cos is not None
        assert look.cos.shape[:2] == look.hidden.shape[:2]
        return torch.cat([look.hidden, look.cos], dim=-1)[:, None]

    def describe(self, look: Look, regions: Regions) -> Described:
        assert look.features is not None
        assert look.features.shape[2] == look.key.shape[2]
        return MeanPooler().describe(_plain(look, look.features), regions)

    def score(self, look: Look, rows: Rows, described: Described) -> torch.Tensor:
        asked = torch.cat([look.hidden, look.cos], dim=-1)[:, None]
        sign = torch.ones(look.query.shape[1]).index_fill(0, torch.tensor([1, 2]), -1.0)
        return MeanPooler().score(_plain(look, asked), rows, described) * sign[:, None, None]


@dataclass(frozen=True, kw_only=True)
class KeyValuePooler:
    """Mean keys and mean values, which can stand as entries."""

    def describe(self, look: Look, regions: Regions) -> Described:
        pool = MeanPooler()
        value = pool.describe(_plain(look, look.value), regions).tensors["mean"]
        return Described({**pool.describe(look, regions).tensors, "value": value})

    def score(self, look: Look, rows: Rows, described: Described) -> torch.Tensor:
        return MeanPooler().score(look, rows, described)

    def entries(self, described: Described) -> Summary:
        return Summary(key=described.tensors["mean"], value=described.tensors["value"])


class LearnedPooler(nn.Module):
    """Mean keys, mapped; a gate that begins at one."""

    def __init__(self, *, width: int = 4) -> None:
        super().__init__()
        self.width = width

    def bind(self, sizes: Sizes) -> None:
        self.down = nn.Linear(sizes.head_dim, self.width, bias=False)
        self.gate = nn.Parameter(torch.ones(sizes.num_heads))
        self.register_buffer("table", torch.arange(sizes.num_layers), persistent=False)

    def describe(self, look: Look, regions: Regions) -> Described:
        mean = MeanPooler().describe(look, regions).tensors["mean"].to(self.down.weight.dtype)
        return Described({"down": self.down(mean).float()})

    def score(self, look: Look, rows: Rows, described: Described) -> torch.Tensor:
        query = self.down(rows.mean(look.query).to(self.down.weight.dtype)).float()
        down = described.tensors["down"].repeat_interleave(look.group, dim=1)
        return (query @ down.transpose(2, 3)) * self.gate.float()[:, None, None]
