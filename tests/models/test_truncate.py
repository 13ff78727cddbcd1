"""Conversations that are cut, and what of them is learned."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gazekit.contracts import TooLongError
from tests.models.tiny import gaze_section, make_config, make_processor, picture

UNIT = 18


@pytest.fixture(scope="module")
def processor():
    return make_processor(make_config(gaze=gaze_section(num_context=2)))


def talk(*asks):
    return [
        turn
        for ask in asks
        for turn in ({"role": "user", "content": ask}, {"role": "assistant", "content": "row 2"})
    ]


def test_what_fits_is_left_as_it_is(processor):
    whole = processor.encode_conversation(talk("<image>read", "where"), [picture()])
    cut = processor.encode_conversation(
        talk("<image>read", "where"), [picture()], max_length=len(whole["input_ids"])
    )
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@given(st.integers(2, 150))
def test_never_half_an_image_is_left_and_always_something_to_learn(processor, length):
    messages = talk("<image>read", "<image>where<image>", "<video>read")
    frames = [picture(n) for n in range(3)]
    shown = {"images": [picture(7), picture(8), picture(9)], "videos": [frames]}
    whole = processor.encode_conversation(messages, **shown)
    try:
        cut = processor.encode_conversation(messages, **shown, max_length=length)
    except TooLongError:
        assert not (whole["labels"][1 : max(1, length - UNIT)] != -100).any()
        return
    tokens = len(cut["input_ids"])
    assert length - UNIT < tokens <= length or tokens == len(whole["input_ids"])
    assert torch.equal(cut["input_ids"], whole["input_ids"][:tokens])
    assert torch.equal(cut["labels"], whole["labels"][:tokens])
    units = int(
        torch.isin(
            cut["input_ids"], torch.tensor([processor.ids["image_token_id"], processor.ids["video_token_id"]])
        ).sum()
    )
    assert units % 16 == 0
    assert len(cut["pixel_values"]) == units // 16 == cut["clip_lengths"].sum()
    assert torch.equal(cut["pixel_values"], whole["pixel_values"][: units // 16])
    assert (cut["clip_lengths"] > 0).all()
    assert (cut["labels"][1:] != -100).any()


def test_a_video_that_is_cut_shows_its_first_frames(processor):
    messages = talk("read", "<video>where")
    frames = [[picture(n) for n in range(4)]]
    whole = processor.encode_conversation(messages, videos=frames)
    begin = int((whole["input_ids"] == processor.ids["video_token_id"]).nonzero()[0])
    cut = processor.encode_conversation(messages, videos=frames, max_length=begin + 2 * UNIT + 5)
    assert cut["clip_lengths"].tolist() == [2]
    assert len(cut["input_ids"]) == begin + 2 * UNIT


def test_a_conversation_whose_answer_does_not_fit_is_an_error(processor):
    with pytest.raises(
        TooLongError, match="must have an answer within 20 tokens, but none begins before token"
    ):
        processor.encode_conversation(talk("<image>read"), [picture()], max_length=20)


class TestLlavaNext:
    """What LLaVA-NeXT's loader for Qwen leaves unmasked, written down token by token."""

    def test_learns_headers_turn_marks_and_newlines(self):
        processor = make_processor(make_config(gaze=gaze_section(num_context=2)))
        processor.tokenizer.add_tokens(["\n"])
        messages = [{"role": "system", "content": "read"}, *talk("<image>where")]
        out = processor.encode_conversation(messages, [picture()], labels="llava_next_compat")
        ids, kept = out["input_ids"], out["labels"] != -100
        assert torch.equal(out["labels"][kept], ids[kept])
        word = {one: processor.tokenizer(one)["input_ids"] for one in ("assistant", "row 2", "\n")}
        marks = [processor.tokenizer.convert_tokens_to_ids(one) for one in ("<|im_start|>", "<|im_end|>")]
        (start, end), newline = marks, word["\n"]
        assert len(newline) == 1
        system = user = [start, *newline, end, *newline]
        answer = [start, *word["assistant"], *newline, *word["row 2"], end, *newline]
        assert ids[kept].tolist() == [*system, *user, *answer]

    def test_is_more_than_answers_and_the_same_tokens(self, processor):
        plain = processor.encode_conversation(talk("read"))
        compat = processor.encode_conversation(talk("read"), labels="llava_next_compat")
        assert torch.equal(plain["input_ids"], compat["input_ids"])
        learned = plain["labels"] != -100
        assert torch.equal(compat["labels"][learned], plain["labels"][learned])
        assert (compat["labels"] != -100).sum() > learned.sum()

    def test_other_names_are_refused(self, processor):
        with pytest.raises(ValueError, match="labels must be one of answers, llava_next_compat, got 'all'"):
            processor.encode_conversation(talk("read"), labels="all")
