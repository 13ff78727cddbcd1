"""What routers around routers do: always on, reused, two levels, a map."""

from dataclasses import replace

import pytest
import torch

from gazekit.contracts import Router, Selection
from gazekit.gaze import Gaze, watch
from gazekit.partition import GridPartition, RunPartition
from gazekit.route import AlwaysRouter, PriorRouter, RandomRouter, ReuseRouter, TopKRouter, TwoLevelRouter
from tests.gaze.tiny import Image, Runner, decoder, prompt, sample
from tests.gaze.tiny import layout as tiny_layout
from tests.scenes import layout, unchecked, view

CELLS = GridPartition(size=(1, 1, 1))


def looking(text, partition=CELLS, **told):
    prompt = layout(text)
    return view(prompt, partition(prompt), heads=1, **told)


def scores_of(*values):
    return torch.tensor(values, dtype=torch.float32)[None, None, None]


class TestAlways:
    def test_first_and_latest_regions_are_on_beside_the_inner_choice(self):
        index = AlwaysRouter(inner=TopKRouter(k=2), own=False, first=1, latest=2)(
            scores_of(9, 5, 6, 1, 8, 7), looking("v1x6 t1")
        ).index
        assert index.tolist() == [[[[0, 1, 2, 4, 5]]]]

    def test_the_own_region_is_on_where_it_is_complete(self):
        told = looking("t6", RunPartition(length=2))
        index = AlwaysRouter(inner=TopKRouter(k=1))(scores_of(3, 2, 1).expand(1, 1, 6, 3), told).index
        assert index[0, 0].tolist() == [[-1, -1], [0, -1], [0, -1], [0, 1], [0, -1], [0, 2]]

    def test_latest_counts_back_from_the_row(self):
        index = AlwaysRouter(own=False, latest=1)(None, looking("v1x2 t1 v1x2 t1")).index
        assert index[0, 0].tolist() == [[1], [3]]

    def test_latest_ones_are_besides_the_own_region_up_to_its_last_token(self):
        told = looking("t6", RunPartition(length=2))
        index = AlwaysRouter(own=True, latest=1)(None, told).index[0, 0]
        assert [sorted(i for i in row if i >= 0) for row in index.tolist()] == [
            [],
            [0],
            [0],
            [0, 1],
            [1],
            [1, 2],
        ]

    @pytest.mark.parametrize(("openness", "expected"), [(0.0, [0]), (0.3, [0, 4, 5]), (0.5, [0, 3, 4, 5])])
    def test_alone_it_opens_backwards(self, openness, expected):
        told = looking("v1x6 t1", openness=openness)
        index = AlwaysRouter(own=False, first=1)(None, told).index[0, 0, 0]
        assert index[index >= 0].tolist() == expected

    def test_with_random_regions_it_is_bigbird(self):
        index = AlwaysRouter(inner=RandomRouter(k=2), own=False, first=1)(None, looking("v1x6 t9")).index
        assert (index >= 0).sum(-1).unique().tolist() == [3]
        assert (index[..., 0] == 0).all()

    def test_refuses_nothing_always_on_and_negative_numbers(self):
        with pytest.raises(ValueError, match="AlwaysRouter must have something always on"):
            AlwaysRouter(inner=TopKRouter(k=1), own=False)
        with pytest.raises(ValueError, match="latest must be at least 0, got -1"):
            AlwaysRouter(latest=-1)


class TestTwoLevel:
    def router(self, **more):
        return TwoLevelRouter(coarse=GridPartition(size=(1, 1, 3)), coarse_k=1, inner=TopKRouter(k=2), **more)

    def test_chooses_within_the_best_coarse_region(self):
        scores = scores_of(9, 0, 0, 4, 4, 4)
        assert self.router()(scores, looking("v1x6 t1")).index.tolist() == [[[[3, 4]]]]
        assert self.router(summary="max")(scores, looking("v1x6 t1")).index.tolist() == [[[[0, 1]]]]

    def test_a_mean_weighs_regions_by_their_tokens(self):
        told = looking("v1x14 t1", GridPartition(size=(1, 1, 4)))
        router = TwoLevelRouter(coarse=GridPartition(size=(1, 1, 8)), coarse_k=1, inner=TopKRouter(k=1))
        # The last region has two tokens: (4 * 4 + 2 * 1.5) / 6 is above 3, and (4 + 1.5) / 2 is not.
        assert router(scores_of(3.0, 3.0, 4.0, 1.5), told).index.tolist() == [[[[2]]]]

    def test_what_lies_in_an_open_coarse_region_stays_a_candidate(self):
        told = looking("v1x3 t1 +1x3 t1")
        router = TwoLevelRouter(coarse=GridPartition(size=(2, 1, 3)), coarse_k=1, inner=TopKRouter(k=1))
        index = router(scores_of(1, 2, 3, 0, 0, 4).expand(1, 1, 2, 6), told).index
        assert index[0, 0].tolist() == [[2], [5]]

    def test_heads_of_a_group_go_into_the_same_coarse_region(self):
        prompt = layout("v1x6 t1")
        told = view(prompt, CELLS(prompt), heads=2)
        scores = torch.tensor([[9.0, 9, 9, 0, 0, 0], [0.0, 0, 0, 5, 5, 5]])[None, :, None]
        each = self.router()(scores, told).index
        assert each.tolist() == [[[[0, 1]], [[3, 4]]]]
        shared = replace(self.router(share="group"), inner=TopKRouter(k=2, share="group"))
        assert shared(scores, told).index.tolist() == [[[[0, 1]]]]

    def test_opening_adds_the_best_of_the_others(self):
        told = looking("v1x6 t1", openness=0.5)
        index = self.router()(scores_of(9, 0, 1, 4, 4, 4), told).index[0, 0, 0]
        assert index[index >= 0].tolist() == [0, 3, 4, 5]

    def test_refuses_coarse_regions_that_cut_fine_ones(self):
        told = looking("v1x6 t1", GridPartition(size=(1, 1, 2)))
        with pytest.raises(ValueError, match="coarse must not cut regions of the composition's partition"):
            self.router()(scores_of(1, 2, 3), told)

    def test_refuses_what_it_cannot_do(self):
        with pytest.raises(ValueError, match="TwoLevelRouter needs scores, got none"):
            self.router()(None, looking("v1x6 t1"))
        with pytest.raises(ValueError, match="coarse_k must be at least 1, got 0"):
            TwoLevelRouter(coarse=CELLS, coarse_k=0, inner=TopKRouter(k=1))
        with unchecked(), pytest.raises(ValueError, match='summary must be "mean" or "max"'):
            self.router(summary="sum")


