"""Conversations through the processors of other models: labels, padding, what belongs to images."""

import pytest
import torch

from gazekit.models.retrofit import Conversations
from tests.models.retrofit.stock import ALL, make_stock, picture


def asked(*answers: str) -> list[dict]:
    """Questions about one image, answered."""
    talk = []
    for index, answer in enumerate(answers):
        shown = [{"type": "image"}] if index == 0 else []
        talk.append({"role": "user", "content": [*shown, {"type": "text", "text": "read row"}]})
        talk.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return talk


def supervised(processor, sample) -> str:
    return processor.tokenizer.decode(sample["labels"][sample["labels"] != -100])


@pytest.mark.parametrize("name", ALL)
def test_labels_lie_on_answers_and_the_end_of_turns(name):
    processor = Conversations(make_stock(name))
    sample = processor.encode_conversation(asked("one two", "three"), [picture()])
    assert supervised(processor, sample) == "one two <eos> three <eos>"
    kept = sample["labels"] != -100
    assert torch.equal(sample["labels"][kept], sample["input_ids"][kept])
    assert "offset_mapping" not in sample


@pytest.mark.parametrize("name", ALL)
def test_a_batch_holds_its_samples_in_order(name):
    processor = Conversations(make_stock(name))
    samples = [
        processor.encode_conversation(asked(*answers), [picture(seed, *size)])
        for seed, (answers, size) in enumerate([(("one",), (24, 32)), (("two", "three"), (16, 40))])
    ]
    batch = processor.collate(samples)
    for index, sample in enumerate(samples):
        length = sample["input_ids"].shape[1]
        for key in ("input_ids", "labels", "attention_mask"):
            assert torch.equal(batch[key][index, :length], sample[key][0]), key
        assert not batch["attention_mask"][index, length:].any()
        assert (batch["labels"][index, length:] == -100).all()
    first, second = (sample["pixel_values"] for sample in samples)
    both = batch["pixel_values"]
    assert len(both) == len(first) + len(second)
    inside = tuple(slice(size) for size in second.shape[1:])
    assert torch.equal(both[len(first) :][(slice(None), *inside)], second)


def test_padding_on_the_left():
    processor = Conversations(make_stock("Qwen3VLProcessor"))
    samples = [
        processor.encode_conversation(asked(*said), [picture()]) for said in (("one",), ("one", "two"))
    ]
    batch = processor.collate(samples, padding_side="left")
    assert batch["attention_mask"][0, 0] == 0
    assert torch.equal(
        batch["mm_token_type_ids"][0, -samples[0]["input_ids"].shape[1] :], samples[0]["mm_token_type_ids"][0]
    )
    with pytest.raises(ValueError, match="padding_side must be 'left' or 'right', got 'middle'"):
        processor.collate(samples, padding_side="middle")


def test_a_token_that_the_template_writes_is_not_put_before_it_again():
    stock = make_stock("Qwen2VLProcessor")
    stock.tokenizer.bos_token = "<s>"
    stock.chat_template = "<s> " + stock.chat_template
    processor = Conversations(stock)
    sample = processor.encode_conversation(asked("one"), [picture()])
    assert supervised(processor, sample) == "one <eos>"
    assert (sample["input_ids"] == stock.tokenizer.bos_token_id).sum() == 1


def test_a_tokenizer_that_cannot_tell_where_tokens_lie_is_refused(monkeypatch):
    stock = make_stock("Qwen2VLProcessor")
    monkeypatch.setattr(type(stock.tokenizer), "is_fast", False)
    with pytest.raises(ValueError, match="must have a tokenizer that tells where its tokens lie"):
        Conversations(stock)


def test_what_cannot_be_learned_from_is_named():
    stock = make_stock("Qwen2VLProcessor")
    processor = Conversations(stock)
    with pytest.raises(ValueError, match="messages must have a turn of the assistant to learn from"):
        processor.encode_conversation(asked("one")[:1], [picture()])
    stock.chat_template = "{{ messages | length }} " + stock.chat_template
    with pytest.raises(ValueError, match="chat_template must write a conversation's beginning the same"):
        processor.encode_conversation(asked("one", "two"), [picture()])
    stock.chat_template = None
    with pytest.raises(ValueError, match="processor must have a chat template, Qwen2VLProcessor has none"):
        Conversations(stock)


def test_it_is_saved_as_the_stock_processor(tmp_path):
    Conversations(make_stock("Gemma3Processor")).save_pretrained(tmp_path)
    assert (tmp_path / "processor_config.json").is_file()


@pytest.mark.parametrize("name", ALL)
def test_a_question_is_the_beginning_of_its_conversation(name):
    processor = Conversations(make_stock(name))
    talk = asked("one two")
    question = processor.encode_question(talk[:1], [picture()])
    whole = processor.encode_conversation(talk, [picture()])
    length = question["input_ids"].shape[1]
    assert torch.equal(question["input_ids"], whole["input_ids"][:, :length])
    assert supervised(processor, whole) == "one two <eos>"
    assert (whole["labels"][:, :length] == -100).all()
    assert whole["labels"][0, length] != -100
    assert torch.equal(question["pixel_values"], whole["pixel_values"])
    assert "pixel_values" not in processor.encode_question([{"role": "user", "content": []}])
