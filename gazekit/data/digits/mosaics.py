"""Mosaics of scans: one digit a cell, loosely placed, so that many of them reach into the cell beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from gazekit.data.digits.scans import NUM_CLASSES, SIDE, Scans, Split, load_scans

MIN_CELLS_A_SIDE = 4
_INK = 0.2
_CHUNK = 4


@dataclass(frozen=True, kw_only=True)
class MosaicSpec:
    """How mosaics look.

    Args:
        rows: Cells from top to bottom, at least 4.
        columns: Cells from left to right, at least 4.
        cell: Side of a cell, pixels.
        scan: Side of a scan as it is drawn, pixels.
        jitter: Furthest shift of a digit's centre from its cell's, pixels, in x and in y by itself.
        rotation: Furthest turn of a training scan to either side, degrees.
        zoom: Largest growth or shrinkage of a training scan, a share of its side.
        shear: Largest slant of a training scan to either side, pixels across a pixel down.

    Raises:
        ValueError: If there are fewer than 4 x 4 cells, a length is not positive, or a digit could leave its
            cell.
    """

    rows: int = 4
    columns: int = 4
    cell: int = 16
    scan: float = 13.0
    jitter: float = 3.0
    rotation: float = 10.0
    zoom: float = 0.08
    shear: float = 0.15

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            if getattr(self, name) < MIN_CELLS_A_SIDE:
                raise ValueError(
                    f"{name} must be at least {MIN_CELLS_A_SIDE}, got {getattr(self, name)};"
                    " a smaller mosaic leaves nothing to choose"
                )
        for name in ("cell", "scan"):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"{name} must be positive, got {getattr(self, name)}; it is a side in pixels"
                )
        for name in ("jitter", "rotation", "zoom", "shear"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must not be negative, got {getattr(self, name)}; use 0 to switch it off"
                )
        if self.jitter >= self.cell / 2:
            raise ValueError(
                f"jitter must be below half a cell ({self.cell / 2:g} px), got {self.jitter:g};"
                " beyond it a digit may lie in another cell than the one it is asked for"
            )
        if self.margin > self.cell:
            raise ValueError(
                f"scan must leave a digit within the cells next to its own, got {self.scan:g} px in cells of"
                f" {self.cell} px with jitter {self.jitter:g}; draw it smaller"
            )

    @property
    def cells(self) -> int:
        """Digits in a mosaic."""
        return self.rows * self.columns

    @property
    def height(self) -> int:
        """Height of the image, pixels."""
        return self.rows * self.cell

    @property
    def width(self) -> int:
        """Width of the image, pixels."""
        return self.columns * self.cell

    @property
    def margin(self) -> int:
        """How far a digit may reach beyond its cell, pixels."""
        turn = np.deg2rad(min(self.rotation, 45.0))
        stretch = (1 + self.zoom) * (np.cos(turn) + np.sin(turn) + self.shear)
        return int(np.ceil(max(self.scan / 2 * stretch + self.jitter - self.cell / 2, 0)))


@dataclass(frozen=True, eq=False)
class Sketch:
    """What a mosaic shows and how, before a pixel is drawn.

    Attributes:
        labels: The digit in each cell.
        scan: Which scan of the split shows it, cells in reading order.
        inverse: From a pixel's place relative to the cell's centre (x, y, 1) to a place in the scan, in scan
            pixels.
    """

    labels: Int[np.ndarray, "row column"]
    scan: Int[np.ndarray, " cell"]
    inverse: Float[np.ndarray, "cell 2 3"]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """One image and what is known about it.

    Attributes:
        spec: How it was laid out.
        labels: The digit in each cell.
        source: Which scan of the whole collection each cell shows, in reading order.
        image: Ink of each pixel, 0 = paper (black) to 255 = full ink (white).
        windows: Each digit by itself: ink on its cell and a margin around it, 0 to 1.
    """

    spec: MosaicSpec
    labels: Int[np.ndarray, "row column"]
    source: Int[np.ndarray, " cell"]
    image: UInt8[np.ndarray, "height width"]
    windows: Float[np.ndarray, "cell side side"]

    @property
    def picture(self) -> Image.Image:
        """The image as RGB."""
        return Image.fromarray(self.image).convert("RGB")

    @property
    def masks(self) -> Bool[np.ndarray, "cell height width"]:
        """Where each digit has at least a fifth of its strongest ink; masks of neighbours may overlap."""
        spec = self.spec
        margin = spec.margin
        ink = self.windows >= _INK * self.windows.max(axis=(1, 2), keepdims=True)
        canvas = np.zeros((spec.cells, spec.height + 2 * margin, spec.width + 2 * margin), dtype=bool)
        for index in range(spec.cells):
            top, left = (spec.cell * place for place in divmod(index, spec.columns))
            canvas[index, top : top + ink.shape[1], left : left + ink.shape[2]] = ink[index]
        return canvas[:, margin : margin + spec.height, margin : margin + spec.width]


def draw_layout(spec: MosaicSpec, rng: np.random.Generator, unique: int = 0) -> Int[np.ndarray, "row column"]:
    """Draws the digit of every cell: `unique` digits exactly once each, the other cells evenly from the rest.

    Raises:
        ValueError: If `unique` leaves no digit for the other cells, or is negative.
    """
    if not 0 <= unique < NUM_CLASSES:
        raise ValueError(
            f"unique must be from 0 to {NUM_CLASSES - 1}, got {unique}; the other cells need a digit too"
        )
    digits = rng.permutation(NUM_CLASSES)
    rest = digits[unique:][(rng.random(spec.cells - unique) * (NUM_CLASSES - unique)).astype(np.int64)]
    return rng.permutation(np.concatenate([digits[:unique], rest])).reshape(spec.rows, spec.columns)


def sketch(
    spec: MosaicSpec, split: Split, rng: np.random.Generator, labels: Int[np.ndarray, "row column"]
) -> Sketch:
    """Draws a scan and a placement for every cell; only training scans are turned, zoomed and slanted."""
    scans = load_scans(split)
    flat = labels.reshape(-1)
    draws = rng.random((6, spec.cells))
    scan = scans.first[flat] + (draws[0] * scans.count[flat]).astype(np.int64)
    signed = 2 * draws[1:] - 1
    shift = spec.jitter * signed[:2].T
    strength = 1.0 if split == "train" else 0.0
    turn = strength * np.deg2rad(spec.rotation) * signed[2]
    size = spec.scan / SIDE * (1 + strength * spec.zoom * signed[3])
    slant = strength * spec.shear * signed[4]
    cos, sin = np.cos(turn) / size, np.sin(turn) / size
    matrix = np.stack([np.stack([cos, sin + slant / size], -1), np.stack([-sin, cos], -1)], 1)
    offset = -(matrix[:, :, 0] * shift[:, :1] + matrix[:, :, 1] * shift[:, 1:])
    return Sketch(labels=labels, scan=scan, inverse=np.concatenate([matrix, offset[:, :, None]], axis=2))


def render(spec: MosaicSpec, split: Split, sketches: Sequence[Sketch]) -> list[Mosaic]:
    """Draws mosaics from their sketches; where digits overlap, the stronger ink stays.

    A mosaic comes out the same alone or among others: only sums and products of single pixels are used.
    """
    scans = load_scans(split)
    mosaics: list[Mosaic] = []
    for start in range(0, len(sketches), _CHUNK):
        chunk = sketches[start : start + _CHUNK]
        windows = _draw_windows(spec, scans, chunk)
        images = _compose(spec, windows)
        mosaics += [
            Mosaic(spec=spec, labels=s.labels, source=scans.source[s.scan], image=image, windows=window)
            for s, image, window in zip(chunk, images, windows, strict=True)
        ]
    return mosaics


def _draw_windows(
    spec: MosaicSpec, scans: Scans, chunk: Sequence[Sketch]
) -> Float[np.ndarray, "batch cell side side"]:
    """Samples every scan of the chunk bilinearly on its cell and margin; outside a scan there is no ink."""
    inverse = np.concatenate([s.inverse for s in chunk]).astype(np.float32)
    framed = np.pad(scans.pixels[np.concatenate([s.scan for s in chunk])], ((0, 0), (1, 1), (1, 1)))
    side, frame = spec.cell + 2 * spec.margin, SIDE + 2
    place = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    centre = np.float32((frame - 1) / 2)
    last = np.float32(frame - 1) - np.float32(1e-3)
    taps, shares = [], []
    for axis in (0, 1):
        across = inverse[:, axis, 0, None] * place
        down = inverse[:, axis, 1, None] * place + (inverse[:, axis, 2, None] + centre)
        at = np.clip(down[:, :, None] + across[:, None, :], np.float32(0), last)
        tap = np.floor(at)
        taps.append(tap.astype(np.int32))
        shares.append(np.subtract(at, tap, out=at))
    first = taps[1] * frame + taps[0] + (np.arange(len(framed), dtype=np.int32) * frame**2)[:, None, None]
    flat = framed.reshape(-1)
    above = _between(flat.take(first), flat.take(first + 1), shares[0])
    below = _between(flat.take(first + frame), flat.take(first + frame + 1), shares[0])
    return _between(above, below, shares[1]).reshape(len(chunk), spec.cells, side, side)


def _between(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Linear interpolation, in the memory of its second argument."""
    end -= start
    end *= share
    end += start
    return end


def _compose(
    spec: MosaicSpec, windows: Float[np.ndarray, "batch cell side side"]
) -> UInt8[np.ndarray, "batch h w"]:
    """Lays the windows side by side, the stronger ink on top, and cuts the margin off."""
    margin, side = spec.margin, windows.shape[-1]
    canvas = np.zeros((len(windows), spec.height + 2 * margin, spec.width + 2 * margin), dtype=np.float32)
    for index in range(spec.cells):
        top, left = (spec.cell * place for place in divmod(index, spec.columns))
        under = canvas[:, top : top + side, left : left + side]
        np.maximum(under, windows[:, index], out=under)
    inside = canvas[:, margin : margin + spec.height, margin : margin + spec.width]
    return np.rint(inside * 255).astype(np.uint8)
