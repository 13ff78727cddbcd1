"""Which backend a composition gets, and why no other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from gazekit.attend import choose, refusals
from gazekit.contracts import (
    Entries,
    Look,
    Plan,
    Rows,
    Selection,
    Sizes,
    TokenLayout,
    View,
    complete_regions,
    regions_from_owner,
)
from gazekit.gaze import Gaze
from gazekit.gaze.prompt import stood_in
from gazekit.store import ResidentStore

_WORDS = 3


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What attends, and why nothing else.

    Attributes:
        used: The backend; None = the one that was named refuses, and running it would be an error.
        others: By name, why each other one is not used.
    """

    used: str | None
    others: dict[str, str]


def choices(gaze: Gaze, layout: TokenLayout, sizes: Sizes, device: str = "cpu") -> dict[str, Choice]:
    """What a composition gets for the words behind a prompt ("prompt"), and for the token after them ("decoding").

    Args:
        gaze: The composition of one layer.
        layout: The prompt of images, without the words.
        sizes: Of the decoder.
        device: Where it runs.
    """
    moved = _moved(stood_in(layout.extended(layout.length + _WORDS)), device)
    with torch.device(device):
        return {
            call: _choice(gaze.backend, *_scene(gaze, moved, sizes, queries))
            for call, queries in (("prompt", _WORDS), ("decoding", 1))
        }


def _moved(layout: TokenLayout, device: str) -> TokenLayout:
    return replace(
        layout,
        tokens=layout.tokens.to(device),
        clip=layout.clip.to(device),
        place=layout.place.to(device),
        segment=None if layout.segment is None else layout.segment.to(device),
        prior=None if layout.prior is None else layout.prior.to(device),
    )


def _choice(name: str, entries: Entries, plan: Plan) -> Choice:
    found = refusals(entries, plan)
    if name not in ("auto", *found):
        choose(name, entries, plan)  # raises, and names what there is
    used: str | None
    if name == "auto":
        taken = choose("auto", entries, plan)
        used = next(each for each in found if not found[each] and choose(each, entries, plan) is taken)
        left = f"it could be, but auto takes {used}"
    else:
        used = None if found.get(name) else name
        left = f"it could be, but the composition names {name}"
    return Choice(used=used, others={each: why or left for each, why in found.items() if each != used})


def _scene(gaze: Gaze, layout: TokenLayout, sizes: Sizes, queries: int) -> tuple[Entries, Plan]:
    """What the last words of a layout ask of a backend. All keys and values are zeros, so each is one number."""
    none = torch.full_like(layout.kind, -1)
    regions = gaze.partition(layout) if gaze.partition else regions_from_owner(none, layout)
    tokens = layout.tokens.owned_by(regions.owner[:, None])
    shape = (layout.length, sizes.head_dim)
    key = torch.zeros(1, 1, 1, 1).expand(1, sizes.num_kv_heads, *shape)
    query = torch.zeros(1, 1, 1, 1).expand(1, sizes.num_heads, *shape)
    store = ResidentStore()
    store.add(Look(query=query, key=key, value=key, layer=0, scale=1.0), tokens, regions)
    asking = tokens.narrow(layout.length - queries, layout.length)
    number = torch.arange(queries)[None]
    rows = Rows(
        of=number,
        query=number,
        first=asking.order[:, 0],
        owner=asking.owner[:, 0],
        document=asking.document[:, 0],
    )
    plan = Plan(
        query=asking,
        rows=rows,
        regions=regions,
        selection=None,
        keeps=None if gaze.context is None else gaze.context.keeps,
        scale=1.0,
        confined=gaze.confined,
    )
    return store.entries(), replace(plan, selection=_selection(gaze, layout, plan, sizes))


def _selection(gaze: Gaze, layout: TokenLayout, plan: Plan, sizes: Sizes) -> Selection | None:
    """What the router answers where all regions score the same."""
    openness = gaze.schedule(1.0)
    if gaze.route is None or plan.regions.count == 0 or openness >= 1:
        return None
    complete = complete_regions(plan.rows, plan.regions)
    view = View(
        layout=layout,
        regions=plan.regions,
        rows=plan.rows,
        complete=complete,
        openness=openness,
        layer=0,
        scale=1.0,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        earlier={},
    )
    scores = torch.zeros(1, sizes.num_heads, *complete.shape[1:])
    return gaze.route(None if gaze.pool is None else scores, view)
