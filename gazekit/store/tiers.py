"""Where rows that are offloaded lie: in the host's memory, or in a file that is mapped into it."""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Tensor

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Block:
    """Rows in some place, all zeros at first.

    Attributes:
        rows: Indexed on the device that it says it is on: the host, or a CUDA device that reads the host's memory.
        settle: To be called after rows were read or written.
    """

    rows: Shaped[Tensor, "sample kv_head place dim"]
    settle: Callable[[], None]


@runtime_checkable
class Tier(Protocol):
    """Gives room for rows."""

    def __call__(self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Block:
        """Zeros of that shape, for rows that come from and go to `device`."""


@dataclass(frozen=True, kw_only=True)
class HostTier:
    """The host's memory; pinned where the device is a CUDA one, which then reads and writes it by itself."""

    def __call__(self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Block:
        """Zeros of that shape."""
        if device.type != "cuda":
            return Block(torch.zeros(shape, dtype=dtype), _nothing)
        pinned = torch.zeros(shape, dtype=dtype, pin_memory=True)
        return Block(_seen_from(device, pinned), _nothing)


@dataclass(frozen=True, kw_only=True)
class FileTier:
    """A file without a name, mapped into memory: it is gone with its last row, however the process ends.

    Its whole size is claimed at once, so that a full disk is an error here and not a crash later. What was read or
    written is given back to the system after each use, so that it does not count as memory of the process; the system
    keeps of it what it has room for.

    Args:
        folder: Where; None = the system's folder for temporary files, which on some systems lies in memory.
    """

    folder: str | None = None

    def __call__(self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Block:
        """Zeros of that shape.

        Raises:
            OSError: The folder is not there, or its disk has not enough room.
        """
        size = max(1, torch.Size(shape).numel() * dtype.itemsize)
        folder = self.folder or tempfile.gettempdir()
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"folder {folder} must be there for keys and values to be written to; make it, or name another"
            )
        with tempfile.TemporaryFile(dir=folder) as file:
            _claim(file.fileno(), size, folder)
            mapping = mmap.mmap(file.fileno(), size)
        _log.info("offloads %.1f MB to a file in %s", size / 1e6, folder)
        rows = torch.frombuffer(mapping, dtype=torch.uint8)[:size].view(dtype)[: torch.Size(shape).numel()]
        return Block(rows.view(shape), lambda: _give_back(mapping))


def _claim(file: int, size: int, folder: str) -> None:
    """Makes the file that long, with blocks of the disk behind all of it."""
    free = shutil.disk_usage(folder).free
    full = (
        f"the disk of {folder} must have {size / 1e9:.2f} GB for keys and values, and has {free / 1e9:.2f} GB free; "
        "name a folder on another disk, or use store: offloaded"
    )
    if free < size:
        raise OSError(full)
    try:
        os.ftruncate(file, size)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
    except OSError as error:
        raise OSError(full) from error


def _give_back(mapping: mmap.mmap) -> None:
    """Lets go of the pages; what was written stays with the file."""
    if hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)


def _nothing() -> None:
    """Memory needs no settling."""


class _Pinned:
    """Pinned memory of the host in the words of CUDA's array interface: the device reads it at the same address."""

    def __init__(self, host: Tensor) -> None:
        bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[host.element_size()]
        self.host = host.view(bits)
        self.__cuda_array_interface__ = {
            "shape": tuple(host.shape), "typestr": f"<i{host.element_size()}", "data": (host.data_ptr(), False),
            "version": 3,
        }  # fmt: skip


def _seen_from(device: torch.device, host: Tensor) -> Tensor:
    """A tensor of the device over pinned memory of the host: nothing is copied, every use crosses the bus."""
    return torch.as_tensor(_Pinned(host), device=device).view(host.dtype)
