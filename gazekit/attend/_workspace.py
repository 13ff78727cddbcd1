"""Memory that calls come back to, so that a step finds no new memory for what is large."""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor


class Workspace(threading.local):
    """Buffers of one backend, each thread's own; what lies in them matters within one call alone.

    Finding memory for a megabyte costs a CPU more than to fill it, since the system clears every page anew. So several
    models may share a backend, and threads do not meet. For CPUs: a GPU's allocator keeps its memory anyway.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        """A copy, or one in another process, starts empty."""
        return Workspace, ()

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A buffer with anything in it; the same memory again at the next call by that name."""
        size = math.prod(shape)
        found = self._buffers.get((name, dtype))
        if found is None or found.numel() < size:
            # Some to spare, since what is attended grows by one entry a step.
            with torch.inference_mode(False):
                found = torch.empty(size + size // 8, dtype=dtype)
            self._buffers[name, dtype] = found
        return found[:size].view(shape)
