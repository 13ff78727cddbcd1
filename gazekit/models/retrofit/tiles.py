"""Images whose tokens are counted in the prompt itself: so many for each image or tile, all alike."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.models.retrofit.media import Medium, grid, joined, runs


def alike(mark: Bool[Tensor, "batch token"], image: Medium) -> list[Medium]:
    """As many of the same image as the placeholders of a batch have room for.

    A rest makes one more, which the layout then finds to be cut off.
    """
    return [image] * -(-int(mark.sum()) // image.length)


def one_image_a_run(mark: Bool[Tensor, " token"], side: int, sample: int) -> list[Medium]:
    """An image for each run of a sample's placeholders, of as many tiles of `side` x `side` tokens as fit into it.

    Raises:
        ValueError: A run is no multiple of a tile; the sample is named.
    """
    images = []
    for length in runs(mark):
        if length % side**2:
            raise ValueError(
                f"sample {sample} has {length} image placeholders in a row, which must be a multiple of the {side} x "
                f"{side} tokens of a tile; pass input_ids as the processor returned them, cut no image off"
            )
        images.append(joined([grid(side, side)] * (length // side**2)))
    return images


def mosaic(rows: int, columns: int, side: int) -> Medium:
    """Tiles of `side` x `side` tokens, one tile after another in the prompt, laid back on one grid."""
    tile = grid(side, side).place
    corner = grid(rows, columns).place * side
    place = (corner[:, None] + tile).flatten(0, 1)
    none = torch.zeros_like(place[:, 0])
    return Medium(place=place, unit=none, grid=none)


def tiles_by_marks(ids: Int[Tensor, " token"], image_id: int, side: int) -> list[tuple[int, int]] | None:
    """Rows and columns of tiles of each image of a prompt, `(0, 0)` for an image of one; None = the marks tell nothing.

    A prompt is read as Idefics3 writes it, without knowing the ids of its marks::

        F M11 tile F M12 tile <break> F M21 tile F M22 tile <break> F G overview F

    where F is one id and stands before every mark and behind the last tile of an image, every tile of an image has a
    mark of its own, and an image that was not cut is `F G overview F`. Inside a row exactly `F mark` stands between
    two tiles; anything that does not begin with F is a break.
    """
    begins, ends = _runs(ids == image_id)
    if not begins:
        return []
    if (
        begins[0] < 2
        or ends[-1] >= len(ids)
        or any(e - b != side**2 for b, e in zip(begins, ends, strict=True))
    ):
        return None
    fence = int(ids[begins[0] - 2])
    gaps = [ids[end:begin].tolist() for end, begin in zip(ends, begins[1:], strict=False)]
    if int(ids[ends[-1]]) != fence or any(len(gap) < 2 or gap[-2] != fence for gap in gaps):
        return None
    found: list[tuple[int, int]] = []
    lengths, marks = [1], [int(ids[begins[0] - 1])]
    for gap in [*gaps, [fence, fence, fence]]:
        if len(gap) > 2 and gap[0] == fence:
            if len(set(marks)) < len(marks) or lengths[-1] != 1 or len(set(lengths[:-1])) > 1:
                return None
            found.append((len(lengths) - 1, lengths[0] if len(lengths) > 1 else 0))
            lengths, marks = [1], []
        elif len(gap) == 2:
            lengths[-1] += 1
        else:
            lengths.append(1)
        marks.append(gap[-1])
    return found


def _runs(mark: Bool[Tensor, " token"]) -> tuple[list[int], list[int]]:
    """Where the runs of True begin and end."""
    edge = torch.nn.functional.pad(mark.long(), (1, 1)).diff()
    return (edge == 1).nonzero().flatten().tolist(), (edge == -1).nonzero().flatten().tolist()
