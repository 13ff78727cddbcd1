"""Answers at the edges of the rules: (benchmark, prediction, doc, what lmms-eval 0.7.3 scores it with)."""

_NEXTQA = {"answer": 3, "a0": "play", "a1": "run to the door", "a2": "see", "a3": "sit\n", "a4": "laugh"}
_MMBENCH = {"index": 1, "answer": "B", "A": "cat", "B": "dog", "C": "cow", "D": "pig"}
_EGO = {"video_idx": "v", "answer": "2", "option": ["A. read", "B. cook", "C. paint", "D. sleep", "E. run"]}
_LVB = {
    "id": "1", "duration_group": 15, "question_category": "S2E", "correct_choice": 4,
    "option0": "v", "option1": "w", "option2": "x", "option3": "y", "option4": "z",
}  # fmt: skip
_MMVP = {"Index": 1, "Question": "q", "Options": "(a) x (b) y", "Correct Answer": "(b)"}
_SOURCE = {"idx": 0, "type": "2D", "task": "Count", "source": "COCO"}
_OCR = {"dataset": "IIIT5K", "question_type": "Handwriting Recognition"}
_TEMPORAL = {"video_id": "1", "question": "q", "dim": "speed"}
_OPEN = {"id": "validation_Art_1", "question_type": "open", "options": "[]", "question": "q"}
_CHOICE = {
    "id": "validation_Art_1",
    "question_type": "multiple-choice",
    "options": "['x', 'y', 'z']",
    "question": "q",
}
_MATH = {"pid": "1", "query": "q", "metadata": {}, "choices": None, "question_type": "free_form"}
_TEXTS = {"question_type": "multi_choice", "answer_type": "text", "precision": 0, "choices": ["abcd", "xy"]}
_CAPTIONS = {
    "video_id": "1", "dim": "action", "answer": "Option A: first: left.",
    "question": "Which?\nOption A: first: left.\nOption B: then: right.",
}  # fmt: skip
_VIDEO = {
    "domain": "Knowledge", "sub_category": "Law", "task_type": "OCR Problems", "duration": "short",
    "question_id": "1", "videoID": "v",
}  # fmt: skip


def _mme(answer: str) -> dict:
    return {"question_id": "q", "category": "count", "answer": answer}


def _video(answer: str) -> dict:
    return _VIDEO | {"answer": answer}


def _vqa(*answers: str) -> dict:
    return {"question_id": 1, "answers": [*answers]}


