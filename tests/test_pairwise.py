"""Every partitioner, pooler and router work together on one small batch, or one of them says why not.

The parts are those of the shared law cases, so that a part joins by its line there.
"""

import copy
import importlib.util
import itertools
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch

from gazekit import partition, pool, route
from gazekit.attend import MaskedBackend
from gazekit.contracts import (
    Entries,
    Kind,
    Look,
    Plan,
    Regions,
    Rows,
    Selection,
    Sizes,
    TokenLayout,
    View,
    complete_regions,
)
from gazekit.testing import Clip, Prompts, Text, oracle, strategies

_spec = importlib.util.spec_from_file_location("law_cases", Path(__file__).parent / "laws" / "cases.py")
law_cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(law_cases)

SIZES = Sizes(num_layers=3, num_heads=4, num_kv_heads=2, head_dim=8, hidden_dim=32)
LAYER = 2
VIDEO = Clip(rows=3, columns=4, frames=2, stamp=1, context=1)
PROMPTS = Prompts(
    samples=(((Text(1), VIDEO, Text(3)), (Clip(rows=2, columns=2), Text(2))), ((Text(4),),)), outside=True
)


def parts(room) -> list[object]:
    """The parts of a room's law cases, one for each that the room shows."""
    shown = {getattr(room, name) for name in room.__all__}
    found = {type(case.part): case.part for case in reversed(law_cases.CASES) if type(case.part) in shown}
    return list(found.values())


PARTITIONERS, POOLERS, ROUTERS = parts(partition), [*parts(pool), None], parts(route)


@dataclass(frozen=True)
class Scene:
    layout: TokenLayout
    regions: Regions
    rows: Rows
    look: Look


