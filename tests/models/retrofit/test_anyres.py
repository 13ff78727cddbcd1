"""Images of any resolution: counts and places against transformers' own functions, for any size."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.models.llava_next import modeling_llava_next as stock

from gazekit.models.retrofit import Media, grid
from gazekit.models.retrofit.anyres import high_resolution, overview_and_tiles, shrunk, with_newline
from gazekit.models.retrofit.architectures import adapter_of
from tests.models.retrofit.places import seen, unmixed
from tests.models.retrofit.tiny_llava import PATCH, SIDE, TILE, llava_next, llava_onevision, pixels

RESOLUTIONS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008], [1008, 2016]]
SIZE = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
# Pictures of a few pixels beside a few thousand, as well as those that fill their canvas.
EXTREME = st.one_of(
    SIZE,
    st.tuples(st.integers(1, 4), st.integers(500, 9000)),
    st.tuples(st.integers(500, 9000), st.integers(1, 4)),
)


@given(EXTREME)
@example((336, 672))
@example((1, 9000))
@example((9000, 1))
@example((333, 1000))
def test_rows_and_columns_are_those_that_transformers_leaves(size: tuple[int, int]):
    rows, columns = stock.get_anyres_image_grid_shape(size, RESOLUTIONS, 336)
    left = stock.unpad_image(torch.zeros(1, rows * 24, columns * 24), size)
    assert high_resolution(size, RESOLUTIONS, 336, 24) == tuple(left.shape[1:])


@pytest.mark.parametrize(
    "model", [unmixed(llava_next()), unmixed(llava_onevision())], ids=["next", "onevision"]
)
@given(data=st.data())
def test_an_image_has_as_many_tokens_as_the_model_makes(model, data):
    size = data.draw(st.one_of(EXTREME, st.tuples(st.integers(1, 60), st.integers(1, 60))))
    media = pixels(model, [size])
    assert layout(model, media).images[0].length == len(features(model)(media))


@pytest.mark.parametrize(
    "model", [unmixed(llava_next()), unmixed(llava_onevision(9))], ids=["next", "onevision"]
)
@pytest.mark.parametrize("size", [(60, 60), (30, 60), (50, 22), (9, 24), (24, 9)])
def test_tokens_lie_where_their_pixels_do(model, size):
    media = pixels(model, [size])
    medium = layout(model, media).images[0]
    rows, columns = (edge // TILE for edge in best(model, size))
    high = medium.place[medium.grid == 1]
    height, width = int(high[:, 1].max()) + 1, int(high[:, 2].max())
    top, left = (rows * SIDE - height) // 2, (columns * SIDE - width) // 2
    for token in (0, SIDE + 1, SIDE**2 - 1):
        _, y, x = medium.place[token].tolist()
        assert seen(model, media, features(model), token) == (0, *square(y, x))
    for token in range(SIDE**2, medium.length, 5):
        _, y, x = medium.place[token].tolist()
        expected = None
        if x < width:
            tile = 1 + (y + top) // SIDE * columns + (x + left) // SIDE
            expected = (tile, *square((y + top) % SIDE, (x + left) % SIDE))
        assert seen(model, media, features(model), token) == expected


def test_a_shrunk_picture_keeps_its_proportions():
    assert shrunk(72, 24, 24, 9) == (72, 24)
    rows, columns = shrunk(144, 72, 24, 9)
    assert rows * columns <= 9 * 24**2 * 1.1**2
    assert math.isclose(rows / columns, 2, rel_tol=0.05)


def test_newlines_end_the_rows_of_the_high_resolution_and_no_region_reaches_the_overview():
    medium = overview_and_tiles(2, 3, 4)
    assert medium.length == 4 + 3 * 5
    assert medium.grid.tolist() == [0] * 4 + [1] * 15
    assert medium.unit.unique().tolist() == [0]
    assert medium.place[4:, 2].tolist() == [0, 1, 2, 3, 4] * 3


def test_the_one_newline_of_a_video_belongs_to_its_last_frame():
    medium = with_newline(grid(2, 2, 3), 2, 2)
    assert medium.place[-1].tolist() == [2, 1, 2]
    assert medium.unit.tolist() == [0] * 4 + [1] * 4 + [2] * 5


def square(y: int, x: int) -> tuple[int, int, int, int]:
    """The pixels of a patch."""
    return y * PATCH, y * PATCH + PATCH - 1, x * PATCH, x * PATCH + PATCH - 1


def best(model, size: tuple[int, int]) -> tuple[int, int]:
    """The canvas of a picture."""
    return stock.select_best_resolution(size, model.config.image_grid_pinpoints)


def features(model):
    """The tokens of the only image."""
    return lambda media: model.get_image_features(**media, return_dict=True).pooler_output[0]


def layout(model, media: dict[str, torch.Tensor]) -> Media:
    """The media of a prompt with images."""
    adapter = adapter_of(model.config.model_type)
    ids = torch.full((1, 1), model.config.image_token_id)
    return adapter.media(model.config, ids, ids > 0, {"image_sizes": media["image_sizes"]})
