"""K = all is the dense stock model; decoding with the cache is the full forward."""

import pytest
import torch
from transformers.cache_utils import DynamicCache

from gazekit.attend import GatherBackend
from gazekit.contracts import reachable
from gazekit.gaze import Gaze, GazeCache, begin_pass, prepare_cache, watch
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from tests.gaze.tiny import Image, Runner, checkpointed, decoder, layout, prompt, sample, stock_greedy

IMAGE = Image(4, 6)
VIDEO = [2, Image(4, 4), 2, Image(4, 4, frame=1), 2, Image(4, 4, frame=2), 2, Image(4, 4, frame=3), 4]
PROMPTS = {
    "one image": ((1, 2, 2), [sample(3, IMAGE, 4)]),
    "three images": ((1, 2, 3), [sample(3, IMAGE, 2, Image(3, 5), Image(2, 2), 4)]),
    "video": ((2, 2, 2), [sample(*VIDEO)]),
    "left-padded batch": (
        (1, 2, 2),
        [
            sample(2, IMAGE, 3),
            sample(5),
            sample(1, IMAGE, 1, IMAGE, 2, Image(5, 5), 3),
            sample(4, Image(3, 3), 6),
        ],
    ),
}


def gaze(size, k, **more):
    return Gaze(partition=GridPartition(size=size), route=TopKRouter(k=k), **more)


@pytest.fixture(params=["qwen3", "qwen2"])
def model(request):
    return decoder(request.param)


