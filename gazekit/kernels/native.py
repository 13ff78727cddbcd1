"""The CPU kernel in C++: built once by the system's compiler, kept in a cache folder, called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_SOURCE = Path(__file__).with_name("decode.cpp")
_GROUP = 64
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC")
_POINTERS = ("query", "key", "value", "out", "begin", "count", "index", "free_seen")
_INTEGERS = (
    "batch", "heads", "kv_heads", "dim", "value_dim", "regions", "slots", "free_begin", "frees",
    "region_heads", "index_heads", "free_heads",
    "key_batch", "key_head", "key_row", "value_batch", "value_head", "value_row",
    "is_bf16", "threads",
)  # fmt: skip


class _Call(ctypes.Structure):
    """What `decode.cpp` calls Call, field for field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_int64) for name in _INTEGERS),
        ("scale", ctypes.c_double),
    ]


def missing() -> str | None:
    """Why the kernel cannot be called now; None = it can."""
    if _library() is not None:
        return None
    if (reason := unbuildable()) is not None:
        return reason
    return (
        "it is not built yet; build it with `gazekit doctor --build` or set GAZEKIT_NATIVE=1 (about a second)"
    )


def build() -> Path:
    """Compiles the kernel for this machine, unless that was done before; returns the library.

    Raises:
        RuntimeError: There is no C++ compiler, or it fails; what it said is in the message.
    """
    target = _target()
    if target.is_file():
        return target
    if (reason := unbuildable()) is not None:
        raise RuntimeError(f"the native kernel cannot be built: {reason}")
    compiler = _compiler()
    assert compiler is not None, "_unbuildable says so"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        said = ""
        # Without OpenMP (Apple's clang) it runs on one thread; without -march=native, in portable code.
        for extra in (("-march=native", "-fopenmp"), ("-march=native",), ()):
            done = subprocess.run(
                [compiler, *_FLAGS, *extra, str(_SOURCE), "-o", str(made)], capture_output=True, text=True
            )
            if done.returncode == 0:
                os.replace(made, target)
                forget()
                return target
            said = done.stderr.strip() or f"exit code {done.returncode}"
    raise RuntimeError(f"the native kernel cannot be built: {compiler} says: {said[-2000:]}")


def forget() -> None:
    """Looks for a built kernel again at the next call."""
    _library.cache_clear()


def is_vectorised() -> bool:
    """Whether the built kernel uses AVX-512 and its bf16 products; else it is the portable code."""
    library = _library()
    return library is not None and bool(library.gaze_wide())


def decode(
    query: Float[Tensor, "batch head dim"],
    key: Float[Tensor, "batch kv_head entry dim"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    begin: Int[Tensor, "batch #kv_head region"],
    count: Int[Tensor, "batch #kv_head region"],
    index: Int[Tensor, "batch index_head slot"],
    free_begin: int,
    free_seen: Bool[Tensor, "batch #kv_head free"],
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
    library = _library()
    if library is None:
        raise RuntimeError(f"the native kernel cannot be called: {missing()}")
    key, value = (field if field.stride(3) == 1 else field.contiguous() for field in (key, value))
    query, begin, count = query.contiguous(), begin.contiguous(), count.contiguous()
    index, seen = index.to(torch.int32).contiguous(), free_seen.contiguous()
    out = value.new_empty(*query.shape[:2], value.shape[3])
    call = _Call(
        query=query.data_ptr(), key=key.data_ptr(), value=value.data_ptr(), out=out.data_ptr(),
        begin=begin.data_ptr(), count=count.data_ptr(), index=index.data_ptr(), free_seen=seen.data_ptr(),
        batch=query.shape[0], heads=query.shape[1], kv_heads=key.shape[1], dim=query.shape[2],
        value_dim=value.shape[3], regions=begin.shape[2], slots=index.shape[2], free_begin=free_begin,
        frees=seen.shape[2], region_heads=begin.shape[1], index_heads=index.shape[1], free_heads=seen.shape[1],
        key_batch=key.stride(0), key_head=key.stride(1), key_row=key.stride(2),
        value_batch=value.stride(0), value_head=value.stride(1), value_row=value.stride(2),
        is_bf16=query.dtype == torch.bfloat16, threads=torch.get_num_threads(), scale=scale,
    )  # fmt: skip
    library.gaze_decode(ctypes.byref(call))
    return out


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The built kernel, None = there is none; GAZEKIT_NATIVE=1 has it built."""
    if os.environ.get("GAZEKIT_NATIVE") == "1" and unbuildable() is None:
        build()
    target = _target()
    if not target.is_file():
        return None
    library = ctypes.CDLL(str(target))
    library.gaze_decode.argtypes, library.gaze_decode.restype = [ctypes.POINTER(_Call)], None
    library.gaze_wide.argtypes, library.gaze_wide.restype = [], ctypes.c_int
    return library


def unbuildable() -> str | None:
    """Why the kernel cannot be built here; None = it can."""
    if sys.platform == "win32":
        return "it is built with a compiler of Unix, and this is Windows"
    if _compiler() is None:
        return "there is no C++ compiler (c++, g++ or clang++) on the PATH; install one, or name one in CXX"
    return None


def _compiler() -> str | None:
    named = os.environ.get("CXX")
    return next(
        (found for name in filter(None, (named, "c++", "g++", "clang++")) if (found := shutil.which(name))),
        None,
    )


def _target() -> Path:
    """Where the library for this source and this processor lies."""
    root = (
        os.environ.get("GAZEKIT_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gazekit"
    )
    stamp = hashlib.sha256(_SOURCE.read_bytes())
    stamp.update(" ".join((*_FLAGS, platform.machine(), _processor())).encode())
    return Path(root) / f"decode-{stamp.hexdigest()[:16]}.so"


def _processor() -> str:
    """The instructions that the processor has, so that a home folder shared by machines keeps them apart."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
