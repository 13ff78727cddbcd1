"""Counting what a composition costs: the paper's figures, the truth of a running model, and what is refused."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gazekit.combine import SumCombine
from gazekit.context import LearnedContext
from gazekit.contracts import Kind, Selection, Sizes, regions_from_owner
from gazekit.gaze import SHAPES, Gaze, cost, prompt_layout, shape_of, watch
from gazekit.models import UnitForm, layout_from_ids
from gazekit.partition import GridPartition
from gazekit.pool import CompressionPooler, SummaryPooler
from gazekit.recipe import load
from gazekit.recipe.library import names
from gazekit.route import RandomRouter, ReuseRouter, TopKRouter
from gazekit.schedule import ConstantSchedule
from tests.gaze.tiny import SIZES, Runner, decoder, prompt
from tests.scenes import unchecked

QWEN = SHAPES["qwen3-4b"]
SMALL = Sizes(num_layers=3, num_heads=4, num_kv_heads=2, head_dim=16, hidden_dim=48)


def gaze(k: int = 2, size: tuple[int, int, int] = (1, 2, 2), context: int = 0, **fields) -> Gaze:
    return Gaze(
        partition=GridPartition(size=size),
        route=TopKRouter(k=k),
        context=LearnedContext(num_tokens=context) if context else None,
        **fields,
    )


def test_the_papers_worked_example():
    found = cost(gaze(20, (1, 6, 6), 4), prompt_layout([(1, 24, 24)] * 8, num_context=4), QWEN)
    assert (found.attended, found.dense, found.visual, found.context) == (752, 4608, 720, 32)
    assert round(found.share, 3) == 0.163
    assert (found.regions, found.region_size, found.chosen) == (128, (36, 36), 20)


@pytest.mark.parametrize(
    ("k", "num_text", "options"),
    [(42, 0, {}), (42, 0, {"bytes_per_descriptor": 2}), (40, 52, {"softmax_flops": 5})],
)
def test_the_papers_savings_within_two_points(k, num_text, options):
    layout = prompt_layout([(64, 12, 12)], num_context=4, num_text=num_text)
    found = cost(gaze(k, (1, 6, 6), 4), layout, QWEN, **options)
    assert abs(found.attention_flops.change + 0.839) < 0.02
    assert abs(found.kv_bytes.resident / found.kv_bytes.dense - 1 + 0.798) < 0.02


def test_the_papers_absolute_figures_as_far_as_one_setting_reaches():
    layout = prompt_layout([(64, 12, 12)], num_context=4, num_text=52)
    found = cost(gaze(40, (1, 6, 6), 4), layout, QWEN, softmax_flops=5, bytes_per_descriptor=2)
    flops, held = found.attention_flops, found.kv_bytes
    assert [round(value / 1e9, 2) for value in (flops.dense, flops.gaze, found.context_flops)] == [
        5.52,
        0.89,
        0.15,
    ]
    assert round(flops.change, 3) == -0.839
    assert round(held.dense / 1e9, 2) == 1.37
    assert round(held.resident / 1e9, 3) == 0.277
    assert round(held.resident / held.dense - 1, 3) == -0.798
    assert round(found.routing_flops / 1e9, 2) == 0.08


@pytest.mark.parametrize("composition", [gaze(2), gaze(2, context=3), gaze(99, context=1), Gaze()])
@torch.no_grad()
def test_what_is_counted_is_what_a_model_attends_to(composition):
    context = 0 if composition.context is None else composition.context.num_tokens
    layout = prompt_layout([(1, 4, 4), (2, 4, 6)], num_context=context, num_text=5)
    runner = Runner(decoder("qwen3"), composition)
    with watch(runner.model) as trace:
        runner.forward(layout.extended(layout.length + 1), prompt(layout.extended(layout.length + 1)))
    found = cost(composition, layout, SMALL)
    assert len(trace.glances) == SIZES["num_hidden_layers"]
    for glance in trace.glances:
        last = glance.attended[0, :, -1].double().mean(dim=0).tolist()
        assert last == [found.visual, found.context, found.text + 1]


@given(
    rows=st.integers(1, 9), columns=st.integers(1, 9), frames=st.integers(1, 3), k=st.integers(1, 9),
    size=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
)  # fmt: skip
def test_ragged_regions_are_counted_as_they_are(rows, columns, frames, k, size):
    found = cost(gaze(k, size), prompt_layout([(frames, rows, columns)]), SMALL)
    regions = math.prod(math.ceil(n / cell) for n, cell in zip((frames, rows, columns), size, strict=True))
    tokens = frames * rows * columns
    assert (found.regions, found.chosen, found.dense) == (regions, min(k, regions), tokens)
    assert found.visual == pytest.approx(min(k, regions) * tokens / regions, rel=1e-12)
    assert found.region_size[1] == math.prod(
        min(n, cell) for n, cell in zip((frames, rows, columns), size, strict=True)
    )


@dataclass(frozen=True)
class Runs:
    """Five tokens of any kind to a region, in order: text too."""

    kinds: frozenset[Kind] = frozenset(Kind)

    def __call__(self, layout):
        return regions_from_owner(torch.arange(layout.length)[None] // 5, layout)


@dataclass(frozen=True)
class Latest:
    """The last complete region of each row."""

    def __call__(self, scores, view):
        last = view.complete.long().cumsum(-1).argmax(-1)
        return Selection(last[:, None, :, None].int())


def test_any_partitioner_and_router_are_counted():
    layout = prompt_layout([(1, 3, 4)], num_text=10)
    found = cost(Gaze(partition=Runs(), route=TopKRouter(k=1)), layout, SMALL)
    # 22 tokens before the query and the query itself: regions of 5, 5, 5 (two visual, three text), 5 and 3.
    assert (found.regions, found.region_size, found.chosen) == (5, (3, 5), 1)
    assert (found.visual, found.text) == (pytest.approx(12 / 5), 10 / 5)
    found = cost(
        Gaze(partition=GridPartition(size=(1, 2, 2)), route=Latest()), prompt_layout([(1, 3, 3)]), SMALL
    )
    assert (found.visual, found.chosen, found.routing_flops) == (1, 1, 2 * 16 * 4 * 4 * 3)


@dataclass(frozen=True)
class FirstFour:
    """Keeps the first four tokens in view."""

    num_tokens: int = 0

    def keeps(self, query, key):
        return (key.order < 4)[:, :, None].expand(-1, -1, query.length, -1)


def test_what_a_rule_keeps_in_view_is_counted_once():
    found = cost(replace(gaze(1), context=FirstFour()), prompt_layout([(1, 4, 4)]), SMALL)
    assert found.visual == 4 + (16 - 4) / 4


def test_layers_may_differ():
    layout = prompt_layout([(1, 4, 4)], num_context=1, num_text=2)
    both = [gaze(1, context=1), Gaze(context=LearnedContext(num_tokens=1))]
    found = cost(both, layout, SMALL)
    assert found.visual == pytest.approx((4 + 16 + 4) / 3)
    assert found.routing_flops == 2 * (2 * 16 * 4 * 4)
    assert found.attention_flops.gaze == (4 + 16 + 4 + 3 * 2) * 4 * (4 * 16)


@pytest.mark.parametrize("dense", [Gaze(), gaze(2, schedule=ConstantSchedule(openness=1.0))])
def test_dense_costs_what_dense_costs(dense):
    found = cost(dense, prompt_layout([(1, 4, 4)], num_text=3), SMALL)
    assert (found.share, found.routing_flops, found.attention_flops.change) == (1, 0, 0)
    assert found.attention_flops.dense == 3 * 19 * 4 * 4 * 16
    held = found.kv_bytes
    assert (
        held.dense
        == held.stored
        == held.resident
        == held.read_group
        == held.read_head
        == 3 * 19 * 2 * 2 * 16 * 2
    )


def test_bytes_of_heads_that_choose_apart():
    layout = prompt_layout([(1, 4, 4)], num_text=3)
    found = cost(gaze(1), layout, SMALL, bytes_per_value=2, bytes_per_descriptor=4).kv_bytes
    entry, descriptors = 2 * 2 * 16 * 2, 3 * 4 * 2 * 16 * 4
    assert found.read_group == 3 * (4 + 3) * entry + descriptors
    assert found.read_head == 3 * (16 * (1 - (3 / 4) ** 2) + 3) * entry + descriptors
    assert found.stored == 3 * 19 * entry + descriptors
    alone = cost(gaze(1), layout, replace(SMALL, num_kv_heads=4)).kv_bytes
    assert alone.read_head == alone.read_group


def test_without_a_pooler_nothing_is_scored():
    drawn = Gaze(partition=GridPartition(size=(1, 2, 2)), pool=None, route=RandomRouter(k=1))
    found = cost(drawn, prompt_layout([(1, 4, 4)]), SMALL)
    assert (found.visual, found.routing_flops) == (4, 0)
    assert found.kv_bytes.stored == found.kv_bytes.dense


def test_no_image_costs_nothing():
    found = cost(gaze(2), prompt_layout([], num_text=4), SMALL)
    assert (found.attended, found.share, found.text, found.regions, found.region_size) == (0, 0, 4, 0, (0, 0))


def test_a_prompt_of_numbers_is_the_prompt_that_a_processor_writes():
    form = UnitForm(rows=2, columns=3, num_context=2, visual_ids=(90,), context_id=91)
    ids = torch.tensor([[*([90] * 6 + [91] * 2) * 3, 7, 8]])
    expected = layout_from_ids(ids, form, clip_lengths=torch.tensor([[1, 2]])).pack()
    made = prompt_layout([(1, 2, 3), (2, 2, 3)], num_context=2, num_text=2)
    torch.testing.assert_close(made.pack(), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cost([], prompt_layout([(1, 2, 2)]), SMALL), "gaze must be a composition or a list of at least one"),
        (lambda: cost(gaze(context=2), prompt_layout([(1, 2, 2)]), SMALL), "must hold 2 context .* num_context=2"),
        (lambda: cost(gaze(), prompt_layout([(1, 2, 2)], num_context=1), SMALL), "layout must hold 0 context tokens"),
        (lambda: cost(gaze(), prompt_layout([(1, 2, 2)]).reorder(torch.tensor([0, 0])), SMALL), "of one prompt, got 2"),
        (lambda: prompt_layout([(1, 0, 2)]), r"clips must be \(frames, rows, columns\) of at least 1 each"),
        (lambda: prompt_layout([(1, 2, 2)], num_text=-1), "num_context and num_text must be at least 0, got 0 and -1"),
        (lambda: shape_of("qwen3-4"), "shape must be one of qwen3-4b, .* did you mean qwen3-4b"),
        (lambda: shape_of("3,4,0,8"), "in whole numbers of at least 1, got '3,4,0,8'"),
        (lambda: shape_of("3,5,2,8"), "heads that divide among the KV heads, got 5 and 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_refused(make, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        make()


def test_shapes_by_name_and_by_numbers():
    assert shape_of("qwen2.5-7b") == SHAPES["qwen2.5-7b"]
    assert shape_of("3,4,2,16,48") == SMALL
    assert shape_of("3,4,2,16").hidden_dim == 64


def test_branches_add_up_and_what_they_share_is_stored_once():
    near, far = gaze(2, (1, 2, 2)), gaze(1, (1, 4, 4))
    layout = prompt_layout([(1, 8, 8)])
    one, other = (cost(part, layout, SMALL) for part in (near, far))
    both = cost(Gaze(branches=(near, far), combine=SumCombine()), layout, SMALL)
    assert both.visual == one.visual + other.visual == 24
    assert both.attention_flops.gaze == one.attention_flops.gaze + other.attention_flops.gaze
    assert both.routing_flops == one.routing_flops + other.routing_flops
    assert (both.regions, both.chosen, both.region_size) == (16, 2, (4, 4))
    held = [found.kv_bytes.stored - found.kv_bytes.dense for found in (one, other, both)]
    assert held[2] == held[0] + held[1]
    wide = Gaze(branches=(Gaze(), near), combine=SumCombine(), context=LearnedContext(num_tokens=3))
    whole = cost(wide, prompt_layout([(1, 8, 8)], num_context=3), SMALL)
    assert (whole.visual, whole.context) == (72, 6)
    assert whole.kv_bytes.read_group == whole.kv_bytes.stored


@pytest.mark.parametrize(
    ("pool", "entries"), [(SummaryPooler(), 16), (CompressionPooler(length=4, stride=2), 31)]
)
def test_summaries_are_counted_as_they_stand_in_the_softmax(pool, entries):
    summarised = Gaze(
        partition=GridPartition(size=(1, 2, 2)), pool=pool, route=TopKRouter(k=1), summaries=True,
    )  # fmt: skip
    state = torch.get_rng_state()
    found = cost(summarised, prompt_layout([(1, 8, 8)]), SMALL)
    assert torch.equal(state, torch.get_rng_state())
    assert (found.visual, found.context) == (4, entries)


def test_each_branch_reuses_what_it_chose_itself():
    reused = Gaze(partition=GridPartition(size=(1, 2, 2)), route=ReuseRouter(inner=TopKRouter(k=1), every=2))
    found = cost(Gaze(branches=(reused, gaze(2)), combine=SumCombine()), prompt_layout([(1, 8, 8)]), SMALL)
    assert found.visual == 4 + 8


def test_a_schedule_may_end_otherwise_in_every_layer():
    @dataclass(frozen=True)
    class Deep:
        """Open by depth."""

        def __call__(self, progress: float, depth: float = 0.0) -> float:
            return depth

    found = cost(gaze(1, schedule=Deep()), prompt_layout([(1, 8, 8)]), SMALL)
    assert found.visual == (4 + 4 * 9 + 64) / 3


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("systems/")])
def test_every_published_system_is_counted_and_looks_at_less_than_everything(name):
    """At the size of its paper, over a long video."""
    recipe = load(name, ["model.compressor=null"])
    gazes = recipe.build("gaze")
    gazes = list(gazes) if isinstance(gazes, (list, tuple)) else [gazes]
    prompt = prompt_layout([(12, 24, 24)], num_context=gazes[0].num_context, num_text=8)
    sizes = replace(SMALL, num_layers=len(gazes))
    found = cost(gazes, prompt, sizes)
    assert 0 < found.attended < found.dense == 12 * 576
    assert found.kv_bytes.read_group <= found.kv_bytes.stored
