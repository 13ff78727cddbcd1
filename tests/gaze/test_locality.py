"""What a buffer could have saved, counted by hand."""

import math

import pytest
import torch

from gazekit.gaze import Gaze, localities, locality, prepare_cache, watch
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from gazekit.store import OffloadedStorage
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample


def test_overlaps_and_hits_are_counted():
    # One KV head of two query heads; each looks at two regions.
    steps = [
        torch.tensor([[[0, 1], [1, 2]]]),
        torch.tensor([[[1, 3], [1, 2]]]),
        torch.tensor([[[0, 3], [0, 3]]]),
    ]
    found = locality(steps, num_kv_heads=1, slots=(1.0, 2.0))
    assert found.steps == pytest.approx((1 + 2 + 1 + 0) / 8)
    assert found.group == pytest.approx((1 + 1 + 2) / (3 + 3 + 2))
    assert found.union == pytest.approx(2 * 8 / 12)
    # Four slots: 0 1 2 missed; 1 2 hit, 3 missed; all hit. Two slots: 0 1 stay, 2 passes; 1 hits, 2 takes 0's slot and
    # 3 passes; 0 and 3 miss.
    assert found.hits == {1.0: pytest.approx(1 / 8), 2.0: pytest.approx(4 / 8)}


def test_empty_slots_are_not_counted():
    found = locality([torch.tensor([[[0, -1]]])], num_kv_heads=1)
    assert math.isnan(found.steps)
    assert (found.group, found.union, found.hits[1.0]) == (1.0, 1.0, 0.0)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps must hold at least one step"):
        locality([], num_kv_heads=1)


@torch.no_grad()
def test_a_trace_says_what_the_store_counts():
    lay = layout(sample(2, Image(6, 6), 3))
    route, partition = TopKRouter(k=2, share="group"), GridPartition(size=(1, 2, 2))
    runner = Runner(
        decoder("qwen3"), Gaze(partition=partition, route=route, store=OffloadedStorage(slots=1.5))
    )
    cache = prepare_cache(None, runner.model.config)
    with watch(runner.model) as trace:
        runner.forward(lay, prompt(lay), cache=cache)
        for step in range(6):
            token = runner.model.get_input_embeddings()(torch.tensor([[7 * step]]))
            runner.forward(lay, token, start=lay.length + step, cache=cache)
    for layer, found in localities(trace, num_kv_heads=2).items():
        traffic = cache.layers[layer].memory.store.traffic
        hits, misses = int(traffic.hits.sum()), int(traffic.misses.sum())
        assert hits + misses == 6 * 2 * 2
        assert found.hits[1.5] == pytest.approx(hits / (hits + misses))
        assert found.union == found.group == 1.0
