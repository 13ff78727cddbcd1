"""Several processes are one: the same losses, gradients and weights."""

import pytest
import torch

from tests.training.ranks import IMAGES, finish, launch, watched


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return watched(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    finish(launch("tests.training.ranks", str(folder), "ddp", "fsdp2"))
    return {
        strategy: [torch.load(folder / f"{strategy}-{rank}.pt", weights_only=True) for rank in range(2)]
        for strategy in ("ddp", "fsdp2")
    }


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_equal_one(strategy, alone, two):
    """Packed, accumulated, checkpointed; in steps where a rank has no image, or nobody has.

    In double precision, but for the loss itself: transformers computes it in fp32.
    """
    model, steps = alone
    for rank in two[strategy]:
        assert [step["loss"] for step in rank["steps"]] == pytest.approx([s["loss"] for s in steps], abs=1e-6)
        for mine, other in zip(rank["steps"], steps, strict=True):
            assert mine["gradients"].keys() == other["gradients"].keys()
            for name, gradient in mine["gradients"].items():
                torch.testing.assert_close(gradient, other["gradients"][name], atol=1e-9, rtol=1e-6, msg=name)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(rank["weights"][name], value, atol=1e-9, rtol=0, msg=name)


def test_the_steps_are_what_they_say(alone, two):
    """The comparison means something: a rank without an image, a step without any, tokens unevenly spread."""
    _, steps = alone
    encoders = [{name.split(".")[0] for name in step["gradients"]} for step in steps]
    assert [("tower" in parts, "context" in parts) for parts in encoders] == [
        ("1" in images, "1" in images) for images in IMAGES
    ]
    image = alone[0].config.image_token_id
    has = [any(bool((ids == image).any()) for ids in rank["steps"][1]["ids"]) for rank in two["ddp"]]
    assert sorted(has) == [False, True]
