"""A contact sheet of the digits set: what the model is shown, what it is asked, and where the answers lie."""

from __future__ import annotations

import colorsys
from os import PathLike

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from gazekit.data.digits.conversations import SingleQuestion
from gazekit.data.digits.datasets import DigitsEvaluation, DigitsItem
from gazekit.data.digits.mosaics import MosaicSpec
from gazekit.data.digits.scans import Split

_ZOOM = 4
_GAP = 16
_LINE = 18
_PAPER = (250, 250, 250)
_INK = (30, 30, 30)


def preview(
    path: str | PathLike[str],
    *,
    spec: MosaicSpec | None = None,
    split: Split = "test",
    count: int = 8,
    columns: int = 4,
    seed: int = 0,
) -> Image.Image:
    """Draws evaluation items on one PNG: mosaic, question, answer, and each answer word's ink in its colour.

    Args:
        path: Where to write it.
        spec: How mosaics look.
        split: The scans to draw from.
        count: Items to show.
        columns: Items side by side.
        seed: Seed of the items.

    Raises:
        ValueError: If `count` or `columns` is below 1, or `split` is unknown.
    """
    for name, value in (("count", count), ("columns", columns)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}; a sheet shows something")
    spec = spec or MosaicSpec()
    plan = SingleQuestion(row=1.0, column=1.0, cell=1.0, where=1.0, count=1.0)
    items = DigitsEvaluation(length=count, split=split, plan=plan, seed=seed, spec=spec).__getitems__(
        range(count)
    )
    cards = [_card(spec, item) for item in items]
    width, height = cards[0].size
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP), _PAPER)
    for number, card in enumerate(cards):
        row, column = divmod(number, columns)
        sheet.paste(card, (_GAP + column * (width + _GAP), _GAP + row * (height + _GAP)))
    sheet.save(path, format="PNG")
    return sheet


def _card(spec: MosaicSpec, item: DigitsItem) -> Image.Image:
    """One item: the mosaic with its cells and masks, the question and the answer below it."""
    colours = _colours(item.question.cells)
    picture = Image.fromarray(_tinted(item, colours))
    card = Image.new("RGB", (picture.width * _ZOOM, picture.height * _ZOOM + 2 * _LINE), _PAPER)
    card.paste(
        picture.resize((picture.width * _ZOOM, picture.height * _ZOOM), Image.Resampling.NEAREST), (0, 0)
    )
    draw = ImageDraw.Draw(card)
    side = spec.cell * _ZOOM
    for line in range(1, spec.columns):
        draw.line([(line * side, 0), (line * side, spec.height * _ZOOM)], fill=(70, 70, 90))
    for line in range(1, spec.rows):
        draw.line([(0, line * side), (spec.width * _ZOOM, line * side)], fill=(70, 70, 90))
    font = ImageFont.load_default(size=_LINE - 4)
    below = spec.height * _ZOOM
    draw.text((0, below), item.question.text, fill=_INK, font=font)
    x = 0.0
    for word, cell, colour in zip(item.question.answer, item.question.cells, colours, strict=True):
        draw.text((x, below + _LINE), word, fill=_INK if cell is None else colour, font=font)
        x += draw.textlength(word + " ", font=font)
    return card


def _tinted(item: DigitsItem, colours: list[tuple[int, int, int]]) -> UInt8[np.ndarray, "height width 3"]:
    """The mosaic with each mask's ink in its colour."""
    plain = np.asarray(item.image)
    image = plain.copy()
    for mask, colour in zip(item.masks, colours, strict=True):
        image[mask] = plain[mask] / 255 * np.array(colour) * 0.8 + np.array(colour) * 0.2
    return image


def _colours(cells: tuple[int | None, ...]) -> list[tuple[int, int, int]]:
    """A colour for each word: words about one cell share theirs, others are told apart."""
    order = {cell: number for number, cell in enumerate(dict.fromkeys(cells))}
    hues = [colorsys.hsv_to_rgb(order[cell] / len(order), 0.75, 0.85) for cell in cells]
    return [(round(r * 255), round(g * 255), round(b * 255)) for r, g, b in hues]
