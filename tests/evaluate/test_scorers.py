"""Scorers: the cases, what can be read and what cannot, figures of many samples, and errors."""

import json
from copy import deepcopy
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gazekit.evaluate import aggregate, score, verdict
from gazekit.evaluate.results import Record
from gazekit.evaluate.scorers import BENCHMARKS, PROFILES, find, mlvu
from tests.evaluate.answering import DOCS, answered, sentences
from tests.evaluate.edges import EDGES

CASES = json.loads((Path(__file__).parent / "cases.json").read_text())["cases"]
SAMPLES = [case for case in CASES if case["kind"] == "sample"]
ALONE = ("mathvista(normalize)",)  # has its truth nowhere in its docs


@pytest.mark.parametrize("case", SAMPLES, ids=lambda case: f"{case['benchmark']}-{case['prediction']!r}"[:60])
def test_samples_score_as_in_lmms_eval(case):
    name, prediction, doc = case["benchmark"], case["prediction"], case["doc"]
    before = deepcopy(doc)
    generator = Random(0) if case["uses_rng"] else None
    said = verdict(name, prediction, doc, target=case["target"], generator=generator)
    assert said.score == pytest.approx(case["expected_score"])
    assert doc == before
    if name not in ALONE:
        assert verdict(name, prediction, doc, generator=Random(0)).score == said.score
    if case["uses_rng"]:
        assert (score(name, prediction, doc), said.parsed) == (0.0, False)
    if case["judge_stubbed"]:
        assert not said.parsed


@pytest.mark.parametrize(("benchmark", "prediction", "doc", "worth"), EDGES)
def test_the_edges_of_the_rules_are_where_lmms_eval_has_them(benchmark, prediction, doc, worth):
    assert score(benchmark, prediction, doc) == pytest.approx(worth)


def rows_of(case) -> list[dict]:
    """The records of an aggregate case, whose doc has rows, or a list per column."""
    if "rows" in case["doc"]:
        return case["doc"]["rows"]
    rows = []
    for place, said in enumerate(case["prediction"]):
        row = {name: column[place] for name, column in case["doc"].items()}
        wanted = case["target"] and {"target": case["target"][place], "prediction": said}
        rows.append(row | (wanted or {"score": float(said)}))
    return rows


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case["kind"] == "aggregate"],
    ids=lambda case: case["note"] or case["benchmark"],
)
def test_many_samples_add_up_as_in_lmms_eval(case):
    figures = aggregate(case["benchmark"], rows_of(case))
    main = find(case["benchmark"]).headline
    assert figures[main] == pytest.approx(case["expected_score"])
    assert next(iter(figures)) == main
    assert case["metric"].split(" ")[0] == main


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("benchmark", DOCS)
def test_any_answer_gets_a_score_and_never_by_chance(benchmark: str, profile: str):
    @settings(max_examples=10)
    @given(answered(benchmark), st.one_of(st.text(max_size=12), sentences()))
    def check(item, other):
        for prediction in (item[0], other):
            before = deepcopy(item[1])
            said = verdict(benchmark, prediction, item[1], profile)
            assert said == verdict(benchmark, f" {prediction}\n", item[1], profile)
            assert 0 <= said.score <= 1
            assert item[1] == before
            if not said.parsed and not benchmark.startswith("mathvista"):
                assert said.score == 0

    check()


_MCQ = {"A": "cat", "B": "dog", "C": "cow", "D": "pig", "answer": "B", "index": 1}
_FREE = {
    "choices": None,
    "question_type": "free_form",
    "answer_type": "integer",
    "precision": 0,
    "answer": "14",
}
_CAPTIONS = {
    "question": "Which?\nCaption A: The man runs.\nCaption B: The man sits.",
    "answer": "Caption B: The man sits.",
}

