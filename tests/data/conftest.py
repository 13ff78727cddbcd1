import numpy as np
import pytest
import torch

from gazekit.data.digits import DigitsTokenizer


class PlainImages:
    """Pixel values from -1 to 1, sizes unchanged."""

    def __call__(self, *, images, return_tensors):
        assert return_tensors == "pt"
        stacked = np.stack([np.asarray(image) for image in images]).transpose(0, 3, 1, 2)
        return {"pixel_values": torch.from_numpy(stacked).float() / 127.5 - 1}


class PlainProcessor:
    """The interface of a model's processor without a model: the chat as text, labels on the answers."""

    def __init__(self):
        self.tokenizer = DigitsTokenizer().make()
        self.image_processor = PlainImages()

    def encode_conversation(self, messages, images):
        ids, labels = [], []
        for message in messages:
            text = self.tokenizer.apply_chat_template([message], tokenize=False)
            turn = self.tokenizer(text)["input_ids"]
            ids += turn
            labels += turn if message["role"] == "assistant" else [-100] * len(turn)
        pixels = self.image_processor(images=images, return_tensors="pt")["pixel_values"]
        return {"input_ids": ids, "labels": labels, "pixel_values": pixels, "clip_lengths": [1]}

    def collate(self, encoded):
        longest = max(len(one["input_ids"]) for one in encoded)

        def padded(name, filler):
            return torch.tensor([one[name] + [filler] * (longest - len(one[name])) for one in encoded])

        ids = padded("input_ids", self.tokenizer.pad_token_id)
        return {
            "input_ids": ids,
            "attention_mask": (ids != self.tokenizer.pad_token_id).long(),
            "labels": padded("labels", -100),
            "pixel_values": torch.stack([one["pixel_values"] for one in encoded]),
            "clip_lengths": torch.tensor([one["clip_lengths"] for one in encoded]),
        }


@pytest.fixture(scope="session")
def processor():
    return PlainProcessor()
