"""Reading only what is looked at: the backend for decoding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.attend._bias import bias_of
from gazekit.attend._decode import refuses_decoding
from gazekit.attend._dtype import one_dtype
from gazekit.attend._sdpa import attend_folded, fold, fold_bias, unfold
from gazekit.contracts import Entries, Plan, Selection, in_view


@dataclass(frozen=True, kw_only=True)
class GatherBackend:
    """Attends to free entries and, for each KV head, the regions that any of its query heads chose.

    For decoding, where one query of each sample routes: what is not chosen is never read. Query heads that
    share keys and choose apart read the union of their regions, each under a mask of its own.
    """

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros."""
        index = _looked_at(entries, plan)
        if index.shape[2] == 0:
            return entries.value.new_zeros(*query.shape[:3], entries.value.shape[3])
        key, value = (_take(field, index) for field in (entries.key, entries.value))
        query, key, value = one_dtype(query, key, value)
        heads, kv_heads = query.shape[1], key.shape[1]
        bias = bias_of(plan, entries.tokens.take(index), heads, query.dtype)
        out = attend_folded(fold(query, kv_heads), key, value, fold_bias(bias, heads, kv_heads), plan.scale)
        return unfold(out, heads)

    def reads(self, plan: Plan) -> Selection | None:
        """The regions that are chosen: of what it does not refuse, all that is in view."""
        return plan.selection

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Whatever is not one routing query per sample over regions that lie contiguously."""
        return refuses_decoding(entries, plan)


def _looked_at(entries: Entries, plan: Plan) -> Int[Tensor, "batch kv_head index"]:
    """Entries that any head of a KV head may look at: of regions in view, then the free ones; -1 = none."""
    assert entries.begin is not None, "see refuses"
    assert entries.count is not None, "see refuses"
    assert entries.free is not None, "see refuses"
    batch, kv_heads, length = entries.key.shape[:3]
    regions = plan.regions.count
    seen = in_view(plan)[:, :, 0, :regions] & (plan.rows.of >= 0)[:, :, None]
    if seen.shape[1] > kv_heads:
        seen = seen.unflatten(1, (kv_heads, -1)).any(dim=2)
    count, begin = (
        field.expand(batch, kv_heads, -1)[:, :, :regions] for field in (entries.count, entries.begin)
    )
    ends = (count * seen).cumsum(dim=2)
    lengths = ends[:, :, -1:]
    slot = torch.arange(int(lengths.max()), device=ends.device).expand(batch, kv_heads, -1)
    region = torch.searchsorted(ends, slot.contiguous(), right=True).clamp_max(regions - 1)
    index = begin.gather(2, region) + slot - (ends - count * seen).gather(2, region)
    free = torch.arange(entries.free, length, device=ends.device).expand(batch, kv_heads, -1)
    return torch.cat([index.masked_fill(slot >= lengths, -1), free], dim=2)


def _take(
    field: Float[Tensor, "batch kv_head entry dim"], index: Int[Tensor, "batch kv_head index"]
) -> Float[Tensor, "batch kv_head index dim"]:
    """The rows at `index` and no others; where it is -1, some row of the head that is looked at anyway."""
    rows, stride = _rows(field)
    batch, heads = index.shape[:2]
    first = torch.arange(batch * heads, device=index.device).view(batch, heads, 1) * stride
    some = torch.where(index >= 0, index, index.amax(dim=2, keepdim=True).clamp_min(0))
    return rows.index_select(0, (first + some).flatten()).view(*index.shape, field.shape[3])


def _rows(field: Float[Tensor, "batch kv_head entry dim"]) -> tuple[Float[Tensor, "row dim"], int]:
    """All rows one after another, and how many from one head to the next; a view where rows lie evenly.

    A store hands out the front of a larger buffer, which cannot be flattened, but whose rows lie evenly.
    """
    batch, heads, length, dim = field.shape
    stride = field.stride(1) // dim
    if field.stride() != (heads * stride * dim, stride * dim, dim, 1):
        return field.reshape(-1, dim), length
    return field.as_strided(((batch * heads - 1) * stride + length, dim), (dim, 1)), stride
