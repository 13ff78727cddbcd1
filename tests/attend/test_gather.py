import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from gazekit.attend import GatherBackend, ReferenceBackend, gather
from gazekit.attend._reading import Reading, reading_of
from gazekit.contracts import Backend, Entries
from tests.attend.cases import Case, Scene, scene, sinks
from tests.attend.parity import assert_equals_reference, run

GATHER = GatherBackend()
LAST = {
    "image": Case(("t2 v4x4 c2 t3",), start=22),
    "ragged": Case(("t1 v3x5 c1 t4 v2x3 t1", "v5x3 t2 v2x2 t7"), start=27, left=True, size=(1, 2, 3)),
    "different counts": Case(("v4x4 t4", "v3x3 t1 v2x2 t2", "t3"), start=19, left=True),
    "packed": Case(("t1 v4x4 t3 / v2x4 c1 t2",), start=30),
    "group of 1": Case(("v4x4 t4",), heads=3, kv_heads=3, start=19),
    "group of 7": Case(("v6x8 t4",), heads=14, kv_heads=2, k=1, start=51),
    "shared by the group": Case(("v4x4 t4",), heads=8, kv_heads=2, start=19, share="group"),
    "frames": Case(("v4x4 t1 +4x4 t1 +4x4 t2",), size=(2, 2, 2), start=51),
    "all regions": Case(("v4x4 t4",), start=19, k=9),
    "regions of 36": Case(("v13x15 t4", "v12x12 t1 v6x7 t2"), size=(1, 6, 6), k=3, start=198, left=True),
    "regions of 9": Case(("v7x8 c2 t4",), size=(1, 3, 3), k=4, heads=8, start=61),
    "regions of 64": Case(("v16x17 t4",), size=(1, 8, 8), k=1, heads=2, kv_heads=1, start=275),
    "single tokens": Case(("v4x5 t4",), size=(1, 1, 1), k=6, start=23),
    "many units": Case(("v3x3 +2x4 +3x3 t1 v4x4 v2x2 v3x4 c1 t3",), start=62, k=5),
}
READINGS = {"head": ("whole", "dotted"), "group": ("whole", "copied")}


@pytest.fixture
def read(monkeypatch):
    """Makes the backend read in a certain way, whatever would be cheapest; None = everything under a mask."""

    def force(keys):
        forced = Reading(keys=keys or "whole", bytes=0.0 if keys else 1.0, whole=0.5)
        monkeypatch.setattr(gather, "reading_of", lambda **sizes: forced)

    return force


def region_major(made: Scene, per_head: bool = False) -> Scene:
    """The entries sorted by region, free ones last, as a store holds them; padding lies among the free."""
    batch, heads = made.entries.key.shape[:2]
    owner, count = made.regions.owner, made.regions.count
    order = torch.where(owner >= 0, owner, count).argsort(dim=1, stable=True)
    longest = int((owner >= 0).sum(1).max())
    index = torch.full((batch, longest + owner.shape[1]), -1)
    begin = torch.zeros(batch, count, dtype=torch.int64)
    for sample in range(batch):
        members = int((owner[sample] >= 0).sum())
        index[sample, :members] = order[sample, :members]
        free = order[sample, members:]
        index[sample, longest : longest + len(free)] = free
        begin[sample] = made.regions.size[sample].cumsum(0) - made.regions.size[sample]
    index = index[:, None].expand(-1, heads if per_head else 1, -1).contiguous()
    tokens = made.layout.tokens.owned_by(owner[:, None])
    taken = index.clamp_min(0).expand(-1, heads, -1)[..., None].expand(-1, -1, -1, made.case.dim)
    entries = Entries(
        key=made.entries.key.gather(2, taken), value=made.entries.value.gather(2, taken),
        tokens=tokens.take(index), position=index, begin=begin[:, None], count=made.regions.size[:, None],
        free=longest,
    )  # fmt: skip
    return replace(made, entries=entries)


@pytest.mark.parametrize("per_head", [False, True])
@pytest.mark.parametrize("name", LAST)
def test_equals_the_reference(name, per_head):
    made = region_major(scene(LAST[name]), per_head)
    assert GATHER.refuses(made.entries, made.plan) is None
    assert_equals_reference(GATHER, made)