class TestReuse:
    def test_takes_what_the_layer_before_chose(self):
        router, scores = ReuseRouter(inner=TopKRouter(k=1), every=3), scores_of(1, 2)
        told = looking("v1x2 t1", layer=3)
        assert router(scores, told).index.tolist() == [[[[1]]]]
        earlier = Selection(torch.zeros(1, 1, 1, 1, dtype=torch.int32))
        assert router(scores, replace(told, layer=5, earlier={3: earlier})) is earlier
        assert router(scores, replace(told, layer=4, earlier={3: None})) is None

    def gazes(self, *sizes):
        return [
            Gaze(partition=GridPartition(size=s), route=ReuseRouter(inner=TopKRouter(k=2), every=2))
            for s in sizes
        ]

    @torch.no_grad()
    def test_in_a_model_layers_between_look_at_the_same(self):
        lay = tiny_layout(sample(3, Image(4, 6), 4))
        runner = Runner(decoder("qwen3"), self.gazes((1, 2, 2)))
        with watch(runner.model) as trace:
            runner.forward(lay, prompt(lay))
        first, second, third = (glance.index for glance in trace.glances)
        assert torch.equal(first, second)
        assert not torch.equal(first, third)

    @torch.no_grad()
    def test_refuses_layers_with_other_regions(self):
        lay = tiny_layout(sample(3, Image(4, 6), 4))
        runner = Runner(decoder("qwen3"), self.gazes((1, 2, 2), (1, 4, 6)))
        with pytest.raises(
            ValueError, match=r"layer 1 reuses what layer 0 chose, but .* give layers 0 to 1 the same"
        ):
            runner.forward(lay, prompt(lay))

    @torch.no_grad()
    def test_while_the_source_is_dense_the_others_are(self):
        lay = tiny_layout(sample(3, Image(4, 6), 4))
        embeddings = prompt(lay)
        runner = Runner(decoder("qwen3"), self.gazes((1, 2, 2)))
        open_source = runner.forward(lay, embeddings, openness=(1.0, 0.0, 1.0))
        dense = runner.forward(lay, embeddings, openness=1.0)
        torch.testing.assert_close(open_source, dense, atol=1e-5, rtol=1e-5)
        with pytest.raises(
            ValueError, match="openness must be one number or one for each of the 3 layers, got 2"
        ):
            runner.forward(lay, embeddings, openness=(1.0, 0.0))

    def test_refuses_to_reuse_nothing(self):
        with pytest.raises(ValueError, match="every must be at least 2, got 1"):
            ReuseRouter(inner=TopKRouter(k=1), every=1)


class TestPrior:
    def told(self, **more):
        told = looking("t1 v1x6 t1", GridPartition(size=(1, 1, 2)), start=7)
        prior = torch.tensor([[0.0, 0, 0, 1, 3, 0, 0, 0]])
        return replace(told, layout=replace(told.layout, prior=prior), **more)

    def test_a_map_moves_the_choice_by_its_mean_in_logits(self):
        scores = scores_of(5, 2, 0)
        for weight, chosen in ((0.7, 0), (0.8, 1)):
            router = PriorRouter(inner=TopKRouter(k=1), weight=weight)
            assert router(scores, self.told(scale=0.5)).index.tolist() == [[[[chosen]]]]

    def test_without_scores_the_map_decides(self):
        assert PriorRouter(inner=TopKRouter(k=1))(None, self.told()).index.tolist() == [[[[1]]]]

    def test_refuses_a_layout_without_a_map(self):
        with pytest.raises(
            ValueError, match=r"layout.prior must hold a map .* with gazekit.prior.with_prior"
        ):
            PriorRouter(inner=TopKRouter(k=1))(None, looking("v1x2 t1"))


def test_they_are_routers():
    inner = TopKRouter(k=1)
    for router in (AlwaysRouter(), ReuseRouter(inner=inner, every=2), PriorRouter(inner=inner)):
        assert isinstance(router, Router)
