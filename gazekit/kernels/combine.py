"""One answer of the answers to pieces."""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from gazekit.kernels.step import Partial


def combine(partial: Partial, dtype: torch.dtype) -> Float[Tensor, "batch head value_dim"]:
    """Equals `naive.combine`: the pieces weighed by their sums; zeros where a head saw nothing.

    One program for each sample and head.
    """
    batch, heads, pieces, value_dim = partial.out.shape
    out = torch.empty(batch, heads, value_dim, dtype=dtype, device=partial.out.device)
    combine_kernel[(batch * heads,)](
        partial.out, partial.lse, out, PIECES=pieces, VALUE_DIM=value_dim,
        BLOCK_VALUE=triton.next_power_of_2(value_dim), num_warps=4,
    )  # fmt: skip
    return out


@triton.jit
@no_type_check
def combine_kernel(
    partial, lse, out, PIECES: tl.constexpr, VALUE_DIM: tl.constexpr, BLOCK_VALUE: tl.constexpr
):
    """The answer of one sample and head; the number of pieces is a power of two."""
    job = tl.program_id(0).to(tl.int64)
    piece, wide = tl.arange(0, PIECES), tl.arange(0, BLOCK_VALUE)
    total = tl.load(lse + job * PIECES + piece)
    peak = tl.max(total, axis=0)
    weight = tl.exp2(total - tl.where(peak == float("-inf"), 0.0, peak))
    rows = partial + (job * PIECES + piece[:, None]) * VALUE_DIM + wide[None, :]
    mean = tl.sum(weight[:, None] * tl.load(rows, mask=wide[None, :] < VALUE_DIM, other=0.0), axis=0)
    mean /= tl.where(peak == float("-inf"), 1.0, tl.sum(weight, axis=0))
    tl.store(out + job * VALUE_DIM + wide, mean.to(out.dtype.element_ty), mask=wide < VALUE_DIM)
