import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from gazekit.models import CambrianForConditionalGeneration, FromPretrained
from tests.models.tiny import gaze_section, make_tokenizer, picture, text_config, vision_config


@pytest.fixture(params=["qwen3", "qwen2"])
def folders(request, tmp_path):
    """A decoder whose vocabulary is too small for the placeholders, and a whole SigLIP with head and text tower."""
    torch.manual_seed(3)
    tokenizer = make_tokenizer()
    text = text_config(
        request.param, vocab_size=len(tokenizer) - 1, tie_word_embeddings=request.param == "qwen3"
    )
    AutoModelForCausalLM.from_config(text).save_pretrained(tmp_path / "text")
    tokenizer.save_pretrained(tmp_path / "text")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    siglip = SiglipConfig(text_config={**sizes, "vocab_size": 20}, vision_config=vision_config().to_dict())
    SiglipModel(siglip).save_pretrained(tmp_path / "vision")
    mean, size = [0.4, 0.5, 0.6], {"height": 16, "width": 16}
    SiglipImageProcessorPil(size=size, image_mean=mean, resample=2).save_pretrained(tmp_path / "vision")
    return {"text": str(tmp_path / "text"), "vision": str(tmp_path / "vision")}


def test_trained_parts_keep_their_weights_and_the_rest_is_drawn(folders):
    made = FromPretrained(**folders, image_tiles=(2, 2), compressor="conv2x2", place_embedding=True).make(
        gaze=gaze_section(num_context=2), seed=5
    )
    model, processor = made.model, made.processor
    decoder = AutoModelForCausalLM.from_pretrained(folders["text"])
    size = len(AutoTokenizer.from_pretrained(folders["text"]))
    ours = model.language_model.state_dict()
    for key, value in decoder.model.state_dict().items():
        assert torch.equal(ours[key][: len(value)], value), key
    assert torch.equal(model.lm_head.weight[: size - 1], decoder.lm_head.weight)
    tied = decoder.config.tie_word_embeddings
    assert (model.lm_head.weight is model.language_model.embed_tokens.weight) == tied
    whole = SiglipModel.from_pretrained(folders["vision"]).vision_model.state_dict()
    for key, value in model.tower.model.state_dict().items():
        assert torch.equal(value, whole[key]), key
    assert not any(p.is_meta or not p.isfinite().all() for p in model.parameters())
    assert processor.image_processor.image_mean == (0.4, 0.5, 0.6)
    assert processor.image_processor.resample == 2
    again = FromPretrained(**folders, image_tiles=(2, 2), compressor="conv2x2", place_embedding=True).make(
        gaze=gaze_section(num_context=2), seed=5
    )
    torch.testing.assert_close(again.model.state_dict(), model.state_dict(), rtol=0, atol=0)


@torch.no_grad()
def test_it_generates_and_comes_back(folders, tmp_path):
    made = FromPretrained(**folders, image_size=32, vision_layer=-1).make(gaze=gaze_section(k=1))
    model, processor = made.model.eval(), made.processor
    inputs = processor(text="<image> read row", images=picture())
    out = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    model.save_pretrained(tmp_path / "whole")
    again = CambrianForConditionalGeneration.from_pretrained(tmp_path / "whole")
    assert again.gaze == model.gaze
    assert torch.equal(again.generate(**inputs, max_new_tokens=4, do_sample=False), out)


def test_weights_have_the_type_asked_for(folders):
    made = FromPretrained(**folders, dtype="bfloat16").make(gaze=gaze_section(num_context=1))
    assert {parameter.dtype for parameter in made.model.parameters()} == {torch.bfloat16}
