"""Agreement with people over a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gazekit.evaluate.human.maps import auc_judd, correlation, kl_divergence, nss
from gazekit.evaluate.human.scanpath import Scanpath, scanmatch
from gazekit.evaluate.metrics._samples import SampleMetric, keys_of

_NAMES = ("nss", "auc_judd", "cc", "kl", "scanmatch")


class MapAgreement(SampleMetric):
    """NSS, AUC-Judd, CC, KL and ScanMatch, each averaged over the images that have what it needs.

    Nothing is smoothed here: blur the maps first where a benchmark does.
    """

    higher_is_better = None

    def __init__(self) -> None:
        super().__init__({"found": ((len(_NAMES),), torch.float64)})

    def update(
        self,
        map: Float[Tensor, "height width"],
        fixated: Bool[Tensor, "height width"] | None = None,
        human: Float[Tensor, "height width"] | None = None,
        scanpath: Scanpath | None = None,
        humans: Sequence[Scanpath] = (),
        id: Any = None,
    ) -> None:
        """Adds an image.

        Args:
            map: Where the model looked.
            fixated: True = a pixel that people fixated, for NSS and AUC-Judd.
            human: People's density map, for CC and KL.
            scanpath: The order in which the model looked, for ScanMatch.
            humans: The orders in which people did; their mean counts.
            id: What names the image; one that was named before is not counted again. None = it counts.

        Raises:
            ValueError: Maps are not of one size, or no measure can be taken of them.
        """
        nan = torch.full((), torch.nan, dtype=torch.float64)
        found = [nan] * len(_NAMES)
        if fixated is not None:
            found[0], found[1] = nss(map, fixated), auc_judd(map, fixated)
        if human is not None:
            found[2], found[3] = correlation(map, human), kl_divergence(map, human)
        if scanpath is not None and humans:
            each = [scanmatch(scanpath, one) for one in humans]
            found[4] = torch.tensor(sum(each) / len(each), dtype=torch.float64)
        self.add(
            keys_of(None if id is None else [id], 1), found=torch.stack([each.cpu() for each in found])[None]
        )

    def compute(self) -> dict[str, float]:
        """Means by name, NaN where no image had what it needs."""
        return dict(zip(_NAMES, self.rows()["found"].nanmean(0).tolist(), strict=True))
