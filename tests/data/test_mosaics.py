import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gazekit.data.digits import MosaicSpec, Sketch, draw_layout, load_scans, render, sketch

SPECS = st.builds(
    MosaicSpec,
    rows=st.integers(4, 6),
    columns=st.integers(4, 6),
    cell=st.sampled_from([12, 16, 17]),
    scan=st.sampled_from([8.0, 11.0, 13.0]),
    jitter=st.sampled_from([0.0, 2.5, 4.0]),
)
SEEDS = st.integers(0, 2**32)


def draw(spec, split, seed, count=1):
    rng = np.random.default_rng(seed)
    return [sketch(spec, split, rng, draw_layout(spec, rng)) for _ in range(count)]


def reference_window(spec, pixels, inverse):
    """One digit, pixel by pixel, as the definition says: bilinear, no ink outside of the scan."""
    side = spec.cell + 2 * spec.margin
    framed = np.pad(pixels.astype(np.float64), 3)
    window = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            at = inverse @ np.array([column - (side - 1) / 2, row - (side - 1) / 2, 1.0]) + 3.5 + 3
            x, y = np.clip(at, 0, 11)
            left, top = int(x), int(y)
            near = framed[top : top + 2, left : left + 2]
            window[row, column] = np.array([1 - y + top, y - top]) @ near @ np.array([1 - x + left, x - left])
    return window


@given(spec=SPECS, seed=SEEDS, split=st.sampled_from(["train", "test"]))
def test_windows_are_bilinear_samples_of_the_scans(spec, seed, split):
    (plan,) = draw(spec, split, seed)
    (mosaic,) = render(spec, split, [plan])
    for cell in (0, spec.cells - 1):
        expected = reference_window(spec, load_scans(split).pixels[plan.scan[cell]], plan.inverse[cell])
        np.testing.assert_allclose(mosaic.windows[cell], expected, atol=2e-3)


@given(spec=SPECS, seed=SEEDS)
def test_the_image_is_the_strongest_ink_of_all_digits(spec, seed):
    (mosaic,) = render(spec, "test", draw(spec, "test", seed))
    margin = spec.margin
    canvas = np.zeros((spec.height + 2 * margin, spec.width + 2 * margin))
    for row in range(spec.rows):
        for column in range(spec.columns):
            window = mosaic.windows[row * spec.columns + column]
            for down, line in enumerate(window):
                for right, ink in enumerate(line):
                    y, x = row * spec.cell + down, column * spec.cell + right
                    canvas[y, x] = max(canvas[y, x], ink)
    inside = canvas[margin : margin + spec.height, margin : margin + spec.width]
    np.testing.assert_allclose(mosaic.image, inside * 255, atol=0.501)
    assert mosaic.picture.size == (spec.width, spec.height)
    assert mosaic.picture.mode == "RGB"


@given(spec=SPECS, seed=SEEDS, count=st.integers(1, 11))
def test_a_mosaic_is_the_same_alone_and_among_others(spec, seed, count):
    plans = draw(spec, "train", seed, count)
    together = render(spec, "train", plans)
    for plan, mosaic in zip(plans, together, strict=True):
        (alone,) = render(spec, "train", [plan])
        np.testing.assert_array_equal(alone.image, mosaic.image)
        np.testing.assert_array_equal(alone.windows, mosaic.windows)


@given(spec=SPECS, seed=SEEDS)
def test_labels_are_those_of_the_scans(spec, seed):
    (mosaic,) = render(spec, "train", draw(spec, "train", seed))
    found = load_scans("train")
    where = dict(zip(found.source, found.labels, strict=True))
    assert [where[source] for source in mosaic.source] == mosaic.labels.reshape(-1).tolist()


@given(spec=SPECS, seed=SEEDS, split=st.sampled_from(["train", "test"]))
def test_digits_stay_within_their_windows(spec, seed, split):
    """Windows with a wider margin show no more ink: the margin cuts nothing off."""
    plans = draw(spec, split, seed)
    wider = dataclasses.replace(spec, jitter=min(spec.jitter + 1, spec.cell / 2 - 0.01))
    (mosaic,) = render(wider, split, plans)
    extra = wider.margin - spec.margin
    if extra:
        inner = mosaic.windows[:, extra:-extra, extra:-extra].sum()
        assert inner >= 0.999 * mosaic.windows.sum()


