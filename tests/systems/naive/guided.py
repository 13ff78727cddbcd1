"""Routing that an outside map helps: where something stands out, or where a person has looked.

Bottom-up (Itti, Koch and Niebur 1998, IEEE TPAMI 20(11)): centre-surround differences of intensity, colour and
orientation across scales, normalised and added, give a saliency map. By a person (Voila-A, Yan et al. 2023,
arXiv 2401.09454): a heat map of fixations. Neither paper selects regions in attention: here the mean of the map
over a region, times a weight, is added to the logit of Gaze Attention before the K best are chosen.
"""

from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best, mean_key


def map_guided(
    prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, size: tuple[int, int, int], top: int, weight: float
) -> Tensor:
    regions = prompt.cells(size)
    group = q.shape[0] // k.shape[0]

    def seen(h: int, i: int) -> list[int]:
        if prompt.kind[i] != "text":
            return prompt.before(i)
        done = [region for region in regions if region[-1] <= i]
        scores = [
            float(q[h, i] @ mean_key(k[h // group], region)) * q.shape[-1] ** -0.5
            + weight * sum(prompt.prior[j] for j in region) / len(region)
            for region in done
        ]
        chosen = [j for n in best(scores, top) for j in done[n]]
        unfinished = [j for region in regions if region[0] <= i < region[-1] for j in region if j <= i]
        return [*chosen, *unfinished, *(j for j in prompt.before(i) if prompt.kind[j] != "visual")]

    return attend(q, k, v, seen)