@pytest.mark.parametrize("keys", ["whole", "copied", "dotted", None])
@pytest.mark.parametrize("name", LAST)
def test_equals_the_reference_however_it_reads(name, keys, read):
    made = region_major(scene(LAST[name]), per_head=True)
    apart = made.plan.selection.index.shape[1] > made.case.kv_heads
    if keys is not None and keys not in READINGS["head" if apart else "group"]:
        keys = "whole"
    read(keys)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        some = made.to(dtype)
        expected = ReferenceBackend().attend(some.query, some.entries, some.plan)
        found = GATHER.attend(some.query, some.entries, some.plan)
        assert found.dtype == dtype
        assert float((found - expected).norm()) <= tolerance * float(expected.norm())
    if keys in ("whole", "copied", None):
        assert_equals_reference(GATHER, made)


@pytest.mark.parametrize("keys", ["whole", "dotted"])
@pytest.mark.parametrize("name", [name for name in LAST if name != "all regions"])
def test_what_is_not_chosen_is_never_seen(name, keys, read):
    made = region_major(scene(LAST[name]))
    apart = made.plan.selection.index.shape[1] > made.case.kv_heads
    read(keys if apart else {"dotted": "copied"}.get(keys, keys))
    clean = GATHER.attend(made.query, made.entries, made.plan)
    chosen = made.plan.selection.chosen(made.regions.count)[:, :, 0]
    poison = torch.ones(made.entries.key.shape[:3], dtype=torch.bool)
    poison[:, :, made.entries.free :] = False
    for sample in range(poison.shape[0]):
        for head in range(made.case.kv_heads):
            own = chosen[sample].unflatten(0, (made.case.kv_heads, -1))[head]
            for region in own.any(0).nonzero().flatten().tolist():
                begin = int(made.entries.begin[sample, 0, region])
                poison[sample, head, begin : begin + int(made.entries.count[sample, 0, region])] = False
    assert poison.any()
    key, value = (
        x.masked_fill(poison[..., None], float("nan")) for x in (made.entries.key, made.entries.value)
    )
    assert torch.equal(
        GATHER.attend(made.query, replace(made.entries, key=key, value=value), made.plan), clean
    )


def _reading(chosen, choosing, heads=32, tracked=False):
    return reading_of(
        entries=10840, free=600, chosen=chosen, heads=heads, kv_heads=8, choosing=choosing, key_bytes=256,
        value_bytes=256, tracked=tracked,
    )  # fmt: skip


def test_few_entries_are_gathered_and_most_are_masked():
    assert _reading(1512, 8).keys == "copied"
    assert _reading(1512, 32).keys == "whole"
    assert _reading(360, 32).keys == "dotted"
    assert _reading(360, 32, tracked=True).keys == "whole"
    assert all(_reading(chosen, choosing).gathers for chosen in (360, 1512) for choosing in (8, 32))
    assert not _reading(10240, 8).gathers
    assert not _reading(10240, 32).gathers


def test_what_is_gathered_costs_as_much_as_is_chosen():
    few, more = (_reading(chosen, 32).bytes for chosen in (180, 360))
    assert few < more
    alone, beside = (
        reading_of(
            entries=600 + visual, free=600, chosen=360, heads=32, kv_heads=8, choosing=32, key_bytes=256,
            value_bytes=256, tracked=False,
        ).bytes
        for visual in (10_240, 163_840)
    )  # fmt: skip
    assert alone == beside


def test_masks_where_most_is_chosen():
    made = region_major(scene(LAST["all regions"]))
    assert "a head looks at 16 of 36 entries" in gather.whole_is_cheaper(made.entries, made.plan)
    assert gather.whole_is_cheaper(*_entries_and_plan("regions of 36")) is None


def _entries_and_plan(name):
    made = region_major(scene(LAST[name]))
    return made.entries, made.plan


def test_its_memory_is_each_threads_own():
    backend = GatherBackend()
    made = [region_major(scene(LAST["regions of 36"], seed)) for seed in range(8)]
    alone = [GATHER.attend(one.query, one.entries, one.plan) for one in made]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: backend.attend(one.query, one.entries, one.plan), made * 5))
    assert all(torch.equal(one, other) for one, other in zip(found, alone * 5, strict=True))


