"""Twilight (Lin et al. 2025, arXiv 2502.02770), section 4: select, then prune.

A base method selects candidates with a generous budget, here Quest's pages (see `quest.py`); of the candidates
the fewest are kept whose attention weights, estimated from q . k, add up to p (top-p). Attention runs over
those.

The official kernel estimates from 4-bit keys, which changes the choice by rounding only; here keys are exact.
Tokens of the page that is being filled are always in view and take no part in the mass, as elsewhere in this
kit.
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
        own, keys = i // page, k[h // group]
        bounds = [
            float(torch.maximum(q[h, i] * keys[b].amin(0), q[h, i] * keys[b].amax(0)).sum())
            for b in blocks[:own]
        ]
        candidates = sorted(j for n in best(bounds, pages) for j in blocks[n])
        logits = [float(q[h, i] @ keys[j]) * q.shape[-1] ** -0.5 for j in candidates]
        weights = torch.tensor(logits, dtype=torch.float64).softmax(0).tolist()
        kept = [candidates[n] for n in fewest(weights, mass)]
        return [*kept, *(j for j in blocks[own] if j <= i)]

    return attend(q, k, v, seen)
