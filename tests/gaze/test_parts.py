"""Parts with weights: every layer has its own."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from gazekit.contracts import Learned
from gazekit.gaze import Gaze, compositions, holders, install, rebind, uninstall
from gazekit.partition import GridPartition
from gazekit.pool import MeanPooler
from gazekit.route import TopKRouter
from tests.gaze.poolers import LearnedPooler
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample

GRID = GridPartition(size=(1, 2, 2))


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    """A router around parts, one of them with weights."""

    parts: tuple[object, ...]

    def __call__(self, scores, view):
        return TopKRouter(k=1)(scores, view)


def learned(k: int = 2, width: int = 4, **more) -> Gaze:
    return Gaze(partition=GRID, pool=LearnedPooler(width=width), route=TopKRouter(k=k), **more)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value for key, value in model.state_dict().items() if "gaze_parts" in key}


def test_every_layer_has_a_copy_under_a_name_of_its_own():
    model = decoder("qwen3")
    stock = set(model.state_dict())
    template = learned()
    install(model, template)
    assert isinstance(template.pool, Learned)
    ours = weights(model)
    assert (
        set(model.state_dict()) - stock
        == set(ours)
        == {
            f"model.layers.{layer}.self_attn.gaze_parts.pool.{name}"
            for layer in range(3)
            for name in ("down.weight", "gate")
        }
    )
    assert len({value.data_ptr() for value in ours.values()}) == 6
    for gaze, layer in zip(compositions(model), model.model.layers, strict=True):
        assert gaze.pool is layer.self_attn.gaze_parts.pool
        assert gaze.pool is not template.pool
    assert not list(template.pool.parameters())
    assert len(holders(model)) == 3
    uninstall(model)
    assert set(model.state_dict()) == stock


def test_parts_begin_the_same_for_the_same_seed_and_follow_dtype_and_device():
    drawn = []
    for seed in (1, 1, 2):
        model = decoder("qwen3").to(torch.bfloat16)
        torch.manual_seed(seed)
        install(model, learned())
        drawn.append(weights(model)["model.layers.1.self_attn.gaze_parts.pool.down.weight"])
    assert drawn[0].dtype == torch.bfloat16
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    model = decoder("qwen3").to("meta")
    install(model, learned())
    assert {value.device.type for value in weights(model).values()} == {"meta"}


def test_the_same_part_set_again_keeps_its_weights_another_does_not():
    model = decoder("qwen3")
    install(model, learned(k=2))
    before = weights(model)
    install(model, learned(k=1))
    assert all(torch.equal(value, before[key]) for key, value in weights(model).items())
    install(model, learned(width=5))
    assert weights(model)["model.layers.0.self_attn.gaze_parts.pool.down.weight"].shape == (5, 16)
    install(model, Gaze(partition=GRID, pool=MeanPooler(), route=TopKRouter(k=2)))
    assert weights(model) == {}


def test_parts_inside_parts_are_found():
    model = decoder("qwen3")
    route = Wrapped(parts=(MeanPooler(), LearnedPooler(width=3)))
    install(model, Gaze(partition=GRID, route=route))
    assert "model.layers.2.self_attn.gaze_parts.route.parts.1.gate" in weights(model)
    assert (
        compositions(model)[2].route.parts[1]
        is model.model.layers[2].self_attn.gaze_parts.route.parts._modules["1"]
    )


def test_a_copy_of_the_model_has_parts_of_its_own():
    model = decoder("qwen3")
    install(model, learned())
    other = copy.deepcopy(model)
    gaze, holder = compositions(other)[0], other.model.layers[0].self_attn.gaze_parts
    assert gaze.pool is holder.pool
    assert gaze.pool is not compositions(model)[0].pool


def test_binding_again_draws_anew():
    model = decoder("qwen3")
    install(model, learned())
    with torch.no_grad():
        for value in weights(model).values():
            value.fill_(torch.nan)
    rebind(model)
    assert all(value.isfinite().all() for value in weights(model).values())
    assert all(value.tolist() == [1.0] * 4 for key, value in weights(model).items() if key.endswith("gate"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_learned_parts_route(dtype):
    lay = layout(sample(2, Image(4, 4), 3), sample(1, Image(3, 3), 4))
    runner = Runner(decoder("qwen3").to(dtype), learned(k=1))
    embeddings = prompt(lay).to(dtype)
    one = runner.forward(lay, embeddings)
    for gaze in compositions(runner.model):
        gaze.pool.gate.neg_()
    assert (runner.forward(lay, embeddings) - one).abs().max() > 1e-2
