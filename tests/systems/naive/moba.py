"""MoBA, Mixture of Block Attention (Lu et al. 2025, arXiv 2502.13189), equations 2 to 6 and section 2.2.

The context is cut into blocks of B tokens. The gate of a query and a block is s = q . mean(K[block]) (6);
blocks of the future get -inf, the query's own block +inf, so that it is always among the top k; the query
attends to its own block up to itself and to all of the others chosen (5). Every query head chooses for itself.

The official code counts the own block among the k, takes the mean over keys after RoPE, and gives exactly k
blocks even where scores are equal. So does this.
"""

from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best, mean_key


def moba(prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, block: int, top: int) -> Tensor:
    blocks = prompt.runs(block)
    group = q.shape[0] // k.shape[0]

    def seen(h: int, i: int) -> list[int]:
        own = i // block
        gate = [float(q[h, i] @ mean_key(k[h // group], blocks[n])) for n in range(own)]
        gate.append(float("inf"))
        return [j for n in best(gate, top) for j in blocks[n] if j <= i]

    return attend(q, k, v, seen)
