"""Starting from an earlier run, from a projector of other code, and with adapters."""

import importlib.util

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM

from gazekit.models import FromPretrained, Lora, load_projector
from tests.cambrian.small import parts
from tests.models.tiny import gaze_section, make_model

PIXELS = torch.randn(1, 2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return dict(word.removeprefix("model.").split("=") for word in parts(folder, "4b"))


@pytest.fixture(scope="module")
def earlier(small, tmp_path_factory):
    """A run that has ended: its folder and its model."""
    folder = tmp_path_factory.mktemp("earlier")
    made = FromPretrained(**small, vision_layer="last").make(gaze=gaze_section(num_context=2), seed=3)
    made.model.save_pretrained(folder / "model")
    made.processor.save_pretrained(folder / "model")
    return str(folder), made.model.eval()


def start(small, earlier, gaze=None, **fields):
    source = FromPretrained(**small, vision_layer="last", start=earlier[0], **fields)
    return source.make(gaze=gaze or gaze_section(num_context=2), seed=4).model.eval()


def pooled(model, pixels=PIXELS):
    """The old projector of the mean of every 2 x 2 features."""
    features = model.tower(pixels.flatten(0, 1))
    mean = nn.functional.avg_pool2d(features.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    return model.projector(mean).flatten(1, 2)[None]


@torch.no_grad()
@pytest.mark.parametrize("compressor", ["conv2x2", "unshuffle", "average"])
def test_step_0_of_a_compressor_is_average_pooling_through_the_old_projector(small, earlier, compressor):
    new = start(small, earlier, compressor=compressor)
    torch.testing.assert_close(new.embed_units(PIXELS), pooled(earlier[1]), atol=1e-6, rtol=0)
    assert new.config.grid == (12, 12)


@torch.no_grad()
@pytest.mark.parametrize("compressor", [None, "unshuffle"])
def test_step_0_of_joined_frames_is_the_mean_of_the_old_projector_over_them(small, earlier, compressor):
    new = start(small, earlier, frames_per_unit=2, compressor=compressor)
    old = pooled(earlier[1]) if compressor else earlier[1].embed_units(PIXELS)
    made = new.embed_units(PIXELS.flatten(1, 2)[:, None])
    torch.testing.assert_close(made, old.mean(1, keepdim=True), atol=1e-6, rtol=0)


@torch.no_grad()
def test_everything_starts_from_the_run(small, earlier):
    same, old = start(small, earlier).state_dict(), earlier[1].state_dict()
    assert all(torch.equal(same[name], old[name]) for name in old)
    more = start(small, earlier, gaze=gaze_section(num_context=3), row_newlines=True)
    assert more.context.weight.shape[0] == 3
    assert more.projector.newline.norm() > 0
    assert torch.equal(more.projector.first.weight, old["projector.first.weight"])


def test_learned_parts_of_gaze_go_on(small, tmp_path):
    gaze = gaze_section(pool={"_target_": "gazekit.pool.LearnedAttentionPooler"})
    made = FromPretrained(**small).make(gaze=gaze)
    with torch.no_grad():
        for part in made.model.parts()["gaze"]:
            part.add_(1)
    made.model.save_pretrained(tmp_path)
    made.processor.save_pretrained(tmp_path)
    again = FromPretrained(**small, start=str(tmp_path)).make(gaze=gaze, seed=9).model
    assert len(again.parts()["gaze"]) > 0
    for one, other in zip(again.parts()["gaze"], made.model.parts()["gaze"], strict=True):
        assert torch.equal(one, other)


def test_a_run_of_another_model_is_refused(small, earlier, tmp_path):
    other = dict(word.removeprefix("model.").split("=") for word in parts(tmp_path / "other", "7b"))
    with pytest.raises(ValueError, match=r"a run of the model's own text .* got one with model_type qwen3"):
        start(other, earlier)
    with pytest.raises(ValueError, match="the folder of a run that has ended, or of a saved Cambrian"):
        FromPretrained(**small, start=str(tmp_path)).make()


def published(model, prefix: str, newline: bool = True) -> dict[str, torch.Tensor]:
    """The projector as the code of Cambrian saves it."""
    names = {"0": model.projector.first, "2": model.projector.second}
    state = {
        f"{prefix}mm_projector.{number}.{name}": value.detach() + 0.5
        for number, layer in names.items()
        for name, value in layer.named_parameters()
    }
    return state | ({f"{prefix}image_newline": torch.ones(32)} if newline else {})


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_projector_of_other_code_is_read(prefix, tmp_path):
    model = make_model(row_newlines=True)
    state, file = published(model, prefix), tmp_path / "mm_projector.bin"
    torch.save(state, file)
    load_projector(model, file)
    assert torch.equal(model.projector.first.weight, state[f"{prefix}mm_projector.0.weight"])
    assert torch.equal(model.projector.second.bias, state[f"{prefix}mm_projector.2.bias"])
    assert model.projector.newline.tolist() == [1] * 32


@torch.no_grad()
def test_it_spreads_over_a_wider_one(tmp_path, caplog):
    plain, wide = make_model(compressor="average"), make_model(compressor="unshuffle")
    save_file(published(plain, "model."), tmp_path / "projector.safetensors")
    for model in (plain, wide):
        load_projector(model, tmp_path / "projector.safetensors")
    assert "has a newline, which a model without row_newlines leaves out" in caplog.text
    pixels = torch.randn(1, 1, 3, 32, 32)
    torch.testing.assert_close(wide.embed_units(pixels), plain.embed_units(pixels), atol=1e-5, rtol=1e-5)


def test_a_recipe_names_it(small, tmp_path):
    made = FromPretrained(**small).make().model
    torch.save(published(made, ""), tmp_path / "mm_projector.bin")
    again = FromPretrained(**small, projector=str(tmp_path / "mm_projector.bin")).make().model
    assert torch.equal(again.projector.first.bias, made.projector.first.bias + 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_sampler_0.weight": torch.ones(1)}, "got vision_sampler_0.weight; other kinds of projector"),
        ({"mm_projector.4.weight": torch.ones(1)}, r"got mm_projector\.4\.weight"),
        ({"mm_projector.2.bias": None}, r"got no second\.bias"),
        (
            {"mm_projector.0.weight": torch.ones(32, 17)},
            "must come from a tower and for a decoder of the same widths",
        ),
    ],
)
def test_files_of_something_else_are_refused(change, message, tmp_path):
    model = make_model()
    state = {name: value for name, value in {**published(model, ""), **change}.items() if value is not None}
    torch.save(state, tmp_path / "mm_projector.bin")
    with pytest.raises(ValueError, match=message):
        load_projector(model, tmp_path / "mm_projector.bin")


def test_a_file_that_would_run_code_is_not_loaded(tmp_path):
    torch.save({"mm_projector.0.weight": nn.Linear(2, 2)}, tmp_path / "mm_projector.bin")
    with pytest.raises(Exception, match="Weights only load failed"):
        load_projector(make_model(), tmp_path / "mm_projector.bin")


@torch.no_grad()
def test_adapters_change_nothing_at_first_and_are_folded_in(small, tmp_path):
    made = FromPretrained(**small, lora=Lora(rank=2)).make()
    plain, model = FromPretrained(**small).make().model.eval(), made.model.eval()
    ids = torch.arange(12)[None] + 7
    torch.testing.assert_close(model(ids).logits, plain(ids).logits)
    assert len(model.parts()["lora"]) == 2 * 2 * 2  # A and B of two projections in two layers
    for part in model.parts()["lora"]:
        part.add_(0.1)
    said = model(ids).logits
    assert not torch.allclose(said, plain(ids).logits, atol=1e-3)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(ids).logits, said, atol=1e-5, rtol=1e-5)
    assert again.state_dict().keys() == plain.state_dict().keys()