# By the beginning of the task's name: a doc, what is right, what is wrong.
PLAIN = {
    "mme": ({"answer": "Yes"}, "Yes", "No"),
    "mmbench": (_MCQ, "B", "C"),
    "mmvp": ({"Correct Answer": "(b)", "Options": "(a) open (b) shut"}, "B", "A"),
    "realworldqa": ({"answer": "B"}, "B", "C"),
    "cv_bench": ({"answer": "(B)", "source": "Omni3D", "choices": ["2", "4"]}, "B", "A"),
    "gqa": ({"answer": "left"}, "Left.", "right"),
    "scienceqa": ({"choices": ["cat", "dog"], "answer": 1}, "B", "A"),
    "mmmu": ({"question_type": "multiple-choice", "options": "['x', 'y']", "answer": "B"}, "B", "A"),
    "mathvista": (_FREE, "14", "41"),
    "chartqa": ({"answer": "100"}, "104", "106"),
    "ocrbench": (
        {"answer": ["CENTRE"], "dataset": "IIIT5K", "question_type": "x"},
        "the centre",
        "the entre",
    ),
    "textvqa": ({"answers": ["stop"] * 10}, "Stop!", "go"),
    "videomme": ({"answer": "B"}, "B", "C"),
    "mlvu": ({"answer": "B"}, "B", "C"),
    "egoschema": ({"option": ["A. a", "B. b", "C. c", "D. d", "E. e"], "answer": "1"}, "B", "C"),
    "longvideobench": ({"correct_choice": 1, "option4": "N/A"}, "B", "C"),
    "nextqa": ({"answer": 1, "a0": "v", "a1": "w", "a2": "x", "a3": "y", "a4": "z"}, "B", "C"),
    "tempcompass_multi_choice": ({"answer": "B. left"}, "B", "C"),
    "tempcompass_yes_no": ({"answer": "yes"}, "Yes.", "No."),
    "tempcompass_caption_matching": (_CAPTIONS, "Caption B", "Caption A"),
    "tempcompass_rule": ({"form": "yes_no", "answer": "yes"}, "Yes.", "No."),
}
SILENT = [name for name in BENCHMARKS if "captioning" not in name and name != "mathvista(normalize)"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("benchmark", SILENT)
def test_every_benchmark_knows_right_wrong_and_nothing(benchmark: str, profile: str):
    doc, good, bad = next(plain for name, plain in PLAIN.items() if benchmark.startswith(name))
    right, wrong, nothing = (verdict(benchmark, said, doc, profile) for said in (good, bad, "  "))
    assert (right.score, right.parsed) == (1.0, True)
    assert (wrong.score, wrong.parsed) == (0.0, True)
    # To lmms-eval's MathVista silence is an answer: of a number a wrong one, of a choice the shortest.
    assert (nothing.score, nothing.parsed) == (
        0.0,
        benchmark.startswith("mathvista_testmini") and profile == "lmms",
    )


@pytest.mark.parametrize("benchmark", ["tempcompass_captioning", "tempcompass_captioning_rule"])
def test_captions_are_for_a_judge_and_there_is_none(benchmark: str):
    said = verdict(benchmark, "A man runs.", {"mc_answer": "A. run"})
    assert (said.score, said.parsed) == (0.0, False)


@pytest.mark.parametrize(
    "benchmark", ["mmmu_val", "nextqa_mc_test", "egoschema_subset", "longvideobench_val_v"]
)
def test_a_guess_is_made_only_with_a_generator_and_only_for_lmms(benchmark: str):
    doc = next(plain for name, plain in PLAIN.items() if benchmark.startswith(name))[0]
    seeds = range(40)
    with_one = [verdict(benchmark, "perhaps", doc, generator=Random(seed)) for seed in seeds]
    assert {said.score for said in with_one} == {0.0, 1.0}
    assert not any(said.parsed for said in with_one)
    assert score(benchmark, "perhaps", doc) == 0
    assert {
        verdict(benchmark, "perhaps", doc, "cambrian", generator=Random(seed)).score for seed in seeds
    } == {0.0}


def test_a_silent_judge_of_mmbench_leaves_a_guess_among_five():
    answers = {
        verdict("mmbench_en_dev", "who knows", _MCQ, generator=Random(seed)).answer for seed in range(60)
    }
    assert answers == set("ABCDE")


def test_an_answer_cannot_be_read_twice_as_well_by_saying_more():
    """Letters in words count for some and not for others: the traps that the documentation names."""
    assert score("videomme", "A dog is on the left, so C", {"answer": "A"}) == 1
    assert score("mmvp", "No idea", {"Correct Answer": "(a)"}) == 1
    assert score("mme", "know", {"answer": "No"}) == 1
    assert score("cv_bench", "The answer is B", {"answer": "(B)"}) == 0
    assert score("longvideobench_val_v", "Based on the video, C", {"correct_choice": 1}) == 1
    assert verdict("scienceqa_img", "The answer is B", {"choices": ["x", "y"], "answer": 1}).parsed is False
    assert score("ocrbench", "CENTRE", {"answer": "centre", "dataset": "HME100k"}) == 0
    assert score("chartqa", "2010", {"answer": "2000"}) == 1
    assert score("chartqa", "0.0", {"answer": "0"}) == 0
    assert (
        score(
            "mathvista_testmini_format",
            "3.14",
            _FREE | {"answer_type": "float", "precision": 2.0, "answer": "3.14"},
        )
        == 0
    )


def test_mme_wants_pairs_and_sums_perception_apart_from_cognition():
    def pair(category, *scores):
        return [{"question_id": category, "category": category, "score": score} for score in scores]

    figures = aggregate("mme", pair("code_reasoning", 1.0, 1.0) + pair("OCR", 1.0, 0.0))
    assert figures == {"mme_perception_score": 50.0, "mme_cognition_score": 200.0, "parse_failure_rate": 0.0}
    assert next(iter(figures)) == "mme_perception_score"
    with pytest.raises(ValueError, match="two questions of each image, got 1 of 'OCR'"):
        aggregate("mme", pair("OCR", 1.0))
    assert aggregate("mme", pair("OCR", 1.0), "cambrian")["mme_perception_score"] == 100.0
    assert aggregate("mme", pair("OCR", 1.0, 1.0), "cambrian")["mme_perception_score"] == 200.0


@given(st.lists(st.sampled_from([(1.0, 1.0), (1.0, 0.0), (0.0, 0.0)]), min_size=1, max_size=8), st.data())
def test_whole_pairs_of_mme_count_the_same_in_both_profiles(pairs, data):
    records = [
        {"question_id": place, "category": "count" if place % 2 else "posters", "score": score}
        for place, pair in enumerate(pairs)
        for score in pair
    ]
    shuffled = data.draw(st.permutations(records))
    figures = aggregate("mme", records)
    assert aggregate("mme", shuffled) == pytest.approx(figures)
    assert aggregate("mme", records, "cambrian") == pytest.approx(figures)


def test_mmbench_goes_round_and_counts_what_stands_unrolled():
    def rows(*scored):
        return [{"index": question + 1_000_000 * roll, "score": score} for question, roll, score in scored]

    figures = aggregate("mmbench_en_dev_static", rows((1, 0, 1.0), (1, 1, 0.0), (2, 0, 1.0), (7, 1, 1.0)))
    assert (figures["gpt_eval_score"], figures["plain_score"]) == (50.0, 100.0)
    figures = aggregate(
        "mmbench_cn_dev", rows((1, 0, 1.0), (1, 1, 0.0), (2, 0, 1.0), (7, 1, 1.0)), "cambrian"
    )
    assert figures["gpt_eval_score_rule"] == pytest.approx(200 / 3)
    assert figures["plain_score_rule"] == 75.0


def test_mmvp_pairs_count_from_one():
    records = [
        {"Index": index, "score": score}
        for index, score in ((1, 1.0), (2, 1.0), (3, 1.0), (4, 0.0), (5, 1.0))
    ]
    figures = aggregate("mmvp", records)
    assert (figures["mmvp_pair_accuracy"], figures["mmvp_accuracy"]) == (0.5, 0.8)
    assert aggregate("mmvp", records, "cambrian") == figures
    # Counted from 0 the pairs are others: (0, 1, 2), which is none, and (3, 4).
    shifted = [{**record, "Index": record["Index"] - 1} for record in records]
    assert aggregate("mmvp", shifted)["mmvp_pair_accuracy"] == 0.0


def test_cv_bench_per_source_and_by_its_own_formula():
    hits = {"ADE20K": (1.0, 0.0), "COCO": (1.0, 1.0, 1.0, 0.0), "Omni3D": (1.0,)}
    records = [{"source": source, "score": hit} for source, scores in hits.items() for hit in scores]
    figures = aggregate("cv_bench", records)
    assert figures["cv_bench_acc"] == pytest.approx(5 / 7)
    assert figures["cv_bench_acc_ade20k"] == 0.5
    assert figures["cv_bench_official"] == pytest.approx(((0.5 + 0.75) / 2 + 1) / 2)
    assert "cv_bench_official" not in aggregate("cv_bench_ade", records[:2])


def test_mlvu_is_the_mean_of_task_types_present_or_not():
    records = [{"task_type": "ego", "score": 1.0}, {"task_type": "count", "score": 0.0}]
    figures = aggregate("mlvu_dev", records)
    assert figures["mlvu_percetion_score"] == pytest.approx(100 / 7)
    assert figures["mlvu_percetion_score_ego"] == 100.0
    assert aggregate("mlvu_test", records)["mlvu_percetion_score"] == pytest.approx(100 / 9)
    with pytest.raises(ValueError, match="got 'sportsQA'; try the other split"):
        aggregate("mlvu_dev", [{"task_type": "sportsQA", "score": 1.0}])
    assert len(mlvu.TEST) == 9


def test_tempcompass_and_mathvista_never_go_by_the_official_name():
    of_form = [
        {"form": form, "score": score}
        for form, score in (("yes_no", 1.0), ("multi_choice", 0.0), ("yes_no", 0.0))
    ]
    assert aggregate("tempcompass_rule", of_form) == {
        "avg_accuracy_rule": 25.0, "yes_no_accuracy_rule": 50.0, "multi_choice_accuracy_rule": 0.0,
        "parse_failure_rate": 0.0,
    }  # fmt: skip
    for name, benchmark in BENCHMARKS.items():
        judged = name.startswith(("mathvista", "tempcompass")) or name.removesuffix("_lite") in (
            "mmbench_en_dev",
            "mmbench_cn_dev",
        )
        assert benchmark.judged == judged
        assert benchmark.headline.endswith("_rule") == judged
    figures = aggregate("mathvista_testmini_format", [{"score": 1.0}, {"score": 0.0}, {"score": 0.0}])
    assert figures == {"llm_as_judge_eval_rule": 33.33, "parse_failure_rate": 0.0}


def test_other_figures_have_their_parts():
    chart = [{"type": "human_test", "score": 1.0}, {"type": "augmented_test", "score": 0.0}]
    assert aggregate("chartqa", chart) == {
        "relaxed_overall": 0.5, "relaxed_human_split": 1.0, "relaxed_augmented_split": 0.0, "parse_failure_rate": 0.0
    }  # fmt: skip
    assert aggregate("ocrbench", [{"score": 1.0}])["ocrbench_accuracy"] == 0.001
    assert aggregate("ocrbench", [{"score": 1.0}])["ocrbench_accuracy"] == 0.001, "nothing is carried over"
    formulas = [{"score": 1.0, "question_type": "x"}, {"score": 0.0, "question_type": "y"}]
    assert aggregate("ocrbench", formulas, "cambrian")["ocrbench_accuracy_x"] == 1.0
    videos = [{"score": 1.0, "duration": "short"}, {"score": 0.0, "duration": "long"}]
    assert aggregate("videomme", videos)["videomme_perception_score_short"] == 100.0
    assert aggregate("egoschema_subset", videos)["score"] == 0.5
    assert aggregate("longvideobench_val_v", [{"score": 1.0}, *[{"score": 0.0}] * 2])["lvb_acc"] == 0.33333
    ids = [{"id": f"validation_Art_Theory_{place}", "score": float(place == 0)} for place in range(3)]
    assert aggregate("mmmu_val", ids)["mmmu_acc"] == 0.33333


def test_unread_answers_are_counted():
    doc = {"answer": "B", "duration": "short"}
    records = [
        Record(id=said, prompt="", prediction=said, doc=doc, score=0.0, parsed=said != "?") for said in "?A"
    ]
    assert aggregate("videomme", records)["parse_failure_rate"] == 0.5
    unscored = [{"prediction": said, **doc} for said in ("?", "A", "B", "B")]
    figures = aggregate("videomme", unscored)
    assert (figures["videomme_perception_score"], figures["parse_failure_rate"]) == (50.0, 0.25)
    assert (
        aggregate("videomme", [{"prediction": row.pop("prediction"), "doc": row} for row in unscored])
        == figures
    )


def test_errors_name_what_is_wrong_and_what_to_do():
    with pytest.raises(ValueError, match="got 'mmbench_en'; the nearest is 'mmbench_en_dev'"):
        score("mmbench_en", "A", {})
    with pytest.raises(ValueError, match="got 'video-mme'; the nearest is 'videomme'"):
        aggregate("video-mme", [])
    with pytest.raises(ValueError, match=r"profile must be one of \('lmms', 'cambrian'\), got 'vlmevalkit'"):
        score("mme", "A", {}, profile="vlmevalkit")
    with pytest.raises(ValueError, match="doc must have the field 'answer' for mme, got \\['category'\\]"):
        score("mme", "yes", {"category": "OCR"})
    with pytest.raises(ValueError, match="records must have the field 'category' that mme is grouped by"):
        aggregate("mme", [{"score": 1.0}])
    with pytest.raises(ValueError, match="records must not be empty, got none for gqa"):
        aggregate("gqa", [])
    with pytest.raises(ValueError, match="records must have 'score' or 'prediction', got \\['answer'\\]"):
        aggregate("gqa", [{"answer": "x"}])
    with pytest.raises(ValueError, match="those of the full EgoSchema are not public"):
        score("egoschema", "A", {"option": ["A. x"] * 5, "answer": None})
    with pytest.raises(ValueError, match="id must be SPLIT_SUBJECT_NUMBER, got 'Art'"):
        aggregate("mmmu_val", [{"id": "Art", "score": 1.0}])
    with pytest.raises(ValueError, match=r"form must be one of .* got 'essay'"):
        score("tempcompass_rule", "A", {"form": "essay", "answer": "A"})
