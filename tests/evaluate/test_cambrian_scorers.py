"""The `cambrian` profile, answer by answer, and our own rules for MathVista."""

import pytest

from gazekit.evaluate import verdict

MMBENCH = {"answer": "B"}
MMVP = {"Correct Answer": "(b)", "Options": "(a) Open (b) Shut wide"}
ADE, OMNI = (
    {"answer": "(B)", "source": source, "choices": ["chair", "4"]} for source in ("ADE20K", "Omni3D")
)
SQA = {"choices": ["A cat.", "Two dogs!"], "answer": 1}
MMMU, OPEN = {"question_type": "multiple-choice", "answer": "B"}, {"question_type": "open", "answer": "100"}
CHOICE = {
    "question_type": "multi_choice",
    "answer_type": "text",
    "choices": ["8", "9 cm", "8/11"],
    "answer": "9 cm",
}
FLOAT = {
    "question_type": "free_form",
    "answer_type": "float",
    "choices": None,
    "precision": 2.0,
    "answer": "3.14",
}
OCR = {"dataset": "HME100k", "question_type": "Handwriting Recognition", "answer": ["ab c"]}
FORMULA = OCR | {"question_type": "Handwritten Mathematical Expression Recognition"}


@pytest.mark.parametrize(
    ("benchmark", "doc", "prediction", "worth"),
    [
        ("mme", {"answer": "Yes"}, "YES..", 1),
        ("mme", {"answer": "Yes"}, "Yes, it is", None),
        ("mmbench_en_dev_static", MMBENCH, "The answer is: (B) dog", None),  # ":" stays, being after "answer is"
        ("mmbench_en_dev_static", MMBENCH, "The answer is (B) dog", 1),
        ("mmbench_en_dev_static", MMBENCH, "Because", 1),
        ("mmbench_en_dev_static", MMBENCH, "dog", 0),
        ("mmbench_en_dev_static", MMBENCH, "x", None),
        ("mmbench_cn_dev_static", MMBENCH, "B. dog", 1),
        ("mmbench_cn_dev_static", MMBENCH, "(B)", None),
        ("mmbench_cn_dev_static", MMBENCH, "Because", None),
        ("mmvp", MMVP, "answer: shut wide.", 1),
        ("mmvp", MMVP, "Open", 0),
        ("mmvp", MMVP, "B shut", None),
        ("realworldqa", {"answer": "Two"}, "The answer is two cars", 1),
        ("realworldqa", {"answer": "B"}, "B.", 1),
        ("realworldqa", {"answer": "B"}, "B. Yes", 0),  # the first word is "b."
        ("cv_bench_ade", ADE, "The answer is (B) 4", 1),
        ("cv_bench_ade", ADE, "4", 0),
        ("cv_bench_omni3d", OMNI, "4", 1),
        ("cv_bench_ade", ADE, "**B**", None),
        ("gqa", {"answer": "dog"}, "Dog.", 1),
        ("gqa", {"answer": "dog"}, "dogs", 0),
        ("gqa", {"answer": "t-shirt"}, "t shirt", 0),
        ("scienceqa_img", SQA, "b. whatever", 1),
        ("scienceqa_img", SQA, "two dogs", 1),
        ("scienceqa_img", SQA, "A cat", 0),
        ("scienceqa_img", SQA, "(B)", None),
        ("mmmu_val", MMMU, "bus", 1),
        ("mmmu_val", OPEN, "The answer is 105.", 1),
        ("mmmu_val", OPEN, "95.2", 0),  # 4.8 from the truth, but 5 per cent of what was said are less
        ("mmmu_val", OPEN, "105.2", 1),
        ("mathvista_rule", CHOICE, "B", 1),
        ("mathvista_rule", CHOICE, "B.", 0),
        ("mathvista_rule", CHOICE, "9 cm", 0),
        ("mathvista_rule", FLOAT, "3.2", 1),
        ("mathvista_testmini_format", FLOAT, "3.2", 1),
        ("chartqa", {"answer": "0"}, "0.0", 1),
        ("chartqa", {"answer": "50%"}, "50", 0),
        ("chartqa", {"answer": "100"}, "105", 1),
        ("ocrbench", OCR, "It says AB C here", 1),
        ("ocrbench", OCR, "abc", 0),
        ("ocrbench", FORMULA, "abc", 1),
        ("ocrbench", FORMULA, "ABC", 0),
        ("textvqa_val", {"answers": ["stop"] * 2 + ["go"] * 8}, "Stop.", 0.6),
        ("textvqa_val", {"answers": ["stop"] * 10}, "a stop", 1),
    ],
)  # fmt: skip
def test_cambrian_reads_it_so(benchmark: str, doc: dict, prediction: str, worth: float | None):
    said = verdict(benchmark, prediction, doc, "cambrian")
    assert said.score == pytest.approx(worth or 0)
    assert said.parsed == (worth is not None)


@pytest.mark.parametrize(
    ("doc", "prediction", "worth"),
    [
        (CHOICE, "B", 1),
        (CHOICE, "(b)", 1),
        (CHOICE, "B. since it is longer", 1),
        (CHOICE, "(B) since 8 is less", 1),
        (CHOICE, "So the correct answer is (B), not A", 1),
        (CHOICE, "The answer is 9 cm.", 1),
        (CHOICE, "9 CM", 1),
        (CHOICE, "8", 0),
        (CHOICE, "8 or 9 cm", None),
        (CHOICE, "18 m", None),
        (CHOICE, "A 9 cm", 1),
        (CHOICE, "D", None),
        (FLOAT | {"answer_type": "integer", "answer": "1000"}, "I count 3; in all 1,000.", 1),
        (FLOAT | {"answer_type": "integer", "answer": "1000"}, "1e3", 1),
        (FLOAT | {"answer_type": "integer", "answer": "5"}, "-5", 0),
        (FLOAT | {"answer_type": "integer", "answer": "5"}, "five", None),
        (FLOAT, "about 3.14159", 1),
        (FLOAT, "3.15", 0),
        (FLOAT | {"precision": 1, "answer": "0.5"}, ".52", 1),
        (FLOAT | {"answer_type": "list", "answer": "[2007, 2008]"}, "First [1], then [2007,2008]", 1),
        (FLOAT | {"answer_type": "list", "answer": "[2007, 2008]"}, "[2008, 2007]", 0),
        (FLOAT | {"answer_type": "list", "answer": "[2007, 2008]"}, "[x y]", 0),
        (FLOAT | {"answer_type": "list", "answer": "[2007, 2008]"}, "2007", None),
        (FLOAT | {"answer_type": "text", "answer": "Paris"}, "paris", 1),
    ],
)
def test_our_rules_for_mathvista_read_it_so(doc: dict, prediction: str, worth: float | None):
    said = verdict("mathvista_rule", prediction, doc)
    assert said.score == (worth or 0)
    assert said.parsed == (worth is not None)