EDGES = [
    ("mme", "ab no", _mme("No"), 0),
    ("mme", "n", _mme("No"), 1),
    ("mme", "y.e.s.", _mme("Yes"), 1),
    ("mme", "(no, yes)", _mme("No"), 1),
    ("mme", "Yes/no", _mme("No"), 0),
    ("mmbench_en_dev_static", "A dog runs", _MMBENCH, 0),
    ("mmbench_en_dev_static", "A dog runs away", _MMBENCH, 1),
    ("mmbench_en_dev_static", "(B). not :C", _MMBENCH, 1),
    ("mmbench_en_dev_static", "B and C", _MMBENCH, 1),
    ("mmbench_en_dev_static", "C B", _MMBENCH, 0),
    ("mmbench_en_dev_static", "a banana", _MMBENCH | {"C": "nan", "answer": "C"}, 1),
    ("mmbench_en_dev_static", "a banana", _MMBENCH | {"C": None, "answer": "C"}, 0),
    ("mmbench_en_dev_static", "E", _MMBENCH, 0),
    ("mmvp", "option (b)", _MMVP, 1),
    ("mmvp", "The bulb", _MMVP, 1),
    ("mmvp", "answer is b, I mean a", _MMVP, 1),
    ("mmvp", "Because", _MMVP, 1),
    ("mmvp", "the apple", _MMVP, 0),
    ("realworldqa", "b", {"question": "q", "answer": "B"}, 0),
    ("realworldqa", "b", {"question": "q", "answer": "b"}, 0),
    ("realworldqa", "2..", {"question": "q", "answer": " 2 "}, 1),
    ("cv_bench", "( b)", _SOURCE | {"answer": "(B)"}, 1),
    ("cv_bench", "(\n (B", _SOURCE | {"answer": "(B)"}, 1),
    ("cv_bench", "2", _SOURCE | {"answer": "(B)"}, 0),
    ("gqa", "t-shirt", {"answer": "tshirt"}, 1),
    ("gqa", "left .", {"answer": "left"}, 0),
    ("gqa", "i", {"answer": "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}"}, 1),
    ("scienceqa_img", "B. cat", {"choices": ["x", "y"], "answer": 1}, 1),
    ("scienceqa_img", "b", {"choices": ["x", "y"], "answer": 1}, 1),
    ("scienceqa_img", "(B)", {"choices": ["x", "y"], "answer": 1}, 0),
    ("mmmu_val", "0.333", _OPEN | {"answer": "0.33"}, 1),
    ("mmmu_val", "it is 3. thus = 4", _OPEN | {"answer": "4"}, 1),
    ("mmmu_val", "= 4\nit is 5", _OPEN | {"answer": "4"}, 0),
    ("mmmu_val", "the answer is 5, not 3", _OPEN | {"answer": "3"}, 1),
    ("mmmu_val", "-5", _OPEN | {"answer": "5"}, 0),
    ("mmmu_val", "x y", _OPEN | {"answer": "y"}, 1),
    ("mmmu_val", "xy", _OPEN | {"answer": "y"}, 0),
    ("mmmu_val", "so cat\nso dog", _OPEN | {"answer": ["dog", "cow"]}, 1),
    ("mmmu_val", "", _OPEN | {"answer": ""}, 1),
    ("mmmu_val", "B or C", _CHOICE | {"answer": "B"}, 0),
    ("mmmu_val", "(C) (A) B", _CHOICE | {"answer": "A"}, 1),
    ("mmmu_val", "C.A.B", _CHOICE | {"answer": "B"}, 1),
    ("mmmu_val", "A.,C", _CHOICE | {"answer": "C"}, 1),
    ("mathvista_testmini_format", "14.0", _MATH | {"answer": "14", "answer_type": "integer", "precision": 0}, 0),
    ("mathvista_testmini_format", "1_000", _MATH | {"answer": "1000", "answer_type": "integer", "precision": 0}, 1),
    ("mathvista_testmini_format", "3.14159", _MATH | {"answer": "3.14", "answer_type": "float", "precision": 2.0}, 0),
    ("mathvista_testmini_format", "2", _MATH | {"answer": "2.0", "answer_type": "float", "precision": 1}, 1),
    ("mathvista_testmini_format", "A", _MATH | _TEXTS | {"answer": "xy"}, 1),
    ("mathvista_testmini_format", "abcd", _MATH | _TEXTS | {"answer": "abcd"}, 1),
    ("mathvista(normalize)", "ab", _MATH | _TEXTS | {"answer": "abcd"}, 1),
    ("mathvista(normalize)", "(b) since", _MATH | _TEXTS | {"answer": "xy"}, 1),
    ("mathvista(normalize)", "b", _MATH | _TEXTS | {"answer": "xy"}, 1),
    ("mathvista(normalize)", "3.7", _MATH | {"answer": "3", "answer_type": "integer", "precision": 0}, 1),
    ("mathvista(normalize)", "inf", _MATH | {"answer": "None", "answer_type": "integer", "precision": 0}, 1),
    ("chartqa", "105", {"type": "human_test", "answer": "100"}, 1),
    ("chartqa", "105.1", {"type": "human_test", "answer": "100"}, 0),
    ("chartqa", "1_000", {"type": "human_test", "answer": "1000"}, 1),
    ("chartqa", "0.0", {"type": "human_test", "answer": "0"}, 0),
    ("chartqa", "-95", {"type": "human_test", "answer": "-100"}, 1),
    ("chartqa", "50%%", {"type": "human_test", "answer": "0.5"}, 1),
    ("ocrbench", "Ａ　Ｂ", _OCR | {"answer": ["a b"]}, 1),
    ("ocrbench", "one\ntwo", _OCR | {"answer": "One Two"}, 1),
    ("ocrbench", "X", _OCR | {"dataset": "HME100k", "answer": ["x"]}, 0),
    ("ocrbench", "no", _OCR | {"answer": ["yes", "NO"]}, 1),
    ("textvqa_val", "1", _vqa(*["one"] * 3, *["two"] * 7), 0.9),
    ("textvqa_val", "a b/c", _vqa(*["b c"] * 10), 1),
    ("textvqa_val", "b/ c", _vqa(*["b c"] * 10), 1),
    ("textvqa_val", "3.5.", _vqa(*["3.5"] * 10), 1),
    ("textvqa_val", "dont", _vqa(*["don't"] * 10), 1),
    ("textvqa_val", "eleven", _vqa(*["11"] * 10), 0),
    ("textvqa_val", "x", _vqa("x", *["y"] * 9), 0.3),
    ("videomme", "The answer is C because of D.", _video("C"), 0),
    ("videomme", "The answer is C because of it", _video("C"), 1),
    ("videomme", "(A) (B)", _video("A"), 0),
    ("videomme", "my answer is b", _video("B"), 0),
    ("videomme", "C: x, B. y", _video("B"), 0),
    ("videomme", "D) x", _video("D"), 1),
    ("videomme", "xAx", _video("A"), 1),
    ("videomme", "答案是C吧", _video("C"), 1),
    ("mlvu_dev", "E", {"question": "q", "task_type": "ego", "answer": "E"}, 0),
    ("mlvu_dev", "(B) it is", {"question": "q", "task_type": "ego", "answer": "B"}, 1),
    ("egoschema_subset", "C or A", _EGO, 1),
    ("egoschema_subset", "(D) C", _EGO, 0),
    ("egoschema_subset", "in it they paint a wall", _EGO, 0),
    ("egoschema_subset", "in it c. paint is the answer", _EGO, 1),
    ("longvideobench_val_v", "The answer is E", _LVB, 1),
    ("longvideobench_val_v", "Answer: E", _LVB, 0),
    ("nextqa_mc_test", "they run to the door", _NEXTQA | {"answer": 1}, 0),
    ("nextqa_mc_test", "they all run to the door", _NEXTQA | {"answer": 1}, 1),
    ("nextqa_mc_test", "at the very end he sits", _NEXTQA, 1),
    ("nextqa_mc_test", "in the end they sit, then laugh", _NEXTQA, 0),
    ("nextqa_mc_test", "B or D", _NEXTQA, 1),
    ("tempcompass_multi_choice", "A: left", _TEMPORAL | {"answer": "A. left"}, 0),
    ("tempcompass_multi_choice", "A.", _TEMPORAL | {"answer": "A. left"}, 1),
    ("tempcompass_multi_choice", "AB", _TEMPORAL | {"answer": "A. left"}, 0),
    ("tempcompass_multi_choice", "E", _TEMPORAL | {"answer": "E. left"}, 0),
    ("tempcompass_yes_no", "Nothing", _TEMPORAL | {"answer": "no"}, 1),
    ("tempcompass_yes_no", "YES", _TEMPORAL | {"answer": "yes"}, 1),
    ("tempcompass_caption_matching", "A", _CAPTIONS, 1),
    ("tempcompass_caption_matching", "Option A.", _CAPTIONS, 1),
    ("tempcompass_caption_matching", "first", _CAPTIONS, 1),
    ("tempcompass_caption_matching", "A) first", _CAPTIONS, 1),
    ("tempcompass_caption_matching", "Option B: then: right.", _CAPTIONS, 0),
    ("tempcompass_caption_matching", "left.", _CAPTIONS, 0),
]  # fmt: skip
