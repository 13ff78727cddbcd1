"""Mixture of Contexts (Cai et al. 2025, arXiv 2508.21058), section 3.

The stream is cut along its own boundaries: shots. A query and a shot match by q . mean(K[shot]); a query of
each head attends to the top k shots, and always to all text and to its own shot. Routing is causal: a shot may
look at earlier ones only. No parameters; the gradient goes through the chosen keys and values.

The paper's transformer is bidirectional inside a shot; a causal decoder shows a query its own shot up to
itself. The own shot is not one of the k.
"""

from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best, mean_key


def mixture_of_contexts(prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, top: int) -> Tensor:
    names = sorted({prompt.segment[j] for j in prompt.where("visual")})
    shots = {name: [j for j in prompt.where("visual") if prompt.segment[j] == name] for name in names}
    group = q.shape[0] // k.shape[0]

    def seen(h: int, i: int) -> list[int]:
        own = prompt.segment[i] if prompt.kind[i] == "visual" else None
        earlier = [name for name in names if name != own and shots[name][-1] <= i]
        scores = [float(q[h, i] @ mean_key(k[h // group], shots[name])) for name in earlier]
        chosen = [j for n in best(scores, top) for j in shots[earlier[n]]]
        unfinished = [j for shot in shots.values() if shot[0] <= i < shot[-1] for j in shot if j <= i]
        anchors = [j for j in prompt.before(i) if prompt.kind[j] != "visual" or prompt.segment[j] == own]
        return sorted({*chosen, *unfinished, *anchors})

    return attend(q, k, v, seen)
