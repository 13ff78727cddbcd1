"""A region's descriptor as the mean of its keys before RoPE."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Described, Look, Regions, Rows
from gazekit.pool._match import match
from gazekit.pool._members import means, wide
from gazekit.pool._rope import angles_of, rotate, unpacked, unrotate


@dataclass(frozen=True, kw_only=True)
class UnrotatedMeanPooler:
    """Describes a region by the mean of its keys before RoPE, put at the region's centre: an ablation of `MeanPooler`.

    After RoPE, members that lie many positions apart (rows of an image in a text model, frames of a video) point
    in different directions along the fast channels, and their mean loses them. Here content is averaged without
    position, and the mean then gets the position of one member: the one nearest to all of them. A score is
    `query . R(centre) mean_i R(i)^-1 k_i`.

    It keeps cosines and sines of every token beside the keys, `rope` numbers for all heads together. Partial
    rotary widths, merged M-RoPE and YaRN's factor are taken as the model gives them; the layout of pairs must be
    half-split, as in Llama, Qwen and their kin.

    Source: descriptors before RoPE are ReKV's (Di et al., 2025); positions put back are this toolkit's ablation.
    """

    def features(self, look: Look) -> Float[Tensor, "batch 1 query rope"]:
        """Cosines and sines of the tokens' positions.

        Raises:
            ValueError: The model has no RoPE.
        """
        if look.cos is None:
            raise ValueError(
                "look.cos must be given: the model has no rotary positions that could be taken off its keys; "
                "use MeanPooler()"
            )
        return angles_of(look).packed()

    def describe(self, look: Look, regions: Regions) -> Described:
        """The mean key of each region at its centre, per KV head; zero for a region without members at hand."""
        assert look.features is not None, "the caller keeps what `features` gave"
        angles = unpacked(wide(look.features))
        mean = means(unrotate(wide(look.key), angles), regions)
        return Described({"mean": rotate(mean, angles.of_centre(regions))})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """`query . descriptor`, unscaled."""
        return match(rows, look.query, described.tensors["mean"])
