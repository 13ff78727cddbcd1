"""Looks made by hand, and how a pooler is asked, for the tests of this room."""

from dataclasses import replace

import torch

from gazekit.contracts import Look, Sizes
from gazekit.partition import GridPartition
from gazekit.testing import Runs, Scatter, divide
from tests.scenes import layout, rows

SIZES = Sizes(num_layers=1, num_heads=4, num_kv_heads=2, head_dim=6, hidden_dim=10)
ROPE = 4

# Two documents of ragged images and text in one sample, a short padded one beside it.
SAMPLES = ("t2 v4x6 t2 v3x3 t3 / t1 v2x3 t2", "t1 v3x2 t4")


def look_at(prompt, sizes=SIZES, dtype=torch.float64, seed=0):
    """Random queries, keys, values and hidden states; positions as RoPE has them, a part of the head turning."""
    chance = torch.Generator().manual_seed(seed)
    batch, length = prompt.clip.shape
    heads = [sizes.num_heads, sizes.num_kv_heads, sizes.num_kv_heads]
    drawn = torch.randn(batch, sum(heads), length, sizes.head_dim, generator=chance, dtype=torch.float64)
    query, key, value = drawn.to(dtype).split(heads, dim=1)
    turn = torch.arange(length, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.03], dtype=torch.float64)
    angle = torch.cat([turn, turn], dim=-1).expand(batch, -1, -1)
    hidden = torch.randn(batch, length, sizes.hidden_dim, generator=chance, dtype=torch.float64).to(dtype)
    return Look(
        query=query, key=key, value=value, layer=0, scale=sizes.head_dim**-0.5, hidden=hidden,
        cos=angle.cos().to(dtype), sin=angle.sin().to(dtype), tokens=prompt.tokens,
    )  # fmt: skip


def featured(pooler, look):
    """The look with what the pooler keeps of each token."""
    return replace(look, features=pooler.features(look)) if hasattr(pooler, "features") else look


def scored(pooler, look, regions, routed):
    """The scores of all regions."""
    return pooler.score(look, routed, pooler.describe(featured(pooler, look), regions))


def scenes():
    """Divisions by cells, by runs of all tokens, and by chance, where a later region may end first; with rows."""
    prompt = layout(*SAMPLES)
    chance = divide(prompt, Scatter(count=4, seed=0))
    for regions in (GridPartition(size=(1, 2, 2))(prompt), divide(prompt, Runs(length=4)), chance):
        yield look_at(prompt), regions, rows(prompt, regions)


def drawn(pooler, sizes=SIZES, seed=3):
    """The pooler with weights that are nowhere zero."""
    chance = torch.Generator().manual_seed(seed)
    pooler.bind(sizes)
    with torch.no_grad():
        for weight in pooler.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=chance))
    return pooler.double()
