"""Gaze Attention (Song et al. 2026, arXiv 2605.13080), equations 2 to 4.

A visual unit is cut into regions of r_t x r_h x r_w tokens; a region's descriptor is the mean of its cached
keys, which stand after RoPE: d = mean k_i (2). A query head looks at the K regions of the highest q . d over
all units (3), together with all text and all context tokens (4).

Choices where the paper is silent: visual tokens attend causally to everything before them; a region may be
chosen once all of it has been seen, and one that is still unfinished (frames with text in between) is in view
as far as it goes.

Compression of the visual tokens changes the grid, not the attention: the same function with a smaller size.
"""

from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best, mean_key


def gaze(prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, size: tuple[int, int, int], top: int) -> Tensor:
    regions = prompt.cells(size)
    group = q.shape[0] // k.shape[0]

    def seen(h: int, i: int) -> list[int]:
        if prompt.kind[i] != "text":
            return prompt.before(i)
        done = [region for region in regions if region[-1] <= i]
        scores = [float(q[h, i] @ mean_key(k[h // group], region)) for region in done]
        chosen = [j for n in best(scores, top) for j in done[n]]
        unfinished = [j for region in regions if region[0] <= i < region[-1] for j in region if j <= i]
        free = [j for j in prompt.before(i) if prompt.kind[j] != "visual"]
        return [*chosen, *unfinished, *free]

    return attend(q, k, v, seen)
