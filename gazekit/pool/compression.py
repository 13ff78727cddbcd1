"""Learned compression of overlapping blocks, and what their attention says of regions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from gazekit.contracts import Described, Look, Regions, Rows, Sizes, Summary
from gazekit.pool._match import dot
from gazekit.pool._members import ranks, slots, wide
from gazekit.pool._weights import bound


class CompressionPooler(nn.Module):
    """Compresses overlapping blocks of `length` members into one key and one value each, and scores by their attention.

    The regions' members, in a row, are cut into blocks that begin every `stride` members of a document. A block's keys
    get a learned embedding of their place in the block and go through an MLP of their KV head beside their mean;
    values likewise. A region's score is the attention that a row pays the blocks over it, each weighed by the strides
    that it has in the region: no logit but a sum of probabilities, so route by rank (`share="group"` adds up the
    heads of a group, as the source does).

    Regions are what is selected, best runs of a multiple of `stride` tokens. A block belongs to the region in which
    it ends, since it can be made when that region completes; it counts for a row once that region is complete for
    the row, and not at all if it reads a region that completes later. Keys are the cached ones, after RoPE. The
    source lets a query see blocks that end within the region that is still open, too; here such a region is in view.

    Source: NSA (Yuan et al., 2025), equations 7 to 10; equation 9 is that overlap, its blocks counted from one.

    Args:
        length: Members of a block.
        stride: Members from one block's beginning to the next one's; at most `length`.
        width: Hidden channels of the MLP, None = the width of a head.

    Raises:
        ValueError: `stride` is not in 1 to `length`, or `width` is below 1.
    """

    def __init__(self, *, length: int = 32, stride: int = 16, width: int | None = None) -> None:
        super().__init__()
        if not 1 <= stride <= length:
            raise ValueError(
                f"stride must be in 1 to length, {length}, got {stride}; a longer one would leave tokens in no block"
            )
        if width is not None and width < 1:
            raise ValueError(f"width must be at least 1, got {width}; leave it out for the width of a head")
        self.length, self.stride, self.width = length, stride, width
        for name in _NAMES:
            self.register_parameter(f"key_{name}", None)
            self.register_parameter(f"value_{name}", None)

    def bind(self, sizes: Sizes) -> None:
        """Draws the MLPs, small, so that a block begins near its mean; embeddings of places begin at zero."""
        heads, dim = sizes.num_kv_heads, sizes.head_dim
        width, long = self.width or dim, self.length * dim
        for kind in ("key", "value"):
            drawn = {
                "place": torch.zeros(heads, self.length, dim),
                "into": torch.randn(heads, long, width) * long**-0.5,
                "out": torch.randn(heads, width, dim) * 0.1 * width**-0.5,
            }
            for name in _NAMES:
                setattr(self, f"{kind}_{name}", nn.Parameter(drawn[name]))

    def describe(self, look: Look, regions: Regions) -> Described:
        """The compressed keys and values of the blocks that end in each region, and where they lie."""
        line = _Line.of(regions)
        blocks = _blocks(line, regions, self.length, self.stride)
        key, value = (line.take(wide(field), blocks.member) for field in (look.key, look.value))
        place = [line.begin, regions.size, regions.last, regions.document + 1]
        return Described(
            {
                "key": self._compress(key, "key"),
                "value": self._compress(value, "value"),
                "end": torch.where(blocks.whole, blocks.end, 0)[:, None],
                "place": torch.stack(place, dim=-1)[:, None],
            }
        )

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """The attention that each row pays the blocks over each region, in shares of a stride."""
        key, end = described.tensors["key"], described.tensors["end"][:, 0]
        begin, size, last, document = described.tensors["place"][:, 0].unbind(-1)
        logit = look.scale * dot(rows.mean(look.query), key.flatten(2, 3))
        reached = (rows.document + 1)[:, :, None] == document[:, None]
        reached = reached & (last[:, None] <= rows.first[:, :, None])
        seen = (reached[..., None] & (end > 0)[:, None]).flatten(2)[:, None]
        # Where nothing is seen every weight is the same, and then none.
        paid = logit.masked_fill(~seen, torch.finfo(logit.dtype).min).softmax(-1).masked_fill(~seen, 0)
        stop = end.flatten(1)[:, :, None]
        low = torch.maximum(stop - self.length, begin[:, None])
        high = torch.minimum(stop, (begin + size)[:, None])
        shared = (high - low).clamp_min(0).to(paid.dtype) / self.stride
        with torch.autocast(paid.device.type, enabled=False):
            return paid @ shared[:, None]

    def entries(self, described: Described) -> Summary:
        """The blocks as entries, each at the end of the region in which it ends: NSA's compressed branch."""
        end = described.tensors["end"][:, 0]
        region = torch.arange(end.shape[1], device=end.device)[:, None]
        return Summary(
            key=described.tensors["key"].flatten(2, 3),
            value=described.tensors["value"].flatten(2, 3),
            region=torch.where(end > 0, region, -1).flatten(1),
        )

    def _compress(
        self, member: Float[Tensor, "batch kv_head region slot length dim"], kind: str
    ) -> Float[Tensor, "batch kv_head region slot dim"]:
        """Each block's mean, and what its MLP adds."""
        place, into, out = (bound(getattr(self, f"{kind}_{name}"), self).to(member.dtype) for name in _NAMES)
        placed = member + place[:, None, None]
        with torch.autocast(member.device.type, enabled=False):
            flat = rearrange(
                placed, "batch head region slot length dim -> batch head region slot (length dim)"
            )
            inner = torch.nn.functional.gelu(
                einsum(flat, into, "b head r s long, head long width -> b head r s width")
            )
            return placed.mean(-2) + einsum(inner, out, "b head r s width, head width dim -> b head r s dim")


