"""Results come back as they were written, and are compared only where that is fair."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gazekit.evaluate.comparison import compare
from gazekit.evaluate.results import Record, Result


def result(scores, system="gaze", groups=None, **settings) -> Result:
    records = tuple(
        Record(
            id=f"s{number}",
            prompt="what?",
            prediction="B",
            score=float(score),
            parsed=bool(score > 0),
            group=groups[number] if groups else "",
        )
        for number, score in enumerate(scores)
    )
    return Result(
        benchmark="gqa",
        profile="lmms",
        model="tiny",
        system=system,
        scores={"exact_match": float(np.mean(scores))},
        settings={"seed": 0, **settings},
        versions={"torch": "2"},
        records=records,
    )


def test_a_result_comes_back_as_it_was(tmp_path):
    one = result([1, 0, 1], limit=3)
    one.save(tmp_path / "deep" / "gqa.json")
    back = Result.load(tmp_path / "deep" / "gqa.json")
    assert back == one
    assert back.parse_failure_rate == pytest.approx(1 / 3)
    first = (tmp_path / "deep" / "gqa.json").read_bytes()
    one.save(tmp_path / "deep" / "gqa.json")
    assert (tmp_path / "deep" / "gqa.json").read_bytes() == first
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["gqa.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table | {"format": 9}, "is no result of gazekit evaluate of format 1"),
        (lambda table: [], "is no result"),
        (lambda table: {name: value for name, value in table.items() if name != "records"}, "lacks records"),
        (lambda table: table | {"records": [{"id": "1"}]}, "has a record that is none"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, change, message):
    path = tmp_path / "x.json"
    result([1]).save(path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=message):
        Result.load(path)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no result"):
        Result.load(tmp_path / "none.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        Result.load(tmp_path / "x.json")


def test_a_difference_and_its_interval():
    rng = np.random.default_rng(0)
    base = rng.random(400) < 0.5
    better = base | (rng.random(400) < 0.3)
    found = compare(result(base), result(better, system="dense"))
    assert found.difference.mean == pytest.approx(better.mean() - base.mean())
    assert found.difference.low > 0
    assert found.chance == pytest.approx(2 / 2001), "never none: the samples as they are are one draw"
    # The paired interval is that of the differences: narrower than of two independent means.
    spread = (better.astype(float) - base).std() / 20
    assert found.difference.high - found.difference.low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert found.differing == {"system": ("gaze", "dense")}
    assert (found.samples, found.groups) == (400, 400)
    assert found.scores["exact_match"] == (base.mean(), better.mean())
    back = compare(result(better), result(base))
    assert back.difference.mean == pytest.approx(-found.difference.mean)


def test_equal_results_differ_by_nothing():
    found = compare(result([1, 0, 1, 1]), result([1, 0, 1, 1]))
    assert (found.difference.low, found.difference.high, found.chance) == (0, 0, 1)


def test_groups_are_drawn_whole():
    """Ten copies of each sample say no more than one."""
    rng = np.random.default_rng(1)
    scores = rng.random((60, 2)) < 0.5
    alone = compare(result(scores[:, 0]), result(scores[:, 1]), seed=3)
    many = scores.repeat(10, axis=0)
    groups = [f"g{number // 10}" for number in range(600)]
    together = compare(result(many[:, 0], groups=groups), result(many[:, 1], groups=groups), seed=3)
    assert together.groups == 60
    wide = [one.difference.high - one.difference.low for one in (alone, together)]
    assert wide[0] == pytest.approx(wide[1], rel=0.15)
    naive = compare(result(many[:, 0]), result(many[:, 1]), seed=3).difference
    assert naive.high - naive.low < wide[0] / 2


def test_unfair_comparisons_are_refused():
    one = result([1, 0])
    with pytest.raises(ValueError, match="must be of one profile to be compared, got lmms and cambrian"):
        compare(one, replace(one, profile="cambrian"))
    with pytest.raises(ValueError, match=r"1 of gqa are in one of them alone \(s2"):
        compare(one, result([1, 0, 1]))
    with pytest.raises(ValueError, match="there is no sample of gqa"):
        compare(replace(one, records=()), replace(one, records=()))
    with pytest.raises(ValueError, match="resamples must be at least 100"):
        compare(one, one, resamples=5)


def test_one_sample_or_one_group_says_nothing_of_luck():
    for scores, groups in (([0], None), ([0, 0, 1], ["image"] * 3)):
        better = [1] * len(scores)
        found = compare(result(scores, groups=groups), result(better, groups=groups))
        assert (found.groups, found.chance) == (1, 1.0)
        for interval in (found.first, found.second, found.difference):
            assert np.isnan([interval.low, interval.high]).all()
        assert found.difference.mean == pytest.approx(1 - np.mean(scores))


def test_three_better_answers_are_no_proof():
    found = compare(result([0, 0, 0]), result([1, 1, 1]))
    assert 0 < found.chance < 0.01


@given(
    st.lists(st.tuples(st.sampled_from([0, 0.3, 1]), st.sampled_from([0, 0.3, 1])), min_size=2, max_size=8)
)
def test_who_comes_first_only_turns_the_sign(pairs):
    first, second = (result(list(side)) for side in zip(*pairs, strict=True))
    there, back = compare(first, second, resamples=100), compare(second, first, resamples=100)
    assert there.difference.mean == pytest.approx(-back.difference.mean)
    assert [there.difference.low, there.difference.high] == pytest.approx(
        [-back.difference.high, -back.difference.low]
    )
    assert there.chance == back.chance


def test_samples_that_cannot_be_told_apart_or_are_grouped_otherwise_are_refused():
    one = result([1, 0])
    twice = replace(one, records=(one.records[0], one.records[0]))
    with pytest.raises(ValueError, match="samples must have ids of their own, got 's0' more than once"):
        compare(twice, one)
    with pytest.raises(ValueError, match="must group their samples alike to be compared, got '' and 'g'"):
        compare(one, result([1, 0], groups=["g", "g"]))
