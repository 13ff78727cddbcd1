"""What one layer keeps between forwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Int
from torch import Tensor

from gazekit.contracts import Described, Store
from gazekit.gaze.features import FeatureMemory


@dataclass
class LayerMemory:
    """What one layer keeps between forwards. Branches share the keys and values; the rest is theirs, by index.

    Attributes:
        store: Keys and values.
        described: Descriptors of the regions that are complete so far.
        features: What a pooler keeps of each token.
        awaiting: True between the start of a forward and this layer's turn in it.
    """

    store: Store
    described: dict[int, Described] = field(default_factory=dict)
    features: dict[int, FeatureMemory] = field(default_factory=dict)
    awaiting: bool = False
    _marks: list[tuple[int, dict[int, Described]]] = field(default_factory=list)

    def mark(self) -> None:
        """Remembers this point, for `rollback`."""
        self.store.mark()
        self._marks.append((self.store.length, dict(self.described)))

    def rollback(self) -> None:
        """Forgets what came since the latest mark, and that mark."""
        self.store.rollback()
        length, self.described = self._marks.pop()
        self.features = {branch: kept.until(length) for branch, kept in self.features.items() if length}

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> None:
        """Permutes, repeats or drops samples; marks go along."""
        self.store.reorder(sample)
        self.described = _reordered(self.described, sample)
        self.features = {branch: kept.reorder(sample) for branch, kept in self.features.items()}
        self._marks = [(length, _reordered(known, sample)) for length, known in self._marks]


def _reordered(described: dict[int, Described], sample: Tensor) -> dict[int, Described]:
    return {branch: known.reorder(sample) for branch, known in described.items()}
