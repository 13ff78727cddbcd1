"""Routing that an outside map helps: where something stands out, or where a person has looked.

Bottom-up (Itti, Koch and Niebur 1998, IEEE TPAMI 20(11)): centre-surround differences of intensity, colour and
orientation across scales, normalised and added, give a saliency map. By a person (Voila-A, Yan et al. 2023,
arXiv 2401.09454): a heat map of fixations. Neither paper selects regions in attention: here the mean of the map
over a region, times a weight, is added to the logit of Gaze Attention before the K best are chosen.

While training, attention is pulled toward the map (Gaze-VLM, Pani and Yang 2025): the KL divergence of a text
token's attention, averaged over heads, from the map, both as shares of the regions that precede it.
"""

import math

import torch
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


def map_divergence(prompt: Prompt, q: Tensor, k: Tensor, *, size: tuple[int, int, int]) -> tuple[Tensor, int]:
    """The divergence summed over text tokens, and how many of these there are."""
    regions, group = prompt.cells(size), q.shape[0] // k.shape[0]
    total = torch.zeros((), dtype=q.dtype)
    for i in prompt.where("text"):
        done = [region for region in regions if region[-1] <= i]
        looked = [sum(max(prompt.prior[j], 0.0) for j in region) for region in done]
        if sum(looked) == 0:
            continue
        paid = [((k[h // group, : i + 1] @ q[h, i]) * q.shape[-1] ** -0.5).softmax(0) for h in range(len(q))]
        mean = torch.stack(paid).mean(0)
        share = torch.stack([mean[region].sum() for region in done])
        share = share / share.sum()
        for wanted, got in zip(looked, share, strict=True):
            p = wanted / sum(looked)
            if p > 0:
                total = total + p * (math.log(p) - got.log())
    return total, len(prompt.where("text"))
