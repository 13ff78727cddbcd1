"""The CPU kernels in C++: arrays in, arrays out, each equal to the function of its name in `naive`."""

from __future__ import annotations

import ctypes
import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.kernels.library import LEVELS, build, forget, is_vectorised, level, library, missing, unbuildable
from gazekit.kernels.naive import TokenFacts

__all__ = [
    "LEVELS", "build", "decode", "forget", "is_vectorised", "level", "missing", "scores", "select", "serves",
    "unbuildable",
]  # fmt: skip

_GROUP = 64


def _numbers(names: str) -> list[tuple[str, type[ctypes.c_int64]]]:
    return [(name, ctypes.c_int64) for name in names.split()]


def _addresses(names: str) -> list[tuple[str, type[ctypes.c_void_p]]]:
    return [(name, ctypes.c_void_p) for name in names.split()]


class _Facts(ctypes.Structure):
    """What `decode.cpp` calls Facts, field for field."""

    _fields_ = [*_addresses("kind unit document order"), *_numbers("batch head")]


class _Decode(ctypes.Structure):
    """What `decode.cpp` calls Call."""

    _fields_ = [
        *_addresses("query key value out begin count index row"),
        ("asking", _Facts),
        ("asked", _Facts),
        *_numbers("batch heads kv_heads dim value_dim regions slots free_begin frees"),
        *_numbers("region_heads index_heads row_batch confined"),
        *_numbers("key_batch key_head key_row value_batch value_head value_row is_bf16 threads"),
        ("scale", ctypes.c_double),
    ]


class _Scores(ctypes.Structure):
    """What `select.cpp` calls Scores."""

    _fields_ = [
        *_addresses("query descriptor out"),
        *_numbers(
            "batch heads kv_heads regions dim descriptor_batch descriptor_head descriptor_row is_bf16 threads"
        ),
    ]


class _Select(ctypes.Structure):
    """What `select.cpp` calls Select."""

    _fields_ = [
        *_addresses("score complete index"),
        *_numbers("batch heads rows regions slots k complete_batch complete_row threads"),
        ("openness", ctypes.c_double),
    ]


def serves(*tensors: Tensor) -> bool:
    """Whether a kernel may compute with these instead of torch: it is built, and no gradient or trace is asked for.

    A kernel that nobody asked to build is not missed: whoever asks this has another way.
    """
    if library() is None or torch.compiler.is_compiling():
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
        ValueError: More than 64 query heads share a KV head.
    """
    if query.shape[1] > _GROUP * key.shape[1]:
        raise ValueError(
            f"at most {_GROUP} query heads may share a KV head, got {query.shape[1] // key.shape[1]}; use naive.decode"
        )
    key, value = (field if field.stride(3) == 1 else field.contiguous() for field in (key, value))
    query, begin, count = query.contiguous(), begin.contiguous(), count.contiguous()
    index = index.to(torch.int32).contiguous()
    asking, asked = _aligned(asking), _aligned(asked)
    out = value.new_empty(*query.shape[:2], value.shape[3])
    call = _Decode(
        query=query.data_ptr(), key=key.data_ptr(), value=value.data_ptr(), out=out.data_ptr(),
        begin=begin.data_ptr(), count=count.data_ptr(), index=index.data_ptr(), row=row.data_ptr(),
        asking=_facts(asking), asked=_facts(asked),
        batch=query.shape[0], heads=query.shape[1], kv_heads=key.shape[1], dim=query.shape[2],
        value_dim=value.shape[3], regions=begin.shape[2], slots=index.shape[2], free_begin=free_begin,
        frees=key.shape[2] - free_begin, region_heads=begin.shape[1], index_heads=index.shape[1],
        row_batch=row.stride(0), confined=sum(1 << kind for kind in confined),
        key_batch=key.stride(0), key_head=key.stride(1), key_row=key.stride(2),
        value_batch=value.stride(0), value_head=value.stride(1), value_row=value.stride(2),
        is_bf16=query.dtype == torch.bfloat16, threads=torch.get_num_threads(), scale=scale,
    )  # fmt: skip
    _call("gaze_decode", call)
    return out


def _aligned(facts: TokenFacts) -> TokenFacts:
    """The same where the fields lie alike, each token beside the next; else copies that do."""
    strides = facts.kind.stride()
    if strides[2] == 1 and all(field.stride() == strides and field.dtype == torch.int64 for field in facts):
        return facts
    return TokenFacts(*(field.long().contiguous() for field in facts))


def _facts(facts: TokenFacts) -> _Facts:
    kind = facts.kind
    return _Facts(
        *(field.data_ptr() for field in facts),
        batch=kind.stride(0),
        head=kind.stride(1) if kind.shape[1] > 1 else 0,
    )


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
    call = _Scores(
        query=query.data_ptr(), descriptor=descriptor.data_ptr(), out=out.data_ptr(),
        batch=query.shape[0], heads=query.shape[1], kv_heads=descriptor.shape[1], regions=descriptor.shape[2],
        dim=query.shape[2], descriptor_batch=descriptor.stride(0), descriptor_head=descriptor.stride(1),
        descriptor_row=descriptor.stride(2), is_bf16=query.dtype == torch.bfloat16,
        threads=torch.get_num_threads(),
    )  # fmt: skip
    _call("gaze_scores", call)
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
    call = _Select(
        score=scores.data_ptr(), complete=complete.data_ptr(), index=index.data_ptr(),
        batch=scores.shape[0], heads=scores.shape[1], rows=scores.shape[2], regions=regions, slots=slots, k=k,
        complete_batch=complete.stride(0), complete_row=complete.stride(1), threads=torch.get_num_threads(),
        openness=openness,
    )  # fmt: skip
    _call("gaze_select", call)
    return index


def _call(name: str, call: ctypes.Structure) -> None:
    """Calls a kernel, without Python's lock.

    Raises:
        RuntimeError: It is not built.
    """
    found = library()
    if found is None:
        raise RuntimeError(f"the native kernel cannot be called: {missing()}")
    getattr(found, name)(ctypes.addressof(call))
