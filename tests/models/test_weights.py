"""Learned parts of gaze in a file of their own."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from gazekit.gaze import Gaze, install
from gazekit.models import CambrianForConditionalGeneration, load_parts, save_parts, split_state
from tests.gaze.poolers import LearnedPooler
from tests.gaze.tiny import decoder
from tests.models.tiny import gaze_section, make_model

IMPORTS = ("tests.gaze.poolers",)


def section(width: int = 4) -> dict:
    return gaze_section(pool={"_target_": "tests.gaze.poolers.LearnedPooler", "width": width})


@pytest.fixture
def model():
    return make_model(gaze=section(), imports=IMPORTS)


def test_the_checkpoint_keeps_its_keys_and_the_parts_come_back(model, tmp_path):
    with torch.no_grad():
        for parameter in model.parts()["gaze"]:
            parameter.add_(1.0)
    model.save_pretrained(tmp_path)
    stock = make_model(gaze=gaze_section())
    stock.save_pretrained(tmp_path / "stock")
    assert set(load_file(tmp_path / "model.safetensors")) == set(
        load_file(tmp_path / "stock" / "model.safetensors")
    )
    assert not (tmp_path / "stock" / "gaze.safetensors").exists()
    again = CambrianForConditionalGeneration.from_pretrained(tmp_path, imports=IMPORTS)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert again.language_model.layers[0].self_attn.gaze_parts.pool.table.tolist() == [0, 1, 2]
    half = CambrianForConditionalGeneration.from_pretrained(tmp_path, imports=IMPORTS, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parts()["gaze"]} == {torch.bfloat16}
    model.set_gaze(None)
    model.save_pretrained(tmp_path)
    assert not (tmp_path / "gaze.safetensors").exists()
    assert CambrianForConditionalGeneration.from_pretrained(tmp_path).gaze is None


def test_setting_the_same_gaze_keeps_the_weights(model):
    before = [parameter.clone() for parameter in model.parts()["gaze"]]
    model.set_gaze(section(), imports=IMPORTS)
    assert len(before) == 6
    assert all(torch.equal(*pair) for pair in zip(before, model.parts()["gaze"], strict=True))


def test_transformers_does_not_draw_what_a_part_draws_itself():
    gates = [p for p in make_model(gaze=section(), imports=IMPORTS).parts()["gaze"] if p.ndim == 1]
    assert [gate.tolist() for gate in gates] == [[1.0] * 4] * 3


def test_what_does_not_fit_is_named(model, tmp_path):
    model.save_pretrained(tmp_path)
    file = tmp_path / "gaze.safetensors"
    whole = load_file(file)
    gate = "language_model.layers.1.self_attn.gaze_parts.pool.gate"
    save_file({key: value for key, value in whole.items() if key != gate}, file)
    with pytest.raises(
        ValueError, match=rf"does not fit this model's gaze: {gate} missing; use the composition"
    ):
        CambrianForConditionalGeneration.from_pretrained(tmp_path, imports=IMPORTS)
    save_file({**whole, f"{gate}d": whole[gate].clone(), gate: whole[gate].repeat(2)}, file)
    with pytest.raises(ValueError, match=rf"{gate}d unexpected; {gate} of another shape"):
        CambrianForConditionalGeneration.from_pretrained(tmp_path, imports=IMPORTS)
    file.unlink()
    with pytest.raises(ValueError, match=r"must hold gaze\.safetensors, the weights of the learned parts"):
        CambrianForConditionalGeneration.from_pretrained(tmp_path, imports=IMPORTS)


def test_any_model_of_transformers_will_do(tmp_path):
    model = decoder("qwen3")
    assert split_state(model.state_dict()).gaze == {}
    install(model, Gaze(pool=LearnedPooler()))
    state = split_state(model.state_dict())
    assert len(state.gaze) == 6
    assert not state.gaze.keys() & state.stock.keys()
    save_parts(model, tmp_path)
    other = decoder("qwen3", seed=1)
    install(other, Gaze(pool=LearnedPooler()))
    load_parts(other, tmp_path)
    torch.testing.assert_close(split_state(other.state_dict()).gaze, state.gaze, rtol=0, atol=0)
