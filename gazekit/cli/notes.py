"""What the figures of a composition leave out or stand in for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gazekit.gaze import Gaze
from gazekit.pool import MaxPooler, MeanPooler
from gazekit.route import NucleusRouter, ThresholdRouter


def notes_of(gazes: Sequence[Gaze]) -> list[str]:
    """A sentence for each way in which the figures are not exact."""
    looks = [one for gaze in gazes for one in gaze.looks]
    notes = []
    if len(looks) > len(gazes):
        notes.append(
            "branches attend by themselves: what they look at adds up, what they share is stored once"
        )
    if any(gaze.guide is not None for gaze in gazes):
        notes.append("what a guide writes is stood in for: an even map, a segment for each image or frame")
    if any(one.rows is not None for one in looks):
        notes.append(
            "queries of a prompt choose in blocks; the one counted comes alone and chooses for itself"
        )
    for router in _routers(looks):
        if isinstance(router, NucleusRouter | ThresholdRouter):
            name = type(router).__name__
            notes.append(
                f"{name} chooses as many regions as the scores say, which are made up here; measure it"
            )
    own = {type(one.pool).__name__ for one in looks if one.route is not None and one.pool is not None}
    for name in sorted(own - {MeanPooler.__name__, MaxPooler.__name__}):
        notes.append(f"routing and descriptors are counted as MeanPooler's; {name} takes other numbers")
    return list(dict.fromkeys(notes))


def _routers(looks: Sequence[Gaze]) -> Iterator[object]:
    """All routers, those around which others are wrapped too."""
    for one in looks:
        router: object = one.route
        while router is not None:
            yield router
            router = getattr(router, "inner", None)
