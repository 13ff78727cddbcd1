"""What the last queries of a prompt look at, as a guess of what all the others do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Described, Look, Regions, Rows, Tokens
from gazekit.pool._match import dot
from gazekit.pool._members import add_up, member_table, wide

# Far below any logit, and finite, so that a probe that sees nothing gives no NaN.
_NOTHING = -1e30


@dataclass(frozen=True, kw_only=True)
class ProbePooler:
    """Attends densely with a document's last queries, and takes columns and diagonals of that for all its queries.

    A region that the probes look at wherever they stand is a column (`vertical`), one that they look at from a
    certain distance is on a diagonal (`slash`; distance in regions). The score is the larger of the two, each the
    mean attention that the probes pay it, in 0 to 1: no logit, so route by rank. Where the source spends one budget
    on columns and one on diagonals, here both compete for the same K.

    It needs no training and is meant for prefill of long prompts, where the probes are a small share of the
    queries. While decoding, the prompt's columns and diagonals stay in force; a region that completes then is
    probed by the queries of that step. What a row chooses depends on other queries, later ones too: a declared
    exception to the rule that it does not, so a prompt that is fed in pieces is probed piece by piece.

    Source: vertical-slash pattern of MInference (Jiang et al., 2024), algorithm 2; exactly for regions of one token
    that cover the whole prompt, else attention is shared among complete regions only.

    Args:
        num_probe: Last queries of each document that probe.

    Raises:
        ValueError: `num_probe` is below 1.
    """

    num_probe: int = 64

    def __post_init__(self) -> None:
        if self.num_probe < 1:
            raise ValueError(f"num_probe must be at least 1, got {self.num_probe}; the source has 64")

    def describe(self, look: Look, regions: Regions) -> Described:
        """What each probe pays each region, and how far from it the region lies.

        Raises:
            ValueError: The look does not say what its queries are.
        """
        if look.tokens is None:
            raise ValueError(
                "look.tokens must be given: probes are the last queries of a document; pass Look(..., tokens=...)"
            )
        probe = _probes(look.tokens, self.num_probe)
        order, document = (field[:, 0] for field in (look.tokens.order, look.tokens.document))
        order, document = (field.gather(1, probe.clamp_min(0)) for field in (order, document))
        seen = _complete(order, document.masked_fill(probe < 0, -2), regions.last, regions.document)
        index = probe.clamp_min(0)[:, None, :, None]
        query = wide(look.query.gather(2, index.expand(-1, look.query.shape[1], -1, look.query.shape[3])))
        paid = _mass(query, look, regions).masked_fill(~seen[:, None], _NOTHING).softmax(-1)
        paid = paid.masked_fill(~seen[:, None], 0)
        own = seen.sum(-1)[:, :, None]
        # Documents from 1, so that a region nobody has described yet, all zero, is in none.
        place = [regions.last, regions.document + 1, regions.ordinal]
        return Described(
            {
                "paid": paid.transpose(2, 3) / self.num_probe,
                "own": own.expand(-1, -1, regions.count).transpose(1, 2)[:, None],
                "place": torch.stack(place, dim=-1)[:, None],
            }
        )

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """The larger of what the probes pay the region and what they pay its diagonal, in 0 to 1."""
        paid, place = described.tensors["paid"], described.tensors["place"][:, 0]
        last, document, ordinal = place[..., 0], place[..., 1] - 1, place[..., 2]
        own = _complete(rows.first, rows.document, last, document).sum(-1)
        profile = _profile(paid, described.tensors["own"][:, 0], document, ordinal)
        slash = (own[:, :, None] - ordinal[:, None]).clamp(0, described.count)
        index = document.clamp_min(0)[:, None] * (described.count + 1) + slash
        along = profile[:, :, None].expand(-1, -1, rows.count, -1)
        along = along.gather(3, index[:, None].expand(-1, paid.shape[1], -1, -1))
        return torch.maximum(paid.sum(-1)[:, :, None], along)


def _probes(tokens: Tokens, count: int) -> Int[Tensor, "batch probe"]:
    """The last `count` queries of each document, one document after another; -1 = there are fewer."""
    document = tokens.document[:, 0].masked_fill(~tokens.valid[:, 0], -1)
    most = int(document.max()) + 1 if document.numel() else 0
    inside = document[:, None] == torch.arange(most, device=document.device)[:, None]
    behind = inside.flip(-1).cumsum(-1).flip(-1)
    wanted = torch.arange(count, 0, -1, device=document.device)
    place = torch.arange(document.shape[1], device=document.device)
    # The one with `wanted` queries of its document from itself on.
    found = inside[:, :, None] & (behind[:, :, None] == wanted[:, None])
    return torch.where(found, place, -1).amax(-1).flatten(1)


def _complete(
    order: Int[Tensor, "batch place"],
    document: Int[Tensor, "batch place"],
    last: Int[Tensor, "batch region"],
    owner: Int[Tensor, "batch region"],
) -> Bool[Tensor, "batch place region"]:
    """True = the region is of the place's document and ends before it or with it."""
    same = (document[:, :, None] == owner[:, None]) & (owner >= 0)[:, None]
    return same & (last[:, None] <= order[:, :, None])


def _mass(
    query: Float[Tensor, "batch head probe dim"], look: Look, regions: Regions
) -> Float[Tensor, "batch head probe region"]:
    """The logarithm of the attention that each probe pays each region, up to a constant of the probe."""
    table = member_table(wide(look.key), regions)
    mass = query.new_full((*query.shape[:3], regions.count), _NOTHING)
    for slot in range(table.there.shape[2]):
        logit = look.scale * dot(query, table.values[:, :, :, slot])
        mass = torch.logaddexp(mass, logit.masked_fill(~table.there[:, None, None, :, slot], _NOTHING))
    return mass


def _profile(
    paid: Float[Tensor, "batch head region probe"],
    own: Int[Tensor, "batch region probe"],
    document: Int[Tensor, "batch region"],
    ordinal: Int[Tensor, "batch region"],
) -> Float[Tensor, "batch head slash"]:
    """What the probes of each document pay at each distance, documents one after another."""
    batch, _, count, _ = paid.shape
    width = count + 1
    most = int(document.max()) + 1 if document.numel() else 0
    slash = (own - ordinal[:, :, None]).clamp(0, count)
    size = max(most, 1) * width
    index = document.clamp_min(0)[:, :, None] * width + slash
    index = index + torch.arange(batch, device=index.device)[:, None, None] * size
    values = rearrange(paid, "batch head region probe -> (batch region probe) head")
    profile = add_up(values, index.flatten(), batch * size)
    return rearrange(profile, "(batch slash) head -> batch head slash", batch=batch)
