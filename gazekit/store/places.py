"""Where entries lie: the members of each region side by side, free tokens behind all of them."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import Tokens


@dataclass(frozen=True)
class Places:
    """Which places are set aside for each region, and how many of them are taken.

    The head axis is 1 until an eviction keeps other entries in each KV head.

    Attributes:
        size: Members of each region as declared.
        seen: Members that have arrived, kept or not.
        count: Members that are stored; they fill the first places of their region.
        begin: First place of each region.
        room: Places set aside for regions; free tokens lie behind them.
        loose: Free tokens stored.
        used: Places behind `room` in use, in the fullest sample or a few more.
    """

    size: Int[Tensor, "batch region"]
    seen: Int[Tensor, "batch region"]
    count: Int[Tensor, "batch #kv_head region"]
    begin: Int[Tensor, "batch #kv_head region"]
    room: int
    loose: Int[Tensor, "batch #kv_head"]
    used: int

    @property
    def end(self) -> int:
        """Places in use or set aside."""
        return self.room + self.used

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> "Places":
        """The samples `sample`, as beam search permutes them."""
        pick = lambda field: field.index_select(0, sample)  # noqa: E731
        return replace(
            self, size=pick(self.size), seen=pick(self.seen), count=pick(self.count), begin=pick(self.begin),
            loose=pick(self.loose),
        )  # fmt: skip


@dataclass(frozen=True)
class Arrival:
    """What `arrive` found.

    Attributes:
        place: Where each arriving token goes, -1 = nowhere, since it is padding.
        places: The state after it.
    """

    place: Int[Tensor, "batch #kv_head query"]
    places: Places


@dataclass(frozen=True)
class Arrangement:
    """What `arrange` found.

    Attributes:
        source: The old entry that comes to lie at each place, -1 = none.
        places: The state after it.
    """

    source: Int[Tensor, "batch #kv_head place"]
    places: Places


def arrive(places: Places, tokens: Tokens) -> Arrival:
    """Gives each token the next place of its region, or the next one behind all regions.

    A single token per sample takes a place behind the regions even where none is free, so that decoding never
    waits for the device; the place stays padding.

    Raises:
        ValueError: A region gets more members than declared.
    """
    num_regions = places.size.shape[1]
    owner, valid = tokens.owner[:, 0], tokens.valid[:, 0]
    bins = torch.where(valid, torch.where(owner >= 0, owner, num_regions), num_regions + 1)
    fresh = _histogram(bins, num_regions + 2)
    rank = torch.zeros_like(bins)
    if bins.shape[1] > 1:
        sorted_bins, order = bins.sort(dim=1, stable=True)
        rank_sorted = torch.arange(bins.shape[1], device=bins.device) - _before(fresh).gather(1, sorted_bins)
        rank = rank.scatter(1, order, rank_sorted)

    next_place = torch.cat([places.begin + places.count, (places.room + places.loose)[..., None]], dim=-1)
    next_place = torch.nn.functional.pad(next_place, (0, 1))
    heads = next_place.shape[1]
    place = next_place.gather(2, bins[:, None].expand(-1, heads, -1)) + rank[:, None]
    seen = places.seen + fresh[:, :num_regions]
    loose = places.loose + fresh[:, None, num_regions]
    if bins.shape[1] > 1:
        _assert_room(seen, places.size)
    return Arrival(
        place=place.masked_fill(~valid[:, None], -1),
        places=replace(
            places, seen=seen, count=places.count + fresh[:, None, :num_regions], loose=loose,
            used=places.used + 1 if bins.shape[1] == 1 else max(places.used, int(loose.max())),
        ),
    )  # fmt: skip


def arrange(
    owner: Int[Tensor, "batch #kv_head entry"],
    alive: Bool[Tensor, "batch #kv_head entry"],
    size: Int[Tensor, "batch region"],
    seen: Int[Tensor, "batch region"],
) -> Arrangement:
    """Lays the entries that are `alive` out anew, with room for members that are still to come.

    The old entries must lie region by region in ascending order, free ones last.
    """
    num_regions = size.shape[1]
    bins = torch.where(alive & (owner >= 0), owner, num_regions)
    alive = alive.expand_as(bins)
    stored = torch.zeros(*bins.shape[:2], num_regions + 1, dtype=torch.int64, device=bins.device)
    stored = stored.scatter_add(2, bins, alive.long())
    count, loose = stored[..., :num_regions], stored[..., num_regions]
    aside = count + (size - seen)[:, None]
    begin = _before(aside)
    room = int(aside.sum(-1).max())
    used = int(loose.max())

    base = torch.cat([begin, torch.full_like(loose, room)[..., None]], dim=-1)
    rank = alive.long().cumsum(-1) - 1 - _before(stored).gather(2, bins)
    place = (base.gather(2, bins) + rank).masked_fill(~alive, room + used)
    source = torch.full((*bins.shape[:2], room + used + 1), -1, dtype=torch.int64, device=bins.device)
    entry = torch.arange(bins.shape[2], device=bins.device).expand_as(place)
    source = source.scatter(2, place, entry)[..., :-1]
    return Arrangement(
        source=source,
        places=Places(size=size, seen=seen, count=count, begin=begin, room=room, loose=loose, used=used),
    )


def _histogram(bins: Int[Tensor, "batch token"], count: int) -> Int[Tensor, "batch bin"]:
    table = torch.zeros(bins.shape[0], count, dtype=torch.int64, device=bins.device)
    return table.scatter_add(1, bins, torch.ones_like(bins))


def _before(count: Int[Tensor, "*leading bin"]) -> Int[Tensor, "*leading bin"]:
    return count.cumsum(-1) - count


def _assert_room(seen: Int[Tensor, "batch region"], size: Int[Tensor, "batch region"]) -> None:
    over = (seen > size).nonzero()
    if len(over):
        sample, region = over[0].tolist()
        raise ValueError(
            f"tokens give region {region} of sample {sample} {int(seen[sample, region])} members, "
            f"but regions.size declares {int(size[sample, region])}; "
            "declare the whole layout before adding its tokens"
        )
