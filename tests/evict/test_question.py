"""What the question looked at stays, and nothing else of the image."""

import pytest
import torch

from gazekit.contracts import Kind
from gazekit.evict import QuestionEviction
from gazekit.gaze import Gaze, GazeCache, evicting
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample


def attention_of_the_question(runner, lay, embeddings, layer, window):
    """Mass per KV head of every key, from the stock layer's own attention weights."""
    model = runner.model
    model.set_attn_implementation("eager")
    real = lay.tokens.valid[:, 0]
    out = model(
        inputs_embeds=embeddings,
        attention_mask=real.long(),
        position_ids=lay.tokens.order[:, 0].clamp_min(0),
        output_attentions=True,
    )
    model.set_attn_implementation("gaze")
    return out.attentions[layer][:, :, -window:].sum(2).unflatten(1, (2, 2)).sum(2)


@pytest.mark.parametrize("window", [None, 2])
@torch.no_grad()
def test_the_entries_with_most_attention_from_the_question_stay(window):
    lay = layout(sample(3, Image(4, 5), 4))
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), Gaze())
    cache = GazeCache(3)
    with evicting(runner.model, QuestionEviction(budget=6, window=window)):
        runner.forward(lay, embeddings, cache=cache)
    for layer in range(3):
        mass = attention_of_the_question(runner, lay, embeddings, layer, window or 4)
        visual = lay.kind[0] == Kind.VISUAL
        best = mass[0].masked_fill(~visual, -1).topk(6, dim=-1).indices.sort(-1).values
        entries = cache.layers[layer].memory.store.entries()
        for head in range(2):
            tokens = entries.tokens.take(torch.arange(entries.key.shape[2])[None, None].expand(1, 2, -1))
            kept = (tokens.kind[0, head] == Kind.VISUAL).nonzero()[:, 0]
            assert entries.position[0, head, kept].sort().values.tolist() == best[head].tolist()
            assert int((tokens.kind[0, head] == Kind.TEXT).sum()) == 7


@torch.no_grad()
def test_what_was_dropped_is_never_seen_again():
    lay = layout(sample(3, Image(4, 5), 4), sample(1, Image(3, 3), 2, Image(2, 2), 3))
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), Gaze())
    dense, evicted = GazeCache(3), GazeCache(3)
    runner.forward(lay, embeddings, cache=dense)
    with evicting(runner.model, QuestionEviction(budget=4)):
        first = runner.forward(lay, embeddings, cache=evicted)
    real = lay.tokens.valid[:, 0]
    torch.testing.assert_close(first[real], runner.forward(lay, embeddings)[real])
    token = runner.model.get_input_embeddings()(torch.tensor([[5], [6]]))
    for step in range(2):
        start = lay.length + step
        whole = runner.forward(lay, token, start=start, cache=dense)
        part = runner.forward(lay, token, start=start, cache=evicted)
        assert (whole - part).abs().max() > 1e-3
    for layer in evicted.layers:
        entries = layer.memory.store.entries()
        kind = entries.tokens.kind
        assert (kind == Kind.VISUAL).sum(-1).tolist() == [[4, 4], [4, 4]]
        assert (kind == Kind.TEXT).sum(-1).tolist() == [[9, 9], [8, 8]]


@torch.no_grad()
def test_a_budget_of_everything_changes_nothing():
    lay = layout(sample(3, Image(4, 5), 4))
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), Gaze())
    dense, evicted = GazeCache(3), GazeCache(3)
    runner.forward(lay, embeddings, cache=dense)
    with evicting(runner.model, QuestionEviction(budget=20)):
        runner.forward(lay, embeddings, cache=evicted)
    token = runner.model.get_input_embeddings()(torch.tensor([[5]]))
    outs = [runner.forward(lay, token, start=lay.length, cache=cache) for cache in (dense, evicted)]
    torch.testing.assert_close(*outs)


def test_bad_arguments():
    with pytest.raises(ValueError, match="budget must be at least 1 visual entry, got 0"):
        QuestionEviction(budget=0)
    with pytest.raises(ValueError, match="window must be at least 1 query, got 0; use None"):
        QuestionEviction(budget=1, window=0)
    with (
        pytest.raises(ValueError, match="model must have gaze for an eviction"),
        evicting(torch.nn.Linear(2, 2), QuestionEviction(budget=1)),
    ):
        pass
