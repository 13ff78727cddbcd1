"""Several branches make one answer; descriptors stand in the softmax."""

from dataclasses import dataclass, replace

import pytest
import torch
from transformers.cache_utils import DynamicCache

from gazekit.combine import GatedCombine, SumCombine
from gazekit.context import LearnedContext
from gazekit.contracts import Entries, Kind, Look, Selection, Summarizer, Tokens, reachable
from gazekit.contracts.section import build, to_section
from gazekit.gaze import Gaze, GazeCache, begin_pass, compositions, install, watch
from gazekit.gaze.describe import with_summaries
from gazekit.models import CambrianForConditionalGeneration
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from gazekit.schedule import ConstantSchedule
from tests.gaze.poolers import HiddenPooler, KeyValuePooler, LearnedPooler
from tests.gaze.runs import Runs
from tests.gaze.tiny import Image, Runner, checkpointed, decoder, layout, prompt, sample
from tests.models.tiny import gaze_section, make_model

GRID = GridPartition(size=(1, 2, 2))
LAY = layout(sample(2, Image(4, 4, context=1), 3, Image(2, 4), 4), sample(1, Image(3, 3), 4))
REAL = LAY.tokens.valid[:, 0]


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Chooses no region."""

    def __call__(self, scores, view):
        return Selection(torch.full((len(view.rows.of), 1, view.rows.count, 1), -1, dtype=torch.int32))


def top(k=1, partition=GRID, **more) -> Gaze:
    return Gaze(partition=partition, route=TopKRouter(k=k), **more)


def coarse(**more) -> Gaze:
    return Gaze(partition=GRID, pool=KeyValuePooler(), route=Nothing(), summaries=True, **more)


THREE = {
    "same partition": (coarse(), top(), Gaze()),
    "two partitions": (top(2), top(1, GridPartition(size=(1, 4, 2)), pool=HiddenPooler())),
    "text too": (top(2), top(1, Runs(size=4)), coarse()),
}


@torch.no_grad()
def test_one_branch_is_the_composition_and_equal_branches_are_it_too():
    model, embeddings = decoder("qwen3"), prompt(LAY)
    alone = Runner(model, top(1)).forward(LAY, embeddings)
    for count in (1, 2):
        several = Gaze(branches=(top(1),) * count, combine=SumCombine())
        torch.testing.assert_close(Runner(model, several).forward(LAY, embeddings)[REAL], alone[REAL])
    mixed = Gaze(branches=(top(1), Gaze()), combine=SumCombine(weights=(0.0, 1.0)))
    dense = Runner(model, Gaze()).forward(LAY, embeddings)
    torch.testing.assert_close(Runner(model, mixed).forward(LAY, embeddings)[REAL], dense[REAL])
    assert (dense - alone)[REAL].abs().max() > 1e-2


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("gated", [True, False])
@torch.no_grad()
def test_decoding_equals_the_full_forward(name, gated):
    gaze = Gaze(branches=THREE[name], combine=GatedCombine() if gated else SumCombine())
    runner = Runner(decoder("qwen3"), gaze)
    embeddings = prompt(LAY)
    tokens, logits = runner.greedy(LAY, embeddings, 6)
    torch.testing.assert_close(logits, runner.recompute(LAY, embeddings, tokens), atol=1e-5, rtol=1e-5)
    if name == "same partition":
        tokens, logits = runner.greedy(LAY, embeddings, 3, cache="dynamic")
        torch.testing.assert_close(logits, runner.recompute(LAY, embeddings, tokens), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_pieces_and_beams_keep_what_each_branch_keeps():
    gaze = Gaze(branches=THREE["two partitions"], combine=SumCombine())
    runner = Runner(decoder("qwen3"), gaze)
    embeddings = prompt(LAY)
    whole = runner.forward(LAY, embeddings)
    cache, swapped = GazeCache(3), torch.tensor([1, 0])
    first = runner.forward(LAY, embeddings[:, :17], cache=cache)
    torch.testing.assert_close(first[REAL[:, :17]], whole[:, :17][REAL[:, :17]], atol=1e-5, rtol=1e-5)
    cache.reorder_cache(swapped)
    cache.layers[0].divisions.clear()
    rest = runner.forward(LAY.reorder(swapped), embeddings[swapped][:, 17:], start=17, cache=cache)
    torch.testing.assert_close(rest, whole[swapped][:, 17:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_each_branch_is_traced():
    gaze = Gaze(branches=(top(2), top(1)), combine=SumCombine())
    runner = Runner(decoder("qwen3"), gaze)
    with watch(runner.model) as trace:
        runner.forward(LAY, prompt(LAY))
    assert [(glance.layer, glance.branch) for glance in trace.glances] == [
        (n, b) for n in range(3) for b in range(2)
    ]
    assert [int(glance.attended[0, 0, -1, 0]) for glance in trace.glances[:2]] == [8, 4]


def test_parts_written_alike_over_the_same_partition_are_one():
    other = GridPartition(size=(1, 4, 4))
    gaze = Gaze(
        branches=(
            top(pool=LearnedPooler()),
            replace(coarse(), pool=LearnedPooler(), summaries=False),
            top(pool=LearnedPooler(), partition=other),
            top(pool=LearnedPooler(width=5)),
        ),
        combine=GatedCombine(),
    )
    model = decoder("qwen3")
    install(model, gaze)
    pools = [one.pool for one in compositions(model)[1].branches]
    assert pools[0] is pools[1]
    assert len({id(pool) for pool in pools}) == 3
    held = {
        key.split(".gaze_parts.")[1]
        for key in model.state_dict()
        if "layers.1" in key and "gaze_parts" in key
    }
    assert held == {
        "branches.0.pool.down.weight", "branches.0.pool.gate", "branches.2.pool.down.weight",
        "branches.2.pool.gate", "branches.3.pool.down.weight", "branches.3.pool.gate", "combine.gate.weight",
        "combine.gate.bias",
    }  # fmt: skip
    assert compositions(model)[1].combine.gate.out_features == 4 * 4


def test_gates_and_summaries_learn_with_and_without_checkpointing():
    gradients = []
    for checkpointing in (False, True):
        model = decoder("qwen3").train()
        if checkpointing:
            checkpointed(model)
        torch.manual_seed(0)
        runner = Runner(model, Gaze(branches=(coarse(), top()), combine=GatedCombine()))
        runner.forward(LAY, prompt(LAY))[REAL].square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0]["model.layers.0.self_attn.gaze_parts.combine.gate.weight"].abs().max() > 0
    for name, grad in gradients[0].items():
        assert torch.equal(grad, gradients[1][name]), name


def test_a_summary_is_an_entry_at_its_regions_end():
    assert isinstance(KeyValuePooler(), Summarizer)
    lay = layout(sample(1, Image(2, 4), 2), sample(2, Image(2, 2), 1))
    regions = GRID(lay)
    tokens = lay.tokens.owned_by(regions.owner[:, None])
    heads = torch.randn(2, 8, lay.length, 3).split([4, 2, 2], dim=1)
    look = Look(query=heads[0], key=heads[1], value=heads[2].requires_grad_(), layer=0, scale=1.0)
    index = torch.arange(lay.length).expand(2, 1, -1)
    entries = Entries(key=look.key, value=look.value, tokens=tokens, position=index)
    described = KeyValuePooler().describe(look, regions)
    found = with_summaries(entries, coarse().pool.entries(described), regions)
    behind: Tokens = found.tokens.narrow(lay.length, lay.length + 2)
    assert behind.order.tolist() == [[[6, 8]], [[5, torch.iinfo(torch.int32).max]]]
    assert behind.kind.tolist() == [[[Kind.CONTEXT] * 2], [[Kind.CONTEXT, Kind.PAD]]]
    assert behind.owner.tolist() == [[[-1, -1]], [[-1, -1]]]
    member = regions.owner[0] == 1
    torch.testing.assert_close(found.key[0, :, lay.length + 1], look.key[0, :, member].mean(1))
    torch.testing.assert_close(found.value[0, :, lay.length + 1], look.value[0, :, member].mean(1))
    found.value[0, 0, lay.length + 1].sum().backward()
    assert look.value.grad[0, 0, :, 0].tolist() == [0.25 if inside else 0.0 for inside in member.tolist()]


@torch.no_grad()
def test_nobody_sees_the_summary_of_a_region_that_may_still_grow():
    lay = layout(sample(6))
    regions = Runs(size=4)(lay)
    tokens = lay.tokens.owned_by(regions.owner[:, None])
    heads = torch.randn(1, 6, 6, 3).split([2, 2, 2], dim=1)
    look = Look(query=heads[0], key=heads[1], value=heads[2], layer=0, scale=1.0)
    entries = Entries(
        key=look.key, value=look.value, tokens=tokens, position=torch.arange(6).expand(1, 1, -1)
    )
    found = with_summaries(entries, coarse().pool.entries(KeyValuePooler().describe(look, regions)), regions)
    seen = reachable(tokens, found.tokens, frozenset())[0, 0, :, 6:]
    assert seen.tolist() == [[False, False]] * 3 + [[True, False]] * 3


@torch.no_grad()
def test_unchosen_regions_are_seen_through_their_summaries():
    model, embeddings = decoder("qwen3"), prompt(LAY)
    blind = Runner(model, Gaze(partition=GRID, route=Nothing())).forward(LAY, embeddings)
    runner = Runner(model, coarse())
    with watch(model) as trace:
        seen = runner.forward(LAY, embeddings)
    assert (seen - blind)[REAL].abs().max() > 1e-2
    # Visual, context, text: one context token, and six summaries.
    assert trace.glances[0].attended[0, 0, -1].tolist() == [0, 7, 9]


@torch.no_grad()
def test_the_gather_backend_reads_summaries():
    gaze = Gaze(partition=GRID, pool=KeyValuePooler(), route=TopKRouter(k=1), summaries=True)
    lay = layout(sample(2, Image(4, 4), 3))
    runner = Runner(decoder("qwen3"), gaze)
    cache = GazeCache(3)
    runner.forward(lay, prompt(lay), cache=cache)
    token = runner.model.get_input_embeddings()(torch.tensor([[5]]))
    step = begin_pass(runner.model, lay, lay.length, lay.length + 1, past_key_values=cache)
    runner.model(inputs_embeds=token, past_key_values=cache, gaze_pass=step)
    assert [type(backend).__name__ for backend in step.backends.values()] == ["GatherBackend"]


def test_branches_can_be_written_and_read():
    gaze = Gaze(
        branches=(top(), top(2, partition=GridPartition(size=(1, 4, 4)))),
        combine=SumCombine(weights=(0.5, 2.0)),
        context=LearnedContext(num_tokens=2),
    )
    assert build(to_section(gaze), Gaze) == gaze
    part = gaze_section()
    section = {"branches": [part, {}], "combine": {"_target_": "gazekit.combine.GatedCombine"}}
    section["context"] = {"_target_": "gazekit.context.LearnedContext", "num_tokens": 2}
    assert len(build(section, Gaze).branches) == 2


def test_branches_go_through_config_json(tmp_path):
    branches = [gaze_section(), {"context": {"_target_": "gazekit.context.LearnedContext", "num_tokens": 2}}]
    section = {"branches": branches, "combine": {"_target_": "gazekit.combine.GatedCombine"}}
    model = make_model(gaze=section)
    assert model.context.num_embeddings == model.config.num_context == 2
    model.save_pretrained(tmp_path)
    again = CambrianForConditionalGeneration.from_pretrained(tmp_path)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert len(again.gaze.branches) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"combine": SumCombine()}, "combine needs branches to combine, got none"),
        ({"branches": (Gaze(),)}, "combine must be given where branches are"),
        ({"branches": (Gaze(),), "partition": GRID}, "branches must each say partition; move it there"),
        ({"branches": (Gaze(),), "pool": HiddenPooler()}, "branches must each say pool; move it there"),
        (
            {"branches": (Gaze(branches=(Gaze(),), combine=SumCombine()),)},
            "must not have branches of their own",
        ),
        ({"branches": (Gaze(schedule=ConstantSchedule(openness=0.5)),)}, "must leave the schedule"),
    ],
)
def test_what_branches_cannot_be_is_refused(fields, message):
    more = {} if "combine must" in message or "combine" in fields else {"combine": SumCombine()}
    with pytest.raises(ValueError, match=message):
        Gaze(**fields, **more)


def test_summaries_need_a_pooler_that_has_them_and_regions():
    with pytest.raises(
        ValueError, match="summaries need a pooler whose descriptors can stand as entries, got Mean"
    ):
        Gaze(partition=GRID, summaries=True)
    with pytest.raises(ValueError, match="partition must be given where summaries are on"):
        Gaze(pool=KeyValuePooler(), summaries=True)


@torch.no_grad()
def test_a_stock_cache_serves_branches_without_features():
    runner = Runner(decoder("qwen3"), Gaze(branches=THREE["same partition"], combine=SumCombine()))
    assert runner.forward(LAY, prompt(LAY), cache=DynamicCache()).isfinite().all()
