"""Wherever keys and values are kept, the same is generated, bit for bit."""

import pytest
import torch

from gazekit.combine import SumCombine
from gazekit.context import SinkContext
from gazekit.gaze import Gaze, GazeCache, begin_pass, install, prepare_cache, watch
from gazekit.partition import GridPartition, RunPartition
from gazekit.pool import SummaryPooler
from gazekit.route import NucleusRouter, TopKRouter
from gazekit.store import MemoryMappedStorage, OffloadedStorage, OffloadedStore
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample

GRID = {"partition": GridPartition(size=(1, 2, 3))}
# Ragged edges, context tokens, several units, left padding, one sample without an image.
LAYOUT = layout(
    sample(2, Image(5, 7, context=2), 3, Image(4, 4, context=2), 2),
    sample(1, Image(3, 4, context=2), 4),
    sample(6),
)
COMPOSITIONS = {
    "per head": Gaze(**GRID, route=TopKRouter(k=2)),
    "per group": Gaze(**GRID, route=TopKRouter(k=2, share="group")),
    "one choice": Gaze(**GRID, route=TopKRouter(k=2, share="layer")),
    "nucleus": Gaze(**GRID, route=NucleusRouter(mass=0.6)),
    "a rule": Gaze(**GRID, route=TopKRouter(k=2), context=SinkContext(num=4)),
    "runs of all tokens": Gaze(partition=RunPartition(length=4), route=TopKRouter(k=2)),
    "summaries": Gaze(**GRID, pool=SummaryPooler(), summaries=True, route=TopKRouter(k=2)),
    "dense": Gaze(**GRID),
    "visual routes": Gaze(**GRID, route=TopKRouter(k=2), visual_scope="routed"),
}


def generated(gaze, steps=4):
    return Runner(decoder("qwen3"), gaze).greedy(LAYOUT, prompt(LAYOUT), steps)


def changed(gaze, **fields):
    return Gaze(**{**{name: getattr(gaze, name) for name in Gaze.__dataclass_fields__}, **fields})


@torch.no_grad()
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_the_same_is_generated_bit_for_bit(name):
    gaze = COMPOSITIONS[name]
    tokens, logits = generated(gaze)
    for store in ("offloaded", MemoryMappedStorage(slots=1.0)):
        found = generated(changed(gaze, store=store))
        assert torch.equal(found[0], tokens)
        assert torch.equal(found[1], logits)


@torch.no_grad()
@pytest.mark.parametrize("backend", ["reference", "masked", "gather", "native"])
@pytest.mark.parametrize("share", ["head", "group"])
def test_every_backend_gives_the_same_bit_for_bit(backend, share, request):
    if backend == "native":
        request.getfixturevalue("native_kernel")
    gaze = Gaze(**GRID, route=TopKRouter(k=2, share=share))
    lay, steps = LAYOUT.reorder(torch.tensor([0, 1])), []
    for store in ("resident", "offloaded"):
        runner = Runner(decoder("qwen3"), changed(gaze, store=store))
        cache = prepare_cache(None, runner.model.config)
        runner.forward(lay, prompt(lay), cache=cache)
        install(runner.model, changed(gaze, store=store, backend=backend))
        logits = []
        for step in range(5):
            token = runner.model.get_input_embeddings()(torch.tensor([[7 + step], [50 - step]]))
            logits.append(runner.forward(lay, token, start=lay.length + step, cache=cache))
        steps.append(torch.cat(logits, 1))
    assert torch.equal(*steps)


@torch.no_grad()
@pytest.mark.parametrize(
    ("share", "k", "spares"), [("head", 1, True), ("group", 8, True), ("head", 8, False)]
)
def test_gather_brings_in_what_it_would_read_of_all_and_gives_the_same_bits(share, k, spares):
    """How it reads depends on how many entries there are, of which it is then given few."""
    lay, steps = layout(sample(2, Image(12, 12, context=2), 3)), []
    for store in ("resident", OffloadedStorage()):
        gaze = Gaze(**GRID, route=TopKRouter(k=k, share=share), store=store, backend="gather")
        runner = Runner(decoder("qwen3"), changed(gaze, backend="auto"))
        cache = prepare_cache(None, runner.model.config)
        runner.forward(lay, prompt(lay), cache=cache)
        install(runner.model, gaze)
        logits = []
        for step in range(3):
            token = runner.model.get_input_embeddings()(torch.tensor([[7 + step]]))
            logits.append(runner.forward(lay, token, start=lay.length + step, cache=cache))
        steps.append(torch.cat(logits, 1))
    assert torch.equal(*steps)
    assert bool(cache.layers[0].memory.store.traffic.misses.sum() > 0) is spares