@pytest.mark.parametrize("name", PROMPTS)
@torch.no_grad()
def test_all_regions_equal_the_stock_model(model, name):
    size, samples = PROMPTS[name]
    lay = layout(*samples)
    embeddings = prompt(lay)
    tokens, logits, _ = stock_greedy(model, lay, embeddings, 32)
    dense = model(
        inputs_embeds=embeddings,
        attention_mask=lay.tokens.valid[:, 0].long(),
        position_ids=lay.tokens.order[:, 0].clamp_min(0),
    ).logits
    runner = Runner(model, gaze(size, 1000))
    prefill = runner.forward(lay, embeddings)
    real = lay.tokens.valid[:, 0]
    torch.testing.assert_close(prefill[real], dense[real], atol=1e-5, rtol=1e-5)
    ours, our_logits = runner.greedy(lay, embeddings, 32)
    assert torch.equal(ours, tokens)
    torch.testing.assert_close(our_logits, logits, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("cache", ["gaze", "dynamic"])
@pytest.mark.parametrize("name", PROMPTS)
@torch.no_grad()
def test_cached_decoding_equals_the_full_forward(model, name, cache):
    size, samples = PROMPTS[name]
    lay = layout(*samples)
    embeddings = prompt(lay)
    runner = Runner(model, gaze(size, 2))
    tokens, logits = runner.greedy(lay, embeddings, 8, cache=cache)
    torch.testing.assert_close(logits, runner.recompute(lay, embeddings, tokens), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_routing_matters(model):
    lay = layout(*PROMPTS["three images"][1])
    embeddings = prompt(lay)
    few = Runner(model, gaze((1, 2, 2), 1)).forward(lay, embeddings)
    all_of_them = Runner(model, gaze((1, 2, 2), 1000)).forward(lay, embeddings)
    assert (few - all_of_them).abs().max() > 1e-2


@torch.no_grad()
def test_context_tokens_equal_the_stock_model_under_the_matching_mask(model):
    lay = layout(sample(3, Image(4, 4, context=2), 2, Image(4, 4, context=2), 5))
    embeddings = prompt(lay)
    mask = reachable(lay.tokens, lay.tokens, gaze((1, 2, 2), 9).confined)
    dense = model(inputs_embeds=embeddings, attention_mask=mask).logits
    ours = Runner(model, gaze((1, 2, 2), 1000)).forward(lay, embeddings)
    torch.testing.assert_close(ours, dense, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scope", ["causal", "own_unit", "routed"])
@pytest.mark.parametrize("pieces", [[5, 9, 17], [1] * 12, [30]])
@torch.no_grad()
def test_prefill_in_pieces_equals_one_forward(scope, pieces):
    lay = layout(sample(2, Image(3, 4, context=1), 2, Image(4, 4, context=1), 5), sample(1, IMAGE, 3))
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), gaze((1, 2, 2), 2, visual_scope=scope))
    whole = runner.forward(lay, embeddings)
    cache = GazeCache(3)
    done, logits = 0, []
    for length in [*pieces, lay.length]:
        piece = embeddings[:, done : done + length]
        if piece.shape[1]:
            logits.append(runner.forward(lay, piece, start=done, cache=cache))
            done += piece.shape[1]
    real = lay.tokens.valid[:, 0]
    torch.testing.assert_close(torch.cat(logits, 1)[real], whole[real], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_batch_equals_its_samples_one_by_one():
    _, samples = PROMPTS["left-padded batch"]
    runner = Runner(decoder("qwen3"), gaze((1, 2, 2), 2))
    together = layout(*samples)
    tokens, logits = runner.greedy(together, prompt(together), 6)
    bank = prompt(together)
    for index, one in enumerate(samples):
        alone = layout(one)
        mine, my_logits = runner.greedy(alone, bank[index : index + 1, together.length - alone.length :], 6)
        assert torch.equal(mine[0], tokens[index])
        torch.testing.assert_close(my_logits[0], logits[index], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_decoding_reads_only_what_is_routed():
    lay = layout(sample(2, Image(4, 4, context=1), 3))
    embeddings = prompt(lay)
    model = decoder("qwen3")
    runner = Runner(model, gaze((1, 2, 2), 1))
    clean = GazeCache(3)
    runner.forward(lay, embeddings, cache=clean)
    poisoned = GazeCache(3)
    runner.forward(lay, embeddings, cache=poisoned)
    latest = model.get_input_embeddings()(torch.tensor([[5]]))
    with watch(model) as trace:
        expected = runner.forward(lay, latest, start=lay.length, cache=clean)
    for glance in trace.glances:
        entries = poisoned.layers[glance.layer].memory.store.entries()
        for kv_head in range(2):
            looked = glance.index[0, 2 * kv_head : 2 * kv_head + 2].flatten()
            owner = entries.tokens.owner[0, 0]
            unseen = (owner >= 0) & ~torch.isin(owner, looked)
            entries.key[0, kv_head, unseen] = float("nan")
            entries.value[0, kv_head, unseen] = float("nan")
    assert torch.equal(runner.forward(lay, latest, start=lay.length, cache=poisoned), expected)


@torch.no_grad()
def test_the_trace_says_what_was_attended():
    lay = layout(sample(2, Image(4, 4, context=3), 3), sample(4, Image(2, 4, context=3), 1))
    runner = Runner(decoder("qwen3"), gaze((1, 2, 2), 2))
    with watch(runner.model) as trace:
        runner.forward(lay, prompt(lay))
    assert trace.layers == [0, 1, 2]
    last = trace.glances[-1]
    assert last.attended[0, :, -1].tolist() == [[8, 3, 5]] * 4
    assert last.attended[1, :, last.position[1].argmax()].tolist() == [[8, 3, 5]] * 4
    assert last.position[0].tolist() == [0, 1, 21, 22, 23]
    assert (last.index[0, :, :2] == -1).all()


def test_gradient_checkpointing_changes_nothing():
    lay = layout(sample(2, IMAGE, 3), sample(1, Image(3, 3), 1, IMAGE, 3))
    embeddings = prompt(lay)
    gradients = []
    for checkpointing in (False, True):
        model = decoder("qwen3").train()
        if checkpointing:
            checkpointed(model)
        logits = Runner(model, gaze((1, 2, 2), 2)).forward(lay, embeddings)
        logits[lay.tokens.valid[:, 0]].square().mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    assert len(gradients[0]) > 10
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_openness_one_is_dense_and_zero_is_the_target():
    lay = layout(*PROMPTS["three images"][1])
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), gaze((1, 2, 3), 1))
    dense = Runner(decoder("qwen3"), gaze((1, 2, 3), 1000)).forward(lay, embeddings)
    assert torch.equal(runner.forward(lay, embeddings, openness=1.0), dense) or torch.allclose(
        runner.forward(lay, embeddings, openness=1.0), dense, atol=1e-5
    )
    assert torch.equal(runner.forward(lay, embeddings, openness=0.0), runner.forward(lay, embeddings))


@torch.no_grad()
def test_a_list_of_compositions_cycles_over_the_layers():
    lay = layout(*PROMPTS["one image"][1])
    runner = Runner(decoder("qwen3"), [gaze((1, 2, 2), 1), gaze((1, 4, 6), 1)])
    with watch(runner.model) as trace:
        runner.forward(lay, prompt(lay))
    assert [int(glance.attended[0, 0, -1, 0]) for glance in trace.glances] == [4, 24, 4]


@torch.no_grad()
def test_the_gather_backend_decodes():
    lay = layout(*PROMPTS["one image"][1])
    runner = Runner(decoder("qwen3"), gaze((1, 2, 2), 2, backend="auto"))
    cache = prepare_cache(DynamicCache(), runner.model.config)
    runner.forward(lay, prompt(lay), cache=cache)
    latest = runner.model.get_input_embeddings()(torch.tensor([[5]]))
    step = begin_pass(runner.model, lay, lay.length, lay.length + 1, past_key_values=cache)
    runner.model(inputs_embeds=latest, past_key_values=cache, gaze_pass=step)
    assert {type(backend) for backend in step.backends.values()} == {GatherBackend}
