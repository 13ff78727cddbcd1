"""Answers that models give and docs that they answer, for scorers: one strategy a benchmark."""

from hypothesis import strategies as st

_WORDS = (
    *"""
    yes|no|Yes|NO|know|not sure|A|B|C|D|E|F|a|b|(A)|(B)|(c)|D.|B,|C:|A)|(D).|:B|:C,|A.|b.|C) cow|the answer is
    The answer is|answer:|Answer: |The best answer is|The correct option is|Best option:|option|I choose|my choice is
    答案是|정답은|答えは|so|is|therefore|final|could be|=|result|dog|Cat|polar bear|bear|a big red bus|none of these
    NASA|Based on|because|The|an|12|0.5|1,000|50%|12 %|-3|1e3|3.14159|x|x ^ 2|2|2.0|ten|none|8/11|[1, 2]|[1,2]|dont|it's
    couldn'tve|kid's|U.S.A.|10:30|-|ＡＢＣ|centre|nan|inf|. |.|,|!|?|;|'|"|**|/|(|)|Caption A|Caption B|The man sits.
    A) The man runs.|Sentence B|left.|B. clockwise|A: x|Failed to obtain|Nothing
    """.strip()
    .replace("\n    ", "|")
    .split("|"),
    *("\n", "\t"),
)


def sentences() -> st.SearchStrategy[str]:
    """Predictions: words and signs, with blanks between them or not."""
    word = st.one_of(st.sampled_from(_WORDS), st.text("ABab1.() ", max_size=3))
    joined = st.builds(
        lambda words, gap: gap.join(words), st.lists(word, max_size=8), st.sampled_from([" ", " ", ""])
    )
    return st.one_of(word, joined, joined)


def words() -> st.SearchStrategy[str]:
    """Short texts, as truths and options are."""
    return (
        st.builds(" ".join, st.lists(st.sampled_from(_WORDS), min_size=1, max_size=2))
        .map(str.strip)
        .filter(bool)
    )


def _doc(**fields: st.SearchStrategy) -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries(fields)


def _options(size: int) -> st.SearchStrategy[list[str]]:
    return st.lists(words(), min_size=size, max_size=size)


def _mathvista(draw) -> dict:
    kind = draw(st.sampled_from(["multi_choice", "integer", "float", "list", "text"]))
    choices = draw(st.lists(words(), min_size=2, max_size=4)) if kind == "multi_choice" else None
    answer = draw(st.sampled_from(choices) if choices else words())
    return {
        "pid": "1", "query": "q", "metadata": {}, "choices": choices, "answer": answer,
        "question_type": "multi_choice" if choices else "free_form",
        "answer_type": "text" if choices else kind,
        "precision": draw(st.sampled_from([0, 1, 2, 2.0])),
    }  # fmt: skip


_SENTENCES = st.sampled_from(["The man runs.", "The man sits.", "A dog: left.", "x"])


def _captions(draw) -> dict:
    noun = draw(st.sampled_from(["Caption", "Sentence", "Option"]))
    lines = [f"{noun} {letter}: {draw(_SENTENCES)}" for letter in "AB"]
    return {
        "video_id": "1", "dim": "action", "question": "\n".join(["Which?", *lines]),
        "answer": draw(st.sampled_from(lines)),
    }  # fmt: skip


def _longvideobench(draw) -> dict:
    count = draw(st.integers(3, 5))
    return {
        "id": "1", "duration_group": 15, "question_category": "S2E", "correct_choice": draw(st.integers(0, count - 1)),
        **{f"option{place}": "x" if place < count else "N/A" for place in range(5)},
    }  # fmt: skip


def _mmmu(draw) -> dict:
    options = draw(_options(4))
    choice = draw(st.booleans())
    return {
        "id": "validation_Art_Theory_1", "question": "q", "options": str(options),
        "question_type": "multiple-choice" if choice else "open",
        "answer": draw(st.sampled_from("ABCD") if choice else st.one_of(words(), _options(2))),
    }  # fmt: skip


