"""Decoding on a CUDA GPU by kernels of our own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.attend._decode import refuses_decoding
from gazekit.attend._dtype import check_untracked, one_dtype, refuses_gradients
from gazekit.contracts import Entries, Plan, Selection, Tokens
from gazekit.kernels import triton
from gazekit.kernels.step import Facts

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, kw_only=True)
class TritonBackend:
    """Reads each chosen region where it lies, once for all query heads of a KV head, on many processors at once.

    For decoding on a CUDA GPU. Regions of any size, edges too, are read without padding; how many are looked at may
    change from step to step and layer to layer without anything being compiled again; no call waits for the device, so
    that CUDA graphs may hold it.

    Args:
        interpreted: True = runs on a CPU too, in Triton's interpreter: for tests alone, it takes a thousand times as
            long. The environment must have had TRITON_INTERPRET=1 before Triton was imported, and bf16 is refused,
            since the interpreter's products are wrong in it.
    """

    interpreted: bool = False

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros."""
        assert plan.selection is not None, "see refuses"
        assert entries.begin is not None, "see refuses"
        assert entries.count is not None, "see refuses"
        assert entries.free is not None, "see refuses"
        check_untracked(query, entries.key, entries.value)
        query, key, value = one_dtype(query, entries.key, entries.value)
        out = triton.decode(
            query=query[:, :, 0],
            key=key,
            value=value,
            begin=entries.begin,
            count=entries.count,
            index=plan.selection.index[:, :, 0],
            row=plan.rows.of[:, 0],
            asking=_facts(plan.query),
            free=_facts(entries.tokens.narrow(entries.free, key.shape[2])),
            free_begin=entries.free,
            scale=plan.scale,
        )
        return out[:, :, None]

    def reads(self, plan: Plan) -> Selection | None:
        """The regions that are chosen: of what it does not refuse, all that is in view."""
        return plan.selection

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Whatever is not decoding on a CUDA GPU in fp32, fp16 or bf16, or where Triton is not installed."""
        if (reason := refuses_decoding(entries, plan)) is not None:
            return reason
        key = entries.key
        if key.dtype not in _DTYPES:
            return f"it computes in fp32, fp16 or bf16, not in {key.dtype}"
        if (reason := refuses_gradients(entries, plan)) is not None:
            return reason
        if (reason := self._unusable(key)) is not None:
            return reason
        if any(bool((plan.query.valid & (plan.query.kind == int(kind))).any()) for kind in plan.confined):
            return "a query reaches tokens of its own unit only"
        return None

    def _unusable(self, key: Tensor) -> str | None:
        """Why the keys cannot be computed with where they lie; None = they can."""
        if key.device.type != "cuda" and not self.interpreted:
            return f"it runs on a CUDA GPU, and the keys lie on {key.device.type}"
        if key.device.type == "cpu" and key.dtype == torch.bfloat16:
            return "Triton's interpreter multiplies matrices wrongly in bf16; use fp32 or fp16"
        return triton.missing()


def _facts(tokens: Tokens) -> Facts:
    return Facts.alike(tokens.kind, tokens.document, tokens.order)
