import pytest
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from gazekit.training import Stage, pretrain_tower
from gazekit.training.tower import StepData
from tests.training.standin import assert_same_weights
from tests.training.test_resume import Interrupted

STAGE = {
    "name": "tower",
    "steps": 100,
    "batch_size": 16,
    "learning_rates": {"tower": 1e-2},
    "checkpoint_every": 15,
}


def tower(seed: int = 0) -> SiglipVisionModel:
    torch.manual_seed(seed)
    config = SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4,
        vision_use_head=False,
    )  # fmt: skip
    return SiglipVisionModel._from_config(config)


def windows(step: int) -> dict[str, torch.Tensor]:
    """Pictures whose label is the bright quadrant."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(0, 4, (16,), generator=generator)
    pixels = 0.3 * torch.rand(16, 3, 2, 4, 2, 4, generator=generator)
    for sample, label in zip(pixels, labels, strict=True):
        sample[:, label // 2, :, label % 2] += 0.7
    return {"pixel_values": pixels.reshape(16, 3, 8, 8), "labels": labels}


HELD_OUT = [windows(step) for step in range(1000, 1004)]


def pretrain(model, folder, **arguments):
    given = {"num_classes": 4, "device": "cpu", "progress": False, **arguments}
    return pretrain_tower(model, windows, HELD_OUT, Stage(**STAGE), folder, **given)


def test_tower_learns(tmp_path):
    result = pretrain(tower(), tmp_path)
    assert result.accuracy > 0.9
    assert result.stage.steps == 100
    assert pretrain(tower(3), tmp_path).accuracy == result.accuracy


def test_interrupted_tower_ends_with_the_same_weights(tmp_path, monkeypatch):
    whole, broken = tower(), tower()
    pretrain(whole, tmp_path / "whole")
    calls = []

    def failing(step: int):
        calls.append(step)
        if len(calls) == 18:
            raise Interrupted
        return windows(step)

    with pytest.raises(Interrupted):
        pretrain_tower(
            broken,
            failing,
            HELD_OUT,
            Stage(**STAGE),
            tmp_path / "broken",
            num_classes=4,
            device="cpu",
            progress=False,
        )
    again = tower(5)
    pretrain(again, tmp_path / "broken")
    assert_same_weights(again, whole)


def test_label_smoothing_is_heard(tmp_path):
    plain, smoothed = tower(), tower()
    a = pretrain(plain, tmp_path / "a")
    b = pretrain(smoothed, tmp_path / "b", label_smoothing=0.2)
    assert b.stage.loss > a.stage.loss


def test_other_parts_are_refused(tmp_path):
    stage = Stage(**{**STAGE, "learning_rates": {"tower": 1e-3, "projector": 1e-3}})
    with pytest.raises(ValueError, match="learning_rates must be of the tower alone, got"):
        pretrain_tower(tower(), windows, HELD_OUT, stage, tmp_path)


def test_step_data_goes_on_where_it_was():
    first = StepData(lambda step: {"step": torch.tensor(step)}, 5)
    walk = iter(first)
    assert [int(next(walk)["step"]) for _ in range(2)] == [0, 1]
    second = StepData(first.windows, 5)
    second.load_state_dict(first.state_dict())
    assert [int(batch["step"]) for batch in second] == [2, 3, 4]
    assert len(second) == 5


def test_tower_that_was_frozen_thaws(tmp_path):
    model = tower().requires_grad_(False).eval()
    before = model.embeddings.patch_embedding.weight.clone()
    pretrain(model, tmp_path)
    assert not torch.equal(model.embeddings.patch_embedding.weight, before)
