"""Learned parts are taught, whether activations are kept or computed again; one part is swapped by an override."""

import pytest
import torch

from gazekit.cli import main
from gazekit.models import CambrianForConditionalGeneration
from gazekit.training.activations import checkpoint_activations
from tests.systems.test_training import SMALL, batches, built

LEARNED = {
    "systems/dsa": ("pool.query", "pool.key", "pool.weight"),
    "systems/nsa": ("pool.key_into", "pool.value_out", "combine.gate.weight"),
    "systems/seerattention": ("pool.query", "pool.key"),
    "systems/vsa": ("combine.gate.weight",),
}


def gradients(name: str, checkpointing: bool) -> dict[str, torch.Tensor]:
    """Of every learned part in every layer, after one batch."""
    cambrian, kind = built(name)
    model = cambrian.model.train()
    checkpoint_activations(model, checkpointing)
    model(**batches(*kind)[0]).loss.backward()
    return {at: weight.grad for at, weight in model.named_parameters() if "gaze_parts" in at}


@pytest.mark.parametrize("name", LEARNED)
def test_gradients_reach_learned_parts_and_survive_checkpointing(name):
    kept, again = gradients(name, checkpointing=False), gradients(name, checkpointing=True)
    for part in LEARNED[name]:
        of_layers = [grad for at, grad in kept.items() if at.endswith(part)]
        assert len(of_layers) >= 2
        assert all(grad is not None and grad.abs().sum() > 0 for grad in of_layers), part
    for at, grad in kept.items():
        torch.testing.assert_close(again[at], grad, msg=lambda m, at=at: f"{at}: {m}")


def test_one_part_is_swapped_by_an_override(tmp_path, capsys):
    swap = ["gaze.route._target_=gazekit.route.NucleusRouter", "gaze.route.mass=0.9"]
    less = [
        "training.tower=null",
        *(f"training.stages.{n}.{short}" for n in (0, 1) for short in ("steps=2", "batch_size=2")),
    ]
    out = tmp_path / "run"
    assert (
        main(["train", "recipes/tiny.yaml", *swap, *SMALL, *less, "--out", str(out), "--device", "cpu"]) == 0
    )
    model = CambrianForConditionalGeneration.from_pretrained(out / "model")
    assert type(model.gaze.route).__name__ == "NucleusRouter"
    assert model.gaze.route.mass == 0.9
