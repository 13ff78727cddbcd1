"""Every stage of both models, with every size scaled down and nothing else changed, one after another."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from gazekit.cli import main
from gazekit.models import CambrianForConditionalGeneration, CambrianProcessor
from gazekit.training import read_history
from tests.cambrian.small import STAGES, conversations, few_steps, parts
from tests.models.tiny import picture


@pytest.fixture(scope="module", params=["4b", "7b"])
def runs(request, tmp_path_factory):
    """The folders of three runs, each of which starts from the one before."""
    folder = tmp_path_factory.mktemp(request.param)
    small = parts(folder, request.param)
    start: list[str] = []
    for stage in STAGES:
        words = [
            f"cambrian-{request.param}/{stage}",
            *small,
            *few_steps(),
            *conversations(folder, stage),
            *start,
        ]
        assert main(["train", *words, "--out", str(folder / stage), "--device", "cpu"]) == 0
        start = [f"model.start={folder / stage}"]
    return folder


def weights(folder) -> dict[str, torch.Tensor]:
    return CambrianForConditionalGeneration.from_pretrained(folder / "model").state_dict()


def test_each_stage_trains_what_it_says(runs):
    first, second, third = (weights(runs / stage) for stage in STAGES)
    assert first.keys() == second.keys() < third.keys()
    assert {name.split(".")[0] for name in third.keys() - first.keys()} == {"compressor"}
    stock = AutoModelForCausalLM.from_pretrained(runs / "text").state_dict()
    frozen = {name: value for name, value in stock.items() if name.startswith("model.")}
    assert all(
        torch.equal(first[f"language_model.{name.removeprefix('model.')}"], value)
        for name, value in frozen.items()
    )
    # The last block of the tower and its norm lie behind the features that are taken.
    unused = ("tower.model.encoder.layers.1.", "tower.model.post_layernorm.")
    for before, after in ((first, second), (second, third)):
        same = [name for name in before if torch.equal(before[name], after[name])]
        assert all(name.startswith(unused) for name in same), same
    assert all(row["openness"] == 1 for row in read_history(runs / "stage1" / "1-projector"))


def test_answers_are_measured_and_the_export_says_the_same(runs, capsys):
    saved, out = runs / "stage2_video", runs / "out"
    assert main(["evaluate", str(saved / "model"), "--limit", "2", "--device", "cpu"]) == 0
    assert main(["export", str(saved), str(out), "--max-shard-size", "50KB"]) == 0
    assert len(json.loads((out / "model.safetensors.index.json").read_text())["weight_map"]) > 20
    one = AutoModelForImageTextToText.from_pretrained(saved / "model").eval()
    two = AutoModelForImageTextToText.from_pretrained(out).eval()
    processor = CambrianProcessor.from_pretrained(out)
    frames = [picture(seed) for seed in range(4)]
    batch = processor(
        text="<video> read row 2 of <image>",
        videos=[frames],
        images=[picture(9)],
        timestamps=[[0.0, 1.0, 2.0, 3.0]],
    )
    assert batch["pixel_values"].shape == (1, 5, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(one(**batch).logits, two(**batch).logits)


def test_the_decoder_alone_is_a_stock_language_model(runs):
    out = runs / "language"
    assert main(["export", str(runs / "stage2_image"), str(out), "--language", "--dtype", "bfloat16"]) == 0
    stock = AutoModelForCausalLM.from_pretrained(out)
    assert type(stock).__name__ in ("Qwen3ForCausalLM", "Qwen2ForCausalLM")
    assert stock.dtype == torch.bfloat16
    ours = weights(runs / "stage2_image")
    assert torch.equal(stock.lm_head.weight, ours["lm_head.weight"].bfloat16())
    assert len(AutoTokenizer.from_pretrained(out)) == stock.config.vocab_size
