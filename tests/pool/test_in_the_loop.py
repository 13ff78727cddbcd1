"""Descriptors made region by region while decoding choose as those made at once."""

import pytest
import torch

from gazekit.gaze import Gaze
from gazekit.pool import (
    CompressionPooler,
    IndexerPooler,
    LearnedAttentionPooler,
    LinearGatePooler,
    LowRankPooler,
    MaxPooler,
    MinMaxPooler,
    OraclePooler,
    ProbePooler,
    SummaryPooler,
    UnrotatedMeanPooler,
)
from gazekit.route import TopKRouter
from tests.gaze.runs import Runs
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample

POOLERS = [
    CompressionPooler(length=4, stride=2), IndexerPooler(num_heads=2, dim=8), LearnedAttentionPooler(),
    LinearGatePooler(), LowRankPooler(rank=4), MaxPooler(), MinMaxPooler(), OraclePooler(), SummaryPooler(),
    UnrotatedMeanPooler(),
]  # fmt: skip
STEPS = 7


@pytest.fixture(scope="module")
def lay():
    return layout(sample(1, Image(3, 4), 2), sample(1, Image(2, 3), 5))


def looking(pooler, **more):
    torch.manual_seed(0)
    gaze = Gaze(partition=Runs(size=3), pool=pooler, route=TopKRouter(k=1), visual_scope="routed", **more)
    return Runner(decoder("qwen3"), gaze)


def assert_decodes(runner, lay):
    embeddings = prompt(lay)
    tokens, logits = runner.greedy(lay, embeddings, STEPS)
    torch.testing.assert_close(runner.recompute(lay, embeddings, tokens), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooler", POOLERS, ids=lambda one: type(one).__name__)
@torch.no_grad()
def test_decoding_is_one_forward(pooler, lay):
    assert_decodes(looking(pooler), lay)


@pytest.mark.parametrize("pooler", [POOLERS[0], SummaryPooler()], ids=lambda one: type(one).__name__)
@torch.no_grad()
def test_summaries_stand_in_the_softmax_while_decoding_too(pooler, lay):
    runner = looking(pooler, summaries=True)
    assert_decodes(runner, lay)
    without = looking(pooler).forward(lay, prompt(lay))
    assert not torch.allclose(runner.forward(lay, prompt(lay)), without, atol=1e-3)


@torch.no_grad()
def test_probes_of_a_prompt_guide_decoding(lay):
    _, logits = looking(ProbePooler(num_probe=2)).greedy(lay, prompt(lay), STEPS)
    assert logits.isfinite().all()
