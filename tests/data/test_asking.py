import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gazekit.data import ManyQuestions, MosaicSpec, SingleQuestion, Slot
from gazekit.data.digits import DigitsDataset, ask, draw_layout

SPECS = st.builds(MosaicSpec, rows=st.integers(4, 8), columns=st.integers(4, 8))
SEEDS = st.integers(0, 2**32)


@given(spec=SPECS, seed=SEEDS, turns=st.integers(1, 8), mixed=st.sampled_from([0.4, 1.0]))
def test_no_answer_is_told_by_another_turn(spec, seed, turns, mixed):
    plan = ManyQuestions(rows=1 - mixed, columns=1 - mixed, mixed=mixed, turns=turns)
    rng = np.random.default_rng(seed)
    kinds = plan.draw_kinds(spec, rng)
    labels = draw_layout(spec, rng, unique=kinds.count("where"))
    questions = ask(labels, kinds, rng)
    assert len(questions) == len(kinds)
    texts = [question.text for question in questions]
    assert len(set(texts)) == len(texts)
    told = Counter(cell for q in questions for cell in set(q.cells) if cell is not None)
    assert max(told.values(), default=1) == 1
    named = [re.findall(r"\d", q.text)[0] for q in questions if q.kind in ("where", "count")]
    assert len(set(named)) == len(named)
    assert all((labels == int(digit)).any() for digit in named)


def test_rows_and_columns_never_meet_in_a_conversation():
    rng = np.random.default_rng(0)
    plan, spec = ManyQuestions(), MosaicSpec(rows=5, columns=7)
    drawn = [plan.draw_kinds(spec, rng) for _ in range(2000)]
    sorts = Counter("mixed" if set(kinds) <= {"cell", "where", "count"} else kinds[0] for kinds in drawn)
    assert sorts["row"] / 2000 == pytest.approx(0.3, abs=0.04)
    assert sorts["column"] / 2000 == pytest.approx(0.3, abs=0.04)
    assert {len(kinds) for kinds in drawn if kinds[0] == "row"} == {5}
    assert {len(kinds) for kinds in drawn if kinds[0] == "column"} == {6}
    assert all(len(set(kinds)) == 1 for kinds in drawn if kinds[0] in ("row", "column"))
    kinds = Counter(kind for kinds in drawn for kind in kinds if kind in ("cell", "where", "count"))
    assert kinds["cell"] / kinds.total() == pytest.approx(0.6, abs=0.04)
    assert kinds["where"] / kinds.total() == pytest.approx(0.25, abs=0.04)


def test_single_questions_come_in_their_shares():
    rng = np.random.default_rng(0)
    plan = SingleQuestion(row=1.0, column=1.0, cell=1.0, where=1.0, count=0.0)
    drawn = Counter(kind for _ in range(2000) for kind in plan.draw_kinds(MosaicSpec(), rng))
    assert set(drawn) == {"row", "column", "cell", "where"}
    assert all(count / 2000 == pytest.approx(0.25, abs=0.04) for count in drawn.values())


def test_a_cell_stands_in_where_no_digit_is_left_to_find():
    labels = np.arange(16).reshape(4, 4) // 8
    rng = np.random.default_rng(0)
    questions = ask(labels, ("where", "count", "count", "count"), rng)
    assert [question.kind for question in questions] == ["cell", "count", "count", "cell"]


def test_more_rows_than_there_are_is_refused():
    labels = draw_layout(MosaicSpec(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="more rows than 4 x 4 cells hold"):
        ask(labels, ("row",) * 5, np.random.default_rng(0))


def test_a_conversation_shows_the_mosaic_once_and_alternates():
    sample = DigitsDataset(split="train", plan=ManyQuestions(), length=1)[0]
    talk = sample.conversation
    assert len(talk.messages) == 2 * len(sample.questions)
    assert talk.messages[0].content == (Slot.IMAGE, sample.questions[0].text)
    assert [m.text for m in talk.messages[0::2]] == [q.text for q in sample.questions]
    assert [m.text for m in talk.messages[1::2]] == [q.reply for q in sample.questions]
    np.testing.assert_array_equal(np.asarray(talk.images[0])[..., 0], sample.mosaic.image)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ManyQuestions(turns=0), "turns must be from 1 to 8, got 0"),
        (lambda: ManyQuestions(turns=9), "turns must be from 1 to 8, got 9"),
        (lambda: ManyQuestions(rows=-1.0), "rows must not be negative, got -1.0"),
        (lambda: ManyQuestions(cell=0.0, where=0.0, count=0.0), "one of cell, where, count must be positive"),
        (lambda: SingleQuestion(count=-0.5), "count must not be negative, got -0.5"),
        (
            lambda: SingleQuestion(row=0.0, column=0.0, cell=0.0, where=0.0, count=0.0),
            "one of row, column, cell",
        ),
    ],
)
def test_a_plan_names_its_faults(build, message):
    with pytest.raises(ValueError, match=message):
        build()
