"""The digits set through the processor of the model that it is made for."""

import pytest
import torch
from transformers import SiglipImageProcessorPil

from gazekit.data import DigitsData, DigitsTokenizer
from gazekit.models import CambrianProcessor


@pytest.fixture(scope="module")
def cambrian():
    pixels = SiglipImageProcessorPil(size={"height": 64, "width": 64})
    return CambrianProcessor(pixels, DigitsTokenizer().make(), grid=(8, 8), num_context=2)


@pytest.fixture(scope="module")
def data(cambrian):
    return DigitsData(cambrian, batch_size=8, num_steps=2)


def test_exactly_the_answers_and_the_ends_of_their_turns_are_learned(cambrian, data):
    loader = data.train_dataloader()
    samples = loader.dataset.__getitems__(range(8))
    batch = next(iter(loader))
    assert set(batch) == {"input_ids", "attention_mask", "labels", "pixel_values", "clip_lengths"}
    for sample, ids, labels in zip(samples, batch["input_ids"], batch["labels"], strict=True):
        learned = cambrian.tokenizer.convert_ids_to_tokens(labels[labels != -100])
        assert learned == [word for q in sample.questions for word in (*q.answer, "<|im_end|>")]
        assert (ids == cambrian.tokenizer.image_token_id).sum() == 64
        assert (ids == cambrian.tokenizer.context_token_id).sum() == 2
        assert not (ids == cambrian.tokenizer.unk_token_id).any()


def test_the_pixels_are_the_mosaics(data):
    loader = data.train_dataloader()
    samples = loader.dataset.__getitems__(range(8))
    batch = next(iter(loader))
    images = torch.stack([torch.from_numpy(sample.mosaic.image) for sample in samples])
    for channel in range(3):
        seen = (batch["pixel_values"][:, 0, channel] + 1) * 127.5
        torch.testing.assert_close(seen, images.float(), atol=1e-3, rtol=0)


def test_windows_are_the_tiles_that_the_tower_will_see(data):
    windows = data.windows(32)
    whole = windows.image_processor(
        images=[windows._mosaics[index].mosaic.picture for index in range(2)], return_tensors="pt"
    )["pixel_values"]
    tiles = torch.stack([whole[i // 16, :, i % 16 // 4 * 16 :, i % 4 * 16 :][:, :16, :16] for i in range(32)])
    torch.testing.assert_close(windows(0)["pixel_values"], tiles, atol=0, rtol=0)


def test_the_prompt_of_an_item_is_what_training_has_shown(cambrian, data):
    """A training conversation begins with the very tokens that an evaluation asks with."""
    for item in data.evaluation(10).__getitems__(range(10)):
        text = cambrian.apply_chat_template(item.prompt.as_chat(), add_generation_prompt=True, tokenize=False)
        asked = cambrian(text=text, images=list(item.prompt.images))["input_ids"][0]
        reply = {"role": "assistant", "content": item.question.reply}
        whole = cambrian.encode_conversation([*item.prompt.as_chat(), reply], list(item.prompt.images))
        assert torch.equal(whole["input_ids"][: len(asked)], asked)
        first = whole["labels"][len(asked)]
        assert cambrian.tokenizer.convert_ids_to_tokens(int(first)) == item.question.answer[0]