def test_its_memory_is_found_once_and_outlives_inference_mode():
    backend, made = GatherBackend(), region_major(scene(LAST["regions of 36"]))
    with torch.inference_mode():
        backend.attend(made.query, made.entries, made.plan)
    kept = backend.workspace.take("products", (8,), torch.float32).data_ptr()
    expected = GATHER.attend(made.query, made.entries, made.plan)
    assert torch.equal(backend.attend(made.query, made.entries, made.plan), expected)
    assert backend.workspace.take("products", (8,), torch.float32).data_ptr() == kept
    assert copy.deepcopy(backend) == pickle.loads(pickle.dumps(backend)) == backend


def test_a_view_of_a_larger_buffer_will_do():
    made = region_major(scene(LAST["image"]))
    roomy = torch.full((*made.entries.key.shape[:2], 99, made.case.dim), float("nan"))
    length = made.entries.key.shape[2]
    roomy[:, :, :length] = made.entries.key
    part = replace(made.entries, key=roomy[:, :, :length])
    expected = GATHER.attend(made.query, made.entries, made.plan)
    assert torch.equal(GATHER.attend(made.query, part, made.plan), expected)


def test_a_sample_without_a_query_gives_zeros():
    made = region_major(scene(LAST["different counts"]))
    blank = made.plan.query.take(torch.tensor([[[0]], [[-1]], [[0]]]))
    rows = replace(made.plan.rows, of=torch.tensor([[0], [-1], [0]]))
    plan = replace(made.plan, query=blank, rows=rows)
    assert GATHER.refuses(made.entries, plan) is None
    out = GATHER.attend(made.query, made.entries, plan)
    full = GATHER.attend(made.query, made.entries, made.plan)
    assert not out[1].any()
    torch.testing.assert_close(out[::2], full[::2])


def test_nothing_in_view_gives_zeros():
    made = region_major(scene(Case(("v2x2 t1",), start=4)))
    none = replace(made.plan.selection, index=torch.full_like(made.plan.selection.index, -1))
    entries = replace(
        made.entries, key=made.entries.key[:, :, :4], value=made.entries.value[:, :, :4],
        tokens=made.entries.tokens.narrow(0, 4), position=made.entries.position[..., :4],
    )  # fmt: skip
    out = GATHER.attend(made.query, entries, replace(made.plan, selection=none))
    assert out.shape == made.query.shape
    assert not out.any()


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (Case(("v4x4 t4",), start=18), "it decodes one query per sample, and there are 2"),
        (Case(("v4x4 t4",), start=19, k=None), "nothing is routed"),
        (Case(("t4",), start=3), "nothing is routed"),
        (Case(("v4x4 t2 c1", "v4x4 t3"), start=18), "a query does not route"),
        (Case(("v4x4 t4",), start=19, keeps=sinks), "a rule keeps entries in view"),
    ],
)
def test_refuses_what_it_cannot_do(case, reason):
    made = region_major(scene(case))
    assert reason in GATHER.refuses(made.entries, made.plan)


def test_refuses_entries_that_lie_apart():
    made = scene(LAST["image"])
    assert "do not say where each region begins" in GATHER.refuses(made.entries, made.plan)


def test_refuses_regions_that_are_not_complete():
    made = region_major(scene(Case(("v2x2 t2",), start=5)))
    later = replace(made.plan.regions, last=made.plan.regions.last + 9)
    reason = GATHER.refuses(made.entries, replace(made.plan, regions=later))
    assert "a region is not complete yet" in reason


def test_a_rule_that_keeps_nothing_is_no_obstacle():
    made = region_major(scene(LAST["image"]))
    assert GATHER.refuses(made.entries, replace(made.plan, keeps=lambda query, key: None)) is None


def test_places_may_be_integers_of_any_width():
    made = region_major(scene(LAST["ragged"]))
    narrow = replace(made.entries, begin=made.entries.begin.int(), count=made.entries.count.int())
    assert torch.equal(
        GATHER.attend(made.query, narrow, made.plan), GATHER.attend(made.query, made.entries, made.plan)
    )


def test_values_may_be_wider_than_keys():
    made = region_major(scene(LAST["ragged"]))
    value = torch.cat([made.entries.value, made.entries.value.flip(2)], dim=-1)
    made = replace(made, entries=replace(made.entries, value=value))
    assert run(GATHER, made)[0].shape[-1] == 16
    assert_equals_reference(GATHER, made)


def test_it_is_a_backend():
    assert isinstance(GATHER, Backend)
