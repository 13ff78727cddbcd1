"""`gazekit compare`, as a person types it."""

import json
from dataclasses import replace

import pytest

from tests.evaluate.test_compare import result


@pytest.fixture
def runs(tmp_path):
    """Two folders: gqa with gaze and dense in the one, with gaze in the other; and a file that is no result."""
    half, most = [1, 0] * 20, [1, 1, 1, 0] * 10
    result(half).save(tmp_path / "a" / "gqa-gaze.json")
    result(half, system="dense").save(tmp_path / "a" / "gqa-dense.json")
    result(most, limit=40).save(tmp_path / "b" / "gqa-gaze.json")
    (tmp_path / "a" / "settings.json").write_text("{}")
    return tmp_path


def test_folders_are_compared_result_by_result(run, runs):
    code, out, err = run("compare", str(runs / "a"), str(runs / "b"))
    assert (code, err) == (0, "")
    assert "gqa (lmms)" in out
    assert "+25.0" in out
    assert "limit" in out


def test_json_says_the_same(run, runs):
    code, out, _ = run("compare", str(runs / "a/gqa-dense.json"), str(runs / "b/gqa-gaze.json"), "--json")
    assert code == 0
    (found,) = json.loads(out)["comparisons"]
    assert found["difference"]["mean"] == pytest.approx(0.25)
    assert found["differing"] == {"system": ["dense", "gaze"], "limit": [None, 40]}


def test_what_cannot_be_compared_is_said(run, runs):
    code, _, err = run("compare", str(runs / "a"))
    assert (code, err) == (2, "error: compare needs B, or --published to put the paper's figures beside A\n")
    assert "there is no result" in run("compare", str(runs / "a"), str(runs / "c"))[2]
    (runs / "empty").mkdir()
    assert "there is no result in" in run("compare", str(runs / "a"), str(runs / "empty"))[2]
    replace(result([1, 0]), benchmark="mme").save(runs / "d" / "mme.json")
    code, _, err = run("compare", str(runs / "a"), str(runs / "d"))
    assert code == 2
    assert "nothing can be compared" in err
    assert "gqa (lmms, dense), gqa (lmms, gaze)" in err


def test_the_papers_figures_stand_beside_a_run(run, runs):
    chart = replace(
        result([1, 1, 1, 0], limit=4),
        benchmark="chartqa",
        scores={"relaxed_overall": 0.75},
        profile="cambrian",
    )
    chart.save(runs / "c" / "chartqa.json")
    maths = replace(chart, benchmark="mathvista_testmini_format", scores={"llm_as_judge_eval_rule": 50.0})
    maths.save(runs / "c" / "mathvista.json")
    code, out, err = run("compare", str(runs / "c"), "--published", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["published"]
    assert found["columns"] == ["ChartQA", "MathVista_rule"]
    mine, *others = found["rows"]
    assert mine["scores"]["ChartQA"] == 75.0
    assert {
        "model": "Cambrian-4B",
        "method": None,
        "entries": "576",
        "source": "paper",
        "scores": {"ChartQA": 60.2},
    } in others
    assert all(set(row["scores"]) == {"ChartQA"} for row in others)
    assert "4 samples" in found["notes"][0]
    code, out, _ = run("compare", str(runs / "c"), "--published")
    assert code == 0
    assert "60.2" in out
    assert "not the whole benchmark" in out
    code, _, err = run("compare", str(runs / "empty"), "--published")
    assert code == 2


def test_a_benchmark_that_the_paper_does_not_have(run, runs):
    replace(result([1, 0]), benchmark="digits").save(runs / "e" / "digits.json")
    code, _, err = run("compare", str(runs / "e"), "--published")
    assert code == 2
    assert "is of a benchmark of the paper" in err


def test_a_bound_that_is_unknown_is_null_and_is_not_printed(run, tmp_path):
    result([0]).save(tmp_path / "a.json")
    result([1]).save(tmp_path / "b.json")
    paths = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    _, out, _ = run("compare", *paths, "--json")
    (found,) = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["comparisons"]
    assert found["difference"] == {"mean": 1.0, "low": None, "high": None}
    code, out, _ = run("compare", *paths)
    assert code == 0
    assert "+100.0" in out
    assert "nan" not in out


def test_a_blind_run_is_compared_with_a_blind_one_and_says_so_beside_the_papers(run, runs):
    for side, scores in (("a", [0] * 40), ("b", [0, 0, 0, 1] * 10)):
        result(scores, blind=True).save(runs / side / "gqa-gaze-blind.json")
    code, out, _ = run("compare", str(runs / "a"), str(runs / "b"), "--json")
    assert code == 0
    blind, seeing = (one["difference"]["mean"] for one in json.loads(out)["comparisons"])
    assert (blind, seeing) == pytest.approx((0.25, 0.25))
    assert [one["first"]["mean"] for one in json.loads(out)["comparisons"]] == [0.0, 0.5]
    out = run("compare", str(runs / "a"), "--published")[1]
    assert "tiny, gaze, blind" in out
    assert "tiny, gaze, GQA" in out


def test_several_counterparts_are_to_be_told_apart_by_name(run, runs):
    result([1, 0] * 20, budget=4).save(runs / "b" / "gqa-gaze-4.json")
    code, _, err = run("compare", str(runs / "a"), str(runs / "b"))
    assert code == 2
    assert "gqa (lmms, gaze) is there 1 times in" in err
    assert "name the files to compare" in err


def test_every_run_and_every_remark_stands_beside_the_papers_figures(run, runs):
    result([0] * 40, budget=4).save(runs / "b" / "gqa-gaze-4.json")
    code, out, _ = run("compare", str(runs / "b"), "--published", "--json")
    mine = [row for row in json.loads(out)["published"]["rows"] if row["source"] == "this run"]
    assert sorted(row["scores"]["GQA"] for row in mine) == [0.0, 75.0]
    out = run("compare", str(runs / "b"), "--published")[1]
    assert "40 samples, not the whole benchmark; prompts and scorers of lmms" in " ".join(out.split())
    (runs / "b" / "gqa-gaze-4.json").unlink()
    code, out, _ = run("compare", str(runs / "a"), str(runs / "b"), "--published")
    assert code == 0
    assert out.count("this run") == 3
    assert "40 samples, not the whole benchmark; prompts and scorers of lmms" in " ".join(out.split())


def test_a_run_without_the_figure_of_a_column_leaves_it_empty(run, tmp_path):
    cognition = replace(result([1, 1]), benchmark="mme", scores={"mme_cognition_score": 200.0})
    cognition.save(tmp_path / "mme.json")
    result([1, 0]).save(tmp_path / "gqa.json")
    code, out, _ = run("compare", str(tmp_path), "--published", "--json")
    assert code == 0
    assert json.loads(out)["published"]["columns"] == ["GQA"]
