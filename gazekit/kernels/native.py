"""The CPU kernels in C++: arrays in, arrays out, each equal to the function of its name in `naive`."""

from __future__ import annotations

import math
from array import array

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.kernels.library import LEVELS, build, forget, is_vectorised, level, library, missing, unbuildable
from gazekit.kernels.naive import TokenFacts
from gazekit.kernels.step import in_parts

__all__ = [
    "LEVELS", "build", "decode", "forget", "is_vectorised", "level", "missing", "scores", "select", "serves",
    "unbuildable",
]  # fmt: skip

_GROUP = 64
"""Query heads of a KV head in one call: a bit each."""


def serves(*tensors: Tensor) -> bool:
    """Whether a kernel may compute with these instead of torch: it is built, and no gradient or trace is asked for.

    A kernel that nobody asked to build is not missed: whoever asks this has another way.
    """
    if torch.compiler.is_dynamo_compiling() or library() is None:
        return False
    tracked = torch.is_grad_enabled()
    for tensor in tensors:
        if type(tensor) is not Tensor or tensor.device.type != "cpu" or (tracked and tensor.requires_grad):
            return False
    return True


def decode(
    query: Float[Tensor, "batch head dim"],
    key: Float[Tensor, "batch kv_head entry dim"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    begin: Int[Tensor, "batch #kv_head region"],
    count: Int[Tensor, "batch #kv_head region"],
    index: Int[Tensor, "batch index_head slot"],
    row: Int[Tensor, " batch"],
    free_begin: int,
    asking: TokenFacts,
    asked: TokenFacts,
    confined: frozenset[int],
    scale: float,
) -> Float[Tensor, "batch head value_dim"]:
    """Attention of one query per sample; equals `naive.decode`, where the arguments are described.

    Query, key and value must be CPU tensors of one dtype, fp32 or bf16. Rows of `key` and `value` are read where they
    lie, so views of a larger buffer cost nothing.

    Raises:
        RuntimeError: The kernel is not built; see `missing`.
    """
    if query.shape[1] > _GROUP * key.shape[1]:
        part = lambda some, own: decode(  # noqa: E731
            some, key, value, begin, count, own, row, free_begin, asking, asked, confined, scale
        )
        return in_parts(part, query, index, key.shape[1], _GROUP)
    key, value = (field if field.stride(3) == 1 else field.contiguous() for field in (key, value))
    query, row = query.contiguous(), row.long()
    begin, count = begin.long().contiguous(), count.long().contiguous()
    index = index.to(torch.int32).contiguous()
    asking, asked = _aligned(asking), _aligned(asked)
    out = value.new_empty(*query.shape[:2], value.shape[3])
    _call(
        "gaze_decode",
        scale,
        # As the fields of Call in decode.cpp.
        query.data_ptr(), key.data_ptr(), value.data_ptr(), out.data_ptr(),
        begin.data_ptr(), count.data_ptr(), index.data_ptr(), row.data_ptr(),
        *_facts(asking), *_facts(asked),
        *query.shape[:2], key.shape[1], query.shape[2], value.shape[3],
        begin.shape[2], index.shape[2], free_begin, key.shape[2] - free_begin,
        begin.shape[1], index.shape[1], row.stride(0), sum(1 << kind for kind in confined),
        *key.stride()[:3], *value.stride()[:3],
        query.dtype == torch.bfloat16, torch.get_num_threads(),
    )  # fmt: skip
    return out


def _aligned(facts: TokenFacts) -> TokenFacts:
    """The same where the fields lie alike, each token beside the next; else copies that do."""
    kind, unit, document, order = facts
    strides = kind.stride()
    alike = strides == unit.stride() == document.stride() == order.stride() and strides[2] == 1
    if alike and kind.dtype == torch.int64:
        return facts
    return TokenFacts(*(field.long().contiguous() for field in facts))


def _facts(facts: TokenFacts) -> tuple[int, ...]:
    """As the fields of Facts in decode.cpp: where the four lie, and their strides."""
    batch, head, _ = facts.kind.stride()
    head = head if facts.kind.shape[1] > 1 else 0
    return (*(field.data_ptr() for field in facts), batch, head)


def scores(
    query: Float[Tensor, "batch head dim"], descriptor: Float[Tensor, "batch kv_head region dim"]
) -> Float[Tensor, "batch head region"]:
    """How well each region's descriptor matches each query; equals `naive.scores`.

    The query in fp32 or bf16, descriptors in fp32, on the CPU.

    Raises:
        RuntimeError: The kernel is not built; see `missing`.
    """
    query = query.contiguous()
    descriptor = descriptor if descriptor.stride(3) == 1 else descriptor.contiguous()
    out = descriptor.new_empty(*query.shape[:2], descriptor.shape[2])
    _call(
        "gaze_scores",
        0.0,
        # As the fields of Scores in select.cpp.
        query.data_ptr(), descriptor.data_ptr(), out.data_ptr(),
        *query.shape[:2], *descriptor.shape[1:3], query.shape[2],
        *descriptor.stride()[:3],
        query.dtype == torch.bfloat16, torch.get_num_threads(),
    )  # fmt: skip
    return out


def select(
    scores: Float[Tensor, "batch #head row region"],
    complete: Bool[Tensor, "batch row region"],
    k: int,
    openness: float = 0.0,
) -> Int[Tensor, "batch #head row slot"]:
    """The highest complete regions of each row; equals `naive.select` bit for bit. fp32, on the CPU.

    Raises:
        RuntimeError: The kernel is not built; see `missing`.
    """
    scores = scores.contiguous()
    complete = complete if complete.stride(2) == 1 else complete.contiguous()
    regions = scores.shape[3]
    slots = min(regions, k + math.ceil(openness * max(regions - k, 0)))
    index = torch.empty(*scores.shape[:3], slots, dtype=torch.int32)
    _call(
        "gaze_select",
        openness,
        # As the fields of Select in select.cpp.
        scores.data_ptr(), complete.data_ptr(), index.data_ptr(),
        *scores.shape, slots, k,
        *complete.stride()[:2],
        torch.get_num_threads(),
    )  # fmt: skip
    return index


def _call(name: str, number: float, *fields: int) -> None:
    """Calls a kernel, without Python's lock: with 8 bytes for each field, and one number that is not whole.

    Raises:
        RuntimeError: It is not built.
    """
    found = library()
    if found is None:
        raise RuntimeError(f"the native kernel cannot be called: {missing()}")
    packed = array("q", fields)
    getattr(found, name)(packed.buffer_info()[0], number)
