"""One folder out of a run, wherever it stands; adapters that a recipe asks for."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, LlavaConfig

from gazekit.cli import main
from gazekit.models import CambrianForConditionalGeneration
from gazekit.recipe.export import export, trained
from tests.cambrian.small import conversations, few_steps, parts


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with adapters and a moving average: its folder."""
    folder = tmp_path_factory.mktemp("adapters")
    stage = "training.stages.0"
    words = [
        "cambrian-4b/stage2_image", *parts(folder, "4b"), *conversations(folder, "stage2_image"), *few_steps(3),
        "model.start=null", "model.lora.rank=2",
        f"{stage}.learning_rates.language=null", f"{stage}.learning_rates.lora=0.01", f"{stage}.checkpoint_every=2",
        f"{stage}.ema=0.5",
    ]  # fmt: skip
    for _ in range(2):  # the second finds the first done
        assert main(["train", *words, "--out", str(folder / "run"), "--device", "cpu"]) == 0
    return folder / "run"


@pytest.fixture
def unfinished(run, tmp_path):
    """The run as it was when its last stage still ran."""
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    for name in ("final.safetensors", "done.json"):
        (tmp_path / "run" / "1-image" / name).unlink()
    return tmp_path / "run"


def state(folder):
    return CambrianForConditionalGeneration.from_pretrained(folder).state_dict()


def test_adapters_are_trained_and_folded_into_what_is_saved(run):
    saved, stock = state(run / "model"), trained(run / "model").model
    assert not any("lora" in name for name in saved)
    assert stock.lora is None
    start = CambrianForConditionalGeneration.from_pretrained(run / "model")
    before = AutoModelForCausalLM.from_pretrained(run.parent / "text").state_dict()
    changed = {
        name
        for name in before
        if name.startswith("model.")
        and not torch.equal(before[name], start.state_dict()[f"language_model.{name.removeprefix('model.')}"])
    }
    assert changed == {f"model.layers.{n}.self_attn.{p}.weight" for n in (0, 1) for p in ("q_proj", "v_proj")}


def test_a_finished_stage_gives_what_the_run_would_have_saved(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    export(tmp_path / "run", tmp_path / "out")
    saved, exported = state(run / "model"), state(tmp_path / "out")
    assert saved.keys() == exported.keys()
    assert all(torch.equal(saved[name], exported[name]) for name in saved)


def test_a_stage_that_still_runs_gives_its_latest_checkpoint(run, unfinished, tmp_path):
    export(unfinished, tmp_path / "out", dtype="bfloat16")
    checkpoint = torch.load(unfinished / "1-image/checkpoints/step-00000002.ckpt", weights_only=True)
    assert "current_model_state" in checkpoint  # what is exported is the average
    exported = CambrianForConditionalGeneration.from_pretrained(tmp_path / "out", dtype="auto")
    assert exported.dtype == torch.bfloat16
    wanted = checkpoint["state_dict"]["model.projector.first.weight"].bfloat16()
    assert torch.equal(exported.projector.first.weight, wanted)
    assert not torch.equal(wanted, state(run / "model")["projector.first.weight"].bfloat16())
    assert json.loads((tmp_path / "out/config.json").read_text())["gaze"]["route"]["k"] == 4


def test_what_cannot_be_exported_is_named(run, unfinished, tmp_path):
    with pytest.raises(ValueError, match="must be a new folder, and holds something; name another"):
        export(run, run)
    for dtype in ("half-precision", "int8", "complex64"):
        with pytest.raises(ValueError, match=f"dtype must be a floating-point type of torch, got '{dtype}'"):
            export(run, tmp_path / "out", dtype=dtype)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds neither a run \(recipe.yaml\) nor a saved model"):
        export(tmp_path / "empty", tmp_path / "out")
    LlavaConfig().save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="must hold a Cambrian, got a model of type 'llava'"):
        export(tmp_path / "other", tmp_path / "out")
    shutil.rmtree(unfinished / "1-image")
    with pytest.raises(ValueError, match="holds no weights yet: no stage has reached a checkpoint"):
        export(unfinished, tmp_path / "out")


def test_weights_of_another_model_are_refused(unfinished, tmp_path):
    recipe = unfinished / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("model:\n", "model:\n  row_newlines: true\n"))
    with pytest.raises(ValueError, match=r"are not those of its recipe: projector.newline is missing"):
        export(unfinished, tmp_path / "out")
