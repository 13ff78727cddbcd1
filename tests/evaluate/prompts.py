"""One sample of each benchmark, and what is asked about it in each profile, letter by letter."""

LETTER = "Answer with the option's letter from the given choices directly."
WORD = "Answer the question using a single word or phrase."

SAMPLES: dict[str, tuple[dict, str, str]] = {
    "mme": (
        {
            "question": "Is this a cat? Please answer yes or no.", "answer": "Yes", "question_id": "1",
            "category": "scene",
        },
        f"Is this a cat?\n{WORD}",
        f"<image>\nIs this a cat? Please answer yes or no.\n{WORD}",
    ),
    "mmbench_en_dev_static": (
        {
            "index": 7, "question": "Which one?", "hint": "Look up.", "A": "left", "B": "right", "C": "nan", "D": None,
            "E": "none", "answer": "A", "category": "c", "L2-category": "l", "source": "s", "split": "dev",
        },
        f"Look up. Which one? There are several options:\nA. left\nB. right\nE. none\n\n{LETTER}",
        f"<image>\nLook up.\nWhich one? Options:\nA. left\nB. right\n{LETTER}",
    ),
    "mmbench_cn_dev_static": (
        {
            "index": 7, "question": "哪一个？", "hint": "nan", "A": "左", "B": "右", "C": "nan", "D": "nan",
            "answer": "A", "category": "c", "L2-category": "l", "source": "s", "split": "dev",
        },
        "nan 哪一个？ There are several options:\nA. 左\nB. 右\n\n请直接使用所提供的选项字母作为答案回答。",
        "<image>\n哪一个？ Options:\nA. 左\nB. 右\n请直接回答选项字母。",
    ),
    "mmvp": (
        {"Index": 1, "Question": "Are the ears up?", "Options": "(a) Up (b) Down", "Correct Answer": "(a)"},
        f"Are the ears up?\nA. Up\nB. Down\n{LETTER}",
        f"<image>\nAre the ears up? Options:\nA. Up\nB. Down\n{LETTER}",
    ),
    "realworldqa": (
        {"question": " How many?\nAnswer in one word. ", "answer": "2"},
        "How many?\nAnswer in one word.",
        "<image>\n How many?\nAnswer in one word. ",
    ),
    "cv_bench_ade": (
        {
            "idx": 3, "type": "2D", "task": "Count", "source": "ADE20K", "prompt": "How many? (A) 1 (B) 2 (C) 3",
            "choices": ["1", "2", "3"], "answer": "(A)",
        },
        "Note: You only need to respond with A, B, C without providing any additional information.\n\n"
        "How many? (A) 1 (B) 2 (C) 3",
        f"<image>\nHow many? (A) 1 (B) 2 (C) 3\n{LETTER}",
    ),
    "gqa": (
        {"id": "1", "imageId": "n1", "question": "What color?", "answer": "red"},
        f"What color?\n{WORD}",
        f"<image>\nWhat color?\n{WORD}",
    ),
    "scienceqa_img": (
        {"hint": "Maps.", "question": "Which state?", "choices": ["Ohio", "Iowa"], "answer": 0},
        f"Context: Maps.\nWhich state?\nA. Ohio\nB. Iowa\n{LETTER}",
        "<image>\nMaps. Which state?\nA. Ohio\nB. Iowa\n"
        "Please answer directly with only the letter of the correct option and nothing else.",
    ),
    "mmmu_val": (
        {
            "id": "validation_Art_1", "question": "See <image 1>. Which of <image 2>?", "options": "['one', \"two\"]",
            "question_type": "multiple-choice", "answer": "A",
        },
        f"See<image>. Which of<image>?\nA. one\nB. two\n\n{LETTER}",
        f"<image>\nSee . Which of ? Options:\nA. one\n{LETTER}",
    ),
    "mathvista_rule": (
        {
            "pid": "1", "question": "How long?", "query": "Hint: x\nQuestion: How long?", "unit": "cm", "choices": None,
            "question_type": "free_form", "answer_type": "float", "precision": 1.0, "answer": "1.5",
        },
        "How long? (Unit: cm)\nAnswer the question using a single floating-point number with one decimal place.",
        f"<image>\nHint: x\nQuestion: How long?\n{WORD}",
    ),
    "chartqa": (
        {"type": "human_test", "question": "How many?", "answer": "3"},
        "How many?\nAnswer the question with a single word.",
        "<image>\nHow many?\nAnswer the question using a single number or phrase.",
    ),
    "ocrbench": (
        {"dataset": "d", "question_type": "t", "question": "What is written? ", "answer": ["x"]},
        "What is written?",
        "<image>\nWhat is written? \nGive the short answer directly.",
    ),
    "textvqa_val": (
        {"question_id": 1, "question": "what does NASA say", "answers": ["x"] * 10, "ocr_tokens": ["NASA", "moon"]},
        f"What does nasa say\n{WORD}",
        f"<image>\nwhat does NASA say\nReference OCR tokens: NASA, moon\n{WORD}",
    ),
    "videomme": (
        {"videoID": "v", "question_id": "1-1", "question": "Who?", "options": ["A. I", "B. You"], "answer": "A"},
        "Select the best answer to the following multiple-choice question based on the video and the subtitles. "
        f"Respond with only the letter (A, B, C, or D) of the correct option.\nWho?\nA. I\nB. You\n\n{LETTER}",
        "",
    ),
    "mlvu_dev": (
        {"video_name": "v.mp4", "question": "Who?\n(A) I\n(B) You", "answer": "A"},
        "Who?\n(A) I\n(B) You\nOnly give the best option.\nBest option: (",
        "",
    ),
    "egoschema_subset": (
        {"video_idx": "v", "question": "Why?", "option": ["A. so", "B. not", "C. c", "D. d", "E. e"], "answer": "0"},
        f"Why?\nA. so\nB. not\nC. c\nD. d\nE. e\n{LETTER}",
        "",
    ),
    "longvideobench_val_v": (
        {
            "id": "1", "video_path": "v.mp4", "question": "When?", "option0": "now", "option1": "later",
            **{f"option{place}": "N/A" for place in (2, 3, 4)}, "correct_choice": 0,
        },
        f"When?\nA. now\nB. later\n{LETTER}\n",
        "",
    ),
    "nextqa_mc_test": (
        {"video": 1, "question": " why ", **{f"a{place}": f"{place} " for place in range(5)}, "answer": 0},
        "why\nA. 0\nB. 1\nC. 2\nD. 3\nE. 4",
        "",
    ),
    "tempcompass_multi_choice_rule": (
        {"video_id": "v", "question": "Which?\nA. up\nB. down", "answer": "A. up", "dim": "speed"},
        "Which?\nA. up\nB. down\nPlease directly give the best option:",
        "",
    ),
    "tempcompass_yes_no_rule": (
        {"video_id": "v", "question": "Is it?", "answer": "yes", "dim": "speed"},
        "Is it?\nPlease answer yes or no:",
        "",
    ),
    "tempcompass_caption_matching_rule": (
        {"video_id": "v", "question": "Which caption?", "answer": "Caption A: x", "dim": "speed"},
        "Which caption?\nPlease directly give the best option:",
        "",
    ),
}  # fmt: skip
"""By task: the row, the lmms prompt, the cambrian prompt (of videos: the same)."""

UPSTREAM = {
    "mmbench_cn_dev_static": "mmbench_cn_dev", "cv_bench_ade": "cv_bench_2d",
    "mathvista_rule": "mathvista_testmini_format", "tempcompass_multi_choice_rule": "tempcompass_multi_choice",
    "tempcompass_yes_no_rule": "tempcompass_yes_no",
    "tempcompass_caption_matching_rule": "tempcompass_caption_matching",
}  # fmt: skip
"""lmms-eval's own name of a task, where ours is another."""
