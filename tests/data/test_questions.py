import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gazekit.data.digits.questions import ask_cell, ask_column, ask_count, ask_row, ask_where, vocabulary

LABELS = np.array([[1, 2, 3, 4], [5, 5, 5, 7], [0, 0, 1, 1], [9, 9, 6, 9]])

GRIDS = st.tuples(st.integers(4, 6), st.integers(4, 6)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 9))
)


@pytest.mark.parametrize(
    ("question", "text", "reply", "cells"),
    [
        (ask_row(LABELS, 1), "read row 2", "5 5 5 7", (4, 5, 6, 7)),
        (ask_column(LABELS, 2), "read column 3", "3 5 1 6", (2, 6, 10, 14)),
        (ask_cell(LABELS, 3, 0), "what is at row 4, column 1?", "9", (12,)),
        (ask_where(LABELS, 7), "where is the 7?", "7 second fourth", (None, 7, 7)),
        (ask_count(LABELS, 5), "how many 5s?", "5 3", (None, None)),
    ],
)
def test_words(question, text, reply, cells):
    assert (question.text, question.reply, question.cells) == (text, reply, cells)


@given(labels=GRIDS, pick=st.randoms(use_true_random=False))
def test_answers_follow_from_the_text_alone(labels, pick):
    """Reads each question as a person would and looks the answer up again."""
    rows, columns = labels.shape
    counts = np.bincount(labels.reshape(-1), minlength=10)
    digit = pick.choice(np.flatnonzero(counts).tolist())
    questions = [
        ask_row(labels, pick.randrange(rows)),
        ask_column(labels, pick.randrange(columns)),
        ask_cell(labels, pick.randrange(rows), pick.randrange(columns)),
        ask_count(labels, digit),
        *(ask_where(labels, int(single)) for single in np.flatnonzero(counts == 1)),
    ]
    for question in questions:
        numbers = [int(number) for number in re.findall(r"\d+", question.text)]
        table = labels.tolist()
        if question.text.startswith("read row"):
            expected = table[numbers[0] - 1]
        elif question.text.startswith("read column"):
            expected = [line[numbers[0] - 1] for line in table]
        elif question.text.startswith("what is at"):
            expected = [table[numbers[0] - 1][numbers[1] - 1]]
        elif question.text.startswith("how many"):
            expected = [numbers[0], sum(line.count(numbers[0]) for line in table)]
        else:
            row = next(i for i, line in enumerate(table) if numbers[0] in line)
            ordinals = ["first", "second", "third", "fourth", "fifth", "sixth"]
            expected = [numbers[0], ordinals[row], ordinals[table[row].index(numbers[0])]]
        assert question.answer == tuple(map(str, expected))
        assert len(question.cells) == len(question.answer)
        assert question.given == (question.kind in ("where", "count"))
        assert all(word == str(numbers[0]) for word in question.answer[: question.given])
        described = [(cell, word) for cell, word in zip(question.cells, question.answer, strict=True)]
        for cell, word in described:
            if cell is None:
                assert question.kind == "count" or word == str(numbers[0])
            elif question.kind == "where":
                assert labels.reshape(-1)[cell] == numbers[0]
            else:
                assert labels.reshape(-1)[cell] == int(word)
        words = set(re.findall(r"[a-z]+|\d+", question.text)) | set(question.answer)
        assert words <= set(vocabulary(rows * columns))
        assert question.text == question.text.strip()
        assert question.reply == question.reply.strip()


@pytest.mark.parametrize(("digit", "times"), [(8, 0), (5, 3)])
def test_a_place_is_asked_of_a_single_digit_only(digit, times):
    with pytest.raises(
        ValueError, match=f"exactly once to be asked for by place, {digit} is there {times} times"
    ):
        ask_where(LABELS, digit)


def test_places_beyond_the_ordinals_are_refused():
    with pytest.raises(ValueError, match="at most 12 rows and columns"):
        ask_where(np.arange(13 * 4).reshape(13, 4) % 10, 3)


def test_an_absent_digit_is_not_counted():
    with pytest.raises(ValueError, match="8 is absent"):
        ask_count(LABELS, 8)


def test_the_vocabulary_grows_with_the_mosaic():
    assert vocabulary(16)[-1] == "16"
    assert vocabulary(64)[-1] == "64"
    assert len(set(vocabulary(64))) == len(vocabulary(64))