def test_four_bits_need_adapters(small):
    with pytest.raises(ValueError, match=r"needs lora: four bits cannot be trained; give model\.lora\.rank"):
        FromPretrained(**small, quantize="nf4")


def test_four_bits_need_their_library(small, monkeypatch):
    monkeypatch.setattr("gazekit.models.quantize.find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"needs bitsandbytes; install it with: pip install 'gazekit\[qlora\]'"
    ):
        FromPretrained(**small, quantize="nf4", lora=Lora()).make()


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("from_run", [False, True])
def test_adapters_on_four_bits(small, earlier, tmp_path, from_run):
    more = {"start": earlier[0]} if from_run else {}
    model = FromPretrained(**small, **more, quantize="nf4", lora=Lora(rank=2)).make(gaze=gaze_section()).model
    model.train()  # in eval mode, bitsandbytes rearranges weights on a CPU, and wants larger ones
    layer = model.language_model.layers[0]
    assert layer.mlp.up_proj.weight.dtype == torch.uint8
    assert layer.self_attn.q_proj.base_layer.weight.dtype == torch.uint8
    assert model.tower.model.encoder.layers[0].mlp.fc1.weight.dtype == torch.float32
    assert model.lm_head.weight.dtype == torch.float32
    kept = model.state_dict()
    assert not any(
        name.endswith(("up_proj.weight", "base_layer.weight")) or "absmax" in name for name in kept
    )
    model.load_state_dict(kept)
    assert layer.mlp.up_proj.weight.dtype == torch.uint8
    for part in model.parts()["lora"]:
        part.data.add_(0.1)
    ids = torch.arange(12)[None] + 7
    loss = model(ids, labels=ids).loss
    loss.backward()
    assert all(part.grad is not None for part in model.parts()["lora"])
    with torch.no_grad():
        said = model(ids, use_cache=False).logits
        model.save_pretrained(tmp_path)
        assert "quantization" not in (tmp_path / "config.json").read_text()
        again = type(model).from_pretrained(tmp_path).eval()
        assert again.language_model.layers[0].mlp.up_proj.weight.dtype == torch.float32
        torch.testing.assert_close(again(ids).logits, said, atol=1e-4, rtol=1e-4)
    stock = AutoModelForCausalLM.from_pretrained(small["text"]).state_dict()
    name = "layers.1.mlp.down_proj.weight"
    both = torch.stack([again.language_model.state_dict()[name].flatten(), stock[f"model.{name}"].flatten()])
    assert 0.9 < float(both.corrcoef()[0, 1]) < 1


def test_a_file_that_holds_no_projector_at_all_is_named(tmp_path):
    model = make_model()
    torch.save({"mm_projector.0.weight": torch.zeros(99)}, tmp_path / "whole.bin")
    cut = (tmp_path / "whole.bin").read_bytes()[:400]
    for name, content in (
        ("a.bin", b"\x80\x02junk"), ("b.bin", b""), ("c.bin", cut), ("a.safetensors", b"junk"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"the weights in .*{name} are cut or garbled .* fetch them anew"
        ):
            load_projector(model, tmp_path / name)
    torch.save(torch.zeros(3), tmp_path / "one.bin")
    with pytest.raises(ValueError, match=r"one.bin must hold tensors by name, got Tensor; name an mm_proj"):
        load_projector(model, tmp_path / "one.bin")
