"""The `lmms` profile equals lmms-eval's own functions, on generated answers and on the cases."""

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gazekit.evaluate import aggregate, score, verdict
from gazekit.evaluate.scorers import mlvu
from tests.evaluate import upstream
from tests.evaluate.answering import DOCS, answered
from tests.evaluate.edges import EDGES

pytestmark = [
    pytest.mark.lmms_eval,
    # Libraries that lmms-eval imports; what our code warns of is tested elsewhere.
    pytest.mark.filterwarnings("ignore"),
]

CASES = json.loads((Path(__file__).parent / "cases.json").read_text())["cases"]
SAMPLES = [case for case in CASES if case["kind"] == "sample"]
many = settings(max_examples=max(500, settings.default.max_examples))


@pytest.mark.parametrize("benchmark", DOCS)
def test_generated_answers_score_as_in_lmms_eval(benchmark: str):
    @many
    @given(answered(benchmark), st.integers(0, 9))
    def check(item, seed):
        prediction, doc = item
        ours = verdict(benchmark, prediction, doc, generator=Random(seed)).score
        assert ours == pytest.approx(upstream.score(benchmark, prediction, doc, seed), abs=1e-5)
        if (read := verdict(benchmark, prediction, doc)).parsed:
            assert read.score == ours, "a generator changed what was read"
        else:
            assert read.score == 0 or benchmark.startswith("mathvista")

    check()


@pytest.mark.parametrize("case", SAMPLES, ids=lambda case: f"{case['benchmark']}-{case['prediction']!r}"[:60])
def test_the_cases_are_what_lmms_eval_says(case):
    said = upstream.score(case["benchmark"], case["prediction"], case["doc"], target=case["target"])
    assert said == pytest.approx(case["expected_score"])


@pytest.mark.parametrize(("benchmark", "prediction", "doc", "worth"), EDGES)
def test_the_edges_are_what_lmms_eval_says(benchmark, prediction, doc, worth):
    assert upstream.score(benchmark, prediction, doc) == pytest.approx(worth)


SCORE = st.sampled_from([0.0, 1.0])
PLACES = st.lists(SCORE, min_size=2, max_size=24).map(lambda scores: scores[: len(scores) // 2 * 2])


@many
@given(PLACES, st.data())
def test_mme_adds_up_as_in_lmms_eval(scores, data):
    categories = data.draw(st.lists(st.sampled_from(["count", "OCR", "scene"]), min_size=12, max_size=12))
    records = [
        {"question_id": str(place // 2), "category": categories[place // 2], "score": score}
        for place, score in enumerate(scores)
    ]
    theirs = upstream.task("mme").mme_aggregate_results(records)
    assert aggregate("mme", records)["mme_perception_score"] == pytest.approx(theirs)


@many
@given(
    st.lists(st.tuples(st.integers(0, 12), SCORE), min_size=1, max_size=20, unique_by=lambda pair: pair[0])
)
def test_mmvp_pairs_up_as_in_lmms_eval(scored):
    records = [{"Index": index, "score": score} for index, score in scored]
    utils = upstream.task("mmvp")
    rows = []
    for record in records:
        said = "A" if record["score"] else "B"
        doc = {"Index": record["Index"], "Correct Answer": "(a)"}
        rows.append(utils.mmvp_process_results(doc, [said])["mmvp_pair_accuracy"])
    figures = aggregate("mmvp", records)
    assert figures["mmvp_pair_accuracy"] == pytest.approx(utils.mmvp_aggregate_pair_results(rows))
    assert figures["mmvp_accuracy"] == pytest.approx(utils.mmvp_aggregate_results(rows))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 3), st.sampled_from(["A", "B", "x"])),
        min_size=1,
        max_size=12,
        unique_by=lambda row: row[:2],
    ).filter(lambda rows: any(roll == 0 for _, roll, _ in rows))
)
def test_mmbench_goes_round_as_in_lmms_eval(drawn):
    rows = [
        {
            "index": question + roll * 1_000_000, "answer": "A", "prediction": said, "category": "c",
            "A": "dog", "B": "cat", "C": "cow", "D": "pig",
        }
        for question, roll, said in drawn
    ]  # fmt: skip
    figures = aggregate("mmbench_en_dev_static", rows)
    assert figures["gpt_eval_score"] == pytest.approx(upstream.mmbench([dict(row) for row in rows]))


