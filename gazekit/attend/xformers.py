"""Decoding by xformers, for KV heads whose query heads choose together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import util
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.attend._decode import reached, refuses_decoding
from gazekit.attend._dtype import check_untracked, one_dtype, refuses_gradients
from gazekit.attend._members import members_of, pieces_of
from gazekit.attend._sdpa import fold, unfold
from gazekit.contracts import Entries, Plan


@dataclass(frozen=True, kw_only=True)
class XformersBackend:
    """Lays what each KV head looks at side by side, and has xformers attend to it.

    A second opinion on GPUs, for comparison. What xformers calls paged attention reads pages of 64 keys and masks
    nothing within one, so that regions of another size cannot be pages; hence the copy. xformers is optional
    (`pip install 'gazekit[xformers]'`), and asked by a small call whether it can do what is needed here.
    """

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros."""
        check_untracked(query, entries.key, entries.value)
        query, key, value = one_dtype(query, entries.key, entries.value)
        free, (batch, kv_heads, length) = entries.free or 0, key.shape[:3]
        pieces = pieces_of(entries, plan)
        members = members_of(pieces, entries, spare=0)
        seen = reached(plan.query, entries.tokens.narrow(free, length), plan.confined)[:, :, 0]
        index = members.index.expand(-1, kv_heads, -1)
        there = torch.ones_like(index, dtype=torch.bool) if members.there is None else members.there
        frees = torch.arange(free, length, device=index.device).expand(batch, kv_heads, -1)
        index = torch.cat([index, frees], dim=2)
        there = torch.cat([there.expand(-1, kv_heads, -1), seen.expand(-1, kv_heads, -1)], dim=2)
        # What is there goes first, since xformers takes so many from the front.
        order = there.to(torch.int8).argsort(dim=2, descending=True, stable=True)
        index, lengths = index.gather(2, order), there.sum(dim=2)
        if index.shape[2] == 0:
            return value.new_zeros(*query.shape[:3], value.shape[3])
        keys, values = (
            field.gather(2, index[..., None].expand(-1, -1, -1, field.shape[3])) for field in (key, value)
        )
        folded = fold(query, kv_heads)
        out = _attend(folded, keys, values, lengths.flatten().tolist(), plan.scale)
        return unfold(out.masked_fill((lengths == 0)[..., None, None], 0.0), query.shape[1])

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Whatever is not decoding by heads that choose together, or what xformers cannot do here."""
        if (reason := refuses_decoding(entries, plan)) is not None:
            return reason
        assert plan.selection is not None, "refuses_decoding says so"
        if plan.selection.index.shape[1] > entries.key.shape[1]:
            return "query heads that share keys choose apart, and xformers has no mask for each of them"
        if (reason := refuses_gradients(entries, plan)) is not None:
            return reason
        return missing(entries.key.device.type, entries.key.dtype)


def missing(device: str, dtype: torch.dtype) -> str | None:
    """Why xformers cannot do this; None = it can."""
    if util.find_spec("xformers") is None:
        return "xformers is not installed; pip install 'gazekit[xformers]'"
    return _probe(device, dtype)


def _attend(
    query: Float[Tensor, "batch kv_head group dim"],
    key: Float[Tensor, "batch kv_head entry dim"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    lengths: list[int],
    scale: float,
) -> Float[Tensor, "batch kv_head group value_dim"]:
    """Each KV head of each sample is to xformers a sequence of its own, of which the first `lengths` count."""
    ops = _ops()
    bias = ops.fmha.attn_bias.BlockDiagonalPaddedKeysMask.from_seqlens(
        q_seqlen=[query.shape[2]] * len(lengths),
        kv_padding=key.shape[2],
        kv_seqlen=[max(1, length) for length in lengths],
        device=query.device,
    )
    one, other, values = (field.reshape(1, -1, 1, field.shape[3]) for field in (query, key, value))
    out: Tensor = ops.memory_efficient_attention_forward(one, other, values, attn_bias=bias, scale=scale)
    return out.view(*query.shape[:3], value.shape[3])


@cache
def _ops() -> ModuleType:
    import xformers.ops

    return xformers.ops


@cache
def _probe(device: str, dtype: torch.dtype) -> str | None:
    """What goes wrong in a small call."""
    query, key = (torch.ones(1, 1, count, 64, device=device, dtype=dtype) for count in (2, 8))
    try:
        found = _attend(query, key, key, [5], 0.125)
    # A library built for another torch or GPU may raise anything, and whatever it says is the reason.
    except Exception as error:
        said = (str(error) or type(error).__name__).strip().splitlines()[0]
        return f"xformers cannot do it here in {dtype}: {said}"
    return None if bool((found == 1).all()) else "xformers computes something else here"
