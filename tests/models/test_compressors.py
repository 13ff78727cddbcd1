"""How tokens become fewer, frames one unit, rows end, and images of high resolution several units."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import interpolate, max_pool2d, pixel_unshuffle

from gazekit.models import (
    AverageCompressor,
    BilinearCompressor,
    MaxCompressor,
    UnshuffleCompressor,
    tile_grid,
    views,
)
from gazekit.models.encode import seen_by_guides
from tests.models.test_vision import tower
from tests.models.tiny import gaze_section, make_config, make_model, make_processor, picture


@pytest.fixture
def grid():
    return torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0))


def channels(grid):
    return grid.permute(0, 3, 1, 2)


def test_pooling_is_torchs(grid):
    torch.testing.assert_close(channels(MaxCompressor()(grid)), max_pool2d(channels(grid), 2))
    thirds = AverageCompressor(grid=(2, 4))(grid)
    torch.testing.assert_close(channels(thirds), nn.functional.avg_pool2d(channels(grid), (3, 1)))
    any_size = BilinearCompressor(grid=(4, 3))(grid)
    wanted = interpolate(channels(grid), size=(4, 3), mode="bilinear", align_corners=False)
    torch.testing.assert_close(channels(any_size), wanted)
    assert BilinearCompressor()(grid.bfloat16()).dtype == torch.bfloat16


def test_unshuffling_keeps_every_value(grid):
    ours = UnshuffleCompressor()(grid)
    assert ours.shape == (2, 3, 2, 20)
    theirs = pixel_unshuffle(channels(grid), 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(
        ours.unflatten(-1, (4, 5)).transpose(-1, -2).flatten(-2), theirs, rtol=0, atol=0
    )


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"compressor": "max"}, (2, 2)),
        ({"compressor": "bilinear", "compressor_grid": 3}, (3, 3)),
        ({"compressor": "average", "compressor_grid": (1, 4), "compressor_place": "after"}, (1, 4)),
        ({"compressor": "unshuffle"}, (2, 2)),
        ({"compressor": "max", "compressor_place": "after", "row_newlines": True}, (2, 3)),
        ({"row_newlines": True, "place_embedding": True}, (4, 5)),
        ({"frames_per_unit": 3, "compressor": "unshuffle"}, (2, 2)),
    ],
)
def test_units_have_the_tokens_that_the_config_counts(fields, shape):
    model = make_model(gaze=gaze_section(k=1, num_context=1), **fields)
    processor = make_processor(model.config)
    assert model.config.grid == shape
    batch = processor(text="<image> read <video> row", images=[picture(0)], videos=[[picture(1), picture(2)]])
    frames = fields.get("frames_per_unit", 1)
    assert batch["pixel_values"].shape[:3] == (1, 2 if frames > 1 else 3, 3 * frames)
    with torch.no_grad():
        out = model(**batch)
        assert out.logits.isfinite().all()
        assert model.embed_units(batch["pixel_values"]).shape[2] == shape[0] * shape[1]


def test_compression_after_the_projector_is_of_embeddings():
    after = make_model(compressor="max", compressor_place="after")
    plain = make_model()
    after.load_state_dict(plain.state_dict())
    pixels = torch.randn(1, 1, 3, 32, 32)
    tokens = plain.embed_units(pixels).unflatten(2, (4, 4))[0]
    wanted = max_pool2d(channels(tokens), 2).permute(0, 2, 3, 1).flatten(1, 2)
    torch.testing.assert_close(after.embed_units(pixels)[0], wanted)


def test_every_row_ends_in_the_newline():
    closed, plain = make_model(row_newlines=True), make_model()
    assert float(closed.projector.newline.detach().norm()) == pytest.approx(1, rel=0.5)
    closed.load_state_dict(plain.state_dict(), strict=False)
    pixels = torch.randn(1, 2, 3, 32, 32)
    tokens = closed.embed_units(pixels).unflatten(2, (4, 5))
    torch.testing.assert_close(tokens[..., :4, :].flatten(2, 3), plain.embed_units(pixels))
    assert torch.equal(tokens[..., 4, :], closed.projector.newline.expand(1, 2, 4, -1))
    assert closed.projector.newline in closed.parts()["projector"]


def test_newlines_do_not_move_what_a_guide_sees():
    pixels = torch.randn(1, 2, 6, 32, 32)
    seen = seen_by_guides(pixels, make_config(row_newlines=True))
    assert seen.shape == (1, 2, 3, 32, 40)
    assert torch.equal(seen[..., :32], pixels[:, :, :3])
    assert torch.equal(seen[..., 32:], pixels[:, :, :3, :, 31:].expand(-1, -1, -1, -1, 8))


def test_frames_that_repeat_the_first_are_encoded_once():
    one = tower(frames_per_unit=3)
    shown = []
    one.model.register_forward_pre_hook(lambda module, args: shown.append(len(args[0])))
    still, moving = torch.randn(1, 3, 32, 32), torch.randn(1, 9, 32, 32)
    out = one(torch.cat([still.repeat(1, 3, 1, 1), moving]))
    assert shown == [4 * (1 + 3)]  # each in four tiles
    alone = tower()
    frames = torch.cat([still, moving.unflatten(1, (3, 3))[0]])
    torch.testing.assert_close(out, alone(frames)[[0, 0, 0, 1, 2, 3]])


def test_the_last_frame_fills_its_unit_and_times_are_the_units():
    processor = make_processor(make_config(frames_per_unit=2))
    frames = [picture(seed) for seed in range(3)]
    batch = processor(text="<video>", videos=frames, timestamps=[0.0, 0.5, 1.0])
    assert batch["clip_lengths"].tolist() == [[2]]
    first, last = batch["pixel_values"][0].unflatten(1, (2, 3))
    assert torch.equal(last[0], last[1])
    assert not torch.equal(first[0], first[1])
    assert processor.decode(batch["input_ids"][0]).replace("<|video_pad|>", "").split() == [
        "<",
        "0",
        ".",
        "0",
        "s",
        ">",
        "<",
        "1",
        ".",
        "0",
        "s",
        ">",
    ]


@pytest.mark.parametrize(("form", "said"), [("seconds", "<75.5s>"), ("clock", "<01:15>"), (None, "")])
def test_times_are_written_as_the_model_has_them(form, said):
    processor = make_processor(make_config(time_stamps=form))
    plain = processor(text="<video>", videos=[picture()])["input_ids"]
    ids = processor(text="<video>", videos=[picture()], timestamps=[75.5])["input_ids"]
    assert ids.shape[1] == plain.shape[1] + len(processor.tokenizer(said)["input_ids"])


def test_tiles_keep_the_resolution_with_the_least_waste():
    assert tile_grid((300, 300), (384, 384), 9) == (1, 1)
    assert tile_grid((384, 1152), (384, 384), 9) == (1, 3)
    assert tile_grid((4000, 4000), (384, 384), 9) == (3, 3)
    assert tile_grid((4000, 2000), (384, 384), 9) == (4, 2)
    assert tile_grid((100, 5000), (384, 384), 4) == (1, 4)


def test_tiles_together_are_the_picture():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 96, 3), dtype=np.uint8)
    whole, *tiles = views(Image.fromarray(pixels), (32, 32), 4, (9, 9, 9))
    assert whole.size == (96, 32)
    assert (np.concatenate([np.asarray(tile) for tile in tiles], axis=1) == pixels).all()
    _, *tiles = views(Image.fromarray(pixels[:, :64]), (32, 48), 4, (9, 9, 9))
    edges = np.concatenate([np.asarray(tile) for tile in tiles], axis=1)
    assert edges.shape == (32, 96, 3)
    assert (edges[:, :16] == 9).all()
    assert (edges[:, 16:80] == pixels[:, :64]).all()


def test_an_image_of_high_resolution_is_a_clip_of_views():
    model = make_model(max_tiles=4, gaze=gaze_section(k=3, num_context=1), image_tiles=(1, 1), image_size=16)
    processor = make_processor(model.config)
    batch = processor(text="<image> read <image>", images=[picture(0, 16, 48), picture(1, 16, 16)])
    assert batch["clip_lengths"].tolist() == [[4, 1]]
    layout = model.layout(batch["input_ids"], clip_lengths=batch["clip_lengths"])
    assert layout.tokens.unit.max() == 4
    with torch.no_grad():
        assert model(**batch).logits.isfinite().all()
    again = type(processor)(
        processor.image_processor, processor.tokenizer, grid=(2, 2), max_tiles=0, num_context=1
    )
    assert again(text="<image>", images=[picture(0, 16, 48)])["clip_lengths"].tolist() == [[1]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"compressor": "conv2x2", "compressor_grid": 2},
            "compressor_grid is for the compressors average, max, bilin",
        ),
        ({"compressor": "unshuffle", "compressor_place": "after"}, "compressor_place is for the compressors"),
        (
            {"compressor": "max", "compressor_grid": 3},
            "must divide the 4 tokens along the height, got 3 for 'max'",
        ),
        ({"compressor": "bilinear", "compressor_grid": 5}, "'bilinear' takes any number up to 4"),
        ({"compressor_place": "beside"}, "compressor_place must be one of 'before', 'after', got 'beside'"),
        ({"time_stamps": "minutes"}, "time_stamps must be one of None, 'seconds', 'clock', got 'minutes'"),
        ({"frames_per_unit": 0}, "frames_per_unit must be at least 1, got 0"),
        ({"max_tiles": -1}, "max_tiles must be at least 0, got -1"),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        make_config(**fields)


def test_a_processor_knows_its_words():
    config = make_config()
    with pytest.raises(ValueError, match="time_stamps must be one of None, 'seconds', 'clock', got 'soon'"):
        type(make_processor(config))(
            make_processor(config).image_processor, make_processor(config).tokenizer, time_stamps="soon"
        )


def test_model_and_processor_come_back_with_their_options(tmp_path):
    fields = {
        "compressor": "bilinear", "compressor_grid": [3, 2], "compressor_place": "after", "frames_per_unit": 2,
        "row_newlines": True, "max_tiles": 3, "time_stamps": "clock",
    }  # fmt: skip
    model = make_model(**fields)
    processor = make_processor(model.config)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert {name: getattr(again.config, name) for name in fields} == fields
    assert torch.equal(again.projector.newline, model.projector.newline)
    assert again.config.grid == (3, 3)
    words = type(processor).from_pretrained(tmp_path)
    told = ("grid", "frames_per_unit", "max_tiles", "time_stamps", "num_context", "resize")
    assert [getattr(words, name) for name in told] == [getattr(processor, name) for name in told]
