"""MInference 1.0 (Jiang et al. 2024, arXiv 2407.02490), section 3.2: two of the three patterns (A-shape:
`windows.py`).

Vertical-slash (algorithm 2): the last queries attend to everything; the columns and the diagonals that they pay
most are what every query of the prompt attends to.

Block-sparse (algorithm 3): queries and keys are averaged over blocks; a block of queries attends to the k
blocks of keys that its mean matches best.

Both are for prefill. Which head has which pattern is searched offline there; here a composition has one pattern
for all heads (three recipes): a stated exception. So is one budget for columns and diagonals together, where
algorithm 2 has one for each: a token's worth is the larger of what its column and its diagonal are paid. In the
block-sparse pattern the query's own block is always in view, besides the k.
"""

from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best, mean_key


def vertical_slash(prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, probes: int, top: int) -> Tensor:
    group, n = q.shape[0] // k.shape[0], prompt.length
    worth: dict[int, tuple[list[float], list[float]]] = {}

    def probed(h: int) -> tuple[list[float], list[float]]:
        column, slash = [0.0] * n, [0.0] * n
        for i in range(max(0, n - probes), n):
            logits = (k[h // group, : i + 1] @ q[h, i]) * q.shape[-1] ** -0.5
            for j, paid in enumerate(logits.softmax(0).tolist()):
                column[j] += paid / probes
                slash[i - j] += paid / probes
        return column, slash

    def seen(h: int, i: int) -> list[int]:
        if h not in worth:
            worth[h] = probed(h)
        column, slash = worth[h]
        return [*best([max(column[j], slash[i - j]) for j in range(i + 1)], top)]

    return attend(q, k, v, seen)


def block_sparse(prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, block: int, top: int) -> Tensor:
    blocks = prompt.runs(block)
    group = q.shape[0] // k.shape[0]

    def seen(h: int, i: int) -> list[int]:
        own = i // block
        asked = mean_key(q[h], blocks[own])
        scores = [float(asked @ mean_key(k[h // group], blocks[n])) for n in range(own)]
        return [j for n in (*best(scores, top), own) for j in blocks[n] if j <= i]

    return attend(q, k, v, seen)