@many
@given(st.lists(st.tuples(st.sampled_from(mlvu.DEV), st.sampled_from("AB")), min_size=1, max_size=20))
def test_mlvu_averages_as_in_lmms_eval(drawn):
    rows = [{"task_type": task, "pred_answer": said, "answer": "A"} for task, said in drawn]
    records = [{"task_type": task, "score": float(said == "A")} for task, said in drawn]
    theirs = upstream.task("mlvu").mlvu_aggregate_results_dev(rows)
    assert aggregate("mlvu_dev", records)["mlvu_percetion_score"] == pytest.approx(theirs)


@many
@given(
    st.lists(
        st.tuples(st.sampled_from(["Art", "Art_Theory", "Math"]), st.sampled_from("AB")),
        min_size=1,
        max_size=20,
    )
)
def test_mmmu_averages_as_in_lmms_eval(drawn):
    utils = upstream.task("mmmu")
    docs = [
        {
            "id": f"validation_{subject}_{place}", "question_type": "multiple-choice", "answer": "A",
            "options": "['x', 'y']", "prediction": said,
        }
        for place, (subject, said) in enumerate(drawn)
    ]  # fmt: skip
    rows = [utils.mmmu_process_results(doc, [doc["prediction"]])["mmmu_acc"] for doc in docs]
    theirs = upstream.quiet(utils.mmmu_aggregate_results, rows)
    assert aggregate("mmmu_val", docs)["mmmu_acc"] == theirs


@many
@given(st.lists(st.tuples(st.sampled_from(["ADE20K", "COCO", "Omni3D"]), SCORE), min_size=1, max_size=20))
def test_cv_bench_averages_as_in_lmms_eval(drawn):
    utils = upstream.task("cv_bench")
    records = [{"source": source, "score": score} for source, score in drawn]
    rows = [{"source": source, "is_correct": bool(score)} for source, score in drawn]
    figures = aggregate("cv_bench", records)
    assert figures["cv_bench_acc"] == pytest.approx(utils.cv_bench_aggregate_results(rows))
    if "cv_bench_official" in figures:
        theirs = utils.cv_bench_default_aggregate_results(rows)
        assert figures["cv_bench_official"] == pytest.approx(theirs)


@many
@given(st.lists(st.tuples(st.sampled_from(["action", "speed"]), SCORE), min_size=1, max_size=20))
def test_tempcompass_averages_as_in_lmms_eval(drawn):
    rate = upstream.task("tempcompass").tempcompass_aggregate_rating
    figures = aggregate("tempcompass_yes_no", [{"dim": dim, "score": score} for dim, score in drawn])
    assert figures["avg_accuracy_rule"] == pytest.approx(
        rate([{"rating": int(score)} for _, score in drawn], None)
    )
    for aspect in {dim for dim, _ in drawn}:
        of_aspect = [{"rating": int(score)} for dim, score in drawn if dim == aspect]
        assert figures[f"{aspect}_accuracy_rule"] == pytest.approx(rate(of_aspect, None))


def test_contractions_are_those_of_lmms_eval():
    from gazekit.evaluate.scorers.contractions import CONTRACTIONS

    theirs = upstream.module("tasks._task_utils.vqa_eval_metric").EvalAIAnswerProcessor.CONTRACTIONS
    reached = {written: meant for written, meant in theirs.items() if written.islower() and written != meant}
    assert reached == CONTRACTIONS


def test_a_longer_answer_of_full_stops_is_cleaned_as_in_lmms_eval():
    for prediction, people in (
        ("x" + "." * 40, "x" + "." * 40),
        ("x", "x" + "." * 40),
        ("x", "x" + "." * 30),
    ):
        doc = {"question_id": 1, "answers": [people] * 10}
        assert score("textvqa_val", prediction, doc) == upstream.score("textvqa_val", prediction, doc)
    assert score("textvqa_val", "x", doc) == 1
