"""A loss beside the model's own, whose gradient comes along with the output's."""

from dataclasses import dataclass, replace

import pytest
import torch

from gazekit.contracts import RoutingLoss
from gazekit.gaze import Gaze, begin_pass
from gazekit.loss import DistillationLoss, MapLoss
from gazekit.partition import GridPartition
from gazekit.pool import SummaryPooler
from gazekit.route import TopKRouter
from tests.gaze.poolers import LearnedPooler
from tests.gaze.tiny import Image, Runner, checkpointed, decoder, layout, prompt, sample

GRID = GridPartition(size=(1, 2, 2))
LAY = layout(sample(2, Image(4, 4), 3), sample(1, Image(3, 3), 1, Image(2, 2), 3))


@dataclass(frozen=True, kw_only=True)
class Sum:
    """Squares of all scores; what is there does not matter."""

    weight: float = 1.0
    detach: bool = True

    def __call__(self, scores, look, view):
        there = (view.complete & view.rows.valid[..., None])[:, None]
        return scores.square().masked_fill(~there, 0.0).mean(1).sum()


def gradients(loss, checkpoint=False, route=True):
    torch.manual_seed(3)
    model = decoder("qwen3").train()
    if checkpoint:
        checkpointed(model)
    gaze = Gaze(partition=GRID, pool=LearnedPooler(), route=TopKRouter(k=1) if route else None, loss=loss)
    torch.manual_seed(4)
    runner = Runner(model, gaze)
    logits = runner.forward(LAY, prompt(LAY))
    main = logits[LAY.tokens.valid[:, 0]].square().mean()
    main.backward()
    # The embeddings of words are not read.
    named = {
        name: parameter.grad for name, parameter in model.named_parameters() if "embed_tokens" not in name
    }
    return main.detach(), named


def parts_of(named):
    ours = {name: grad for name, grad in named.items() if "gaze_parts" in name}
    assert len(ours) == 6
    return ours, {name: grad for name, grad in named.items() if name not in ours}


@pytest.mark.parametrize("route", [True, False])
def test_it_trains_the_pooler_and_leaves_the_model_and_its_loss_alone(route):
    plain, without = gradients(None, route=route)
    assert all(grad is None for grad in parts_of(without)[0].values())
    main, named = gradients(DistillationLoss(), route=route)
    assert torch.equal(main, plain)
    ours, stock = parts_of(named)
    assert all(grad.abs().max() > 0 for grad in ours.values())
    for name, grad in parts_of(without)[1].items():
        assert torch.equal(grad, stock[name]), name
    doubled = parts_of(gradients(DistillationLoss(weight=2.0), route=route)[1])[0]
    for name, grad in ours.items():
        torch.testing.assert_close(doubled[name], 2 * grad)


def test_weight_zero_gives_no_gradient():
    _, named = gradients(DistillationLoss(weight=0.0))
    ours, stock = parts_of(named)
    assert all((grad == 0).all() for grad in ours.values())
    assert any(grad.abs().max() > 0 for grad in stock.values())


def test_summaries_learn_beside_a_loss_that_is_kept_apart():
    found = []
    for loss in (None, DistillationLoss()):
        torch.manual_seed(3)
        model = decoder("qwen3").train()
        gaze = Gaze(partition=GRID, pool=SummaryPooler(), route=TopKRouter(k=1), summaries=True, loss=loss)
        Runner(model, gaze).forward(LAY, prompt(LAY)).square().mean().backward()
        named = model.named_parameters()
        found.append({name: weight.grad for name, weight in named if weight.grad is not None})
    for name, grad in found[0].items():
        assert torch.equal(found[1][name], grad), name


@pytest.mark.parametrize("detach", [True, False])
def test_checkpointing_changes_no_gradient(detach):
    one, plain = gradients(DistillationLoss(detach=detach))
    other, again = gradients(DistillationLoss(detach=detach), checkpoint=True)
    assert torch.equal(one, other)
    for name, grad in plain.items():
        assert torch.equal(grad, again[name]), name


def test_what_is_not_detached_reaches_the_model():
    _, apart = gradients(Sum())
    _, through = gradients(Sum(detach=False))
    name = "model.layers.0.self_attn.k_proj.weight"
    assert (apart[name] - through[name]).abs().max() > 1e-4
    gate = "model.layers.0.self_attn.gaze_parts.pool.gate"
    torch.testing.assert_close(apart[gate], through[gate])


def test_chunks_of_rows_change_nothing(monkeypatch):
    _, whole = gradients(DistillationLoss())
    monkeypatch.setattr("gazekit.gaze.route._SCORE_BYTES", 1)
    _, chunked = gradients(DistillationLoss())
    for name, grad in parts_of(whole)[0].items():
        torch.testing.assert_close(chunked[name], grad)


def test_its_value_is_the_mean_over_rows():
    # The gate multiplies the scores, so that d loss / d gate = 2 loss / gate where all gates are one.
    _, named = gradients(Sum())
    gate = named["model.layers.0.self_attn.gaze_parts.pool.gate"]
    model = decoder("qwen3").train()
    torch.manual_seed(4)
    found = []

    @dataclass(frozen=True, kw_only=True)
    class Kept(Sum):
        def __call__(self, scores, look, view):
            found.append(Sum.__call__(self, scores, look, view).detach() / view.rows.valid.sum())
            return scores.sum() * 0

    Runner(model, Gaze(partition=GRID, pool=LearnedPooler(), loss=Kept())).forward(LAY, prompt(LAY))
    torch.testing.assert_close(gate.sum(), 2 * found[0])


def test_the_map_of_a_prompt_pulls_the_model():
    lay = replace(LAY, prior=torch.rand(LAY.clip.shape))
    model = decoder("qwen3").train()
    runner = Runner(model, Gaze(partition=GRID, pool=None, loss=MapLoss(weight=10.0)))
    grads = []
    for with_map in (True, False):
        if not with_map:
            runner = Runner(model, Gaze(partition=GRID, pool=None))
        model.zero_grad()
        runner.forward(lay, prompt(lay)).square().mean().backward()
        grads.append(model.model.layers[1].self_attn.q_proj.weight.grad.clone())
    assert (grads[0] - grads[1]).abs().max() > 1e-4


@torch.no_grad()
def test_without_gradients_nothing_is_computed():
    @dataclass(frozen=True, kw_only=True)
    class Never(Sum):
        def __call__(self, scores, look, view):
            raise AssertionError("nobody learns")

    assert isinstance(Never(), RoutingLoss)
    runner = Runner(decoder("qwen3"), Gaze(partition=GRID, route=TopKRouter(k=1), loss=Never()))
    assert runner.forward(LAY, prompt(LAY)).isfinite().all()
    assert begin_pass(runner.model, LAY, 0, LAY.length).divisions


def test_a_loss_needs_regions():
    with pytest.raises(ValueError, match="partition must be given where loss is"):
        Gaze(loss=DistillationLoss())
