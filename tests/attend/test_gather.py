from dataclasses import replace

import pytest
import torch

from gazekit.attend import GatherBackend
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
}


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


@pytest.mark.parametrize("name", [name for name in LAST if name != "all regions"])
def test_what_is_not_chosen_is_never_read(name):
    made = region_major(scene(LAST[name]))
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


def test_gathers_no_more_than_the_longest_union(monkeypatch):
    made = region_major(scene(LAST["ragged"]))
    sizes = []
    take = type(made.entries.tokens).take
    monkeypatch.setattr(
        type(made.entries.tokens),
        "take",
        lambda self, index: sizes.append(index.shape[2]) or take(self, index),
    )
    GATHER.attend(made.query, made.entries, made.plan)
    union = made.plan.selection.chosen(made.regions.count)[:, :, 0].unflatten(1, (2, 2)).any(2)
    longest = int((union * made.regions.size[:, None]).sum(-1).max())
    assert sizes == [longest + made.entries.key.shape[2] - made.entries.free]


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


def test_values_may_be_wider_than_keys():
    made = region_major(scene(LAST["ragged"]))
    value = torch.cat([made.entries.value, made.entries.value.flip(2)], dim=-1)
    made = replace(made, entries=replace(made.entries, value=value))
    assert run(GATHER, made)[0].shape[-1] == 16
    assert_equals_reference(GATHER, made)


def test_it_is_a_backend():
    assert isinstance(GATHER, Backend)
