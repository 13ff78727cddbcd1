"""Putting gaze into a decoder, and what is refused."""

import pytest
import torch
from transformers import GptOssConfig, GptOssForCausalLM
from transformers.cache_utils import StaticCache

from gazekit.gaze import Gaze, GazeCache, begin_pass, compositions, install, prepare_cache, watch
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample
from tests.scenes import unchecked

GAZE = Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=2))


@pytest.fixture
def runner():
    return Runner(decoder("qwen3"), GAZE)


@pytest.fixture
def lay():
    return layout(sample(2, Image(4, 4), 3))


def test_a_router_without_a_partition_is_refused():
    with pytest.raises(ValueError, match="partition must be given where route is"):
        Gaze(route=TopKRouter(k=2))


def test_an_unknown_scope_is_refused():
    message = "visual_scope must be 'causal', 'own_unit' or 'routed', got 'all'"
    with unchecked(), pytest.raises(ValueError, match=message):
        Gaze(visual_scope="all")


def test_only_a_decoder_can_have_gaze():
    with pytest.raises(ValueError, match="pass the language model, not the whole multimodal model"):
        install(torch.nn.Linear(2, 2), GAZE)
    with pytest.raises(ValueError, match="gaze must be a composition or a list of at least one"):
        install(decoder("qwen3"), [])
    with pytest.raises(ValueError, match="model must have gaze to be watched"), watch(decoder("qwen3")):
        pass


def test_the_composition_of_each_layer_can_be_asked_for(runner):
    assert compositions(runner.model) == [GAZE] * 3
    assert compositions(decoder("qwen3")) == []


@torch.no_grad()
def test_the_text_model_by_itself_is_the_stock_model(lay):
    stock = decoder("qwen3")
    embeddings = prompt(lay)
    mask = torch.ones(1, lay.length, dtype=torch.long)
    mask[:, :2] = 0
    expected = stock(inputs_embeds=embeddings, attention_mask=mask).logits
    install(stock, GAZE)
    torch.testing.assert_close(stock(inputs_embeds=embeddings, attention_mask=mask).logits, expected)


@torch.no_grad()
def test_masks_of_ones_own_are_refused(runner, lay):
    mask = torch.ones(1, 1, lay.length, lay.length, dtype=torch.bool)
    step = begin_pass(runner.model, lay, 0, lay.length)
    with pytest.raises(ValueError, match="attention_mask must be 2-D"):
        runner.model(inputs_embeds=prompt(lay), attention_mask=mask, gaze_pass=step)


def test_attention_dropout_is_refused(lay):
    model = decoder("qwen3").train()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.1
    with pytest.raises(ValueError, match=r"attention_dropout must be 0 under gaze, got 0\.1"):
        Runner(model, GAZE).forward(lay, prompt(lay))


@torch.no_grad()
def test_learned_sinks_are_refused():
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = GptOssConfig(
        **sizes, vocab_size=16, num_hidden_layers=2, head_dim=8, num_local_experts=2, num_experts_per_tok=1
    )
    model = GptOssForCausalLM(config).eval()
    install(model, GAZE)
    with pytest.raises(ValueError, match=r"must not have learned attention sinks \(s_aux\)"):
        model(input_ids=torch.tensor([[1, 2, 3]]))


@torch.no_grad()
def test_a_gaze_cache_in_another_model_is_refused(runner, lay):
    cache = GazeCache(3)
    runner.forward(lay, prompt(lay), cache=cache)
    with pytest.raises(RuntimeError, match="belongs to gaze attention"):
        decoder("qwen3")(input_ids=torch.tensor([[1]]), past_key_values=cache)


@torch.no_grad()
def test_a_static_cache_gives_the_same(runner, lay):
    embeddings = prompt(lay)
    static = StaticCache(config=runner.model.config, max_cache_len=lay.length + 4)
    assert prepare_cache(static, runner.model.config) is static
    whole = runner.forward(lay, embeddings)
    torch.testing.assert_close(runner.forward(lay, embeddings, cache=static), whole, atol=1e-5, rtol=1e-5)
    ours = GazeCache(3)
    runner.forward(lay, embeddings, cache=ours)
    token = runner.model.get_input_embeddings()(torch.tensor([[7]]))
    steps = [runner.forward(lay, token, start=lay.length, cache=cache) for cache in (static, ours)]
    torch.testing.assert_close(*steps, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_samples_of_a_cache_can_be_repeated_chosen_and_forgotten(runner):
    lay = layout(sample(2, Image(4, 4), 3), sample(1, Image(2, 2), 4))
    embeddings = prompt(lay)
    cache = GazeCache(3)
    runner.forward(lay, embeddings, cache=cache)
    token = runner.model.get_input_embeddings()(torch.tensor([[5], [6]]))
    expected = runner.forward(lay, token, start=lay.length, cache=cache)
    cache.reset()
    assert cache.get_seq_length() == 0
    runner.forward(lay, embeddings, cache=cache)
    cache.batch_repeat_interleave(2)
    cache.batch_select_indices(torch.tensor([3, 0]))
    swapped = torch.tensor([1, 0])
    again = runner.forward(lay.reorder(swapped), token[swapped], start=lay.length, cache=cache)
    torch.testing.assert_close(again, expected[swapped])


@torch.no_grad()
def test_what_a_cache_cannot_do_is_refused(runner, lay):
    cache = GazeCache(3)
    runner.forward(lay, prompt(lay), cache=cache)
    cache.crop(0)
    with pytest.raises(ValueError, match="cannot be cropped"):
        cache.crop(-1)
    with pytest.raises(ValueError, match="choose a gazekit store that offloads"):
        cache.layers[0].offload()
    assert cache.layers[0].get_max_length() == -1
