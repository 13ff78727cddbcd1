"""What regions look like from afar: features kept, descriptors made once, summaries that stand in the softmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Described, Entries, Kind, Look, Regions, Summary, Tokens, concatenate
from gazekit.gaze.composition import Gaze
from gazekit.gaze.features import FeatureMemory
from gazekit.gaze.forward import Division, ForwardPass
from gazekit.gaze.memory import LayerMemory

Features = Callable[[Entries], Float[Tensor, "batch feature_head entry feature"]]


def keep_features(
    look: Look, gaze: Gaze, branch: int, forward: ForwardPass, memory: LayerMemory | None
) -> Features | None:
    """What the pooler keeps of each token, for any entries; those of this forward's tokens are made and kept.

    None = it keeps nothing.

    Raises:
        ValueError: The pooler keeps features, and those of earlier tokens are not at hand.
    """
    # A method that a pooler may leave out (`contracts.Featuring`).
    make = getattr(gaze.pool, "features", None)
    if make is None:
        return None
    if memory is None:
        if forward.start > 0:
            raise ValueError(
                f"{type(gaze.pool).__name__} keeps features of every token, which a cache of transformers does not "
                "hold; pass no cache or an empty DynamicCache to prepare_cache, or a GazeCache"
            )
        features = make(
            replace(look, key=look.key[:, :, : forward.stop], value=look.value[:, :, : forward.stop])
        )
        return lambda entries: torch.nn.functional.pad(
            features, (0, 0, 0, entries.key.shape[2] - features.shape[2])
        )
    fresh = make(look)
    before = memory.features.get(branch)
    kept = FeatureMemory.of(fresh) if before is None else before.append(fresh)
    memory.features[branch] = kept
    return lambda entries: kept.at(entries.position[:, :1])


def align(look: Look, kept: Features | None, entries: Entries) -> Look:
    """The look with these entries for keys and values, and what the pooler keeps of each of their tokens."""
    features = None if kept is None else kept(entries)
    return replace(look, key=entries.key, value=entries.value, features=features)


def known(gaze: Gaze, branch: int, division: Division, memory: LayerMemory | None) -> Described | None:
    """Descriptors of all regions that are complete, where no forward since has completed another; else None."""
    found = None if memory is None else memory.described.get(branch)
    if found is not None and division.completed is None and found.count == division.regions.count:
        return found
    return None


def describe(
    seen: Look, gaze: Gaze, branch: int, division: Division, entries: Entries, memory: LayerMemory | None
) -> Described | None:
    """Descriptors of all complete regions; with a memory each is made once, when its last member has come."""
    if gaze.pool is None:
        return None
    before = None if memory is None else memory.described.get(branch)
    regions = division.regions
    seen = replace(seen, tokens=division.tokens)
    described = gaze.pool.describe(seen, regions.aligned(entries.tokens.owner[:, 0]))
    if before is not None:
        none = torch.zeros_like(regions.size, dtype=torch.bool)
        described = described.where(none if division.completed is None else division.completed, before)
    if memory is not None:
        memory.described[branch] = described
    return described


def with_summaries(entries: Entries, summary: Summary, regions: Regions) -> Entries:
    """The entries and, behind them, those of the regions; each counts as a context token at its region's end.

    So the one formula of visibility says who sees it: whoever comes after the region, in its document.
    """
    count, batch = regions.count, regions.size.shape[0]
    each = torch.arange(count, device=regions.size.device).expand(batch, -1)
    of = each if summary.region is None else summary.region
    unit, document, order = (
        field.gather(1, of.clamp_min(0))[:, None] for field in (regions.unit, regions.document, regions.last)
    )
    # A region that may still grow ends nowhere yet: its `last` is beyond what an order can be.
    there = (of >= 0)[:, None] & (document >= 0) & (order <= torch.iinfo(torch.int32).max)
    tokens = Tokens(
        kind=torch.where(there, int(Kind.CONTEXT), int(Kind.PAD)),
        unit=unit,
        document=document,
        order=order,
        owner=torch.full_like(unit, -1),
    )
    none = torch.full_like(tokens.owner, -1).expand(-1, entries.position.shape[1], -1)
    return replace(
        entries,
        key=torch.cat([entries.key, summary.key.to(entries.key.dtype)], dim=2),
        value=torch.cat([entries.value, summary.value.to(entries.value.dtype)], dim=2),
        tokens=concatenate([entries.tokens, tokens]),
        position=torch.cat([entries.position, none], dim=2),
        stored=None if entries.stored is None else entries.stored + none.shape[2],
    )