@torch.no_grad()
def test_only_what_is_chosen_is_brought_in():
    gaze = Gaze(**GRID, route=TopKRouter(k=2, share="group"), store=OffloadedStorage(slots=1.0))
    runner = Runner(decoder("qwen3"), gaze)
    cache = prepare_cache(None, runner.model.config)
    runner.forward(LAYOUT, prompt(LAYOUT), cache=cache)
    store = cache.layers[1].memory.store
    assert isinstance(store, OffloadedStore)
    assert store.traffic.misses.sum() == 0
    for step in range(4):
        token = runner.model.get_input_embeddings()(torch.tensor([[7], [8], [9]]))
        runner.forward(LAYOUT, token, start=LAYOUT.length + step, cache=cache)
    traffic = store.traffic
    # Two regions a step for each KV head of the samples that have as many, none for the one without an image.
    assert (traffic.hits + traffic.misses).tolist() == [[8, 8], [8, 8], [0, 0]]
    assert int(traffic.misses.sum()) < int((traffic.hits + traffic.misses).sum())


@torch.no_grad()
@pytest.mark.parametrize("store", ["offloaded", "memory_mapped"])
def test_samples_of_a_cache_can_be_repeated_and_swapped(store):
    answers = []
    for kept in ("resident", store):
        runner = Runner(decoder("qwen3"), Gaze(**GRID, route=TopKRouter(k=2), store=kept))
        cache = prepare_cache(None, runner.model.config)
        runner.forward(LAYOUT, prompt(LAYOUT), cache=cache)
        cache.batch_repeat_interleave(2)
        lay = LAYOUT.reorder(torch.arange(3).repeat_interleave(2))
        steps = []
        for step, sample_ in enumerate(([0, 1, 2, 3, 4, 5], [1, 1, 3, 2, 4, 4])):
            cache.reorder_cache(torch.tensor(sample_))
            token = runner.model.get_input_embeddings()(torch.arange(6)[:, None] + step)
            steps.append(runner.forward(lay, token, start=lay.length + step, cache=cache))
        answers.append(torch.cat(steps, 1))
    assert torch.equal(*answers)


@torch.no_grad()
def test_a_cache_that_was_told_where_to_keep_things_does():
    runner = Runner(decoder("qwen3"), Gaze(**GRID, route=TopKRouter(k=2)))
    cache = GazeCache(3, OffloadedStorage())
    begin_pass(runner.model, LAYOUT, 0, LAYOUT.length, past_key_values=cache)
    assert isinstance(cache.layers[0].memory.store, OffloadedStore)


def test_a_gradient_is_refused():
    runner = Runner(decoder("qwen3"), Gaze(**GRID, route=TopKRouter(k=2), store="offloaded"))
    cache = GazeCache(3)
    with pytest.raises(ValueError, match=r"an offloaded store keeps no gradients.*torch\.no_grad"):
        runner.forward(LAYOUT, prompt(LAYOUT), cache=cache)


def test_branches_leave_the_store_to_the_composition():
    one = Gaze(**GRID, route=TopKRouter(k=2), store="offloaded")
    with pytest.raises(ValueError, match="branches must leave the store to the composition above them"):
        Gaze(branches=(one, one), combine=SumCombine())


@torch.no_grad()
def test_a_trace_that_weighs_sees_every_key():
    masses = []
    for store in ("resident", "offloaded"):
        runner = Runner(decoder("qwen3"), Gaze(**GRID, route=TopKRouter(k=2), store=store))
        with watch(runner.model, weigh=True) as trace:
            runner.greedy(LAYOUT, prompt(LAYOUT), 3)
        masses.append([glance.mass for glance in trace.glances])
    assert len(masses[0]) == 3 * 3
    assert all(map(torch.equal, *masses))
