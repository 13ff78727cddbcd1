"""Answers are what generate() says, and glances are what was routed meanwhile."""

import numpy as np
import pytest
import torch

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.combine import SumCombine
from gazekit.contracts import Kind
from gazekit.data.digits import DigitsEvaluation
from gazekit.evaluate.reading import Answer, Outcome, read
from gazekit.evict import QuestionEviction
from gazekit.gaze import watch
from gazekit.recipe import load
from gazekit.recipe.assemble import assemble
from tests.scenes import unchecked


@pytest.fixture(scope="module")
def cambrian():
    """Untrained, but its answers never end: the end of a turn cannot win."""
    made = assemble(load("tiny"))
    end = made.model.config.eos_token_id
    original = made.model.lm_head.forward

    def endless(hidden):
        logits = original(hidden)
        logits[..., end] = float("-inf")
        return logits

    made.model.lm_head.forward = endless
    return made


@pytest.fixture(scope="module")
def items():
    return DigitsEvaluation(length=14)


def test_answers_are_those_of_each_question_alone(cambrian, items):
    outcome = read(cambrian.model, cambrian.processor, items, batch_size=5)
    assert [answer.expected for answer in outcome.answers] == [item.question.answer for item in items]
    for item, answer in zip(items, outcome.answers, strict=True):
        text = cambrian.processor.apply_chat_template(item.prompt.as_chat(), add_generation_prompt=True)
        inputs = cambrian.processor(text=text, images=[item.image])
        ids = cambrian.model.generate(**inputs, max_new_tokens=len(answer.expected), do_sample=False)
        said = cambrian.processor.tokenizer.convert_ids_to_tokens(
            ids[0, inputs["input_ids"].shape[1] :].tolist()
        )
        assert list(answer.said) == ["" if word.startswith("<|") else word for word in said]
    counted = [
        word == said
        for item, answer in zip(items, outcome.answers, strict=True)
        for word, said in list(zip(answer.expected, answer.said, strict=True))[item.question.given :]
    ]
    assert outcome.accuracy == sum(counted) / len(counted)
    assert outcome.attended is None
    assert outcome.routing is None


def test_glances_are_those_of_the_queries_that_wrote_the_words(cambrian, items):
    outcome = read(cambrian.model, cambrian.processor, items, batch_size=5, trace=True)
    assert outcome.attended.compute()["visual"] == 8
    assert outcome.attended.compute()["share"] == pytest.approx(1 / 8)
    item, answer = items[3], outcome.answers[3]
    text = cambrian.processor.apply_chat_template(item.prompt.as_chat(), add_generation_prompt=True)
    inputs = cambrian.processor(text=text, images=[item.image])
    with watch(cambrian.model) as trace:
        cambrian.model.generate(**inputs, max_new_tokens=len(answer.expected), do_sample=False)
    for word in range(answer.written):
        position = inputs["input_ids"].shape[1] - 1 + word
        for layer in range(3):
            (glance,) = [g for g in trace.glances if g.layer == layer and position in g.position[0]]
            row = glance.position[0].tolist().index(position)
            assert torch.equal(answer.glances[word, layer], glance.index[0, :, row])
    assert outcome.boxes[3].shape == (16, 3, 2)


def test_entries_of_branches_add_up(items):
    made = assemble(load("tiny"))
    near, far = (
        Gaze(partition=GridPartition(size=(1, side, side)), route=TopKRouter(k=1)) for side in (2, 4)
    )
    made.model.set_gaze(Gaze(branches=(near, far), combine=SumCombine()))
    outcome = read(made.model, made.processor, items, batch_size=14, trace=True)
    assert outcome.attended.compute()["visual"] == 4 + 16


def test_routing_counts_only_words_that_describe_a_place(cambrian, items):
    outcome = read(cambrian.model, cambrian.processor, items, trace=True)
    described = sum(
        int(np.asarray(item.masks).any((1, 2))[: answer.written].sum())
        for item, answer in zip(items, outcome.answers, strict=True)
    )
    assert len(outcome.routing.rows()["key"]) == described
    assert 0 < float(outcome.routing.compute()["mean_random"]) < 0.2


def test_eviction_leaves_its_budget_for_every_answer_word(cambrian, items):
    dense = assemble(load("tiny", ["gaze.route=null"]))
    dense.model.lm_head.forward = cambrian.model.lm_head.forward
    seen = []
    with watch(dense.model) as trace:
        read(dense.model, dense.processor, items, batch_size=14, eviction=QuestionEviction(budget=5))
    for glance in trace.glances:
        if glance.position.shape[1] == 1:
            seen += glance.attended[:, :, 0, 0].flatten().tolist()
    assert Kind.VISUAL in trace.KINDS
    assert set(seen) == {5}


def test_progress_is_told(cambrian, items):
    told = []
    read(cambrian.model, cambrian.processor, items, batch_size=6, progress=told.append)
    assert told == [6, 12, 14]


def test_an_answer_that_ended_early_has_empty_words():
    answer = Answer("row", "read row 1", ("1", "2", "3"), ("1", "", ""))
    assert (answer.right, answer.written) == (1, 1)
    echo = Answer("count", "how many 3s?", ("3", "2"), ("3", "1"), given=1)
    assert (echo.right, echo.counted) == (0, 1)
    outcome = Outcome([answer, Answer("cell", "?", ("4",), ("4",))])
    assert outcome.accuracy == 2 / 4
    assert outcome.accuracy_by_kind == {"cell": 1.0, "row": 1 / 3}


def test_words_of_several_tokens_are_refused(cambrian, items):
    from dataclasses import replace

    item = items[0]
    long = replace(item, question=replace(item.question, answer=("3s",)))
    with (
        unchecked(),
        pytest.raises(ValueError, match="every answer word must be one token, but '3s' is 2 tokens"),
    ):
        read(cambrian.model, cambrian.processor, [long])