_TEMPCOMPASS = {"video_id": st.just("1"), "question": st.just("q"), "dim": st.just("speed")}
_CV_BENCH = _doc(
    answer=st.sampled_from(["(A)", "(B)", "(C)"]), idx=st.just(0), type=st.just("2D"), task=st.just("Count"),
    source=st.sampled_from(["ADE20K", "COCO", "Omni3D"]), choices=_options(4),
)  # fmt: skip
_OPTION = st.one_of(words(), st.sampled_from(["nan", None]))

DOCS: dict[str, st.SearchStrategy[dict]] = {
    "mme": _doc(
        question_id=st.just("q"), category=st.just("count"), answer=st.sampled_from(["Yes", "No", "yes.", "no"])
    ),
    "mmbench_en_dev_static": _doc(
        index=st.just(1), answer=st.sampled_from("ABCD"), A=words(), B=words(), C=_OPTION, D=_OPTION
    ),
    "mmvp": _doc(
        Index=st.integers(1, 300), Question=st.just("q"), Options=st.just("(a) dog (b) cat"),
        **{"Correct Answer": st.sampled_from(["(a)", "(b)"])},
    ),
    "realworldqa": _doc(question=st.just("q"), answer=st.one_of(st.sampled_from("ABCDa"), words())),
    "cv_bench": _CV_BENCH,
    "gqa": _doc(answer=words()),
    "scienceqa_img": _doc(choices=_options(3), answer=st.integers(0, 2)),
    "mmmu_val": st.composite(_mmmu)(),
    "mathvista_testmini_format": st.composite(_mathvista)(),
    "mathvista(normalize)": st.composite(_mathvista)(),
    "chartqa": _doc(type=st.sampled_from(["human_test", "augmented_test"]), answer=words()),
    "ocrbench": _doc(
        dataset=st.sampled_from(["HME100k", "IIIT5K"]), question_type=st.just("Handwriting Recognition"),
        answer=st.one_of(words(), _options(2)),
    ),
    "textvqa_val": _doc(question_id=st.just(1), answers=st.lists(words(), min_size=10, max_size=10)),
    "videomme": _doc(
        answer=st.sampled_from("ABCD"), domain=st.just("Knowledge"), sub_category=st.just("Law"),
        question_id=st.just("1"), task_type=st.just("OCR Problems"), duration=st.just("short"), videoID=st.just("v"),
    ),
    "mlvu_dev": _doc(question=st.just("q"), task_type=st.just("ego"), answer=st.sampled_from("ABCD")),
    "egoschema_subset": _doc(
        video_idx=st.just("v"), answer=st.sampled_from("01234"),
        option=_options(5).map(lambda texts: [f"{'ABCDE'[place]}. {text}" for place, text in enumerate(texts)]),
    ),
    "longvideobench_val_v": st.composite(_longvideobench)(),
    "nextqa_mc_test": _doc(answer=st.integers(0, 4), a0=words(), a1=words(), a2=words(), a3=words(), a4=words()),
    "tempcompass_multi_choice": _doc(answer=st.sampled_from(["A. left", "B. clockwise"]), **_TEMPCOMPASS),
    "tempcompass_yes_no": _doc(answer=st.sampled_from(["yes", "no"]), **_TEMPCOMPASS),
    "tempcompass_caption_matching": st.composite(_captions)(),
}  # fmt: skip
"""Docs by task name; every benchmark that lmms-eval has a scorer for is here once."""


@st.composite
def answered(draw, benchmark: str) -> tuple[str, dict]:
    """A prediction and the doc that it answers; half of the predictions speak of the doc's own words."""
    doc = draw(DOCS[benchmark])
    prediction = draw(sentences())
    if draw(st.booleans()):
        texts = [text for value in doc.values() for text in (value if isinstance(value, list) else [value])]
        lines = [line for text in texts if isinstance(text, str) for line in text.split("\n")]
        own = lines + [part for line in lines for part in line.split(": ")]
        form = draw(
            st.sampled_from(["{0}", "{0}", "{0} {1}", "{1} {0}", "{0}.", "({0})", "A) {0}", "{1}{0}"])
        )
        prediction = form.format(draw(st.sampled_from(own)), prediction)
    return prediction, doc
