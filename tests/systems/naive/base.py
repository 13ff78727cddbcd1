"""What the naive implementations share: a prompt in plain lists, and attention by loops over heads and queries.

Nothing here, nor in any file of this folder, imports gazekit: each system is written down a second time from
its paper. Tensors are `[head token dim]` of one sample, after RoPE; keys and values may have fewer heads, one
for each group of query heads. A prompt is causal: a query reaches itself and what stands before it.
"""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prompt:
    """One sample, without padding. Lists have an element for each token.

    Attributes:
        kind: "text", "visual" or "context".
        unit: Image or frame, -1 = none.
        clip: Image or video, -1 = none.
        place: (t, y, x) of a visual token, within its clip.
        segment: A shot, -1 = none.
        prior: How much an outside map favours the token.
    """

    kind: Sequence[str]
    unit: Sequence[int]
    clip: Sequence[int]
    place: Sequence[tuple[int, int, int]]
    segment: Sequence[int]
    prior: Sequence[float]

    @property
    def length(self) -> int:
        return len(self.kind)

    def where(self, kind: str) -> list[int]:
        return [i for i, one in enumerate(self.kind) if one == kind]

    def before(self, query: int) -> list[int]:
        """Keys that a causal decoder shows to a query; a context token sees its own unit only."""
        keys = range(query + 1)
        if self.kind[query] == "context":
            return [j for j in keys if self.unit[j] == self.unit[query]]
        return list(keys)

    def cells(self, size: tuple[int, int, int]) -> list[list[int]]:
        """The visual tokens of each clip in cells of `size` (t, y, x), in the order of their first tokens."""
        cells: dict[Hashable, list[int]] = {}
        for j in self.where("visual"):
            cell = tuple(at // step for at, step in zip(self.place[j], size, strict=True))
            cells.setdefault((self.clip[j], cell), []).append(j)
        return list(cells.values())

    def runs(self, length: int) -> list[list[int]]:
        """All tokens in runs of `length`; the last may be shorter."""
        return [list(range(at, min(at + length, self.length))) for at in range(0, self.length, length)]


Seen = Callable[[int, int], Collection[int]]


def one_query(q: Tensor, k: Tensor, v: Tensor, keys: Collection[int]) -> Tensor:
    """Softmax attention of one query `[dim]` over some keys of `[token dim]`; zeros where there are none."""
    chosen = sorted(set(keys))
    if not chosen:
        return v.new_zeros(v.shape[-1])
    logits = (k[chosen] * q).sum(-1) * q.shape[-1] ** -0.5
    weights = (logits - logits.max()).exp()
    return (weights / weights.sum()) @ v[chosen]


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Seen) -> Tensor:
    """Attention of every head and query over what `seen(head, query)` names; choosing has no gradient."""
    group = q.shape[0] // k.shape[0]

    def answer(h: int, i: int) -> Tensor:
        with torch.no_grad():
            keys = seen(h, i)
        return one_query(q[h, i], k[h // group], v[h // group], keys)

    return torch.stack([torch.stack([answer(h, i) for i in range(q.shape[1])]) for h in range(q.shape[0])])


def mean_key(k: Tensor, members: Sequence[int]) -> Tensor:
    """Mean of some keys of one head, `[dim]`."""
    return torch.stack([k[j] for j in members]).sum(0) / len(members)


def best(scores: Sequence[float], k: int) -> list[int]:
    """Indices of the `k` highest scores; of equal ones the lower index."""
    return sorted(range(len(scores)), key=lambda n: (-scores[n], n))[:k]
