import pytest
import torch

from gazekit.contracts import visible
from tests.attend.cases import CASES, Case, by_the_rules, scene


@pytest.mark.parametrize("name", CASES)
def test_the_formula_says_what_the_rules_say(name):
    made = scene(CASES[name])
    seen = visible(made.plan, made.entries.tokens, made.case.heads)
    expected = by_the_rules(made)
    assert torch.equal(seen.expand_as(expected), expected)


def test_the_cases_hide_and_show():
    made = scene(CASES["ragged"])
    seen = by_the_rules(made)
    dense = by_the_rules(scene(Case(CASES["ragged"].samples, k=None)))
    assert seen.sum() < dense.sum()
    assert not (seen & ~dense).any()
    assert (seen[:, 0] != seen[:, 1]).any()


@pytest.mark.parametrize("name", ["image", "ragged", "packed", "open", "padded", "visual routes"])
def test_all_regions_are_dense(name):
    case = CASES[name]
    everything = scene(Case(**{**vars(case), "k": 99}))
    dense = scene(Case(**{**vars(case), "k": None}))
    seen, base = (visible(s.plan, s.entries.tokens, case.heads) for s in (everything, dense))
    assert torch.equal(seen, base.expand_as(seen))


def test_where_all_heads_see_the_same_there_is_one():
    made = scene(CASES["dense"])
    assert visible(made.plan, made.entries.tokens, made.case.heads).shape[1] == 1


def test_a_chunk_of_queries_sees_what_it_sees_in_the_whole():
    made = scene(CASES["ragged"])
    whole = visible(made.plan, made.entries.tokens, made.case.heads)
    for start, stop in ((0, 5), (5, 6), (6, made.plan.query.length)):
        part = visible(made.plan.narrow(start, stop), made.entries.tokens, made.case.heads)
        assert torch.equal(part, whole[:, :, start:stop])
