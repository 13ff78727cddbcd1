"""The kernels in Triton, for CUDA GPUs: what calls them, and why they cannot be called.

Triton itself is imported by the first call, since it is optional and takes a second.
"""

from __future__ import annotations

import functools
import importlib.util

import torch
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor

from gazekit.kernels.step import Facts, in_parts

GROUP = 32
"""Query heads of a KV head in one call: a bit each."""

_WAVES = 2
_MOST_PIECES = 64
_TILE = 64


def missing() -> str | None:
    """Why the kernels cannot be called on any device; None = Triton is installed."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; install it with `pip install 'gazekit[triton]'` (Linux, x86-64)"
    return None


def serves(*tensors: Tensor) -> bool:
    """Whether a kernel may compute with these instead of torch: on a CUDA GPU, no gradient or trace being asked for.

    Triton that is not installed is not missed: whoever asks this has another way.
    """
    if torch.compiler.is_compiling():
        return False
    tracked = torch.is_grad_enabled()
    for tensor in tensors:
        if type(tensor) is not Tensor or not tensor.is_cuda or (tracked and tensor.requires_grad):
            return False
    # Last, since a search for what is not installed takes longer than a decoding step of a small model.
    return missing() is None


def scores(
    query: Float[Tensor, "batch head dim"], descriptor: Float[Tensor, "batch kv_head region dim"]
) -> Float[Tensor, "batch head region"]:
    """How well each region matches each query, in fp32; equals `naive.scores`, where the arguments are described."""
    from gazekit.kernels.route import scores

    return scores(query, descriptor)


def select(
    scores: Float[Tensor, "batch #head row region"], complete: Bool[Tensor, "batch row region"], k: int
) -> Int32[Tensor, "batch #head row slot"]:
    """The k best complete regions of each row; equals `naive.select` at openness 0, where the rest is said."""
    from gazekit.kernels.route import select

    return select(scores, complete, k)


def decode(
    query: Float[Tensor, "batch head dim"],
    key: Float[Tensor, "batch kv_head entry dim"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    begin: Int[Tensor, "batch #kv_head region"],
    count: Int[Tensor, "batch #kv_head region"],
    index: Int[Tensor, "batch index_head slot"],
    row: Int[Tensor, " batch"],
    asking: Facts,
    free: Facts,
    free_begin: int,
    scale: float,
    pieces: int | None = None,
) -> Float[Tensor, "batch head value_dim"]:
    """Attention of one query per sample over chosen regions and free entries, by three kernels.

    The first lists what the heads of each KV head look at together, the second attends to an equal share of that and of
    the free entries in each program, the third adds up. Nothing waits for the device, and all sizes follow from
    shapes, so that a CUDA graph may hold the call. Rows are read where they lie.

    Args:
        query: One per sample and head; as key and value in fp32, fp16 or bf16.
        key: Heads not repeated.
        value: Aligned with `key`.
        begin: First entry of each region; its entries lie one after another.
        count: Entries of each region.
        index: Regions that each head looks at, ascending, then -1; the head axis counts heads, KV heads or 1.
        row: -1 = the sample's query looks at no region.
        asking: What each sample's query is.
        free: What each entry from `free_begin` on is.
        free_begin: First entry that is in no region.
        scale: Factor on the logits.
        pieces: Programs for each KV head, a power of two; None = as many as fill the device.
    """
    from gazekit.kernels.attend import attend_pieces
    from gazekit.kernels.combine import combine
    from gazekit.kernels.union import unite

    heads, kv_heads = query.shape[1], key.shape[1]
    if heads > GROUP * kv_heads:
        part = lambda some, own: decode(  # noqa: E731
            some, key, value, begin, count, own, row, asking, free, free_begin, scale, pieces
        )
        return in_parts(part, query, index, kv_heads, GROUP)
    query, key, value = (
        field if field.stride(-1) == 1 else field.contiguous() for field in (query, key, value)
    )
    pieces = pieces or pieces_of(query.shape[0] * kv_heads, key.shape[2], _processors(key.device))
    union = unite(index, row, begin, count, heads, kv_heads)
    partial = attend_pieces(query, key, value, union, asking, free, free_begin, scale, pieces)
    return combine(partial, value.dtype)


def pieces_of(jobs: int, entries: int, processors: int) -> int:
    """Programs for each of `jobs` samples and KV heads: two for each processor, but a tile of entries at least.

    It follows from shapes alone, never from what is chosen, and is rounded down to a power of two, so that few
    variants are compiled.
    """
    most = max(1, min(_MOST_PIECES, _WAVES * processors // jobs, entries // _TILE))
    return 1 << (most.bit_length() - 1)


@functools.cache
def _processors(device: torch.device) -> int:
    """What runs programs at the same time; on a CPU, Triton's interpreter runs one after another."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count
