"""Taking rotary positions off keys and queries, and putting them on.

Half-split layout: channel `c` turns with channel `c + rope / 2`; channels from `rope` on have no position. Cosines
and sines come as transformers gives them, both halves alike, with the axes of M-RoPE merged, and times YaRN's
factor where the model has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Look, Regions, Rows
from gazekit.pool._members import extremes, means, of_region, slots, wide

# Closeness is a sum over channels of numbers up to 1, and rounding must not choose.
_TIE = 1e-5


@dataclass(frozen=True)
class Angles:
    """Rotary positions: cosines and sines of the turning pairs, half as many as turning channels.

    Attributes:
        cos: Of each pair; no pair at all where the model has no RoPE.
        sin: Aligned with `cos`.
    """

    cos: Float[Tensor, "batch #head place half"]
    sin: Float[Tensor, "batch #head place half"]

    def packed(self) -> Float[Tensor, "batch #head place rope"]:
        """Both in one tensor, as the features of tokens; `unpacked` is its inverse."""
        return torch.cat([self.cos, self.sin], dim=-1)

    def at_rows(self, rows: Rows) -> Angles:
        """Those of each row's first query."""
        index = rows.query.clamp_min(0)[:, None, :, None].expand(-1, 1, -1, self.cos.shape[-1])
        return Angles(cos=self.cos.gather(2, index), sin=self.sin.gather(2, index))

    def of_first(self, regions: Regions) -> Angles:
        """Those of each region's first member as listed."""
        return self._of_member(regions, torch.ones_like(regions.owner, dtype=torch.bool))

    def of_centre(self, regions: Regions) -> Angles:
        """Those of the member that lies nearest to all members of its region, as RoPE tells.

        Near is what has a large sum of `cos(angle - angle of a member)`, over all members and over those pairs of
        channels in which the members point more or less the same way: in the others a distance has gone round
        the circle and says nothing. Of members that lie equally near, the latest is taken.
        """
        near, ahead = (of_region(means(field, regions), regions) for field in (self.cos, self.sin))
        agree = near.square() + ahead.square() > 0.25 * (self.cos.square() + self.sin.square())
        closeness = (self.cos * near + self.sin * ahead).where(agree, 0).sum(-1, keepdim=True)
        lead = (self.sin * near - self.cos * ahead).where(agree, 0).sum(-1, keepdim=True)
        nearest = closeness >= of_region(extremes(closeness, regions, "amax"), regions) - _TIE
        lead = lead.masked_fill(~nearest, -torch.inf)
        best = nearest & (lead == of_region(extremes(lead, regions, "amax"), regions))
        return self._of_member(regions, best[:, 0, :, 0])

    def _of_member(self, regions: Regions, fits: Tensor) -> Angles:
        """Those of the first listed member of each region that fits."""
        batch, _, length, half = self.cos.shape
        place = torch.arange(length, device=fits.device).expand(batch, -1)
        table = place.new_full((batch, regions.count + 1), length)
        found = table.scatter_reduce(1, slots(regions), place.masked_fill(~fits, length), reduce="amin")
        index = found[:, None, :-1, None].clamp_max(max(length - 1, 0)).expand(-1, 1, -1, half)
        return Angles(cos=self.cos.gather(2, index), sin=self.sin.gather(2, index))


def angles_of(look: Look) -> Angles:
    """The rotary positions of the queries; no pairs where the model has no RoPE."""
    if look.cos is None or look.sin is None:
        none = look.query.new_zeros(look.query.shape[0], 1, look.query.shape[2], 0)
        return Angles(cos=none, sin=none)
    half = look.cos.shape[-1] // 2
    return Angles(cos=wide(look.cos)[:, None, :, :half], sin=wide(look.sin)[:, None, :, :half])


def unpacked(features: Float[Tensor, "batch 1 token rope"]) -> Angles:
    """The angles that `Angles.packed` wrote."""
    cos, sin = features.chunk(2, dim=-1)
    return Angles(cos=cos, sin=sin)


def rotate(
    vector: Float[Tensor, "batch head place dim"], angles: Angles
) -> Float[Tensor, "batch head place dim"]:
    """The vectors at these positions, as RoPE turns them."""
    first, second, rest = _halves(vector, angles)
    cos, sin = angles.cos, angles.sin
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)


def unrotate(
    vector: Float[Tensor, "batch head place dim"], angles: Angles
) -> Float[Tensor, "batch head place dim"]:
    """The vectors before RoPE put them at these positions; exact up to rounding."""
    first, second, rest = _halves(vector, angles)
    # YaRN scales cosines and sines alike, so that their squares need not add up to one; padding may have none.
    length = (angles.cos.square() + angles.sin.square()).clamp_min(torch.finfo(angles.cos.dtype).tiny)
    cos, sin = angles.cos / length, angles.sin / length
    return torch.cat([first * cos + second * sin, second * cos - first * sin, rest], dim=-1)


def _halves(vector: Tensor, angles: Angles) -> tuple[Tensor, Tensor, Tensor]:
    half = angles.cos.shape[-1]
    return vector[..., :half], vector[..., half : 2 * half], vector[..., 2 * half :]
