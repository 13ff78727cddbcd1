"""The four common measures of a saliency map against people's."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_EPSILON = 2.220446049250313e-16


def nss(map: Float[Tensor, "height width"], fixated: Bool[Tensor, "_ _"]) -> Float[Tensor, ""]:
    """Normalized scanpath saliency: the mean of the standardised map at fixated pixels.

    0 = chance, larger = better, without bound. A constant map says nothing: 0. NaN without fixations.

    Source: Peters et al. (2005).

    Raises:
        ValueError: The two are not of one size, or the map has values that are no numbers.
    """
    map = _checked(map, fixated)
    deviation = map.std(correction=0)
    if deviation == 0:
        return map.new_zeros(()) if fixated.any() else map.new_full((), torch.nan)
    return ((map - map.mean()) / deviation)[fixated].mean()


def auc_judd(map: Float[Tensor, "height width"], fixated: Bool[Tensor, "_ _"]) -> Float[Tensor, ""]:
    """Area under the ROC curve of fixated pixels against all others, exactly: the chance that a fixated one is higher.

    0.5 = chance, 1 = perfect. Ties count half, so that a constant map gets 0.5. NaN where all or none of the pixels
    are fixated. The original breaks ties by random jitter and joins the curve's points at fixated values by straight
    lines, which lie above the curve: by the share of other pixels above the lowest fixated one, over twice the number
    of fixated pixels. That is 0.25 for chance at a single fixation and nothing to speak of at many.

    Source: Judd et al. (2009); Bylinskii et al. (2018).

    Raises:
        ValueError: The two are not of one size, or the map has values that are no numbers.
    """
    map = _checked(map, fixated)
    positive, negative = map[fixated], map[~fixated].sort().values
    if not len(positive) or not len(negative):
        return map.new_full((), torch.nan)
    below = torch.searchsorted(negative, positive, right=False)
    up_to = torch.searchsorted(negative, positive, right=True)
    return ((below + up_to).to(map.dtype) / 2 / len(negative)).mean()


def correlation(map: Float[Tensor, "height width"], human: Float[Tensor, "_ _"]) -> Float[Tensor, ""]:
    """CC: Pearson's correlation of two maps, -1 to 1; 0 where either is constant.

    Raises:
        ValueError: The two are not of one size, or have values that are no numbers.
    """
    one, other = _checked(map, human), _checked(human, map)
    one, other = one - one.mean(), other - other.mean()
    scale = (one.square().sum() * other.square().sum()).sqrt()
    return (one * other).sum() / scale if scale > 0 else map.new_zeros((), dtype=one.dtype)


def kl_divergence(map: Float[Tensor, "height width"], human: Float[Tensor, "_ _"]) -> Float[Tensor, ""]:
    """KL of the human map from the model's, both as distributions over pixels, in nats; 0 = equal, smaller = better.

    With the regularisation that benchmarks use: `sum h * log(eps + h / (eps + m))`, `eps` = 2.2e-16. So pixels that
    people looked at and the model gave nothing cost about 36 nats each, by their share.

    Source: Bylinskii et al. (2018), equation 9.

    Raises:
        ValueError: The two are not of one size, have values that are negative or no numbers, or no mass.
    """
    one, other = _checked(map, human), _checked(human, map)
    for name, each in (("map", one), ("human", other)):
        if (each < 0).any() or each.sum() <= 0:
            raise ValueError(
                f"{name} must be non-negative with some mass to be a distribution; subtract its minimum first"
            )
    one, other = one / one.sum(), other / other.sum()
    return (other * torch.log(_EPSILON + other / (one + _EPSILON))).sum()


def _checked(map: Tensor, beside: Tensor) -> Tensor:
    if map.shape != beside.shape:
        raise ValueError(
            f"maps must be of one size, got {tuple(map.shape)} and {tuple(beside.shape)}; resize one first"
        )
    if not map.isfinite().all():
        raise ValueError("map must hold numbers, got NaN or infinity")
    return map.to(torch.float64)
