"""Regions over text, which grow while decoding: every step equals one forward over the whole."""

import pytest
import torch

from gazekit.contracts import Kind
from gazekit.gaze import Gaze, GazeCache, watch
from gazekit.route import TopKRouter
from tests.gaze.poolers import HiddenPooler
from tests.gaze.runs import Runs
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample

TEXT = frozenset({Kind.TEXT})
PROMPTS = {
    "text alone": [sample(9)],
    "left-padded batch": [
        sample(2, Image(3, 4, context=1), 5),
        sample(3),
        sample(1, Image(2, 3), 2, Image(2, 2), 3),
    ],
}


def gaze(size: int = 4, k: int = 1, **more) -> Gaze:
    kinds = more.pop("kinds", frozenset({Kind.TEXT, Kind.VISUAL, Kind.CONTEXT}))
    return Gaze(partition=Runs(size=size, kinds=kinds), route=TopKRouter(k=k), visual_scope="routed", **more)


def test_a_run_is_complete_when_it_is_full_and_ids_never_change():
    lay = layout(sample(6), sample(3))
    runs = Runs(size=4)
    regions = runs(lay)
    far = torch.iinfo(torch.int32).max
    assert regions.last.tolist() == [[3, far], [far, far]]
    assert regions.first.tolist() == [[0, 4], [0, far]]
    assert regions.size.tolist() == [[4, 2], [3, 0]]
    longer = runs(lay.extended(8))
    assert longer.last.tolist() == [[3, 7], [3, far]]
    assert torch.equal(longer.owner[:, : lay.length], regions.owner)


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("pool", [None, HiddenPooler()])
@torch.no_grad()
def test_decoding_equals_one_forward(name, pool):
    lay = layout(*PROMPTS[name])
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), gaze(**({} if pool is None else {"pool": pool})))
    cache = GazeCache(3)
    logits = [runner.forward(lay, embeddings, cache=cache)[:, -1]]
    described = [cache.layers[0].memory.described[0].count]
    tokens = [logits[-1].argmax(-1)]
    for step in range(9):
        latest = runner.model.get_input_embeddings()(tokens[-1])[:, None]
        logits.append(runner.forward(lay, latest, start=lay.length + step, cache=cache)[:, -1])
        tokens.append(logits[-1].argmax(-1))
        described.append(cache.layers[0].memory.described[0].count)
    assert described[-1] == described[0] + 2 or described[-1] == described[0] + 3
    whole = runner.recompute(lay, embeddings, torch.stack(tokens, 1))
    torch.testing.assert_close(torch.stack(logits, 1), whole, atol=1e-5, rtol=1e-5)
    dense = Runner(runner.model, Gaze()).recompute(lay, embeddings, torch.stack(tokens, 1))
    assert (dense - whole).abs().max() > 1e-2
    everything = Runner(runner.model, gaze(k=99)).recompute(lay, embeddings, torch.stack(tokens, 1))
    torch.testing.assert_close(everything, dense, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_run_that_fills_while_decoding_is_chosen_from_then_on():
    lay = layout(sample(6))
    runner = Runner(decoder("qwen3"), gaze(k=3))
    cache = GazeCache(3)
    runner.forward(lay, prompt(lay), cache=cache)
    token = runner.model.get_input_embeddings()(torch.tensor([[5]]))
    seen = []
    for step in range(6, 14):
        with watch(runner.model) as trace:
            runner.forward(lay, token, start=step, cache=cache)
        seen.append(set(trace.glances[0].index.flatten().tolist()) - {-1})
    # The second run is full with token 7, the third with token 11.
    assert seen == [{0}, *[{0, 1}] * 4, *[{0, 1, 2}] * 3]


@pytest.mark.parametrize("pieces", [[3, 5, 2], [1] * 19])
@torch.no_grad()
def test_pieces_equal_one_forward(pieces):
    lay = layout(*PROMPTS["left-padded batch"])
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), gaze(size=3))
    whole = runner.forward(lay, embeddings)
    cache, done, logits = GazeCache(3), 0, []
    for length in [*pieces, lay.length]:
        piece = embeddings[:, done : done + length]
        if piece.shape[1]:
            logits.append(runner.forward(lay, piece, start=done, cache=cache))
            done += piece.shape[1]
    real = lay.tokens.valid[:, 0]
    torch.testing.assert_close(torch.cat(logits, 1)[real], whole[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pool", [None, HiddenPooler()])
@torch.no_grad()
def test_beams_take_their_growing_runs_along(pool):
    lay = layout(*PROMPTS["left-padded batch"])
    beams = lay.reorder(torch.tensor([0, 0, 1, 1, 2, 2]))
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), gaze(size=3, **({} if pool is None else {"pool": pool})))
    embed = runner.model.get_input_embeddings()
    cache = GazeCache(3)
    runner.forward(lay, embeddings, cache=cache)
    cache.batch_repeat_interleave(2)
    torch.manual_seed(0)
    written = torch.empty(6, 0, dtype=torch.int64)
    for step in range(7):
        written = torch.cat([written, torch.randint(0, 97, (6, 1))], dim=1)
        got = runner.forward(beams, embed(written[:, -1:]), start=lay.length + step, cache=cache)
        expected = runner.forward(
            beams, torch.cat([embeddings.repeat_interleave(2, 0), embed(written)], dim=1)
        )
        torch.testing.assert_close(got[:, -1], expected[:, -1], atol=1e-5, rtol=1e-5)
        taken = torch.arange(0, 6, 2).repeat_interleave(2) + torch.randint(0, 2, (6,))
        cache.reorder_cache(taken)
        written = written[taken]


@torch.no_grad()
def test_a_stock_cache_decodes_the_same():
    lay = layout(*PROMPTS["left-padded batch"])
    runner = Runner(decoder("qwen3"), gaze(size=3))
    tokens, logits = runner.greedy(lay, prompt(lay), 7, cache="dynamic")
    torch.testing.assert_close(logits, runner.recompute(lay, prompt(lay), tokens), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_text_alone_may_be_divided():
    lay = layout(*PROMPTS["left-padded batch"])
    runner = Runner(decoder("qwen3"), gaze(size=2, kinds=TEXT))
    tokens, logits = runner.greedy(lay, prompt(lay), 7)
    torch.testing.assert_close(logits, runner.recompute(lay, prompt(lay), tokens), atol=1e-5, rtol=1e-5)
