import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gazekit.data.digits import DigitsDataset, MosaicSpec, crosses_border, crossing_share, mask_shares

MASKS = st.tuples(st.integers(1, 3), st.integers(4, 12), st.integers(4, 12)).flatmap(
    lambda shape: arrays(np.bool_, shape)
)


def mosaics(count, **change):
    return [s.mosaic for s in DigitsDataset(split="test", plan=None, length=count, spec=MosaicSpec(**change))]


@given(masks=MASKS, rows=st.integers(1, 6), columns=st.integers(1, 6))
def test_shares_add_up(masks, rows, columns):
    shares = mask_shares(masks, (rows, columns))
    assert shares.shape == (len(masks), rows, columns)
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), masks.any(axis=(1, 2)).astype(float), atol=1e-9)
    assert (shares >= 0).all()


@given(masks=MASKS, rows=st.integers(1, 3), columns=st.integers(1, 3))
def test_shares_count_pixels_where_the_grid_divides_the_image(masks, rows, columns):
    tall, wide = masks.repeat(rows, axis=1), masks.repeat(columns, axis=2)
    for spread, grid in ((tall, (rows, 1)), (wide, (1, columns))):
        parts = np.array_split(spread, max(grid), axis=1 if grid[1] == 1 else 2)
        counted = np.stack([part.sum(axis=(1, 2)) for part in parts], axis=1)
        expected = counted / np.maximum(counted.sum(axis=1, keepdims=True), 1)
        np.testing.assert_allclose(mask_shares(spread, grid).reshape(expected.shape), expected, atol=1e-12)


def test_a_divided_pixel_counts_on_both_sides():
    mask = np.array([[[True, True, True]]])
    np.testing.assert_allclose(mask_shares(mask, (1, 2)), [[[0.5, 0.5]]])


def test_a_digit_crosses_where_its_ink_does():
    for mosaic in mosaics(5):
        crossed = crosses_border(mosaic)
        for cell, mask in enumerate(mosaic.masks):
            row, column = divmod(cell, 4)
            outside = mask.copy()
            outside[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = False
            assert crossed[row, column] == outside.any()


def test_at_least_a_third_of_the_digits_cross_and_none_without_reason():
    assert crossing_share(mosaics(300)) > 1 / 3
    assert crossing_share(mosaics(20, scan=10.0, jitter=0.0)) == 0


def test_an_empty_grid_is_refused():
    with pytest.raises(ValueError, match=r"grid must have at least one row and one column, got \(0, 4\)"):
        mask_shares(np.ones((1, 4, 4), dtype=bool), (0, 4))
