"""VMoBA (Wu et al. 2025, arXiv 2506.23858), section 3: MoBA with the layout of a video.

The partition cycles over the layers: blocks of neighbouring frames (1-D), of neighbouring places through all
frames (2-D), of both (3-D). Query and block match by q . mean(K[block]); the own block is always chosen, and of
the others the fewest that hold a share of the similarities.

The official code has several scopes for that share; this is the one of a query and a head (`query_head`), in
which similarities are shifted and scaled to 0 ... 1 within the row before they are added up. The paper's global
scope, which ranks the pairs of all queries of a head together, would let a query's choice depend on later ones:
a stated exception. In a causal decoder a block may be chosen once it has ended; until then it is in view as far
as it goes, and takes no part in the share. Text is always in view.
"""

from torch import Tensor

from tests.systems.naive.base import Prompt, attend, mean_key


def nucleus(scores: list[float], mass: float) -> list[int]:
    """The fewest, from the highest on, whose scores, scaled to 0 ... 1, add up to `mass` of them all."""
    if not scores:
        return []
    low, high = min(scores), max(scores)
    share = [(score - low) / (high - low) if high > low else 1.0 for score in scores]
    order, chosen, held = sorted(range(len(scores)), key=lambda n: (-scores[n], n)), [], 0.0
    for n in order:
        if chosen and held >= mass * sum(share):
            break
        chosen.append(n)
        held += share[n]
    return chosen


def video_moba(
    prompt: Prompt,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    sizes: list[tuple[int, int, int]],
    mass: float,
    layer: int,
) -> Tensor:
    blocks = prompt.cells(sizes[layer % len(sizes)])
    group = q.shape[0] // k.shape[0]

    def seen(h: int, i: int) -> list[int]:
        done = [block for block in blocks if block[-1] <= i and i not in block]
        scores = [float(q[h, i] @ mean_key(k[h // group], block)) for block in done]
        chosen = [j for n in nucleus(scores, mass) for j in done[n]]
        begun = [j for block in blocks if i in block or block[0] <= i < block[-1] for j in block if j <= i]
        free = [j for j in prompt.before(i) if prompt.kind[j] != "visual"]
        return sorted({*chosen, *begun, *free})

    return attend(q, k, v, seen)
