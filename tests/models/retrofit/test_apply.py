"""Putting gaze in, taking it out, saving and restoring it, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, PreTrainedModel

import gazekit
from gazekit import Gaze, GridPartition, LearnedContext, TopKRouter, apply_gaze, remove_gaze
from gazekit.gaze import compositions, holders, watch
from gazekit.models.retrofit.architectures import adapter_of
from gazekit.models.retrofit.media import layout_of_media
from gazekit.prior import CentreGuide
from tests.gaze.poolers import LearnedPooler
from tests.gaze.tiny import decoder
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import SCENES
from tests.models.tiny import gaze_section, make_model

GAZE = Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=2))
CASE = CASES["qwen2_5_vl"]


@pytest.fixture
def model():
    return CASE.build()


@pytest.fixture(scope="module")
def two():
    return CASE.write(SCENES["two images"])


def test_the_class_is_a_real_subclass_with_the_name_of_its_own(model):
    stock = type(model)
    assert apply_gaze(model, GAZE) is model
    assert isinstance(model, stock)
    assert type(model) is not stock
    assert type(model).__name__ == stock.__name__
    assert type(model).__qualname__ == f"Gaze{stock.__name__}"
    assert type(apply_gaze(CASE.build(), GAZE)) is type(model)
    assert compositions(model.get_decoder()) == [GAZE] * 3


def test_taken_out_it_is_as_it_was(model, two):
    logits, before = model(**two).logits, set(vars(model))
    saved = model.config.to_dict()
    stock = type(model)
    assert remove_gaze(apply_gaze(model, GAZE)) is model
    assert type(model) is stock
    assert set(vars(model)) == before
    assert model.config.to_dict() == saved
    assert model.get_decoder().config._attn_implementation == "sdpa"
    assert torch.equal(model(**two).logits, logits)
    with pytest.raises(ValueError, match="model must have gaze to be watched"), watch(model):
        pass


def test_the_attention_that_it_had_comes_back(model):
    model.set_attn_implementation("eager")
    apply_gaze(model, GAZE)
    assert model.model.visual.config._attn_implementation == "eager"
    remove_gaze(model)
    assert model.get_decoder().config._attn_implementation == "eager"


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_saved_it_opens_as_the_stock_model_and_gaze_is_restored_by_one_call(name, tmp_path):
    case = CASES[name]
    model, inputs = case.build(), case.write(SCENES["two images"])
    dense = model(**inputs).logits
    model.save_pretrained(tmp_path / "stock")
    apply_gaze(model, GAZE)
    expected = model(**inputs).logits
    model.save_pretrained(tmp_path / "gaze")
    stock, ours = (json.loads((tmp_path / kind / "config.json").read_text()) for kind in ("stock", "gaze"))
    assert ours.pop("gaze")["route"]["k"] == 2
    assert ours == stock
    keys = [set(load_file(tmp_path / kind / "model.safetensors")) for kind in ("stock", "gaze")]
    assert keys[0] == keys[1]
    opened, info = AutoModelForImageTextToText.from_pretrained(tmp_path / "gaze", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert type(opened).__qualname__ == type(opened).__name__
    torch.testing.assert_close(opened(**inputs).logits, dense)
    torch.testing.assert_close(apply_gaze(opened)(**inputs).logits, expected)


@torch.no_grad()
def test_the_subclass_opens_a_checkpoint_with_the_hubs_keys_and_restores_its_gaze(model, two, tmp_path):
    apply_gaze(model, GAZE)
    expected = model(**two).logits
    model.save_pretrained(tmp_path)
    keys = load_file(tmp_path / "model.safetensors")
    assert {key.split(".")[0] for key in keys} == {"lm_head", "model", "visual"}
    assert not any("language_model" in key for key in keys)
    again, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert again.get_decoder().config._attn_implementation == "gaze"
    torch.testing.assert_close(again(**two).logits, expected)


@torch.no_grad()
def test_learned_parts_are_saved_beside_the_stock_checkpoint(model, two, tmp_path):
    learned = Gaze(partition=GAZE.partition, pool=LearnedPooler(), route=GAZE.route)
    apply_gaze(model, learned, imports=["tests.gaze.poolers"])
    for holder in holders(model):
        for parameter in holder.parameters():
            torch.nn.init.normal_(parameter)
    expected = model(**two).logits
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "gaze.safetensors")
    assert not any("gaze" in key for key in load_file(tmp_path / "model.safetensors"))
    opened, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    again = apply_gaze(opened, imports=["tests.gaze.poolers"])
    torch.testing.assert_close(again(**two).logits, expected)
    again.config._name_or_path = ""
    remove_gaze(again).config.gaze = json.loads((tmp_path / "config.json").read_text())["gaze"]
    with pytest.raises(
        ValueError, match="gaze cannot be restored with learned parts in a model that was not loaded"
    ):
        apply_gaze(again, imports=["tests.gaze.poolers"])
    assert compositions(again.get_decoder()) == []
    assert again.get_decoder().config._attn_implementation == "sdpa"


def test_a_section_and_a_list_are_compositions_too(model, two):
    apply_gaze(model, [gaze_section(k=1), GAZE])
    with watch(model) as trace:
        model(**two)
    assert [int(glance.index.shape[-1]) for glance in trace.glances] == [1, 2, 1]


def test_openness_opens(model, two):
    dense = model(**two).logits
    apply_gaze(model, GAZE)
    torch.testing.assert_close(model(**two, gaze_openness=1.0).logits, dense, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model(**two, gaze_openness=0.0).logits, dense, atol=1e-2)


def test_gaze_applied_twice_is_refused(model):
    apply_gaze(model, GAZE)
    for again in (GAZE, None):
        with pytest.raises(
            ValueError, match=r"model must not have gaze already: take it out by gazekit\.remove_gaze"
        ):
            apply_gaze(model, again)


def test_nothing_to_restore_and_nothing_to_remove_are_refused(model):
    with pytest.raises(
        ValueError, match=r"gaze must be given, got None, and model\.config has no gaze section"
    ):
        apply_gaze(model)
    with pytest.raises(ValueError, match="model must have gaze for it to be removed"):
        remove_gaze(model)


def test_models_without_images_or_an_adapter_are_refused(model):
    with pytest.raises(ValueError, match="model must be multimodal, got Qwen3ForCausalLM of text only"):
        apply_gaze(decoder("qwen3"), GAZE)
    for other in (torch.nn.Linear(2, 2), model.model):
        with pytest.raises(ValueError, match="model must be a model of transformers that generates"):
            apply_gaze(other, GAZE)
    model.config.model_type = "unheard_of"
    message = (
        r"model_type 'unheard_of' has no layout adapter; there are .*qwen3_vl.*architectures/unheard_of\.py"
    )
    with pytest.raises(ValueError, match=message):
        apply_gaze(model, GAZE)


def test_what_is_refused_leaves_the_model_as_it_was(model):
    kind = type(model)
    with pytest.raises(ValueError, match=r"size must be three whole numbers \(t, y, x\) of at least 1 token"):
        apply_gaze(model, gaze_section(partition={"_target_": "gazekit.GridPartition", "size": [1, 0, 2]}))
    context = Gaze(partition=GAZE.partition, route=GAZE.route, context=LearnedContext(num_tokens=2))
    with pytest.raises(ValueError, match="processor must be given for a composition with 2 context tokens"):
        apply_gaze(model, context)
    assert type(model) is kind
    assert not hasattr(model.config, "gaze")
    assert compositions(model.get_decoder()) == []


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_an_attention_that_hides_gaze_is_refused(model, two, name):
    apply_gaze(model, GAZE)
    model.set_attn_implementation(name)
    message = f"attention implementation of the language model must be 'gaze', got '{name}', which does not ask gaze"
    with pytest.raises(ValueError, match=message):
        model(**two)
    with pytest.raises(ValueError, match=message):
        model.generate(**two)
    model.set_attn_implementation({"text_config": "gaze"})
    assert model(**two).logits.isfinite().all()


def test_images_and_placeholders_must_match(model, two):
    apply_gaze(model, GAZE)
    with pytest.raises(
        ValueError, match="sample 0 has placeholders for 8 more image tokens, but none is left"
    ):
        model.generate(**two | {"image_grid_thw": two["image_grid_thw"][:1]})
    with pytest.raises(
        ValueError, match=r"attention_mask must be 2-D \[batch token\] and have the shape of input_ids"
    ):
        model(**two | {"attention_mask": torch.ones(1, 1, 3, 3)})


@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava", "smolvlm"])
def test_a_prompt_that_speaks_of_images_needs_them(name):
    case = CASES[name]
    model, inputs = apply_gaze(case.build(), GAZE), case.write(SCENES["one image"])
    words = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    for call in (model, model.generate):
        with pytest.raises(
            ValueError, match=r"pixel_values must be given with a prompt that has \d+ placeholders"
        ):
            call(**words)


def test_grids_come_with_images(model, two):
    apply_gaze(model, GAZE)
    left = {name: value for name, value in two.items() if name != "image_grid_thw"}
    for call in (model, model.generate):
        with pytest.raises(ValueError, match="image_grid_thw must be given with images"):
            call(**left)


def test_the_cambrian_goes_through_the_same_door():
    cambrian = make_model()
    assert apply_gaze(cambrian, GAZE) is cambrian
    assert cambrian.gaze == GAZE
    assert apply_gaze(cambrian) is cambrian
    with pytest.raises(ValueError, match="model must not have gaze already"):
        apply_gaze(cambrian, GAZE)
    assert remove_gaze(cambrian).gaze is None
    with pytest.raises(ValueError, match="gaze must be given, got None"):
        apply_gaze(cambrian)


def test_the_cambrians_adapter_says_what_the_cambrian_says():
    cambrian = make_model(gaze=gaze_section(num_context=2))
    config = cambrian.config
    unit = [config.context_token_id] * 2
    image = [config.image_token_id] * config.num_visual + unit
    frame = [config.video_token_id] * config.num_visual + unit
    rows = [[9, *image, 10, *frame, *frame, 11], [9, 10, *image]]
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    lengths = torch.tensor([[1, 2], [1, 0]])
    adapter = adapter_of(config.model_type)
    media = adapter.media(config, ids, mask.bool(), {"clip_lengths": lengths})
    made = layout_of_media(ids, mask.bool(), media, adapter.visual_ids(config), [config.context_token_id] * 2)
    assert torch.equal(made.pack(), cambrian.layout(ids, mask, lengths).pack())
    assert len(adapter.media(config, ids, mask.bool(), {}).images) == 2


def test_the_names_are_at_the_top():
    assert {"apply_gaze", "remove_gaze"} <= set(gazekit.__all__)
    assert issubclass(type(apply_gaze(CASE.build(), GAZE)), PreTrainedModel)


def test_a_guide_is_refused_where_pixels_have_another_shape():
    guided = replace(GAZE, guide=CentreGuide())
    with pytest.raises(
        ValueError, match=r"guide must be None for a .*, got CentreGuide: its pixels come in another"
    ):
        apply_gaze(CASE.build(), guided)
