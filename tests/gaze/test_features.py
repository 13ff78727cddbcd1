"""What the hook hands on, and what a pooler keeps of each token."""

import copy
import gc
import weakref
from dataclasses import dataclass, field

import pytest
import torch
from transformers.cache_utils import DynamicCache
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb

from gazekit.contracts import Featuring
from gazekit.gaze import Gaze, GazeCache, install, uninstall
from gazekit.gaze.features import FeatureMemory
from gazekit.partition import GridPartition
from gazekit.pool import MeanPooler
from gazekit.route import TopKRouter
from tests.gaze.poolers import HiddenPooler
from tests.gaze.tiny import Image, Runner, checkpointed, decoder, layout, prompt, sample

GRID = GridPartition(size=(1, 2, 2))


@dataclass(frozen=True, kw_only=True)
class Spy:
    """Keeps the looks that it is given."""

    looks: list = field(default_factory=list, hash=False, compare=False)

    def describe(self, look, regions):
        self.looks.append(look)
        return MeanPooler().describe(look, regions)

    def score(self, look, rows, described):
        return MeanPooler().score(look, rows, described)


@pytest.fixture
def lay():
    return layout(sample(2, Image(4, 4), 3, Image(4, 6), 2), sample(1, Image(4, 4), 4))


@torch.no_grad()
def test_a_look_has_the_hidden_states_and_rope_of_its_queries(lay):
    spy = Spy()
    runner = Runner(decoder("qwen3"), Gaze(partition=GRID, pool=spy, route=TopKRouter(k=1)))
    runner.forward(lay, prompt(lay))
    assert [look.layer for look in spy.looks] == [0, 1, 2]
    for look, layer in zip(spy.looks, runner.model.model.layers, strict=True):
        attention = layer.self_attn
        query = attention.q_norm(attention.q_proj(look.hidden).unflatten(-1, (4, 16))).transpose(1, 2)
        torch.testing.assert_close(apply_rotary_pos_emb(query, query, look.cos, look.sin)[0], look.query)


@torch.no_grad()
def test_nothing_holds_on_to_hidden_states_and_uninstalling_takes_the_hooks_away(lay):
    model = decoder("qwen3")
    before = [dict(layer.self_attn._forward_pre_hooks) for layer in model.model.layers]
    spy = Spy()
    runner = Runner(model, Gaze(partition=GRID, pool=spy, route=TopKRouter(k=1)))
    install(model, Gaze(partition=GRID, pool=spy, route=TopKRouter(k=1)))
    assert [len(layer.self_attn._forward_pre_hooks) for layer in model.model.layers] == [1, 1, 1]
    runner.forward(lay, prompt(lay))
    hidden = weakref.ref(spy.looks[-1].hidden)
    spy.looks.clear()
    gc.collect()
    assert hidden() is None
    again = copy.deepcopy(model)
    for one in (model, again):
        uninstall(one)
        uninstall(one)
        assert [dict(layer.self_attn._forward_pre_hooks) for layer in one.model.layers] == before
        assert one.config._attn_implementation == "sdpa"
        assert not any(hasattr(layer.self_attn, "gaze") for layer in one.model.layers)


@pytest.mark.parametrize("pieces", [[5, 9, 17], [1] * 12, []])
@torch.no_grad()
def test_features_are_kept_piece_by_piece(lay, pieces):
    assert isinstance(HiddenPooler(), Featuring)
    assert not isinstance(MeanPooler(), Featuring)
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), Gaze(partition=GRID, pool=HiddenPooler(), route=TopKRouter(k=2)))
    plain = Runner(decoder("qwen3"), Gaze(partition=GRID, route=TopKRouter(k=2))).forward(lay, embeddings)
    whole = runner.forward(lay, embeddings)
    assert (whole - plain).abs().max() > 1e-2
    cache, done, logits = GazeCache(3), 0, []
    for length in [*pieces, lay.length]:
        piece = embeddings[:, done : done + length]
        logits.append(runner.forward(lay, piece, start=done, cache=cache))
        done += piece.shape[1]
    real = lay.tokens.valid[:, 0]
    torch.testing.assert_close(torch.cat(logits, 1)[real], whole[real], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_features_are_permuted_with_the_beams_and_forgotten(lay):
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), Gaze(partition=GRID, pool=HiddenPooler(), route=TopKRouter(k=1)))
    token = runner.model.get_input_embeddings()(torch.tensor([[5], [6]]))
    # Cut inside an image, so that a region completes out of features kept before the samples were permuted.
    cut = 16
    expected = runner.forward(lay, embeddings)
    cache = GazeCache(3)
    for _ in range(2):
        cache.reset()
        runner.forward(lay, embeddings[:, :cut], cache=cache)
    swapped = torch.tensor([1, 0])
    cache.reorder_cache(swapped)
    cache.layers[0].divisions.clear()
    for layer in cache.layers:
        layer.memory.mark()
    moved = lay.reorder(swapped)
    runner.forward(moved, -embeddings[swapped][:, cut:], start=cut, cache=cache)
    for layer in cache.layers:
        layer.memory.rollback()
    got = runner.forward(moved, embeddings[swapped][:, cut:], start=cut, cache=cache)
    torch.testing.assert_close(got, expected[swapped][:, cut:], atol=1e-5, rtol=1e-5)
    assert runner.forward(moved, token, start=lay.length, cache=cache).isfinite().all()


@torch.no_grad()
def test_a_cache_without_features_is_refused(lay):
    runner = Runner(decoder("qwen3"), Gaze(partition=GRID, pool=HiddenPooler(), route=TopKRouter(k=1)))
    with pytest.raises(
        ValueError, match="HiddenPooler keeps features of every token, which a cache of trans"
    ):
        runner.greedy(lay, prompt(lay), 2, cache="dynamic")
    assert runner.forward(lay, prompt(lay), cache=DynamicCache()).isfinite().all()


def test_hidden_states_survive_gradient_checkpointing(lay):
    gradients = []
    for checkpointing in (False, True):
        model = decoder("qwen3").train()
        if checkpointing:
            checkpointed(model)
        gaze = Gaze(partition=GRID, pool=HiddenPooler(), route=TopKRouter(k=1))
        Runner(model, gaze).forward(lay, prompt(lay)).square().mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_a_feature_memory_grows_without_touching_what_autograd_follows():
    first = torch.randn(2, 1, 3, 4, requires_grad=True)
    memory = FeatureMemory.of(first).append(first[:, :, :1])
    memory.at(torch.tensor([[[0, 3]], [[1, -1]]])).sum().backward()
    assert first.grad[0, 0, :, 0].tolist() == [2.0, 0.0, 0.0]
    assert first.grad[1, 0, :, 0].tolist() == [1.0, 1.0, 0.0]
    plain = FeatureMemory.of(torch.arange(3.0).view(1, 1, 3, 1))
    for value in range(3, 200):
        plain = plain.append(torch.full((1, 1, 1, 1), float(value)))
    assert plain.until(150).length == 150
    assert plain.at(torch.arange(200).view(1, 1, 200))[0, 0, :, 0].tolist() == list(range(200))
