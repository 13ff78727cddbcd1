"""Decoding on a CPU by a kernel of our own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.attend._decode import refuses_decoding
from gazekit.attend._dtype import check_untracked, one_dtype, refuses_gradients
from gazekit.contracts import Entries, Plan, Selection, Tokens
from gazekit.kernels import native
from gazekit.kernels.naive import TokenFacts


@dataclass(frozen=True, kw_only=True)
class NativeBackend:
    """Reads each chosen region where it lies, once for all query heads of a KV head that chose it.

    For decoding on a CPU in fp32 or bf16; several times as fast as dense attention where few entries are looked at.
    Nothing is copied and no mask is built for the regions. The kernel is C++ and must have been built before
    (`gazekit doctor --build`, or GAZEKIT_NATIVE=1 in the environment); until then this backend refuses.
    """

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros."""
        assert plan.selection is not None, "see refuses"
        assert entries.begin is not None, "see refuses"
        assert entries.count is not None, "see refuses"
        assert entries.free is not None, "see refuses"
        key, value = entries.key, entries.value
        check_untracked(query, key, value)
        # What all have already is not asked for: in a step of two milliseconds it is 3 %.
        if not query.dtype == key.dtype == value.dtype == torch.bfloat16:
            query, key, value = one_dtype(query, key, value)
        out = native.decode(
            query=query[:, :, 0],
            key=key,
            value=value,
            begin=entries.begin,
            count=entries.count,
            index=plan.selection.index[:, :, 0],
            row=plan.rows.of[:, 0],
            free_begin=entries.free,
            asking=_facts(plan.query),
            asked=_facts(entries.tokens),
            confined=plan.confined,
            scale=plan.scale,
        )
        return out[:, :, None]

    def reads(self, plan: Plan) -> Selection | None:
        """The regions that are chosen: of what it does not refuse, all that is in view."""
        return plan.selection

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Whatever is not decoding on a CPU in fp32 or bf16, or where the kernel is not built."""
        if (reason := refuses_decoding(entries, plan)) is not None:
            return reason
        key = entries.key
        if key.device.type != "cpu":
            return f"it runs on a CPU, and the keys lie on {key.device.type}"
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else key.dtype
        if not {key.dtype, dtype} <= {torch.float32, torch.bfloat16}:
            return f"it computes in fp32 or bf16, not in {dtype if dtype != torch.float32 else key.dtype}"
        if (reason := refuses_gradients(entries, plan)) is not None:
            return reason
        return native.missing()


def _facts(tokens: Tokens) -> TokenFacts:
    return TokenFacts(tokens.kind, tokens.unit, tokens.document, tokens.order)
