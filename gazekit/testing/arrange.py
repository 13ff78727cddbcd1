"""Entries in another arrangement: some of them, region by region, permuted."""

import random
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.contracts import Entries, Regions
from gazekit.testing.cases import AttentionCase

GARBAGE = 7.0


def take_entries(entries: Entries, index: Int[Tensor, "batch #kv_head new"]) -> Entries:
    """The entries `index`, -1 giving padding with garbage in it; `begin`, `count` and `free` are lost."""
    heads = max(index.shape[1], entries.position.shape[1])
    position = entries.position.expand(-1, heads, -1).gather(2, index.expand(-1, heads, -1).clamp_min(0))
    return Entries(
        key=_taken(entries.key, index),
        value=_taken(entries.value, index),
        tokens=entries.tokens.take(index),
        position=position.masked_fill(index < 0, -1),
    )


def _taken(
    source: Float[Tensor, "batch kv_head entry dim"], index: Int[Tensor, "batch #kv_head new"]
) -> Float[Tensor, "batch kv_head new dim"]:
    where = index.expand(-1, source.shape[1], -1)[..., None].expand(-1, -1, -1, source.shape[3])
    return source.gather(2, where.clamp_min(0)).masked_fill(where < 0, GARBAGE)


def region_major(entries: Entries, regions: Regions) -> Entries:
    """The same entries region by region, free ones last, with room for the members that are not there."""
    owner, valid = entries.tokens.owner.tolist(), entries.tokens.valid.tolist()
    sizes = regions.size.tolist()
    room = max((sum(size) for size in sizes), default=0)
    index, begin, count = [], [], []
    for b, heads in enumerate(owner):
        for head, owners in enumerate(heads):
            members: list[list[int]] = [[] for _ in range(regions.count + 1)]
            for e, region in enumerate(owners):
                if valid[b][head][e]:
                    members[region].append(e)
            free = members.pop()
            begin.append([sum(sizes[b][:r]) for r in range(regions.count)])
            count.append([len(region) for region in members])
            padded = [e for size, region in zip(sizes[b], members, strict=True)
                      for e in region + [-1] * (size - len(region))]  # fmt: skip
            index.append(padded + [-1] * (room - len(padded)) + free)
    length = max(map(len, index))
    shape = (len(owner), len(owner[0]), -1)
    table = torch.tensor([row + [-1] * (length - len(row)) for row in index], dtype=torch.int64)
    return replace(
        take_entries(entries, table.reshape(*shape[:2], length)),
        begin=torch.tensor(begin, dtype=torch.int64).reshape(*shape[:2], regions.count),
        count=torch.tensor(count, dtype=torch.int64).reshape(*shape[:2], regions.count),
        free=room,
    )


def shuffled(case: AttentionCase, seed: int) -> AttentionCase:
    """The same entries in another order; regions that lie contiguously still do, members permuted."""
    entries, dice = case.entries, random.Random(seed)
    heads = entries.tokens.owner.shape[1]
    index = []
    for b in range(entries.key.shape[0]):
        for head in range(heads):
            places = list(range(entries.key.shape[2]))
            index.append(_shuffle_blocks(places, _blocks(entries, b, head), dice))
    table = torch.tensor(index, dtype=torch.int64).reshape(entries.key.shape[0], heads, -1)
    moved = take_entries(entries, table)
    return replace(case, entries=replace(moved, begin=entries.begin, count=entries.count, free=entries.free))


def _blocks(entries: Entries, b: int, head: int) -> list[tuple[int, int]]:
    """The ranges within which entries may change places."""
    end = entries.key.shape[2]
    if entries.begin is None or entries.count is None or entries.free is None:
        return [(0, end)]
    head %= entries.begin.shape[1]
    begin, count = entries.begin[b, head].tolist(), entries.count[b, head].tolist()
    return [*((start, start + n) for start, n in zip(begin, count, strict=True)), (entries.free, end)]


def _shuffle_blocks(places: list[int], blocks: list[tuple[int, int]], dice: random.Random) -> list[int]:
    for start, stop in blocks:
        block = places[start:stop]
        dice.shuffle(block)
        places[start:stop] = block
    return places
