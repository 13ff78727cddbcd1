"""The same question, however its row was loaded or its task is called; and answers made to break things."""

import numpy as np
import pytest

from gazekit.evaluate import aggregate, score, verdict
from gazekit.evaluate.scorers import find
from tests.evaluate.edges import _LVB, _NEXTQA

EGO = {"option": ["A. v", "B. w", "C. x", "D. y", "E. z"]}
SQA = {"choices": ["cat", "dog"]}


@pytest.mark.parametrize(
    ("benchmark", "prediction", "doc", "field", "truths"),
    [
        ("scienceqa_img", "B", SQA, "answer", (1, "B", "1", np.int64(1))),
        ("egoschema_subset", "C", EGO, "answer", (2, "2", "C", np.int64(2))),
        ("nextqa_mc_test", "C", _NEXTQA, "answer", (2, "2", "C", np.int64(2))),
        ("longvideobench_val_v", "C", _LVB, "correct_choice", (2, "2", "C", np.int64(2))),
        ("mmvp", "B", {}, "Correct Answer", ("(b)", "B", "b")),
        ("cv_bench_2d", "b", {}, "answer", ("(B)", "B")),
        ("gqa", "5.", {}, "answer", ("5", 5)),
        ("realworldqa", "5", {}, "answer", ("5", 5)),
        ("chartqa", "5.2", {"type": "human_test"}, "answer", ("5", 5, 5.0)),
        ("mmmu_val", "so 5.0", {"question_type": "open"}, "answer", ("5", 5, ["5", "6"], np.array(["4", "5"]))),
        (
            "mmmu_val", "B", {"question_type": "multiple-choice", "options": ["x", "y"]}, "answer",
            ("B", ["A", "B"], ("B",)),
        ),
        ("ocrbench", "a b", {"dataset": "x"}, "answer", ("A", ["x", "A"], ("A",), np.array(["A"], dtype=object))),
        ("textvqa_val", "go", {}, "answers", (["go"] * 10, ("go",) * 10, np.array(["go"] * 10, dtype=object))),
    ],
)  # fmt: skip
def test_a_truth_counts_in_every_form_in_which_tables_hold_it(benchmark, prediction, doc, field, truths):
    for truth in truths:
        assert score(benchmark, prediction, {**doc, field: truth}) == 1, truth
        assert score(benchmark, prediction, {**doc, field: None}, target=truth) == 1, truth
        assert verdict(benchmark, "zz", {**doc, field: truth}).score == 0, truth


@pytest.mark.parametrize(
    ("task", "like"),
    [
        *((f"videomme{part}", "videomme") for part in ("_w_subtitle", "_long", "_long_w_subtitle")),
        *((f"{name}_lite", name) for name in ("mmbench_en_dev", "mmbench_cn_dev", "gqa", "chartqa", "textvqa_val")),
        ("scienceqa", "scienceqa_img"),
    ],
)  # fmt: skip
def test_variants_of_a_task_are_scored_alike_and_stand_in_another_column(task, like):
    assert find(task).lmms is find(like).lmms
    assert find(task).headline == find(like).headline
    assert find(task).title.startswith(find(like).title)
    assert find(task).title != find(like).title


FREE = {"question_type": "free_form", "choices": None, "precision": None}


@pytest.mark.parametrize(
    ("kind", "truth", "prediction", "worth"),
    [
        ("integer", "5", "1e999", 0),
        ("float", "5", "1e999", 0),
        ("integer", "4", "from 3-4", 1),
        ("integer", "-4", "x=-4", 1),
        ("integer", "-4", "it is \N{MINUS SIGN}4", 1),
        ("list", "[1]", "[{{}}]", 0),
        ("list", "[1]", "[" + "-" * 100_000 + "1]", 0),
        ("list", "['d']", r"['\d']", 0),
        ("list", "[1]", "[1\0]", 0),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_no_answer_breaks_our_rules_for_mathvista(kind, truth, prediction, worth):
    for precision in (None, float("nan"), 0, 2.0):
        doc = FREE | {"answer_type": kind, "answer": truth, "precision": precision}
        assert score("mathvista_rule", prediction, doc) == worth


def test_a_guess_is_held_against_every_truth_there_is():
    from random import Random

    doc = {"question_type": "multiple-choice", "options": "['x', 'y']", "answer": ["A", "B"]}
    guessed = verdict("mmmu_val", "perhaps", doc, generator=Random(0))
    assert (guessed.score, guessed.parsed) == (1.0, False)


@pytest.mark.parametrize("prediction", [".B", "ab"])
def test_what_is_no_letter_of_a_choice_is_not_read_as_one(prediction):
    said = verdict("scienceqa_img", prediction, SQA | {"answer": 1}, "cambrian")
    assert (said.score, said.parsed) == (0.0, False)


def test_figures_that_need_no_group_do_without_it():
    half = [{"score": 1.0}, {"score": 0.0}]
    assert aggregate("chartqa", half) == {"relaxed_overall": 0.5, "parse_failure_rate": 0.0}
    assert aggregate("cv_bench_2d", iter(half)) == {"cv_bench_acc": 0.5, "parse_failure_rate": 0.0}
    assert aggregate("tempcompass_yes_no", half) == {"avg_accuracy_rule": 50.0, "parse_failure_rate": 0.0}


def test_what_lmms_eval_logs_of_a_sample_can_be_added_up():
    sources = [{"source": "ADE20K", "is_correct": True}, {"source": "COCO", "is_correct": False}]
    assert aggregate("cv_bench", sources)["cv_bench_acc"] == 0.5
    assert aggregate("tempcompass_yes_no", [{"rating": 1, "dim": "speed"}])["speed_accuracy_rule"] == 100.0
    assert aggregate("mathvista_rule", [{"true_false": False}])["llm_as_judge_eval_rule"] == 0.0
    read = [{"pred_answer": said, "answer": "A", "task_type": "ego"} for said in ("A", "")]
    assert aggregate("mlvu_dev", read)["mlvu_percetion_score_ego"] == 50.0
