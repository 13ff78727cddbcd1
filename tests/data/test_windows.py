import numpy as np
import pytest
import torch

from gazekit.data import DigitsWindows, MosaicSpec
from gazekit.data.digits import DigitsDataset


@pytest.fixture
def images(processor):
    return processor.image_processor


@pytest.mark.parametrize("spec", [MosaicSpec(), MosaicSpec(rows=5, columns=4, cell=20)])
def test_windows_are_the_cells_of_the_mosaics_with_their_digits(images, spec):
    windows = DigitsWindows(images, mosaic=spec, batch_size=3 * spec.cells, seed=2)
    batch = windows(4)
    mosaics = [s.mosaic for s in DigitsDataset(split="train", plan=None, length=15, seed=2, spec=spec)][12:]
    assert batch["pixel_values"].shape == (3 * spec.cells, 3, spec.cell, spec.cell)
    number = 0
    for mosaic in mosaics:
        for row in range(spec.rows):
            for column in range(spec.columns):
                top, left = row * spec.cell, column * spec.cell
                tile = mosaic.image[top : top + spec.cell, left : left + spec.cell]
                seen = (batch["pixel_values"][number, 2].numpy() + 1) * 127.5
                np.testing.assert_allclose(seen, tile, atol=1e-3)
                assert batch["labels"][number] == mosaic.labels[row, column]
                number += 1


def test_a_step_gives_the_same_batch_again_and_no_two_steps_agree(images):
    windows = DigitsWindows(images, batch_size=32)
    first = windows.batches(3)
    for step in (2, 0, 1):
        torch.testing.assert_close(windows(step), first[step], rtol=0, atol=0)
    assert not torch.equal(first[0]["pixel_values"], first[1]["pixel_values"])


def test_other_splits_serve_to_check(images):
    held_out = DigitsWindows(images, batch_size=16, split="validation")(0)
    assert not torch.equal(held_out["pixel_values"], DigitsWindows(images, batch_size=16)(0)["pixel_values"])


@pytest.mark.parametrize("batch_size", [0, 20, -16])
def test_a_batch_must_be_whole_mosaics(images, batch_size):
    with pytest.raises(
        ValueError, match=f"batch_size must be a multiple of the 16 cells of a mosaic, got {batch_size}"
    ):
        DigitsWindows(images, batch_size=batch_size)


def test_an_image_that_does_not_divide_is_refused():
    def odd(*, images, return_tensors):
        return {"pixel_values": torch.zeros(len(images), 3, 63, 64)}

    with pytest.raises(ValueError, match="image size must divide into 4 x 4 cells, got 63 x 64 px"):
        DigitsWindows(odd, batch_size=16)(0)
