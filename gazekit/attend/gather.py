"""Reading only what is looked at: the portable backend for decoding."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from gazekit.attend._bias import bias_of
from gazekit.attend._decode import reached, refuses_decoding
from gazekit.attend._dtype import followed, one_dtype
from gazekit.attend._members import Members, Pieces, members_of, pieces_of
from gazekit.attend._products import key_products
from gazekit.attend._reading import Keys, Reading, reading_of
from gazekit.attend._sdpa import attend_folded, fold, fold_bias, unfold
from gazekit.attend._whole import attend_whole
from gazekit.attend._workspace import Workspace
from gazekit.contracts import Entries, Plan, Selection, to_heads

# Of each bag's rows, the product with the bag's vector: what a gradient to a bag's weights is.
_dot = torch.ops.aten._embedding_bag_per_sample_weights_backward


@dataclass(frozen=True, kw_only=True)
class GatherBackend:
    """Attends to free entries and the regions that each head chose, by means of torch alone.

    For decoding, where one query of each sample routes. Values of chosen regions are added up where they lie, and no
    others are read. Keys that a group of heads chose together are laid side by side; where each head chooses for
    itself they are read where they lie, or all by one product if that is less. Where so much is chosen that none of it
    pays, everything is read under a mask.
    """

    workspace: Workspace = field(default_factory=Workspace, init=False, repr=False, compare=False)

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros."""
        query, key, value = one_dtype(query, entries.key, entries.value)
        entries, heads = replace(entries, key=key, value=value), query.shape[1]
        workspace = None if followed(query, key, value) else self.workspace
        pieces, free = _pieces(entries, plan), entries.free or 0
        if pieces.most == 0 and free == key.shape[2]:
            return value.new_zeros(*query.shape[:3], value.shape[3])
        reading = _reading(entries, pieces, heads, key.shape[2] - free, tracked=workspace is None)
        if not reading.gathers:
            return _attend_all(query, entries, plan, workspace)
        members = members_of(pieces, entries, spare=min(free, key.shape[2] - 1))
        logits = _logits(fold(query, key.shape[1]), entries, members, reading.keys, workspace)
        if members.there is not None:
            logits[..., : pieces.most] = _hide(logits[..., : pieces.most], members.there)
        seen = reached(plan.query, entries.tokens.narrow(free, key.shape[2]), plan.confined)[:, :, 0]
        if not bool(seen.all()):
            logits[..., pieces.most :] = _hide(logits[..., pieces.most :], seen)
        weights = _softmax(logits * plan.scale, may_be_blind=pieces.least == 0 or members.there is not None)
        return _weighted(weights.to(value.dtype), entries, members)[:, :, None]

    def reads(self, num_heads: int, entries: Entries, plan: Plan) -> Selection | None:
        """The regions that are chosen, unless keys or all are better read by one product."""
        tracked = plan.tracked or followed(entries.key, entries.value)
        free = (entries.stored or entries.key.shape[2]) - (entries.free or 0)
        reading = _reading(entries, _pieces(entries, plan), num_heads, free, tracked)
        return plan.selection if reading.gathers and reading.keys != "whole" else None

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Whatever is not one routing query per sample over regions that lie contiguously."""
        return refuses_decoding(entries, plan)


def whole_is_cheaper(entries: Entries, plan: Plan) -> str | None:
    """Why it would take less time to read everything under a mask; None = it would not, or hardly.

    A lower bound where heads of a group choose together: how many they are the plan does not say.
    """
    pieces = pieces_of(entries, plan)
    heads = max(pieces.begin.shape[1], entries.key.shape[1])
    free = entries.key.shape[2] - (entries.free or 0)
    tracked = plan.tracked or followed(entries.key, entries.value)
    if _reading(entries, pieces, heads, free, tracked).gathers:
        return None
    return f"a head looks at {pieces.most} of {entries.key.shape[2]} entries, and all under a mask take less time"


def _pieces(entries: Entries, plan: Plan) -> Pieces:
    """What was chosen; once where what is read is asked first, and nothing need be brought in."""
    made_for, pieces = plan.memo.get("gather", (None, None))
    asked = plan.selection, plan.rows.of, entries.begin, entries.count
    if made_for is None or any(one is not other for one, other in zip(made_for, asked, strict=True)):
        pieces = pieces_of(entries, plan)
        plan.memo["gather"] = asked, pieces
    found: Pieces = pieces
    return found


def _reading(entries: Entries, pieces: Pieces, heads: int, free: int, tracked: bool) -> Reading:
    key, value = entries.key, entries.value
    return reading_of(
        entries=entries.stored or key.shape[2], free=free, chosen=pieces.most, heads=heads,
        kv_heads=key.shape[1], choosing=pieces.begin.shape[1], key_bytes=key.shape[3] * key.itemsize,
        value_bytes=value.shape[3] * value.itemsize, tracked=tracked,
    )  # fmt: skip


def _attend_all(query: Tensor, entries: Entries, plan: Plan, workspace: Workspace | None) -> Tensor:
    """Attention to everything under a mask."""
    key, value, heads = entries.key, entries.value, query.shape[1]
    if workspace is not None and key.device.type == "cpu":
        return attend_whole(query, key, value, entries.tokens, plan, workspace)
    bias = fold_bias(bias_of(plan, entries.tokens, heads, query.dtype), heads, key.shape[1])
    return unfold(attend_folded(fold(query, key.shape[1]), key, value, bias, plan.scale), heads)


def _logits(
    query: Float[Tensor, "batch kv_head folded dim"],
    entries: Entries,
    members: Members,
    how: Keys,
    workspace: Workspace | None,
) -> Float[Tensor, "batch head entry"]:
    """`query . key` in fp32 or wider: of the members of chosen regions and, behind them, of the free entries."""
    key, index, free = entries.key, members.index, entries.free or 0
    if how == "whole":
        products = key_products(key, query, workspace)
        index = _grouped(index, key.shape[1], query.shape[2])
        inside = products.transpose(2, 3).gather(3, index).flatten(1, 2)
        outside = products[:, :, free : key.shape[2]]
    else:
        rows, where = _rows(key, index)
        if how == "copied":
            shape = (*key.shape[:2], index.shape[2], key.shape[3])
            some = _copied(rows, where.flatten(), workspace).view(shape)
            products = key_products(some, query, workspace)
            inside = products[:, :, : index.shape[2]].transpose(2, 3).flatten(1, 2)
        else:
            inside = _dotted(query.flatten(0, 2), rows, where).to(key.dtype)
        outside = key_products(key[:, :, free:], query, workspace, "outside")[:, :, : key.shape[2] - free]
    logits = torch.cat([inside, outside.transpose(2, 3).flatten(1, 2)], dim=2)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _copied(
    rows: Float[Tensor, "row dim"], where: Int[Tensor, " member"], workspace: Workspace | None
) -> Float[Tensor, "member dim"]:
    """The rows side by side; in the workspace, if one is given."""
    if workspace is None or rows.device.type != "cpu":
        return rows.index_select(0, where)
    some = workspace.take("keys", (where.shape[0], rows.shape[1]), rows.dtype)
    return torch.index_select(rows, 0, where, out=some)


def _dotted(
    query: Float[Tensor, "bag dim"], rows: Float[Tensor, "row dim"], where: Int[Tensor, "batch head member"]
) -> Float[Tensor, "batch head member"]:
    """The products of each head's query with the rows that it chose, read where they lie."""
    bags, each = query.shape[0], where.shape[2]
    bag = torch.arange(bags, device=where.device)
    found: Tensor = _dot(query, rows, where.flatten(), bag * each, bag.repeat_interleave(each), 0)
    return found.view(where.shape)


