"""Ways to look with one model's weights, and back; regions within a budget."""

import pytest
import torch

from gazekit import AlwaysRouter, Gaze, GridPartition, NucleusRouter, RandomRouter, TopKRouter
from gazekit.combine import SumCombine
from gazekit.evaluate import Plan, Responder, evaluate
from gazekit.evaluate.benchmarks import TASKS
from gazekit.evaluate.harness import question_of
from gazekit.evaluate.provenance import fingerprint, versions
from gazekit.evaluate.systems import dense, gazes_of, k_within, limited, looking, random, regions_taken
from gazekit.evict import QuestionEviction
from gazekit.gaze import compositions
from gazekit.models.retrofit import apply_gaze
from tests.evaluate.asking import ROWS, cambrian, qwen
from tests.models.retrofit.qwen_small import make_qwen

GRID = GridPartition(size=(1, 2, 2))
GAZE = Gaze(partition=GRID, route=AlwaysRouter(inner=TopKRouter(k=3), first=1))
PLAN = Plan(batch_size=6, max_new_tokens=2)


def share(model, processor, *, gazes=None) -> float:
    with looking(model, gazes or gazes_of(model)):
        return evaluate(TASKS["mme"], ROWS["mme"](), Responder(model, processor), PLAN).scores[
            "attended_share"
        ]


def test_compositions_are_changed_where_they_route():
    assert dense(GAZE).route is None
    assert random(GAZE, seed=4).route == RandomRouter(k=3, seed=4)
    assert limited(GAZE, 5).route == AlwaysRouter(inner=TopKRouter(k=5), first=1)
    assert limited(Gaze(), 5) == random(Gaze()) == Gaze()
    both = Gaze(branches=(Gaze(partition=GRID, route=TopKRouter(k=1)), Gaze()), combine=SumCombine())
    assert [one.route for one in limited(both, 2).branches] == [TopKRouter(k=2), None]
    assert [one.route for one in dense(both).branches] == [None, None]
    assert regions_taken(GAZE.route) == 3
    with pytest.raises(ValueError, match="a router with a fixed k, and NucleusRouter has none"):
        random(Gaze(partition=GRID, route=NucleusRouter(mass=0.5)))


@pytest.mark.parametrize("make", [cambrian, qwen])
def test_a_model_looks_another_way_and_back(make):
    model, processor = make()
    before, weights = gazes_of(model), fingerprint(model)
    layers = compositions(model.language_model if make is cambrian else model.get_decoder())
    first = share(model, processor)
    assert share(model, processor, gazes=[dense(gaze) for gaze in before]) == 1.0
    assert share(model, processor, gazes=[random(gaze) for gaze in before]) == first
    assert gazes_of(model) == before
    assert compositions(model.language_model if make is cambrian else model.get_decoder()) == layers
    assert fingerprint(model) == weights
    with pytest.raises(RuntimeError, match="stop"), looking(model, [dense(gaze) for gaze in before]):
        raise RuntimeError("stop")
    assert gazes_of(model) == before


@pytest.mark.parametrize("make", [cambrian, qwen])
@pytest.mark.parametrize(("budget", "k"), [(0.25, 1), (0.7, 2), (0.75, 3), (0.99, 3), (1.0, 4)])
def test_the_most_regions_within_a_budget(make, budget, k):
    model, processor = make()
    _, question = question_of(TASKS["mme"], [], ROWS["mme"](1)[0], Plan())
    found = k_within(model, processor, question, budget)
    gazes = [limited(gaze, found) for gaze in gazes_of(model)]
    measured = share(model, processor, gazes=gazes)
    assert measured == k / 4 <= budget


def test_budgets_are_checked():
    model, processor = cambrian()
    _, question = question_of(TASKS["mme"], [], ROWS["mme"](1)[0], Plan())
    with pytest.raises(
        ValueError, match="budget must be above 0 and at most 1, a share of the visual tokens, got 0"
    ):
        k_within(model, processor, question, 0)
    with pytest.raises(
        ValueError, match=r"one region for each query, which is 0\.2500 .* got 0\.2; use smaller"
    ):
        k_within(model, processor, question, 0.2)
    with pytest.raises(ValueError, match="budget needs a question that shows something"):
        k_within(model, processor, question.blind(), 0.5)


def test_eviction_keeps_what_it_may():
    model, processor = cambrian()
    with looking(model, [dense(gaze) for gaze in gazes_of(model)]):
        responder = Responder(model, processor, eviction=QuestionEviction(budget=5))
        result = evaluate(TASKS["mme"], ROWS["mme"](), responder, PLAN)
    assert result.scores["attended_visual"] == 5
    with pytest.raises(ValueError, match="eviction needs a Cambrian"):
        Responder(*qwen(), eviction=QuestionEviction(budget=5))


def test_a_model_without_gaze_is_asked_and_not_watched():
    model, processor = make_qwen(sharpness=8.0)
    stock = evaluate(TASKS["gqa"], ROWS["gqa"](), Responder(model, processor), PLAN)
    assert stock.settings["backends"] == []
    assert "attended_share" not in stock.scores
    watched = evaluate(TASKS["gqa"], ROWS["gqa"](), Responder(apply_gaze(model, Gaze()), processor), PLAN)
    assert watched.scores["attended_share"] == 1.0
    assert [one.prediction for one in stock.records] == [one.prediction for one in watched.records]


def test_a_fingerprint_is_of_weights():
    model, _ = make_qwen()
    before = fingerprint(model)
    assert fingerprint(make_qwen()[0]) == before
    assert fingerprint(make_qwen(seed=1)[0]) != before
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1
    assert fingerprint(model) != before
    assert versions().keys() >= {"gazekit", "torch", "transformers"}
