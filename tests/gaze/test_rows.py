"""Queries that choose in blocks."""

import pytest
import torch

from gazekit.contracts import Kind, complete_regions
from gazekit.gaze import Gaze, GazeCache, watch
from gazekit.gaze.forward import rows_of
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from tests.gaze.runs import Runs
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample

TEXT = frozenset({Kind.TEXT})
GRID = GridPartition(size=(1, 2, 2))


def blocks(size: int, k: int = 2, **more) -> Gaze:
    return Gaze(partition=GRID, route=TopKRouter(k=k), rows=Runs(size=size, kinds=TEXT), **more)


@pytest.fixture
def lay():
    return layout(sample(3, Image(4, 4, context=1), 6, Image(2, 4), 5), sample(2, Image(4, 4), 4))


def test_a_block_is_one_row_at_its_first_query():
    lay = layout(sample(3, Image(2, 2), 4), sample(1, Image(2, 2), 2))
    block = Runs(size=2, kinds=TEXT)(lay).owner
    rows = rows_of(lay.tokens, lay.kind == Kind.TEXT, block)
    assert rows.of.tolist() == [[0, 0, 1, -1, -1, -1, -1, 1, 2, 2, 3], [-1] * 4 + [0, -1, -1, -1, -1, 0, 1]]
    assert rows.query.tolist() == [[0, 2, 8, 10], [4, 10, -1, -1]]
    assert rows.first.tolist() == [[0, 2, 8, 10], [0, 6, -1, -1]]
    assert rows.document.tolist() == [[0, 0, 0, 0], [0, 0, -1, -1]]
    assert rows.blocks
    # The second row of the first sample begins before the image, so that it may not choose among its regions.
    complete = complete_regions(rows, GRID(lay))
    assert complete[..., 0].tolist() == [[False, False, True, True], [False, True, False, False]]


def test_a_query_of_no_block_is_a_row_of_its_own():
    lay = layout(sample(4))
    block = torch.tensor([[-1, 0, -1, 0]])
    rows = rows_of(lay.tokens, torch.tensor([[True, True, True, True]]), block)
    assert (rows.of.tolist(), rows.query.tolist()) == ([[0, 1, 2, 1]], [[0, 1, 2]])
    alone = rows_of(lay.tokens, torch.tensor([[True, False, True, True]]))
    assert (alone.of.tolist(), alone.query.tolist(), alone.blocks) == ([[0, -1, 1, 2]], [[0, 2, 3]], False)


def test_the_mean_of_a_block_is_that_of_its_queries_also_in_chunks():
    lay = layout(sample(3, Image(2, 2), 4), sample(1, Image(2, 2), 2))
    rows = rows_of(lay.tokens, lay.kind == Kind.TEXT, Runs(size=2, kinds=TEXT)(lay).owner)
    query = torch.randn(2, 4, lay.length, 3)
    query[1, :, :4] = torch.nan
    expected = torch.stack(
        [query[0, :, [0, 1]].mean(1), query[0, :, [2, 7]].mean(1), query[0, :, [8, 9]].mean(1)], 1
    )
    torch.testing.assert_close(rows.mean(query)[0, :, :3], expected)
    torch.testing.assert_close(rows.mean(query)[1, :, 0], query[1, :, [4, 9]].mean(1))
    torch.testing.assert_close(rows.narrow(1, 3).mean(query)[0], expected[:, 1:3])
    assert rows.mean(query.bfloat16()).dtype == torch.float32


@torch.no_grad()
def test_a_block_looks_at_the_same_regions_and_all_of_them_are_dense(lay):
    embeddings = prompt(lay)
    model = decoder("qwen3")
    dense = Runner(model, Gaze()).forward(lay, embeddings)
    real = lay.tokens.valid[:, 0]
    everything = Runner(model, blocks(3, k=99)).forward(lay, embeddings)
    torch.testing.assert_close(everything[real], dense[real], atol=1e-5, rtol=1e-5)
    runner = Runner(model, blocks(3, k=1))
    with watch(model) as trace:
        chosen = runner.forward(lay, embeddings)
    assert (chosen - everything)[real].abs().max() > 1e-2
    assert trace.glances[0].position.tolist() == [[0, 20, 23, 34, 37], [17, 36, -1, -1, -1]]


@torch.no_grad()
def test_blocks_of_one_are_queries(lay):
    embeddings = prompt(lay)
    model = decoder("qwen3")
    alone = Runner(model, Gaze(partition=GRID, route=TopKRouter(k=1))).forward(lay, embeddings)
    real = lay.tokens.valid[:, 0]
    torch.testing.assert_close(Runner(model, blocks(1, k=1)).forward(lay, embeddings)[real], alone[real])


@torch.no_grad()
def test_pieces_that_end_with_blocks_equal_one_forward_and_decoding_routes_alone():
    # Text blocks of 4: [0, 4), the image, [20, 24), [24, 28), [28, 30).
    lay = layout(sample(4, Image(4, 4), 10))
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), blocks(4, k=1))
    whole = runner.forward(lay, embeddings)
    cache, logits = GazeCache(3), []
    for start, stop in ((0, 20), (20, 24), (24, 30)):
        logits.append(runner.forward(lay, embeddings[:, start:stop], start=start, cache=cache))
    torch.testing.assert_close(torch.cat(logits, 1), whole, atol=1e-5, rtol=1e-5)
    token = runner.model.get_input_embeddings()(torch.tensor([[5]]))
    decoded = runner.forward(lay, token, start=30, cache=cache)
    again = GazeCache(3)
    runner.forward(lay, embeddings, cache=again)
    queries = Runner(runner.model, Gaze(partition=GRID, route=TopKRouter(k=1)))
    torch.testing.assert_close(
        queries.forward(lay, token, start=30, cache=again), decoded, atol=1e-5, rtol=1e-5
    )
