import math
from dataclasses import replace

import pytest
import torch

from gazekit.contracts import Router
from gazekit.kernels import native, triton
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from tests.scenes import layout, unchecked, view


@pytest.fixture
def one_row():
    """Six regions, one row, two heads of one KV head."""
    prompt = layout("v1x6 t1")
    return view(prompt, GridPartition(size=(1, 1, 1))(prompt))


def scores_of(*heads):
    return torch.tensor([heads])[:, :, None]


def test_takes_the_highest_ascending(one_row):
    scores = scores_of([0.0, 5.0, 1.0, 4.0, 3.0, 2.0], [6.0, 5.0, 4.0, 3.0, 2.0, 7.0])
    index = TopKRouter(k=3)(scores, one_row).index
    assert index.tolist() == [[[[1, 3, 4]], [[0, 1, 5]]]]
    assert index.dtype == torch.int32


def test_ties_go_to_the_lowest_id(one_row):
    scores = scores_of([1.0, 2.0, 2.0, 1.0, 2.0, 2.0], [0.0, -0.0, 0.0, 0.0, 0.0, 0.0])
    assert TopKRouter(k=3)(scores, one_row).index.tolist() == [[[[1, 2, 4]], [[0, 1, 2]]]]


def test_a_group_chooses_by_the_mean_of_its_scores(one_row):
    scores = scores_of([9.0, 0.0, 5.0, 0.0, 0.0, 0.0], [-9.0, 1.0, 5.0, 3.0, 0.0, 0.0])
    assert TopKRouter(k=2, share="group")(scores, one_row).index.tolist() == [[[[2, 3]]]]


def test_a_group_may_choose_by_the_highest_of_its_scores(one_row):
    scores = scores_of([9.0, 0.0, 5.0, 0.0, 0.0, 0.0], [-9.0, 1.0, 5.0, 3.0, 0.0, 0.0])
    router = TopKRouter(k=2, share="group", pool="max")
    assert router(scores, one_row).index.tolist() == [[[[0, 2]]]]


def test_a_group_is_made_of_neighbouring_heads():
    prompt = layout("v1x4 t1")
    told = view(prompt, GridPartition(size=(1, 1, 1))(prompt), heads=4, kv_heads=2)
    scores = torch.eye(4)[None, :, None] * torch.tensor([4.0, 3.0, 2.0, 1.0])
    assert TopKRouter(k=1, share="group")(scores, told).index.tolist() == [[[[0]], [[2]]]]


class TestPerUnit:
    """Two images, a question between them and one behind; the second image has four regions."""

    def told(self, openness=0.0):
        prompt = layout("v1x2 t1 v1x4 t1")
        return view(prompt, GridPartition(size=(1, 1, 1))(prompt), heads=1, openness=openness)

    def chosen(self, openness=0.0, **more):
        scores = torch.tensor([1.0, 2.0, 9.0, 8.0, 7.0, 6.0]).expand(1, 1, 2, 6)
        index = TopKRouter(k=1, per="unit", **more)(scores, self.told(openness)).index[0, 0]
        return [row[row >= 0].tolist() for row in index]

    def test_every_unit_has_its_k(self):
        assert self.chosen() == [[1], [1, 2]]

    def test_opening_adds_to_every_unit(self):
        assert self.chosen(openness=0.5) == [[0, 1], [0, 1, 2, 3, 4]]

    def test_refuses_what_else_there_might_be(self):
        with unchecked(), pytest.raises(ValueError, match='per must be "all" or "unit"'):
            TopKRouter(k=1, per="frame")


def test_keeps_all_beyond_the_complete_regions(one_row):
    index = TopKRouter(k=9)(torch.randn(1, 2, 1, 6), one_row).index
    assert index.tolist() == [[[[0, 1, 2, 3, 4, 5]]] * 2]


def test_only_complete_regions_of_the_own_document():
    prompt = layout("t1 v1x2 t1 v1x2 t1 / v1x3 t1")
    told = view(prompt, GridPartition(size=(1, 1, 1))(prompt), heads=1)
    scores = torch.arange(7.0).expand(1, 1, 4, 7)
    index = TopKRouter(k=2)(scores, told).index[0, 0]
    assert index.tolist() == [[-1, -1], [0, 1], [2, 3], [5, 6]]


def test_a_score_of_minus_infinity_is_still_a_complete_region():
    prompt = layout("v1x2 t1 v1x2")
    told = view(prompt, GridPartition(size=(1, 1, 1))(prompt), heads=1)
    scores = torch.full((1, 1, 1, 4), -math.inf)
    assert TopKRouter(k=3)(scores, told).index.tolist() == [[[[0, 1, -1]]]]


@pytest.mark.parametrize("openness", [0.0, 0.01, 0.3, 0.5, 0.99])
def test_openness_adds_to_k_what_the_row_itself_has_left(openness):
    prompt = layout("v1x3 t1 v1x4 t1 v1x9 t1", "v1x1 t2")
    told = view(prompt, GridPartition(size=(1, 1, 1))(prompt), heads=1, openness=openness)
    selection = TopKRouter(k=4)(torch.randn(2, 1, 3, 16), told)
    kept = (selection.index >= 0).sum(-1)[:, 0].tolist()
    expected = [min(c, 4) + math.ceil(openness * max(c - 4, 0)) for c in (3, 7, 16)]
    assert kept == [expected, [1, 1, 0]]
    assert selection.index.shape[-1] == expected[-1]


