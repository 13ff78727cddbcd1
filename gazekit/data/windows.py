"""Single cells of mosaics, to pretrain a vision tower on: our stand-in for a tower's own pretraining."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from gazekit.data.digits.datasets import DigitsDataset, DigitsSample
from gazekit.data.digits.mosaics import MosaicSpec
from gazekit.data.digits.scans import Split

_ENDLESS = 2**62


@runtime_checkable
class ImageProcessor(Protocol):
    """What turns images into pixel values: an image processor of transformers."""

    def __call__(self, *, images: list[Image.Image], return_tensors: str) -> Any:
        """Returns a mapping with `pixel_values [image 3 height width]`."""
        ...


class DigitsWindows:
    """Cells cut from mosaics; the label is the cell's digit.

    Each window is what a tower sees of a mosaic that is cut into one tile a cell: made by the same image
    processor, with whatever reaches in from the cells beside. Called with a step it gives that step's batch,
    the same whenever it is asked: `pixel_values [window 3 height width]` and `labels [window]`.

    Args:
        image_processor: Turns mosaics into pixel values.
        mosaic: How mosaics look.
        batch_size: Windows of a batch, a multiple of the cells of a mosaic.
        seed: Seed of the mosaics.
        split: The scans to draw from: "train", or another one to see how well a tower does.

    Raises:
        ValueError: If `batch_size` is no multiple of the cells, `seed` is negative or `split` unknown.
    """

    def __init__(
        self,
        image_processor: ImageProcessor,
        *,
        mosaic: MosaicSpec | None = None,
        batch_size: int = 256,
        seed: int = 0,
        split: Split = "train",
    ) -> None:
        self.image_processor = image_processor
        self.mosaic = mosaic or MosaicSpec()
        self.batch_size = batch_size
        cells = self.mosaic.cells
        if batch_size < 1 or batch_size % cells:
            raise ValueError(
                f"batch_size must be a multiple of the {cells} cells of a mosaic, got {batch_size};"
                f" use {max(batch_size // cells, 1) * cells}"
            )
        self._mosaics = DigitsDataset(split=split, plan=None, length=_ENDLESS, seed=seed, spec=self.mosaic)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The batch of a step, from 0; cells in reading order, one mosaic after another.

        Raises:
            ValueError: If the processed mosaic does not divide into its cells.
        """
        count = self.batch_size // self.mosaic.cells
        return self._cut(self._mosaics.__getitems__(range(step * count, (step + 1) * count)))

    def batches(self, count: int) -> list[dict[str, Tensor]]:
        """The batches of the first `count` steps."""
        return [self(step) for step in range(count)]

    def _cut(self, samples: list[DigitsSample]) -> dict[str, Tensor]:
        pictures = [sample.mosaic.picture for sample in samples]
        pixels = self.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
        rows, columns = self.mosaic.rows, self.mosaic.columns
        height, width = pixels.shape[-2:]
        if height % rows or width % columns:
            raise ValueError(
                f"image size must divide into {rows} x {columns} cells, got {height} x {width} px from the"
                f" image processor; have it make {self.mosaic.height} x {self.mosaic.width} px"
            )
        axes = {"row": rows, "column": columns}
        windows = rearrange(pixels, "b c (row h) (column w) -> (b row column) c h w", **axes)
        labels = torch.cat([torch.from_numpy(sample.mosaic.labels.reshape(-1)) for sample in samples])
        return {"pixel_values": windows, "labels": labels}
