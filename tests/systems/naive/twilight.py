"""Twilight (Lin et al. 2025, arXiv 2502.02770), section 4: select, then prune.

A base method selects candidates with a generous budget; of these the fewest are kept whose attention weights, estimated
from q . k, add up to p (top-p). Attention runs over those.

Choices. The base is up to the user; here pages, by their best token. The page that is being filled is a candidate
besides. The official kernel estimates from 4-bit keys, which changes the choice by rounding only; here keys are
exact.
"""

import torch
from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best


def fewest(weights: list[float], mass: float) -> list[int]:
    """Indices of the largest weights that add up to `mass` of the whole."""
    order, chosen, held = sorted(range(len(weights)), key=lambda n: (-weights[n], n)), [], 0.0
    for n in order:
        if chosen and held >= mass:
            break
        chosen.append(n)
        held += weights[n]
    return chosen


def twilight(
    prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, page: int, pages: int, mass: float
) -> Tensor:
    blocks = prompt.runs(page)
    group = q.shape[0] // k.shape[0]

    def seen(h: int, i: int) -> list[int]:
        match = [float(q[h, i] @ k[h // group, j]) for j in range(i + 1)]
        full = [block for block in blocks if len(block) == page and block[-1] <= i]
        chosen = best([max(match[j] for j in block) for block in full], pages)
        candidates = sorted([*(j for n in chosen for j in full[n]), *range(page * len(full), i + 1)])
        logits = torch.tensor([match[j] for j in candidates], dtype=torch.float64) * q.shape[-1] ** -0.5
        return [candidates[n] for n in fewest(logits.softmax(0).tolist(), mass)]

    return attend(q, k, v, seen)
