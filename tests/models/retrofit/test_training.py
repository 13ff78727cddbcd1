"""Training a retrofitted model: checkpointing, bf16, LoRA, sharding, compiling."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gazekit import Gaze, GridPartition, TopKRouter, apply_gaze
from gazekit.gaze import compositions
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import SCENES, checkpointed

GAZE = Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1))
CASE = CASES["qwen2_5_vl"]


@pytest.fixture
def model():
    return apply_gaze(CASE.build(), GAZE)


@pytest.fixture(scope="module")
def inputs():
    made = CASE.write(SCENES["left-padded batch"])
    return made | {"labels": made["input_ids"].masked_fill(made["attention_mask"] == 0, -100)}


def gradients(model, inputs):
    out = model(**inputs)
    out.loss.backward()
    return out.loss.item(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def test_training_keeps_no_cache_and_reaches_the_tower(model, inputs):
    out = model.train()(**inputs)
    assert out.to_tuple()[2:] == ()
    _, found = gradients(model, inputs)
    assert len(found) == len(list(model.parameters()))
    assert all(gradient.isfinite().all() for gradient in found.values())


@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava_onevision", "gemma3"])
def test_with_all_regions_loss_and_gradients_are_those_of_the_stock_model(name):
    case = CASES[name]
    made = case.write(SCENES["left-padded batch"])
    made |= {"labels": made["input_ids"].masked_fill(made["attention_mask"] == 0, -100)}
    loss, found = gradients(case.build().train(), made)
    every = Gaze(partition=GridPartition(size=(1, *case.size)), route=TopKRouter(k=1000))
    same, others = gradients(apply_gaze(case.build(), every).train(), made)
    assert same == pytest.approx(loss, abs=1e-5)
    assert others.keys() == found.keys()
    for key in found:
        torch.testing.assert_close(others[key], found[key], atol=1e-4, rtol=1e-3, msg=key)


def test_checkpointing_changes_neither_loss_nor_gradients(model, inputs):
    loss, found = gradients(model.train(), inputs)
    model.zero_grad()
    again, others = gradients(checkpointed(model), inputs)
    assert again == loss
    for name in found:
        torch.testing.assert_close(others[name], found[name], atol=1e-6, rtol=1e-6, msg=name)


def test_answers_in_the_midst_of_training_are_those_of_the_model_at_rest(model, inputs):
    prompt = {name: value for name, value in inputs.items() if name != "labels"}
    expected = model.generate(**prompt, max_new_tokens=4, do_sample=False)
    assert torch.equal(checkpointed(model).generate(**prompt, max_new_tokens=4, do_sample=False), expected)


def test_bf16_trains_and_generates(model, inputs):
    loss, _ = gradients(model.train(), inputs)
    half = apply_gaze(CASE.build().to(torch.bfloat16), GAZE)
    rough, found = gradients(half.train(), inputs)
    assert rough == pytest.approx(loss, rel=0.1)
    assert {gradient.dtype for gradient in found.values()} == {torch.bfloat16}
    prompt = {name: value for name, value in inputs.items() if name != "labels"}
    answer = half.eval().generate(**prompt, max_new_tokens=3, do_sample=False)
    assert answer.shape == (3, inputs["input_ids"].shape[1] + 3)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_lora_trains_generates_and_is_saved(model, inputs, tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)")
    torch.manual_seed(0)
    wrapped = peft.get_peft_model(model, config)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    _, found = gradients(wrapped.train(), inputs)
    assert found
    assert all("lora" in name for name in found)
    prompt = {name: value for name, value in inputs.items() if name != "labels"}
    expected = wrapped.eval().generate(**prompt, max_new_tokens=4, do_sample=False)
    logits = wrapped(**prompt).logits
    wrapped.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(apply_gaze(CASE.build(), GAZE), tmp_path).eval()
    assert compositions(again.get_base_model().get_decoder()) == [GAZE] * 3
    assert torch.equal(again(**prompt).logits, logits)
    assert torch.equal(again.generate(**prompt, max_new_tokens=4, do_sample=False), expected)


def script(name, *arguments):
    """A script of this folder in a process of its own."""
    folder = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder.parents[2]), *sys.path])}
    command = [sys.executable, str(folder / name), *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_sharded_over_two_processes_it_trains_as_in_one(tmp_path):
    ranks = [script("sharded.py", str(rank), f"file://{tmp_path}/meet") for rank in range(2)]
    said = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)


def test_the_language_model_compiles_without_a_graph_break():
    run = script("compiled.py")
    said = run.communicate(timeout=120)[0]
    assert run.returncode == 0, said
