import pytest
import torch

from gazekit.contracts import Kind, Partitioner
from gazekit.partition import GridPartition
from tests.scenes import layout, unchecked


def test_numbers_cells_row_by_row_and_leaves_the_rest_out():
    regions = GridPartition(size=(1, 2, 2))(layout("t2 v4x4 c1 t1"))
    expected = [-1, -1, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3, -1, -1]
    assert regions.owner.tolist() == [expected]
    assert regions.size.tolist() == [[4, 4, 4, 4]]
    assert regions.last.tolist() == [[7, 9, 15, 17]]


def test_ragged_edges_are_smaller_cells():
    regions = GridPartition(size=(1, 2, 2))(layout("v3x5"))
    assert regions.owner.view(3, 5).tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    assert regions.size.tolist() == [[4, 4, 2, 2, 2, 1]]
    assert regions.box[0, 5].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_size_larger_than_the_grid_gives_one_region():
    regions = GridPartition(size=(9, 9, 9))(layout("v3x5 t1"))
    assert regions.count == 1
    assert regions.size.tolist() == [[15]]


def test_cells_of_several_frames_run_by_time_then_rows_then_columns():
    regions = GridPartition(size=(2, 1, 2))(layout("v2x4 t1 +2x4 t1 +2x4"))
    frames = regions.owner[regions.owner >= 0].view(3, 2, 4)
    assert frames[0].tolist() == frames[1].tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]
    assert frames[2].tolist() == [[4, 4, 5, 5], [6, 6, 7, 7]]
    assert regions.unit.tolist() == [[0, 0, 0, 0, 2, 2, 2, 2]]


def test_two_dimensions_are_three_with_one_frame():
    prompt = layout("v4x6 t1 v3x3")
    assert torch.equal(
        GridPartition(size=(1, 2, 3))(prompt).owner, GridPartition(size=(5, 2, 3))(prompt).owner
    )


def test_clips_never_share_even_in_time():
    regions = GridPartition(size=(4, 9, 9))(layout("v2x2 v2x2 +2x2 t1 / v2x2"))
    assert regions.owner[regions.owner >= 0].tolist() == [0] * 4 + [1] * 8 + [2] * 4
    assert regions.document.tolist() == [[0, 0, 1]]
    assert regions.ordinal.tolist() == [[0, 1, 0]]


def test_samples_are_numbered_apart_and_padding_belongs_to_none():
    prompt = layout("t1 v2x2 t2", "v2x4 t1", "t3", left=True)
    regions = GridPartition(size=(1, 2, 2))(prompt)
    assert regions.owner[0].tolist() == [-1, -1, -1, 0, 0, 0, 0, -1, -1]
    assert regions.owner[1].tolist() == [0, 0, 1, 1, 0, 0, 1, 1, -1]
    assert regions.size.tolist() == [[4, 0], [4, 4], [0, 0]]


def test_ids_stay_when_tokens_follow():
    partition = GridPartition(size=(2, 2, 2))
    short, long = layout("v3x3 t1 +3x3 t2"), layout("v3x3 t1 +3x3 t2 +3x3 v4x4 / v2x2")
    assert torch.equal(partition(short).owner, partition(long).owner[:, : short.length])


def test_a_shift_is_as_long_as_the_first_cell():
    assert GridPartition(size=(1, 1, 3), shift=(0, 0, 1))(layout("v1x8")).owner.tolist() == [
        [0, 1, 1, 1, 2, 2, 2, 3]
    ]


def test_a_finer_grid_refines_a_coarser_one():
    prompt = layout("v5x7 t1 +5x7")
    fine, coarse = (GridPartition(size=size)(prompt).owner[0] for size in ((1, 1, 2), (2, 2, 4)))
    for region in range(int(fine.max()) + 1):
        assert len(set(coarse[fine == region].tolist())) == 1


def test_no_visual_token_gives_no_region():
    regions = GridPartition(size=(1, 2, 2))(layout("t3", "t5"))
    assert regions.count == 0
    assert regions.owner.tolist() == [[-1] * 5] * 2


def test_ids_follow_first_members_where_tokens_are_not_in_raster_order():
    prompt = layout("v2x2")
    flipped = prompt.place.flip(1)
    prompt = type(prompt)(tokens=prompt.tokens, clip=prompt.clip, place=flipped)
    assert GridPartition(size=(1, 1, 2))(prompt).owner.tolist() == [[0, 0, 1, 1]]


def test_it_is_a_partitioner_of_visual_tokens():
    partition = GridPartition(size=(1, 6, 6))
    assert isinstance(partition, Partitioner)
    assert partition.kinds == {Kind.VISUAL}


def test_a_list_will_do_as_size_and_it_can_be_a_key():
    with unchecked():
        partition = GridPartition(size=[1, 6, 6])
    assert partition == GridPartition()
    assert hash(partition) == hash(GridPartition())


@pytest.mark.parametrize("size", [(6, 6), (1, 0, 6), (1, 6, 6, 1), (1, 2.5, 2), (1, -2, 2), ()])
def test_refuses_sizes_that_are_not_three_counts(size):
    with (
        unchecked(),
        pytest.raises(
            ValueError, match=r"size must be three whole numbers \(t, y, x\) of at least 1 token, got"
        ),
    ):
        GridPartition(size=size)


def test_refuses_visual_tokens_without_a_place():
    prompt = layout("t1 v2x2")
    prompt = type(prompt)(tokens=prompt.tokens, clip=prompt.clip, place=torch.full_like(prompt.place, -1))
    with pytest.raises(
        ValueError, match=r"layout.place must be \(t, y, x\) of at least 0 for every visual token"
    ):
        GridPartition(size=(1, 2, 2))(prompt)
