import pytest
import torch

from gazekit.contracts import Kind, Partitioner, complete_regions
from gazekit.gaze import Gaze, GazeCache
from gazekit.partition import GridPartition, RunPartition, TokenPartition
from gazekit.route import AlwaysRouter, TopKRouter
from tests.gaze.tiny import Image, Runner, decoder, prompt, sample
from tests.gaze.tiny import layout as tiny_layout
from tests.scenes import layout, rows, unchecked

TEXT = frozenset({Kind.TEXT})


def test_runs_go_on_through_text_and_images_and_start_anew_in_a_document():
    regions = RunPartition(length=3)(layout("t2 v1x3 t2 / t4"))
    assert regions.owner.tolist() == [[0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4]]
    assert regions.document.tolist() == [[0, 0, 0, 1, 1]]


def test_a_run_that_is_not_full_is_open_to_all():
    prompt = layout("t2 v1x3 t2 / t4")
    regions = RunPartition(length=3)(prompt)
    complete = complete_regions(rows(prompt, regions), regions)[0]
    assert complete[3].tolist() == [True, True, False, False, False]
    assert complete[7].tolist() == [False, False, False, True, False]
    assert not complete[:, [2, 4]].any()


def test_a_full_run_at_the_end_is_complete():
    prompt = layout("t6")
    regions = RunPartition(length=3)(prompt)
    assert complete_regions(rows(prompt, regions), regions)[0, -1].tolist() == [True, True]


def test_other_kinds_are_skipped_and_padding_between_tokens_changes_nothing():
    regions = RunPartition(length=2, kinds=TEXT)(layout("t1 v1x2 t2 p3 t1"))
    assert regions.owner.tolist() == [[0, -1, -1, 0, 1, -1, -1, -1, 1]]
    assert regions.last.tolist() == [[3, 5]]


def test_runs_of_visual_tokens_end_with_their_clip():
    regions = RunPartition(length=3, kinds=frozenset({Kind.VISUAL}))(layout("v1x4 t1 v1x2 +1x2 t1"))
    assert regions.owner.tolist() == [[0, 0, 0, 1, -1, 2, 2, 2, 3, -1]]
    assert regions.last.tolist() == [[2, 3, 7, 8]]


def test_tokens_are_regions_of_their_own():
    regions = TokenPartition()(layout("t1 v1x2 t1", "t2", left=True))
    assert regions.owner.tolist() == [[0, 1, 2, 3], [-1, -1, 0, 1]]
    assert TokenPartition(kinds=TEXT)(layout("t1 v1x2 t1")).owner.tolist() == [[0, -1, -1, 1]]


def test_as_rows_they_make_blocks_of_queries():
    block = RunPartition(length=2, kinds=TEXT)(layout("v1x2 t3")).owner
    assert block.tolist() == [[-1, -1, 0, 0, 1]]


@pytest.mark.parametrize("partition", [RunPartition(length=4), TokenPartition()], ids=str)
@torch.no_grad()
def test_decoding_and_prefill_in_pieces_equal_one_forward(partition):
    gaze = Gaze(partition=partition, route=AlwaysRouter(inner=TopKRouter(k=2)), visual_scope="routed")
    lay = tiny_layout(sample(3, Image(3, 4), 6), sample(5))
    embeddings = prompt(lay)
    runner = Runner(decoder("qwen3"), gaze)
    tokens, logits = runner.greedy(lay, embeddings, 10)
    torch.testing.assert_close(logits, runner.recompute(lay, embeddings, tokens), atol=1e-5, rtol=1e-5)
    cache, done, pieces = GazeCache(3), 0, []
    for length in (5, 1, 6, lay.length - 12):
        pieces.append(runner.forward(lay, embeddings[:, done : done + length], start=done, cache=cache))
        done += length
    real = lay.tokens.valid[:, 0]
    whole = runner.forward(lay, embeddings)
    torch.testing.assert_close(torch.cat(pieces, 1)[real], whole[real], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_all_runs_equal_the_stock_model():
    lay = tiny_layout(sample(3, Image(3, 4), 6))
    embeddings, model = prompt(lay), decoder("qwen3")
    dense = model(inputs_embeds=embeddings).logits
    ours = Runner(model, Gaze(partition=RunPartition(length=4), route=TopKRouter(k=99))).forward(
        lay, embeddings
    )
    torch.testing.assert_close(ours, dense, atol=1e-5, rtol=1e-5)


def test_they_are_partitioners_and_can_be_keys():
    assert isinstance(RunPartition(length=2), Partitioner)
    assert isinstance(TokenPartition(), Partitioner)
    with unchecked():
        listed = RunPartition(length=2, kinds=[Kind.TEXT])
    assert {listed: 1}[RunPartition(length=2, kinds=TEXT)] == 1


@pytest.mark.parametrize("length", [0, -1, 1.5])
def test_refuses_runs_without_length(length):
    with (
        unchecked(),
        pytest.raises(ValueError, match="length must be a whole number of at least 1 token, got"),
    ):
        RunPartition(length=length)


@pytest.mark.parametrize("kinds", [frozenset(), frozenset({Kind.PAD, Kind.TEXT})])
def test_refuses_kinds_that_are_none(kinds):
    for make in (lambda: RunPartition(length=2, kinds=kinds), lambda: TokenPartition(kinds=kinds)):
        with pytest.raises(ValueError, match="kinds must be some of text, visual and context, got"):
            make()


def test_a_shifted_grid_begins_with_a_smaller_cell():
    regions = GridPartition(size=(1, 2, 3), shift=(0, 1, 2))(layout("v3x6"))
    assert regions.owner.view(3, 6).tolist() == [
        [0, 0, 1, 1, 1, 2],
        [3, 3, 4, 4, 4, 5],
        [3, 3, 4, 4, 4, 5],
    ]


def test_a_shift_in_time_and_cells_over_a_whole_video():
    video = layout("v1x1 t1 +1x1 +1x1 v1x1")
    assert GridPartition(size=(2, 1, 1), shift=(1, 0, 0))(video).owner.tolist() == [[0, -1, 1, 1, 2]]
    assert GridPartition(size=(99, 1, 1))(video).owner.tolist() == [[0, -1, 0, 0, 1]]


@pytest.mark.parametrize("shift", [(0, 2, 0), (0, -1, 0), (0, 1), (0, 0.5, 0)])
def test_refuses_shifts_of_a_whole_cell_or_none(shift):
    with (
        unchecked(),
        pytest.raises(ValueError, match=r"shift must be three whole numbers .* below size \(1, 2, 2\)"),
    ):
        GridPartition(size=(1, 2, 2), shift=shift)
