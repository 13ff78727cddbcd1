"""Images made of tiles: where their tokens lie, for InternVL, Idefics3, SmolVLM, and Gemma 3 with its one tile."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.contracts import TokenLayout
from gazekit.models.retrofit import Media, apply_gaze, layout_of_media
from gazekit.models.retrofit.architectures import adapter_of
from gazekit.models.retrofit.tiles import mosaic, tiles_by_marks
from tests.models.retrofit.places import seen, unmixed
from tests.models.retrofit.tiny import IMAGE, Image, Inputs, Video
from tests.models.retrofit.tiny_tiles import (
    FENCE,
    GEMMA_SIDE,
    LINE,
    OVERVIEW,
    SIDE,
    gemma3,
    idefics3,
    internvl,
    of_tiles,
    smolvlm,
    write,
)

MODELS = [internvl, idefics3, smolvlm, gemma3]
CUT = [internvl, idefics3, smolvlm]
TILE = [IMAGE] * SIDE**2
SMOL = smolvlm()
SIZE = st.tuples(st.integers(1, 4), st.integers(1, 4))


@pytest.mark.parametrize("model", MODELS)
def test_the_model_takes_as_many_tokens_as_the_layout_has(model):
    model = model()
    inputs = of_tiles(model.config.model_type, [[(1, 1)], [(2, 3), (1, 1)], [(1, 4)]])
    made = layout(model, inputs)
    assert torch.equal(made.tokens.unit[:, 0] >= 0, inputs["input_ids"] == IMAGE)
    with torch.no_grad():
        assert model(**inputs).logits.isfinite().all()


@pytest.mark.parametrize("model", MODELS)
def test_tokens_lie_where_their_pixels_do(model):
    model = unmixed(model())
    inputs = of_tiles(model.config.model_type, [[(2, 3)]])
    medium = media(model, inputs).images[0]
    laid_back = model.config.model_type in ("idefics3", "smolvlm")
    for token in range(medium.length):
        tile, *box = seen(model, {"pixel_values": inputs["pixel_values"]}, features(model), token)
        _, y, x = medium.place[token].tolist()
        row, column = divmod(tile, 3) if laid_back and tile < 6 else (0, 0)
        y, x = (y - row * SIDE) * 8, (x - column * SIDE) * 8
        assert box == [y, y + 7, x, x + 7]
        assert medium.grid[token] == (tile // 6 if laid_back else tile)


@pytest.mark.parametrize("model", CUT)
def test_all_tiles_of_an_image_are_one_unit(model):
    model = model()
    made = media(model, of_tiles(model.config.model_type, [[(2, 2), (1, 1)]]))
    assert [one.length for one in made.images] == [5 * SIDE**2, SIDE**2]
    assert [one.unit.unique().tolist() for one in made.images] == [[0], [0]]


@given(st.lists(st.lists(SIZE, min_size=1, max_size=3), min_size=1, max_size=3))
@example([[(1, 1), (1, 1)]])
@example([[(1, 2), (4, 1)], [(4, 4)]])
def test_marks_tell_rows_and_columns(samples: list[list[tuple[int, int]]]):
    inputs = of_tiles("smolvlm", samples)
    for sample, ids, mask in zip(samples, inputs["input_ids"], inputs["attention_mask"], strict=True):
        told = tiles_by_marks(ids[mask.bool()], IMAGE, SIDE)
        assert told == [(0, 0) if size == (1, 1) else size for size in sample]


OTHER = {
    "no marks": [1, 2, *TILE, 3, 4, *TILE, 5],
    "nothing before": [FENCE, *TILE, FENCE],
    "nothing behind": [FENCE, OVERVIEW, *TILE],
    "a shared fence": [FENCE, OVERVIEW, *TILE, FENCE, *TILE, FENCE],
    "no overview": [FENCE, 60, *TILE, FENCE, 61, *TILE, FENCE],
    "marks that repeat": [FENCE, 60, *TILE, FENCE, 60, *TILE, LINE, FENCE, OVERVIEW, *TILE, FENCE],
    "rows of different lengths": [
        *[FENCE, 60, *TILE, FENCE, 61, *TILE, LINE],
        *[FENCE, 62, *TILE, LINE, FENCE, OVERVIEW, *TILE, FENCE],
    ],
}


@pytest.mark.parametrize("name", OTHER)
def test_in_prompts_of_another_kind_each_run_is_an_image(name: str):
    ids = torch.tensor([OTHER[name]])
    assert tiles_by_marks(ids[0], IMAGE, SIDE) is None
    made = adapter_of("smolvlm").media(SMOL.config, ids, ids > 0, {})
    assert [one.length for one in made.images] == [SIDE**2] * (OTHER[name].count(IMAGE) // SIDE**2)


def test_a_prompt_without_images_has_none():
    assert tiles_by_marks(torch.tensor([1, 2, 3]), IMAGE, SIDE) == []


def test_frames_of_a_video_are_units():
    unit = layout(SMOL, write("smolvlm", [[2, Video(3, 2, 2), 2]])).tokens.unit
    assert unit.unique().tolist() == [-1, 0, 1, 2]


def test_a_mosaic_has_every_place_once():
    made = mosaic(2, 3, 4)
    assert len({tuple(place) for place in made.place.tolist()}) == made.length == 96
    assert made.place[16].tolist() == [0, 0, 4]
    assert made.place[-1].tolist() == [0, 7, 11]


@pytest.mark.parametrize("kind", ["internvl", "smolvlm"])
def test_an_image_that_is_cut_off_is_named(kind: str):
    model = internvl() if kind == "internvl" else SMOL
    ids = torch.tensor([[5, 6, 7], [5, IMAGE, IMAGE]])
    with pytest.raises(
        ValueError, match="sample 1 has 2 image placeholders in a row, which must be a multiple"
    ):
        adapter_of(kind).media(model.config, ids, ids > 0, {})


def test_gemma_images_see_each_other_if_the_model_is_told_so():
    model = gemma3()
    inputs = of_tiles(model.config.model_type, [[(1, 1), (1, 1)]])
    assert [one.mutual for one in media(model, inputs).images] == [True, True]
    del inputs["token_type_ids"]
    assert [one.mutual for one in media(model, inputs).images] == [False, False]


@torch.no_grad()
def test_gemma_without_token_types_is_the_stock_model_too():
    model = gemma3()
    inputs = write("gemma3", [[2, Image(4, 4), 3]])
    told = model(**inputs).logits
    del inputs["token_type_ids"]
    expected = model(**inputs).logits
    assert (told - expected).abs().max() > 1e-2
    apply_gaze(model, Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=4)))
    torch.testing.assert_close(model(**inputs).logits, expected, atol=1e-5, rtol=1e-5)


def test_gemma_token_types_that_are_not_the_images_are_refused():
    model = gemma3()
    inputs = of_tiles(model.config.model_type, [[(1, 1)]])
    inputs["token_type_ids"][0, 0] = 1
    with pytest.raises(ValueError, match="token_type_ids must be 1 on image placeholders"):
        media(model, inputs)


def test_gemma_images_without_text_between_are_refused():
    model = gemma3()
    ids = torch.tensor([[5, *[IMAGE] * 2 * GEMMA_SIDE**2, 6]])
    with pytest.raises(ValueError, match="input_ids must have text between images"):
        media(model, {"input_ids": ids, "attention_mask": ids, "token_type_ids": (ids == IMAGE).long()})


def features(model):
    """The tokens of the only image, tile after tile."""

    def made(inputs: Inputs) -> torch.Tensor:
        taken = model.get_image_features(**inputs, return_dict=True).pooler_output
        return torch.cat(list(taken)) if isinstance(taken, list) else taken.flatten(0, 1)

    return made


def media(model, inputs: Inputs) -> Media:
    """The media of prompts."""
    adapter = adapter_of(model.config.model_type)
    given = {name: inputs[name] for name in adapter.inputs if name in inputs}
    return adapter.media(model.config, inputs["input_ids"], inputs["attention_mask"] > 0, given)


def layout(model, inputs: Inputs) -> TokenLayout:
    """The layout of prompts."""
    ids = adapter_of(model.config.model_type).visual_ids(model.config)
    return layout_of_media(inputs["input_ids"], inputs["attention_mask"] > 0, media(model, inputs), ids)
