"""The kernels in C++ as a library: built once by the system's compiler, kept in a cache folder, loaded by ctypes."""

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

_FOLDER = Path(__file__).parent
_SOURCES = (_FOLDER / "decode.cpp", _FOLDER / "select.cpp")
_HEADERS = (_FOLDER / "rows.h",)
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC")
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})

LEVELS = ("avx512_bf16", "avx512", "portable")
"""Kinds of code, the fastest first: bf16 products, AVX-512 without them, plain C++."""


def missing() -> str | None:
    """Why the kernels cannot be called now; None = they can."""
    if library() is not None:
        return None
    if (reason := unbuildable()) is not None:
        return reason
    return (
        "it is not built yet; build it with `gazekit doctor --build` or set GAZEKIT_NATIVE=1 (a few seconds)"
    )


def build() -> Path:
    """Compiles the kernels for this machine, unless that was done before; returns the library.

    Raises:
        RuntimeError: There is no C++ compiler, or it fails; what it said is in the message.
        ValueError: GAZEKIT_NATIVE_LEVEL names a level that there is not, or that this processor cannot run.
    """
    target = _target()
    if target.is_file():
        return target
    if (reason := unbuildable()) is not None:
        raise RuntimeError(f"the native kernel cannot be built: {reason}")
    compiler = _compiler()
    assert compiler is not None, "unbuildable says so"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        said = ""
        # Without OpenMP (Apple's clang) it runs on one thread; without -march=native, in code for any processor.
        for extra in ((*_flags(), "-fopenmp"), _flags(), ()):
            done = subprocess.run(
                [compiler, *_FLAGS, *extra, *map(str, _SOURCES), "-o", str(made)],
                capture_output=True,
                text=True,
            )
            if done.returncode == 0:
                os.replace(made, target)
                forget()
                return target
            said = done.stderr.strip() or f"exit code {done.returncode}"
    raise RuntimeError(f"the native kernel cannot be built: {compiler} says: {said[-2000:]}")


def level() -> str:
    """The level that is built and called here: the fastest that the processor has, or what GAZEKIT_NATIVE_LEVEL names.

    Raises:
        ValueError: GAZEKIT_NATIVE_LEVEL names a level that there is not, or that this processor cannot run.
    """
    able = _levels()
    named = os.environ.get("GAZEKIT_NATIVE_LEVEL") or able[0]
    if named not in able:
        raise ValueError(
            f"GAZEKIT_NATIVE_LEVEL must be one of {', '.join(able)} on this processor, got {named!r}; unset it"
        )
    return named


def forget() -> None:
    """Looks for a built library, and at the environment, again at the next call."""
    library.cache_clear()


def is_vectorised() -> bool:
    """Whether the built kernels use AVX-512; else they are portable code."""
    found = library()
    return found is not None and bool(found.gaze_wide())


@functools.cache
def library() -> ctypes.CDLL | None:
    """The built library, None = there is none; GAZEKIT_NATIVE=1 has it built."""
    if os.environ.get("GAZEKIT_NATIVE") == "1" and unbuildable() is None:
        build()
    target = _target()
    if not target.is_file():
        return None
    found = ctypes.CDLL(str(target))
    for name in ("gaze_decode", "gaze_scores", "gaze_select"):
        function = getattr(found, name)
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_double], None
    found.gaze_wide.argtypes, found.gaze_wide.restype = [], ctypes.c_int
    return found


def unbuildable() -> str | None:
    """Why the kernels cannot be built here; None = they can."""
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
    """Where the library for these sources, this processor and its level lies."""
    root = (
        os.environ.get("GAZEKIT_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gazekit"
    )
    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in (*_SOURCES, *_HEADERS)))
    stamp.update(" ".join((*_FLAGS, *_flags(), platform.machine(), *sorted(_instructions()))).encode())
    return Path(root) / f"kernels-{level()}-{stamp.hexdigest()[:16]}.so"


def _flags() -> tuple[str, ...]:
    """What the compiler is told, so that it uses no instruction beyond the level."""
    beyond = {"avx512": "-mno-avx512bf16", "portable": "-mno-avx512f"}.get(level())
    return ("-march=native", beyond) if beyond and _instructions() >= _AVX512 else ("-march=native",)


def _levels() -> tuple[str, ...]:
    """What this processor can run, the fastest first."""
    if not _instructions() >= _AVX512:
        return LEVELS[2:]
    return LEVELS if "avx512_bf16" in _instructions() else LEVELS[1:]


@functools.cache
def _instructions() -> frozenset[str]:
    """The instructions that the processor has, so that a home folder shared by machines keeps them apart."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset({platform.processor()})
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return frozenset(flags.partition(":")[2].split())
