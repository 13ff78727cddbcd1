"""How much memory a step needs beyond what is there before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_growth(step: Callable[[], object], device: str) -> int:
    """Bytes of tensors that a step has at once, at most, beyond those that were there before.

    On a CPU what torch's operations hand on counts, not what one of them takes for itself meanwhile; on CUDA all that
    is allocated.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated()) - before
    with _Watch() as watch:
        step()
    return watch.peak


class _Watch(TorchDispatchMode):
    """Adds up the memory that came with a step's operations and is still in use."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._old: dict[int, StorageWeakRef] = {}
        self._fresh: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: object, args: Sequence[Any] = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        for tensor in _tensors((args, kwargs)):
            ref = StorageWeakRef(tensor.untyped_storage())
            if ref.cdata not in self._fresh:
                self._old[ref.cdata] = ref
        out = func(*args, **kwargs)
        self._fresh = {key: one for key, one in self._fresh.items() if not one[0].expired()}
        for tensor in _tensors(out):
            ref = StorageWeakRef(tensor.untyped_storage())
            if ref.cdata not in self._old:
                self._fresh[ref.cdata] = ref, tensor.untyped_storage().nbytes()
        self.peak = max(self.peak, sum(size for _, size in self._fresh.values()))
        return out


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
