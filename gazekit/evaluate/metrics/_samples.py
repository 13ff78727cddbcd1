"""Metrics that know their samples by name, so that padding, shards and their order change nothing."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class SampleMetric(Metric):
    """Keeps some columns for each row and gives each row once, whichever ranks saw it and how often.

    A sampler that fills up its last batch repeats samples, and a rank may get none: sums over ranks would count the
    first twice, and torchmetrics ends the process over the second where a state is not of the metric's dtype. Hence the
    rows are gathered, and told apart by a key. They come in the order of their keys, so that sums are equal to the last
    bit however they were spread.

    Args:
        columns: Shape of a row and dtype, by the name of the state.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, columns: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> None:
        super().__init__()
        self.columns: dict[str, tuple[tuple[int, ...], torch.dtype]] = {"key": ((), torch.int64), **columns}
        for name in self.columns:
            self.add_state(name, [], dist_reduce_fx="cat")
        self._begin()

    def reset(self) -> None:
        """Forgets all rows."""
        super().reset()
        self._begin()

    def set_dtype(self, dst_type: str | torch.dtype) -> SampleMetric:
        """Changes nothing: keys and counts in fewer bits would be those of other samples."""
        return self

    def _begin(self) -> None:
        """An empty list has no dtype of its own when ranks gather; a tensor without rows has."""
        for name, (shape, dtype) in self.columns.items():
            getattr(self, name).append(torch.zeros(0, *shape, dtype=dtype, device=self.device))

    def add(self, keys: Tensor, **columns: Tensor) -> None:
        """Adds rows, aligned with `keys`."""
        for name, (_, dtype) in self.columns.items():
            value = keys if name == "key" else columns[name]
            getattr(self, name).append(value.detach().to(self.device, dtype))

    def rows(self) -> dict[str, Tensor]:
        """Every column, each key once, in the order of the keys."""
        whole = {name: _joined(getattr(self, name)) for name in self.columns}
        order = whole["key"].argsort(stable=True)
        key = whole["key"][order]
        first = torch.ones_like(key, dtype=torch.bool)
        first[1:] = key[1:] != key[:-1]
        return {name: value[order][first] for name, value in whole.items()}


def keys_of(ids: Sequence[Any] | None, count: int, parts: int = 1) -> Tensor:
    """Keys of rows: those of equal ids are equal, everywhere; without ids no two are.

    Args:
        ids: Names of the samples; None = each is one of its own.
        count: Samples.
        parts: Rows of each sample, told apart by their place.

    Returns:
        `[count * parts]` int64.

    Raises:
        ValueError: There are not as many ids as samples.
    """
    if ids is None:
        nonce = uuid.uuid4().hex
        ids = [f"{nonce}/{number}" for number in range(count)]
    if len(ids) != count:
        raise ValueError(
            f"ids must name every sample, got {len(ids)} for {count}; leave them out to count each"
        )
    names = (f"{one}\x1f{part}" for one in ids for part in range(parts))
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return torch.tensor([int.from_bytes(one, "little", signed=True) for one in digests], dtype=torch.int64)


def _joined(state: Any) -> Tensor:
    """A state as one tensor; after a sync it is one already."""
    return torch.cat(list(state)) if isinstance(state, (list, tuple)) else state
