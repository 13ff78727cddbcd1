"""Video Sparse Attention (Zhang et al. 2025, arXiv 2505.13389), section 2.

Tokens are tiled into cubes of 4 x 4 x 4. Coarse stage: queries, keys and values of a cube are averaged;
attention among the averages gives an answer of its own, and its scores say which K cubes of keys a cube of
queries attends to in the fine stage. The answers are added, the coarse one times a gate from the hidden state.

Adapted to a causal decoder: a cube is complete once its last token has come; a cube that is not is in view as
far as it goes, in both stages. Text is in view, and a text query is a cube of its own. In the coarse stage each
query asks for itself instead of through its cube's mean, and sees the tokens of its own cube: a stated
exception.
"""

import torch
from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best, mean_key, one_query


def video_sparse(
    prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, gates: Tensor, size: tuple[int, int, int], top: int
) -> Tensor:
    """`gates`: `[branch head token]`, coarse first."""
    cubes = prompt.cells(size)
    group = q.shape[0] // k.shape[0]

    def together(i: int) -> list[int]:
        """The queries that choose with this one."""
        return next((cube for cube in cubes if i in cube), [i])

    def in_view(i: int, since: int) -> list[int]:
        """What needs no choosing: text, and cubes that had not ended at `since`."""
        begun = [j for cube in cubes if cube[-1] > since for j in cube if j <= i]
        return [*begun, *(j for j in prompt.before(i) if prompt.kind[j] != "visual")]

    def seen(h: int, i: int) -> list[int]:
        asking = together(i)
        done = [cube for cube in cubes if cube[-1] <= asking[0]]
        asked = mean_key(q[h], asking)
        scores = [float(asked @ mean_key(k[h // group], cube)) for cube in done]
        return [*(j for n in best(scores, top) for j in done[n]), *in_view(i, asking[0])]

    def coarse(h: int, i: int) -> Tensor:
        g = h // group
        done = [cube for cube in cubes if cube[-1] <= i]
        own = [j for j in together(i) if j <= i]
        plain = sorted({*in_view(i, i), *own})
        keys = [mean_key(k[g], cube) for cube in done] + [k[g, j] for j in plain]
        values = [mean_key(v[g], cube) for cube in done] + [v[g, j] for j in plain]
        return one_query(q[h, i], torch.stack(keys), torch.stack(values), range(len(keys)))

    heads, tokens = range(q.shape[0]), range(q.shape[1])
    outs = [torch.stack([torch.stack([coarse(h, i) for i in tokens]) for h in heads]), attend(q, k, v, seen)]
    return sum(gate[..., None] * out for gate, out in zip(gates, outs, strict=True))
