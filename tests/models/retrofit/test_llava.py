"""Layouts of LLaVA prompts: classes of towers, several images, batches, videos, and inputs that are missing."""

import pytest
import torch

from gazekit.contracts import Kind
from gazekit.models.retrofit import Media, layout_of_media
from gazekit.models.retrofit.architectures import adapter_of
from tests.models.retrofit.places import seen, unmixed
from tests.models.retrofit.tiny import IMAGE, VIDEO, Image, Inputs, Video
from tests.models.retrofit.tiny_llava import (
    PATCH,
    SIDE,
    clips,
    lengths,
    llava,
    llava_next,
    llava_onevision,
    write,
)

TOWERS = [("clip", "default", 16), ("clip", "full", 17), ("siglip", "full", 16)]
SAMPLES = [[(4, 15)], [(50, 45), (10, 2)], [(2, 2)]]
MODELS = [*(lambda kind=kind, strategy=strategy: llava(kind, strategy) for kind, strategy, _ in TOWERS)]
MODELS += [lambda: llava("pixtral", "full"), llava_next, llava_onevision]


@pytest.mark.parametrize("make", MODELS, ids=["clip", "clip-full", "siglip", "pixtral", "next", "onevision"])
def test_the_model_takes_as_many_tokens_as_the_layout_has(make):
    model = make()
    inputs = shown(model, SAMPLES)
    made = media(model, inputs)
    taken = {name: inputs[name] for name in inputs if name not in ("input_ids", "attention_mask")}
    assert [one.length for one in made.images] == lengths(model, taken)
    layout = layout_of_media(inputs["input_ids"], inputs["attention_mask"] > 0, made, (IMAGE, VIDEO))
    assert torch.equal(layout.kind == Kind.VISUAL, inputs["input_ids"] == IMAGE)
    assert layout.tokens.unit.amax(-1).flatten().tolist() == [0, 1, 0]
    with torch.no_grad():
        assert model(**inputs).logits.isfinite().all()


@pytest.mark.parametrize(("kind", "strategy", "length"), TOWERS)
def test_a_class_token_that_stays_is_a_grid_of_its_own(kind: str, strategy: str, length: int):
    model = llava(kind, strategy)
    (image,) = media(model, shown(model, [[(4, 4)]])).images
    assert image.length == length
    assert image.grid.tolist() == [*[0] * (length - 16), *[length - 16] * 16]
    assert image.place[-1].tolist() == [0, 3, 3]


@pytest.mark.parametrize("kind", ["clip", "siglip", "pixtral"])
def test_tokens_lie_where_their_pixels_do(kind: str):
    model = unmixed(llava(kind, "default" if kind == "clip" else "full"))
    inputs = shown(model, [[(3, 5)]])
    taken = {name: inputs[name] for name in ("pixel_values", "image_sizes") if name in inputs}
    (image,) = media(model, inputs).images
    for token in range(image.length):
        _, y, x = (PATCH * edge for edge in image.place[token].tolist())
        box = seen(model, taken, lambda given: model.get_image_features(**given).pooler_output[0], token)
        assert box == (0, y, y + PATCH - 1, x, x + PATCH - 1)


def test_several_images_of_onevision_have_an_overview_each():
    model = llava_onevision()
    alone, *several = media(model, shown(model, SAMPLES[:2])).images
    assert alone.length > SIDE**2 + 1
    assert [one.length for one in several] == [SIDE**2 + 1] * 2
    assert several[0].place[-1].tolist() == [0, SIDE - 1, SIDE]


def test_onevision_takes_each_image_to_be_alone_without_counts():
    model = llava_onevision()
    inputs = shown(model, [[(4, 15)], [(50, 45)]])
    counted = [one.length for one in media(model, inputs).images]
    del inputs["batch_num_images"]
    assert [one.length for one in media(model, inputs).images] == counted


def test_the_frames_of_a_video_are_units_on_one_grid():
    model = unmixed(llava_onevision())
    inputs = write(model, [[2, Video(3, 2, 2), 2]])
    (video,) = media(model, inputs).videos
    with torch.no_grad():
        assert model(**inputs).logits.isfinite().all()
    features = lambda given: model.get_video_features(**given).pooler_output[0]  # noqa: E731
    for token in range(video.length - 1):
        frame, y, x = video.place[token].tolist()
        box = (frame, 4 * y, 4 * y + 3, 4 * x, 4 * x + 3)
        assert seen(model, clips(1, 3), features, token) == box
        assert video.unit[token] == frame
    assert seen(model, clips(1, 3), features, video.length - 1) is None


@pytest.mark.parametrize("make", [llava_next, llava_onevision, lambda: llava("pixtral", "full")])
def test_sizes_that_are_missing_are_named(make):
    model = make()
    inputs = shown(model, [[(4, 4)]])
    del inputs["image_sizes"]
    with pytest.raises(ValueError, match="image_sizes must be given with images"):
        media(model, inputs)


def test_frames_that_are_missing_are_named():
    model = llava_onevision()
    inputs = write(model, [[2, Video(2, 2, 2), 2]])
    del inputs["pixel_values_videos"]
    with pytest.raises(ValueError, match="pixel_values_videos must be given with videos"):
        media(model, inputs)


def test_counts_of_other_images_are_refused():
    model = llava_onevision()
    inputs = shown(model, [[(4, 4), (4, 4)]])
    inputs["batch_num_images"] = torch.tensor([3])
    with pytest.raises(
        ValueError, match=r"batch_num_images must count the 2 images of image_sizes, got \[3\]"
    ):
        media(model, inputs)


def test_a_strategy_that_drops_a_patch_is_refused():
    model = llava("siglip", "full")
    inputs = shown(model, [[(4, 4)]])
    model.config.vision_feature_select_strategy = "default"
    with pytest.raises(ValueError, match="vision_feature_select_strategy must be 'full'"):
        media(model, inputs)


@pytest.mark.parametrize("make", [llava, llava_next, llava_onevision])
def test_a_prompt_of_text_alone_needs_no_sizes(make):
    model = make()
    ids = torch.tensor([[5, 6, 7]])
    assert media(model, {"input_ids": ids, "attention_mask": ids}) == Media([], [])


def shown(model, samples: list[list[tuple[int, int]]]) -> Inputs:
    """Prompts with images of so many patches in height and width."""
    return write(model, [[2, *(Image(*size) for size in sample), 3] for sample in samples])


def media(model, inputs: Inputs) -> Media:
    """The media of prompts."""
    adapter = adapter_of(model.config.model_type)
    given = {name: inputs[name] for name in adapter.inputs if name in inputs}
    return adapter.media(model.config, inputs["input_ids"], inputs["attention_mask"] > 0, given)
