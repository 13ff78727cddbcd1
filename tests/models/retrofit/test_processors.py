"""Stock processors without torchvision: made, saved, opened again; frames of videos."""

import json
import pickle

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer, Gemma3Processor, Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.utils import is_torchvision_available
from transformers.video_utils import VideoMetadata

from gazekit.models import load_processor, make_processor
from gazekit.models.retrofit.processors.frames import FrameProcessor, clips_of, fit, patchify
from tests.models.retrofit.stock import ALL, QWEN, WITH_VIDEO, image_mark, make_stock, picture, video_mark

without_torchvision = pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
TIMES = {"total_num_frames": 6, "fps": 2.0, "frames_indices": [0, 2, 4]}


@pytest.mark.parametrize("name", ALL)
def test_a_processor_is_saved_as_the_stock_one_and_opened_again(name, tmp_path):
    made = make_stock(name)
    given = {"text": [f"read {image_mark(name)} row"], "images": [[picture()]], "return_tensors": "pt"}
    before = made(**given)
    made.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "processor_config.json").read_text())
    assert described["processor_class"] == name
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["processor_class"] == name
    again = load_processor(tmp_path)
    assert type(again).__name__ == name
    after = again(**given)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    again.save_pretrained(tmp_path / "twice")
    assert json.loads((tmp_path / "twice" / "processor_config.json").read_text()) == described


def test_what_needs_no_stand_in_is_the_stock_class(tmp_path):
    make_stock("Gemma3Processor").save_pretrained(tmp_path)
    assert type(load_processor(tmp_path)) is Gemma3Processor
    assert type(AutoProcessor.from_pretrained(tmp_path)) is Gemma3Processor


@without_torchvision
def test_what_needs_one_is_a_subclass_that_survives_pickling(tmp_path):
    made = make_stock("Qwen2_5_VLProcessor")
    made.save_pretrained(tmp_path)
    with pytest.raises((AttributeError, ImportError)):
        AutoProcessor.from_pretrained(tmp_path)
    again = pickle.loads(pickle.dumps(load_processor(tmp_path)))
    assert isinstance(again, Qwen2_5_VLProcessor)
    assert type(again) is type(made)
    assert isinstance(again.video_processor, FrameProcessor)


def test_a_folder_without_a_processor_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    with pytest.raises(
        ValueError, match=r"must hold a multimodal model with a processor, got model_type 'qwen3'"
    ):
        load_processor(tmp_path)


def test_the_class_follows_from_the_model_where_no_file_names_it(tmp_path):
    made = make_stock("Qwen2VLProcessor")
    made.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "processor_config.json").read_text())
    (tmp_path / "processor_config.json").unlink()
    images = {**described["image_processor"], **described["video_processor"]}
    del images["video_processor_type"]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(images))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    again = load_processor(tmp_path)
    assert type(again).__name__ == "Qwen2VLProcessor"
    assert again.video_processor.patch_size == 4


def test_wrong_parts_are_named():
    tokenizer, images = (
        make_stock("Qwen2VLProcessor").tokenizer,
        make_stock("Qwen2VLProcessor").image_processor,
    )
    with pytest.raises(
        ValueError, match="name must be a processor class of transformers, got 'Qwen9Processor'"
    ):
        make_processor("Qwen9Processor", image_processor=images, tokenizer=tokenizer)
    with pytest.raises(TypeError, match="Received a int for argument image_processor"):
        make_processor("Qwen2VLProcessor", image_processor=3, tokenizer=tokenizer)


@without_torchvision
def test_a_video_processor_without_stand_in_is_refused():
    made = make_stock("Qwen2VLProcessor")
    with pytest.raises(
        ValueError, match=r"family must be one of Qwen2VLVideoProcessor, .* got 'that of Glm4vProcessor'"
    ):
        make_processor("Glm4vProcessor", image_processor=made.image_processor, tokenizer=made.tokenizer)


@without_torchvision
@pytest.mark.parametrize("name", ["Qwen2VLProcessor", "Qwen2_5_VLProcessor"])
def test_a_frame_comes_out_as_the_same_picture_does_as_an_image(name):
    made = make_stock(name)
    image = made(text=[image_mark(name)], images=[[picture()]], return_tensors="pt")
    video = made(text=[video_mark(name)], videos=[[picture(), picture()]], return_tensors="pt")
    assert video["video_grid_thw"].tolist() == image["image_grid_thw"].tolist()
    torch.testing.assert_close(video["pixel_values_videos"], image["pixel_values"], atol=1e-6, rtol=0)
    assert video["mm_token_type_ids"].unique().tolist() == [2]


@without_torchvision
@pytest.mark.parametrize("name", QWEN)
def test_an_odd_frame_is_repeated(name):
    made = make_stock(name)
    first, second, third = (picture(seed) for seed in range(3))
    odd, even = (
        made(text=[video_mark(name)], videos=[clip], video_metadata=[dict(TIMES)], return_tensors="pt")
        for clip in ([first, second, third], [first, second, third, third])
    )
    assert odd["video_grid_thw"][0, 0] == 2
    # The limits of Qwen3-VL count frames before one is repeated.
    if name != "Qwen3VLProcessor":
        assert torch.equal(odd["pixel_values_videos"], even["pixel_values_videos"])
    half = len(odd["pixel_values_videos"]) // 2
    values = odd["pixel_values_videos"].unflatten(1, (3, 2, 4, 4))
    assert torch.equal(values[half:, :, 0], values[half:, :, 1])
    assert not torch.equal(values[:half, :, 0], values[:half, :, 1])


