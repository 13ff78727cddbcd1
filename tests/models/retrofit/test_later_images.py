"""A later turn of a conversation brings an image of its own: the same as all at once, with few regions."""

import pytest
import torch

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.models.retrofit import apply_gaze
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import Image, Inputs

FEW = Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=2))
ALIGNED = ("input_ids", "attention_mask", "token_type_ids")
NAMES = ["llava", "llava_next", "llava_onevision", "internvl", "smolvlm", "gemma3"]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_later_image_is_seen_as_if_all_had_been_given_at_once(name: str):
    case = CASES[name]
    model = apply_gaze(case.build(), FEW)
    first, second = case.write([[2, Image(4, 4), 3]]), case.write([[3, Image(3, 4), 2]])
    whole = {key: joined(key, first[key], second[key], name) for key in first}
    cache = model(**first, use_cache=True).past_key_values
    later = second | {key: whole[key] for key in ALIGNED[1:] if key in whole}
    answer = model(**later, past_key_values=cache).logits
    expected = model(**whole, use_cache=False).logits[:, -answer.shape[1] :]
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_generate_goes_on_from_the_cache_of_an_earlier_turn(name: str):
    case = CASES[name]
    model = apply_gaze(case.build(), FEW)
    first, second = case.write([[2, Image(4, 4), 3]]), case.write([[3, Image(3, 4), 2]])
    made = model.generate(**first, max_new_tokens=3, do_sample=False, return_dict_in_generate=True)
    said = made.sequences[:, first["input_ids"].shape[1] :]
    told: Inputs = {"input_ids": said, "attention_mask": torch.ones_like(said)}
    told["token_type_ids"] = torch.zeros_like(said)
    spoken = {key: torch.cat([first[key], told[key]], 1) if key in ALIGNED else first[key] for key in first}
    whole = {key: joined(key, spoken[key], second[key], name) for key in spoken}
    again = model.generate(**whole, past_key_values=made.past_key_values, max_new_tokens=5, do_sample=False)
    expected = model.generate(**whole, max_new_tokens=5, do_sample=False, use_cache=False)
    assert torch.equal(again, expected)


def joined(key: str, first: torch.Tensor, second: torch.Tensor, name: str) -> torch.Tensor:
    """An input of both turns; SmolVLM has the tiles of a sample on an axis of their own."""
    return torch.cat([first, second], dim=1 if key in ALIGNED or name == "smolvlm" else 0)