_NAMES = ("place", "into", "out")


@dataclass(frozen=True)
class _Line:
    """All members of a sample's regions in a row, region by region, with room for those that are not at hand.

    Attributes:
        begin: Place of each region's first member.
        start: Place of the first member of each region's document.
        source: The token at each place, -1 = not at hand.
        last: `last` of the region at each place.
    """

    begin: Int[Tensor, "batch region"]
    start: Int[Tensor, "batch region"]
    source: Int[Tensor, "batch place"]
    last: Int[Tensor, "batch place"]

    @staticmethod
    def of(regions: Regions) -> _Line:
        begin = regions.size.cumsum(1) - regions.size
        first = torch.arange(regions.count, device=begin.device) - regions.ordinal.clamp_min(0)
        total = int(regions.size.sum(1).max()) if regions.size.numel() else 0
        member = regions.owner >= 0
        padded = torch.nn.functional.pad(begin, (0, 1))
        place = torch.where(member, padded.gather(1, slots(regions)) + ranks(regions), total)
        token = torch.arange(place.shape[1], device=place.device).expand_as(place)
        source = begin.new_full((begin.shape[0], total + 1), -1).scatter(1, place, token)[:, :total]
        last = torch.nn.functional.pad(regions.last, (0, 1)).gather(1, slots(regions))
        last = begin.new_zeros(begin.shape[0], total + 1).scatter(1, place, last)[:, :total]
        return _Line(begin=begin, start=begin.gather(1, first), source=source, last=last)

    def take(
        self, values: Float[Tensor, "batch head token dim"], member: Int[Tensor, "batch region slot length"]
    ) -> Float[Tensor, "batch head region slot length dim"]:
        """The values of the tokens at these places; zero where there is none."""
        where = _at(self.source, member, -1)
        index = where.clamp_min(0).flatten(1)[:, None, :, None]
        found = values.gather(2, index.expand(-1, values.shape[1], -1, values.shape[3]))
        found = found.masked_fill((where < 0).flatten(1)[:, None, :, None], 0)
        return found.unflatten(2, member.shape[1:])


@dataclass(frozen=True)
class _Blocks:
    """The blocks that end in each region.

    Attributes:
        end: One past the place of each block's last member, counted in the sample.
        whole: True = there is such a block, all its members are at hand, none completes later than its region.
        member: Places of the members, -1 = none.
    """

    end: Int[Tensor, "batch region slot"]
    whole: Bool[Tensor, "batch region slot"]
    member: Int[Tensor, "batch region slot length"]


def _blocks(line: _Line, regions: Regions, length: int, stride: int) -> _Blocks:
    most = int(regions.size.max()) if regions.size.numel() else 0
    device = regions.size.device
    before = line.begin - line.start
    # Blocks end at `length` and every `stride` from there, counted in the document.
    first = before + 1 + (length - before - 1) % stride
    stop = first[:, :, None] + stride * torch.arange(-(-most // stride), device=device)
    there = (stop >= length) & (stop <= (before + regions.size)[:, :, None])
    end = stop + line.start[:, :, None]
    member = end[..., None] - length + torch.arange(length, device=device)
    member = member.masked_fill(~there[..., None], -1)
    held = (_at(line.source, member, -1) >= 0).all(-1)
    ends = (_at(line.last, member, 0) <= regions.last[:, :, None, None]).all(-1)
    return _Blocks(end=end, whole=there & held & ends, member=member)


def _at(
    line: Int[Tensor, "batch place"], member: Int[Tensor, "batch region slot length"], otherwise: int
) -> Int[Tensor, "batch region slot length"]:
    """What stands at these places."""
    padded = torch.nn.functional.pad(line, (0, 1), value=otherwise)
    index = torch.where(member >= 0, member, line.shape[1])
    return padded.gather(1, index.flatten(1)).view(member.shape)