def _softmax(
    logits: Float[Tensor, "batch head entry"], may_be_blind: bool
) -> Float[Tensor, "batch head entry"]:
    """Weights; a head that sees nothing, which one that chose something is not, gives zeros."""
    if not may_be_blind:
        return logits.softmax(dim=-1)
    blind = logits.amax(dim=-1, keepdim=True) == -math.inf
    return logits.masked_fill(blind, 0.0).softmax(dim=-1).masked_fill(blind, 0.0)


def _weighted(
    weights: Float[Tensor, "batch head entry"], entries: Entries, members: Members
) -> Float[Tensor, "batch head value_dim"]:
    """The weighted sum of the values of members and, behind them, free entries."""
    value = entries.value
    batch, heads = weights.shape[:2]
    index = _grouped(members.index, value.shape[1], heads // value.shape[1]).flatten(1, 2)
    free = torch.arange(entries.free or 0, value.shape[2], device=index.device)
    rows, where = _rows(value, torch.cat([index, free.expand(batch, heads, -1)], dim=2))
    out = embedding_bag(where.flatten(0, 1), rows, per_sample_weights=weights.flatten(0, 1), mode="sum")
    return out.view(batch, heads, -1)


def _grouped(
    index: Int[Tensor, "batch any_head member"], kv_heads: int, group: int
) -> Int[Tensor, "batch kv_head group member"]:
    """The index of each query head."""
    return to_heads(index, kv_heads * group).expand(-1, kv_heads * group, -1).unflatten(1, (kv_heads, group))


def _hide(
    logits: Float[Tensor, "batch head entry"], seen: Bool[Tensor, "batch #any_head entry"]
) -> Float[Tensor, "batch head entry"]:
    """Minus infinity where nothing is seen."""
    return logits.masked_fill(~to_heads(seen, logits.shape[1]), -math.inf)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _rows(
    entries: Float[Tensor, "batch kv_head entry dim"], index: Int[Tensor, "batch any_head member"]
) -> tuple[Float[Tensor, "row dim"], Int[Tensor, "batch _ member"]]:
    """All entries one after another, and the index into them; a view where rows lie evenly.

    A store hands out the front of a larger buffer, which cannot be flattened, but whose rows lie evenly.
    """
    batch, heads, length, dim = entries.shape
    stride = entries.stride(1) // dim
    if entries.stride() == (heads * stride * dim, stride * dim, dim, 1):
        rows = entries.as_strided(((batch * heads - 1) * stride + length, dim), (dim, 1))
    else:
        rows, stride = entries.reshape(-1, dim), length
    more = max(1, index.shape[1] // heads)
    first = torch.arange(batch * heads, device=index.device).view(batch, heads) * stride
    return rows, index + first.repeat_interleave(more, dim=1)[..., None]
