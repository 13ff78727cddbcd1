"""`AttendedEntries` of models that were watched, against counts by hand."""

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from gazekit.context import LearnedContext
from gazekit.contracts import Kind
from gazekit.evaluate import AttendedEntries, looked
from gazekit.gaze import Gaze, watch
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from tests.gaze.tiny import SIZES, Image, Runner, decoder, layout, prompt, sample


def measured(runner, lay, steps, ids=None, **told):
    """What was looked at while the model wrote so many tokens, and the metric of it."""
    with torch.no_grad(), watch(runner.model) as trace:
        runner.greedy(lay, prompt(lay), steps)
    found = looked(trace, lay.length - 1)
    metric = AttendedEntries(**told)
    visual = (lay.kind == Kind.VISUAL).sum(1)
    every = torch.ones(len(visual), steps, dtype=torch.bool)
    metric.update(found.attended.permute(0, 2, 3, 1, 4), visual, every, ids)
    return found, metric


def test_regions_at_the_edges_count_for_what_they_hold():
    """A grid of 5 x 7 in regions of 3 x 3, one routed: 9, 9 and 3 tokens above, 6, 6 and 2 below."""
    size = torch.tensor([9, 9, 3, 6, 6, 2])
    gaze = Gaze(
        partition=GridPartition(size=(1, 3, 3)),
        route=TopKRouter(k=1),
        context=LearnedContext(num_tokens=2),
    )
    runner = Runner(decoder("qwen3"), gaze)
    steps = 6
    found, metric = measured(
        runner, layout(sample(3, Image(5, 7, context=2), 4)), steps, num_layers=3, num_heads=4
    )
    chosen = found.index[0, ..., 0].long()
    assert chosen.shape == (steps, 3, 4)
    assert chosen.unique().numel() > 2, "heads that all look at one region would test little"
    result = metric.compute()
    # Three tokens before the image and four after it; each step sees one more.
    text = sum(7 + step for step in range(steps)) / steps
    for layer in range(3):
        for head in range(4):
            routed = size[chosen[:, layer, head]].double().mean()
            assert result["per_head"][layer, head].tolist() == pytest.approx([float(routed), 2.0, text])
    routed = size[chosen].double().mean()
    assert result["visual"] == pytest.approx(float(routed))
    assert result["share"] == pytest.approx(float(routed) / 35)
    assert result["share_with_context"] == pytest.approx((float(routed) + 2) / 35)
    assert (result["context"], result["text"]) == (2, pytest.approx(text))


def test_images_of_different_sizes_are_shares_of_their_own_tokens():
    """Two samples, padded on the left: all 6 tokens of a 2 x 3 image, and one region of a 4 x 4 image."""
    gaze = Gaze(partition=GridPartition(size=(1, 2, 3)), route=TopKRouter(k=1))
    lay = layout(sample(1, Image(2, 3), 2), sample(4, Image(4, 4), 3))
    found, metric = measured(Runner(decoder("qwen2"), gaze), lay, 3)
    held = torch.tensor([6, 2, 6, 2])[found.index[1].long()].double().mean()
    result = metric.compute()
    assert found.attended[0, ..., 0].unique().tolist() == [6]
    assert result["visual"] == pytest.approx((6 + float(held)) / 2)
    assert result["share"] == pytest.approx((1 + float(held) / 16) / 2)


def test_the_papers_example_through_a_model():
    """8 frames of 576 tokens, 20 regions of 6 x 6, 4 context tokens a frame: 752 of 4,608, 16.3 per cent."""
    sizes = SIZES | {"num_hidden_layers": 1, "max_position_embeddings": 8192, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = Qwen3ForCausalLM._from_config(Qwen3Config(**sizes), attn_implementation="sdpa").eval()
    gaze = Gaze(
        partition=GridPartition(size=(1, 6, 6)),
        route=TopKRouter(k=20),
        context=LearnedContext(num_tokens=4),
    )
    lay = layout(sample(2, *(Image(24, 24, context=4, frame=frame) for frame in range(8)), 6))
    assert int((lay.kind == Kind.VISUAL).sum()) == 4608
    found, metric = measured(Runner(model, gaze), lay, 2, ids=["clip"], num_heads=2)
    result = metric.compute()
    assert found.index.unique().numel() > 20, "two steps and heads that choose alike would test little"
    assert (result["visual"] + result["context"], result["visual"]) == (752, 720)
    assert result["per_head"][0, :, :2].tolist() == [[720, 32]] * 2
    assert result["share_with_context"] == pytest.approx(752 / 4608)
    assert round(result["share_with_context"], 3) == 0.163