@without_torchvision
def test_time_stamps_of_qwen3_vl():
    made = make_stock("Qwen3VLProcessor")
    made.tokenizer.add_tokens(["<0.5 seconds>", "<2.0 seconds>"])
    out = made(text=["<|video_pad|>"], videos=[[picture()] * 3], video_metadata=[dict(TIMES)])
    text = made.tokenizer.decode(out["input_ids"][0])
    assert text.index("<0.5 seconds>") < text.index("<2.0 seconds>")
    assert text.count("<|vision_start|>") == 2
    by_rate = made.video_processor([picture()] * 4, fps=4.0, return_metadata=True)["video_metadata"][0]
    assert by_rate.timestamps == [0, 0.25, 0.5, 0.75]


@without_torchvision
def test_seconds_of_a_step_in_time_of_qwen2_5_vl():
    made = make_stock("Qwen2_5_VLProcessor")
    out = made(text=["<|video_pad|>"], videos=[[picture()] * 3], video_metadata=[dict(TIMES)])
    assert out["second_per_grid_ts"] == [2.0]


@without_torchvision
@pytest.mark.parametrize("name", ["LlavaOnevisionProcessor", "InternVLProcessor"])
def test_frames_of_the_other_architectures(name):
    made = make_stock(name)
    frames = made.video_processor([picture(0), picture(1)])["pixel_values_videos"]
    assert frames.shape == (1, 2, 3, 16, 16)
    alone = made.video_processor([picture(1)])["pixel_values_videos"]
    assert torch.equal(frames[:, 1:], alone)
    mean, std = (torch.tensor(getattr(made.video_processor, key)) for key in ("image_mean", "image_std"))
    bright = made.video_processor(np.full((1, 9, 9, 3), 255, dtype=np.uint8))["pixel_values_videos"]
    torch.testing.assert_close(bright[0, 0, :, 0, 0], (1 - mean) / std)
    out = made(text=[video_mark(name)], videos=[[picture(0), picture(1)]], return_tensors="pt")
    assert (
        out["pixel_values"] if name == "InternVLProcessor" else out["pixel_values_videos"]
    ).numel() == frames.numel()


def test_videos_in_any_nesting():
    array = np.zeros((2, 4, 5, 3), dtype=np.uint8)
    for videos in (array, [array], [[array]], torch.from_numpy(array), [torch.from_numpy(array)]):
        ((first, _),) = clips_of(videos)
        assert first.shape == (4, 5, 3)
    assert clips_of(array.transpose(0, 3, 1, 2))[0][0].shape == (4, 5, 3)
    assert [len(clip) for clip in clips_of([[picture()] * 2, [picture()]])] == [2, 1]
    assert [len(clip) for clip in clips_of([[[picture()] * 2], [[picture()]]])] == [2, 1]


@pytest.mark.parametrize(
    ("videos", "more", "message"),
    [
        ("clip.mp4", {}, "videos must be decoded frames without torchvision, got the file 'clip.mp4'"),
        ([], {}, "videos must have frames, got none"),
        ([[picture()], [picture()] * 2], {}, r"videos must have equally many frames, got \[1, 2\]"),
        ([picture()], {"do_sample_frames": True}, "do_sample_frames must be false without torchvision"),
    ],
)
def test_videos_that_cannot_be_taken(videos, more, message):
    with pytest.raises(ValueError, match=message):
        FrameProcessor("LlavaOnevisionVideoProcessor", {"size": {"height": 8, "width": 8}})(videos, **more)


def test_settings_that_only_the_stock_one_has():
    with pytest.raises(ValueError, match="cap_pixels_per_frame must be false"):
        FrameProcessor("Qwen2VLVideoProcessor", {"cap_pixels_per_frame": True})
    with pytest.raises(AttributeError, match="InternVLVideoProcessor has no setting 'merge_size'"):
        _ = FrameProcessor("InternVLVideoProcessor").merge_size


def test_metadata_may_be_given():
    frames = FrameProcessor("InternVLVideoProcessor", {"size": {"height": 8, "width": 8}})
    told = VideoMetadata(**TIMES)
    assert frames([picture()] * 3, video_metadata=[told], return_metadata=True)["video_metadata"] == [told]
    assert frames.model_input_names == ["pixel_values_videos"]


@pytest.mark.parametrize("size", [(24, 32), (5, 300), (900, 700), (7, 7), (64, 65)])
def test_sizes_are_those_of_the_stock_image_processor(size):
    assert fit(*size, 8, 64, 1024) == smart_resize(*size, factor=8, min_pixels=64, max_pixels=1024)


def test_limits_may_count_all_frames_together():
    height, width = fit(400, 400, 8, 64, 8 * 64 * 64, frames=8, steps=2)
    assert (height, width) == (64, 64)
    assert fit(4, 4, 8, 64, 8 * 64 * 64, frames=3, steps=2) == (8, 8)
    assert fit(8, 16, 8, 3 * 4 * 128, 10**6, frames=3, steps=1) == (16, 32)


def test_a_frame_of_extreme_shape_is_refused():
    with pytest.raises(ValueError, match="must differ by a factor of 200 at most, got 1 x 201"):
        fit(1, 201, 8, 64, 1024)


def test_the_patches_of_a_visual_token_follow_each_other():
    rows = torch.arange(8.0)[:, None].expand(8, 8) * 10 + torch.arange(8.0)
    patches = patchify(rows.expand(2, 1, 8, 8), steps=2, patch=2, merge=2)
    assert patches.shape == (16, 8)
    assert patches[:5, 0].tolist() == [0, 2, 20, 22, 4]
    assert patches[0].tolist() == [0, 1, 10, 11] * 2


@pytest.mark.parametrize("name", WITH_VIDEO)
def test_the_tokenizer_of_a_saved_processor_opens_alone(name, tmp_path):
    make_stock(name).save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids(video_mark(name)) > 2