def test_held_out_scans_are_only_moved():
    spec = MosaicSpec()
    (plan,) = draw(spec, "test", 0)
    matrix = plan.inverse[:, :, :2]
    np.testing.assert_allclose(matrix, np.broadcast_to(np.eye(2) * 8 / spec.scan, matrix.shape))
    (turned,) = draw(spec, "train", 0)
    assert np.abs(turned.inverse[:, 0, 1]).max() > 0.05


def test_jitter_moves_the_ink_by_as_many_pixels():
    spec = MosaicSpec(jitter=4.0, scan=8.0)
    labels = np.zeros((4, 4), dtype=np.int64)
    still = np.concatenate([np.eye(2), np.zeros((2, 1))], axis=1)[None].repeat(16, 0)
    moved = still.copy()
    moved[:, 0, 2], moved[:, 1, 2] = -3, 2
    scan = np.arange(16)
    before, after = render(spec, "test", [Sketch(labels, scan, still), Sketch(labels, scan, moved)])
    np.testing.assert_allclose(after.windows[:, :-2, 3:], before.windows[:, 2:, :-3], atol=2e-3)


def test_masks_mark_the_ink_of_each_digit_alone():
    spec = MosaicSpec()
    (mosaic,) = render(spec, "test", draw(spec, "test", 3))
    assert mosaic.masks.shape == (16, 64, 64)
    for cell, (mask, window) in enumerate(zip(mosaic.masks, mosaic.windows, strict=True)):
        top, left = (16 * place - spec.margin for place in divmod(cell, 4))
        ys, xs = np.nonzero(window >= 0.2 * window.max())
        expected = {(y + top, x + left) for y, x in zip(ys.tolist(), xs.tolist(), strict=True)}
        expected = {(y, x) for y, x in expected if 0 <= y < 64 and 0 <= x < 64}
        assert set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True)) == expected
    ink = mosaic.image / 255
    assert (ink[mosaic.masks.any(axis=0)] > 0.15).all()
    assert ink[~mosaic.masks.any(axis=0)].max() < 0.2


@given(seed=SEEDS, unique=st.integers(0, 9), spec=SPECS)
def test_planted_digits_are_there_exactly_once(seed, unique, spec):
    labels = draw_layout(spec, np.random.default_rng(seed), unique)
    counts = np.bincount(labels.reshape(-1), minlength=10)
    assert labels.shape == (spec.rows, spec.columns)
    assert (counts == 1).sum() >= unique
    assert labels.min() >= 0
    assert labels.max() <= 9


def test_digits_are_drawn_evenly():
    spec = MosaicSpec()
    rng = np.random.default_rng(0)
    for unique in (0, 3):
        drawn = np.stack([draw_layout(spec, rng, unique) for _ in range(2000)])
        shares = np.stack([(drawn == digit).mean(axis=0) for digit in range(10)])
        assert np.abs(shares - 0.1).max() < 0.03


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 3}, "rows must be at least 4, got 3"),
        ({"columns": 0}, "columns must be at least 4, got 0"),
        ({"cell": 0}, "cell must be positive, got 0"),
        ({"scan": -1.0}, "scan must be positive, got -1.0"),
        ({"zoom": -0.1}, "zoom must not be negative, got -0.1"),
        ({"jitter": 8.0}, r"jitter must be below half a cell \(8 px\), got 8"),
        ({"scan": 40.0}, "scan must leave a digit within the cells next to its own, got 40 px"),
    ],
)
def test_a_spec_names_its_faults(change, message):
    with pytest.raises(ValueError, match=message):
        MosaicSpec(**change)


@pytest.mark.parametrize("unique", [-1, 10])
def test_a_layout_keeps_a_digit_for_the_rest(unique):
    with pytest.raises(ValueError, match=f"unique must be from 0 to 9, got {unique}"):
        draw_layout(MosaicSpec(), np.random.default_rng(0), unique)


def test_a_mosaic_costs_little():
    spec = MosaicSpec()
    fastest = float("inf")
    for seed in range(5):
        began = time.perf_counter()
        render(spec, "train", draw(spec, "train", seed, 32))
        fastest = min(fastest, time.perf_counter() - began)
    assert fastest / 32 < 2e-3