@cache
def scene(index: int) -> Scene:
    """The batch as one partitioner divides it, with a row for every token of text."""
    layout = PROMPTS.layout()
    regions = PARTITIONERS[index](layout)
    tokens = layout.tokens.owned_by(regions.owner[:, None])
    chance = torch.Generator().manual_seed(0)
    batch, length = layout.kind.shape
    query, key, value = (
        torch.randn(batch, heads, length, SIZES.head_dim, generator=chance)
        for heads in (SIZES.num_heads, SIZES.num_kv_heads, SIZES.num_kv_heads)
    )
    angle = tokens.order[:, 0, :, None] * torch.linspace(1, 0.1, SIZES.head_dim // 2)
    look = Look(
        query=query,
        key=key,
        value=value,
        layer=LAYER,
        scale=SIZES.head_dim**-0.5,
        hidden=torch.randn(batch, length, SIZES.hidden_dim, generator=chance),
        cos=torch.cat([angle.cos()] * 2, dim=-1),
        sin=torch.cat([angle.sin()] * 2, dim=-1),
        tokens=tokens,
    )
    return Scene(layout, regions, strategies.rows_of(tokens, frozenset({Kind.TEXT})), look)


@cache
def scores(partitioner: int, pooler: int) -> torch.Tensor | None:
    """The pooler's scores of the regions."""
    part, drawn = copy.deepcopy(POOLERS[pooler]), scene(partitioner)
    if part is None:
        return None
    torch.manual_seed(0)
    if hasattr(part, "bind"):
        part.bind(SIZES)
    look = drawn.look
    if hasattr(part, "features"):
        look = replace(look, features=part.features(look))
    with torch.no_grad():
        return part.score(look, drawn.rows, part.describe(look, drawn.regions))


def view_of(drawn: Scene) -> View:
    complete = complete_regions(drawn.rows, drawn.regions)
    first = complete[:, None] & (torch.arange(complete.shape[-1]) < 2)
    return View(
        layout=drawn.layout, regions=drawn.regions, rows=drawn.rows, complete=complete, openness=0.0, layer=LAYER,
        scale=drawn.look.scale, num_heads=SIZES.num_heads, num_kv_heads=SIZES.num_kv_heads,
        earlier=dict.fromkeys(range(LAYER), Selection(strategies.index_of(first))),
    )  # fmt: skip


def needs_scores(router: object) -> bool:
    """Whether a router, or the one around which it is wrapped, reads scores that nothing else makes up for."""
    if not is_dataclass(router) or isinstance(router, route.PriorRouter | route.RandomRouter):
        return False
    inner = [getattr(router, f.name) for f in fields(router) if f.name == "inner"]
    if isinstance(router, route.TwoLevelRouter) or not inner:
        return True
    return inner[0] is not None and needs_scores(inner[0])


def refusal(partitioner: object, pooler: object, router: object) -> str | None:
    """What an impossible combination must say; None = it is possible."""
    if pooler is None and needs_scores(router):
        return "needs scores, got none; set pool"
    cuts = isinstance(partitioner, partition.SegmentPartition | partition.RunPartition)
    if isinstance(router, route.TwoLevelRouter) and cuts:
        return "coarse must not cut regions"
    return None


def names(numbers: tuple[int, int, int]) -> str:
    chosen = (PARTITIONERS[numbers[0]], POOLERS[numbers[1]], ROUTERS[numbers[2]])
    return "-".join(type(part).__name__ for part in chosen)


COMBINATIONS = list(itertools.product(*(range(len(room)) for room in (PARTITIONERS, POOLERS, ROUTERS))))


@pytest.mark.parametrize("numbers", COMBINATIONS, ids=names)
def test_any_three_work_together_or_say_why_not(numbers) -> None:
    partitioner, pooler, router = numbers
    drawn, view = scene(partitioner), view_of(scene(partitioner))
    reason = refusal(PARTITIONERS[partitioner], POOLERS[pooler], ROUTERS[router])
    if reason is not None:
        with pytest.raises(ValueError, match=reason):
            ROUTERS[router](scores(partitioner, pooler), view)
        return
    selection = ROUTERS[router](scores(partitioner, pooler), view)
    assert_valid(selection, view)
    assert_attends(selection, drawn)


def assert_valid(selection: Selection, view: View) -> None:
    """Regions unique, ascending and complete; some are chosen, and no more than there are."""
    index = selection.index
    assert index.dtype == torch.int32
    assert index.shape[1] in (1, SIZES.num_kv_heads, SIZES.num_heads)
    for row in index.flatten(0, 2).tolist():
        ids = [region for region in row if region >= 0]
        assert ids == sorted(set(ids))
        assert row == ids + [-1] * (len(row) - len(ids))
    chosen = selection.chosen(view.regions.count)
    assert not (chosen & ~view.complete[:, None]).any()
    assert chosen.any()


def assert_attends(selection: Selection, drawn: Scene) -> None:
    """The masked backend gives what the rules say, one query and one entry at a time."""
    tokens = drawn.layout.tokens.owned_by(drawn.regions.owner[:, None])
    place = torch.where(tokens.valid, torch.arange(tokens.length), -1)
    entries = Entries(key=drawn.look.key, value=drawn.look.value, tokens=tokens, position=place)
    plan = Plan(
        query=tokens, rows=drawn.rows, regions=drawn.regions, selection=selection, keeps=None,
        scale=drawn.look.scale,
    )  # fmt: skip
    got = MaskedBackend().attend(drawn.look.query, entries, plan)
    expected = oracle.attend(drawn.look.query, entries, plan)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("room", [partition, pool, route], ids=lambda room: room.__name__)
def test_no_part_of_a_room_is_missing(room) -> None:
    assert {type(part) for part in parts(room)} == {getattr(room, name) for name in room.__all__}


WRAPPERS = {
    "always": lambda inner: route.AlwaysRouter(inner=inner, own=False, first=1),
    "prior": lambda inner: route.PriorRouter(inner=inner, weight=0.0),
    "reuse": lambda inner: route.ReuseRouter(inner=inner, every=LAYER),
    "two levels": lambda inner: route.TwoLevelRouter(coarse=WHOLE, coarse_k=99, inner=inner, summary="max"),
}
WHOLE = partition.GridPartition(size=(9, 9, 9))


@pytest.mark.parametrize("router", range(len(ROUTERS)), ids=lambda n: type(ROUTERS[n]).__name__)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_goes_around_every_router(wrapper, router) -> None:
    """Where a wrapper has nothing to say, the inner router's choice comes out; a region always on is beside it."""
    grid = next(n for n, part in enumerate(PARTITIONERS) if isinstance(part, partition.GridPartition))
    mean = next(n for n, part in enumerate(POOLERS) if isinstance(part, pool.MeanPooler))
    found, view, inner = scores(grid, mean), view_of(scene(grid)), ROUTERS[router]
    wrapped = WRAPPERS[wrapper](inner)
    selection = wrapped(found, view)
    assert_valid(selection, view)
    table, count = selection.chosen(view.regions.count), view.regions.count
    if wrapper != "always":
        plain = inner(found, view).chosen(count)
        assert torch.equal(table, plain.expand_as(table))
    else:
        first = view.complete & (view.regions.ordinal < 1)[:, None]
        rest = inner(found, replace(view, complete=view.complete & ~first)).chosen(count)
        assert torch.equal(table, rest.expand_as(table) | first[:, None])
    opened = wrapped(found, replace(view, openness=0.5))
    assert_valid(opened, replace(view, openness=0.5))
    assert (opened.chosen(count) | ~table).all()
    assert wrapped(found, replace(view, openness=1.0)) is None
