import json

import pytest
from transformers import AutoConfig, Qwen2Config

from gazekit.models import CambrianConfig, token_ids
from tests.models.tiny import gaze_section, make_config, make_tokenizer, text_config, vision_config


def test_round_trip_keeps_every_field(tmp_path):
    section = gaze_section(k=3, num_context=2)
    config = make_config(
        "qwen2", gaze=[section, section], compressor="conv2x2", place_embedding=True, image_size=(32, 64)
    )
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, CambrianConfig)
    assert isinstance(again.text_config, Qwen2Config)
    again.name_or_path = config.name_or_path
    assert again.to_dict() == config.to_dict()
    assert json.loads((tmp_path / "config.json").read_text())["gaze"] == [section, section]


def test_defaults_can_be_made():
    config = CambrianConfig()
    assert config.grid == (14, 14)
    assert config.num_context == 0


def test_grid_counts_tokens():
    assert make_config().grid == (4, 4)
    assert make_config(image_tiles=(2, 3), compressor="average").grid == (2, 3)
    assert make_config(image_size=(64, 32)).grid == (8, 4)
    assert make_config(image_size=48, image_tiles=(1, 1)).num_visual == 36


def test_num_context_follows_the_section():
    assert make_config(gaze=gaze_section(num_context=3)).num_context == 3
    default = {**gaze_section(), "context": {"_target_": "gazekit.context.LearnedContext"}}
    assert make_config(gaze=default).num_context == 4


def test_vision_head_is_left_out():
    vision = vision_config()
    config = CambrianConfig(text_config=text_config(), vision_config=vision, **token_ids(make_tokenizer()))
    assert config.vision_config.vision_use_head is False
    assert vision.vision_use_head is True, "what the user passed stays as it was"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"compressor": "conv3x3"},
            "compressor must be one of None, .* 'conv2x2', 'unshuffle', got 'conv3x3'",
        ),
        ({"resize": "crop"}, "resize must be one of 'squash', 'pad', got 'crop'"),
        ({"vision_layer": -3}, 'vision_layer must be "last" or between -2 and -1 .* got -3'),
        ({"vision_layer": 0}, "vision_layer must be"),
        ({"vision_layer": "first"}, "vision_layer must be"),
        ({"image_size": 40}, "height 40 for 2 tiles and patches of 8; take a multiple of 16"),
        (
            {"image_size": 24, "image_tiles": (1, 1), "compressor": "conv2x2"},
            "joins 2 x 2 tokens, got 3 of them",
        ),
        ({"image_tiles": (2, 0)}, r"image_tiles must be one or two positive integers .* got \(2, 0\)"),
        ({"image_token_id": 48}, "image_token_id must be in the vocabulary of 48 tokens, got 48"),
        ({"video_token_id": 3}, "must differ, got 3, 3 and 5"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        make_config(**fields)


def test_token_ids_fit_the_config():
    ids = token_ids(make_tokenizer())
    config = CambrianConfig(text_config=text_config(), vision_config=vision_config(), **ids)
    assert (config.image_token_id, config.eos_token_id, config.pad_token_id) == (3, 2, 0)
