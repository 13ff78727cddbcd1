"""Quest (Tang et al. 2024, arXiv 2406.10774), section 3.3, algorithm 1.

The cache is cut into pages of S tokens. Of every page the elementwise minimum m and maximum M of the keys are
kept; an upper bound of q . k within the page is sum_d max(q_d m_d, q_d M_d). A query head attends to the K
pages of the highest bound.

Where the official code says more than the paper: the page that is being filled is always attended to and is one
of the budget; every query head chooses for itself. What it adds for speed or safety is left out here: prefill
is dense there, and so are the first two layers.
"""

import torch
from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best


def upper_bound(q: Tensor, keys: Tensor) -> float:
    low, high = keys.min(0).values, keys.max(0).values
    return float(torch.maximum(q * low, q * high).sum())


def quest(prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, page: int, top: int) -> Tensor:
    pages = prompt.runs(page)
    group = q.shape[0] // k.shape[0]

    def seen(h: int, i: int) -> list[int]:
        own = i // page
        bounds = [upper_bound(q[h, i], k[h // group][pages[n]]) for n in range(own)]
        chosen = [j for n in best(bounds, top - 1) for j in pages[n]]
        return [*chosen, *(j for j in pages[own] if j <= i)]

    return attend(q, k, v, seen)