def test_openness_of_one_is_dense(one_row):
    told = view(one_row.layout, one_row.regions, openness=1.0)
    assert TopKRouter(k=2)(torch.randn(1, 2, 1, 6), told) is None


def test_a_batch_keeps_what_its_samples_keep_alone():
    partition, router = GridPartition(size=(1, 1, 1)), TopKRouter(k=2)
    small, large = "v1x4 t2", "v5x8 t2"
    together = view(layout(small, large), partition(layout(small, large)), heads=1, openness=0.4)
    scores = torch.randn(2, 1, 2, 40)
    batch = router(scores, together).index
    alone = view(layout(small), partition(layout(small)), heads=1, openness=0.4)
    single = router(scores[:1, ..., :4], alone).index
    assert torch.equal(batch[:1, ..., : single.shape[-1]], single)
    assert (batch[:1, ..., single.shape[-1] :] == -1).all()


def test_rows_that_are_not_there_choose_nothing():
    prompt = layout("v1x2 t3", "v1x2 t1")
    told = view(prompt, GridPartition(size=(1, 1, 1))(prompt), heads=1)
    index = TopKRouter(k=1)(torch.randn(2, 1, 3, 2), told).index
    assert (index[1, 0, 1:] == -1).all()
    assert (index[1, 0, 0] >= 0).all()


def test_no_regions_give_no_slots():
    prompt = layout("t3")
    told = view(prompt, GridPartition(size=(1, 1, 1))(prompt), heads=1)
    assert TopKRouter(k=2)(torch.zeros(1, 1, 3, 0), told).index.shape == (1, 1, 3, 0)


@pytest.mark.parametrize("k", [0, -3, 1.5])
def test_refuses_k_below_one(k):
    with (
        unchecked(),
        pytest.raises(ValueError, match=r"k must be at least 1, got .*; use Gaze\(route=None\)"),
    ):
        TopKRouter(k=k)


def test_refuses_unknown_sharing():
    with (
        unchecked(),
        pytest.raises(ValueError, match=r'share must be "head" .* or "layer" .*, got \'layers\''),
    ):
        TopKRouter(k=2, share="layers")


def test_refuses_to_route_without_scores(one_row):
    with pytest.raises(ValueError, match="TopKRouter needs scores, got none; set pool"):
        TopKRouter(k=2)(None, one_row)


def test_it_is_a_router():
    assert isinstance(TopKRouter(k=1), Router)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_chooses_as_a_stable_sort_would(dtype, k):
    prompt = layout("v3x3 t200")
    told = view(prompt, GridPartition(size=(1, 1, 1))(prompt))
    values = torch.tensor(
        [-math.inf, -1e38, -1.0, -1e-40, -0.0, 0.0, 1e-45, 1.0, 1.0 + 2**-23, 3e38, math.inf]
    )
    drawn = torch.randint(len(values), (1, 2, 200, 9), generator=torch.Generator().manual_seed(k))
    scores = values[drawn].to(dtype)
    expected = scores.sort(dim=-1, descending=True, stable=True).indices[..., :k].sort(dim=-1).values
    assert torch.equal(TopKRouter(k=k)(scores, told).index.long(), expected)


def test_fp64_scores_that_fp32_cannot_tell_apart_are_told_apart(one_row):
    scores = 1.0 + 2.0**-40 * torch.arange(6, dtype=torch.float64).expand(1, 2, 1, 6)
    assert TopKRouter(k=2)(scores, one_row).index.tolist() == [[[[4, 5]], [[4, 5]]]]


@pytest.mark.parametrize("openness", [0.0, 0.4])
@pytest.mark.parametrize("share", ["head", "group", "layer"])
@pytest.mark.parametrize("level", ["", "portable"])
def test_the_native_kernel_chooses_the_same_ties_included(level, share, openness, monkeypatch, native_kernel):
    monkeypatch.setenv("GAZEKIT_NATIVE_LEVEL", level)
    native.build()
    native.forget()
    prompt = layout("v2x3 t1 v1x4 t1", "v1x2 t2")
    told = view(prompt, GridPartition(size=(1, 1, 1))(prompt), heads=4, kv_heads=2, openness=openness)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 4, *told.complete.shape[1:], generator=generator).round()
    used, select = [], native.select
    monkeypatch.setattr(native, "select", lambda *given: used.append(given) or select(*given))
    found = TopKRouter(k=3, share=share)(scores, told).index
    assert used
    monkeypatch.setattr(native, "serves", lambda *tensors: False)
    expected = TopKRouter(k=3, share=share)(scores, told).index
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    assert (found == -1).any()


@pytest.mark.parametrize("share", ["head", "group"])
def test_the_kernel_chooses_the_same(share, monkeypatch, triton_kernels):
    prompt = layout("v2x3 t1", "v1x2 t2")
    told = view(prompt, GridPartition(size=(1, 1, 1))(prompt), heads=4, kv_heads=2)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scores = torch.randn(2, 4, *told.complete.shape[1:], generator=torch.Generator().manual_seed(0)).round()
    expected = TopKRouter(k=3, share=share)(scores, told).index
    monkeypatch.setattr(triton, "serves", lambda *fields: True)
    told = replace(told, complete=told.complete.to(device))
    found = TopKRouter(k=3, share=share)(scores.to(device), told).index.cpu()
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    assert (found == -1).any()
