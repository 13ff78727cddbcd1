"""Images of high resolution as several units: the whole, then tiles of it (anyres, as Cambrian-S has it)."""

from __future__ import annotations

from PIL import Image

Size = tuple[int, int]
"""Height and width."""


def tile_grid(picture: Size, tile: Size, most: int) -> Size:
    """Rows and columns of tiles that keep most of a picture's resolution, of those that waste least.

    Example:
        >>> tile_grid((400, 900), tile=(384, 384), most=9)
        (2, 3)

    Args:
        picture: In pixels.
        tile: In pixels.
        most: Tiles at most.
    """

    def worth(grid: Size) -> tuple[int, int]:
        height, width = grid[0] * tile[0], grid[1] * tile[1]
        inner_height, inner_width = fitted(picture, (height, width))
        kept = min(inner_height * inner_width, picture[0] * picture[1])
        return kept, kept - height * width

    grids = [(rows, columns) for rows in range(1, most + 1) for columns in range(1, most // rows + 1)]
    return max(grids, key=worth)


def fitted(picture: Size, canvas: Size) -> Size:
    """The largest size of a picture's proportions that a canvas holds, in whole pixels."""
    scale = min(canvas[0] / picture[0], canvas[1] / picture[1])
    return max(1, int(picture[0] * scale)), max(1, int(picture[1] * scale))


def views(picture: Image.Image, tile: Size, most: int, fill: tuple[int, int, int]) -> list[Image.Image]:
    """The whole picture, then its tiles row by row; the picture alone where one tile holds it.

    Args:
        picture: In RGB.
        tile: In pixels.
        most: Tiles at most.
        fill: Colour of the borders that give the picture the shape of the tiles together.
    """
    size = (picture.height, picture.width)
    rows, columns = tile_grid(size, tile, most)
    if rows * columns == 1:
        return [picture]
    canvas = Image.new("RGB", (columns * tile[1], rows * tile[0]), fill)
    height, width = fitted(size, (canvas.height, canvas.width))
    inner = picture.resize((width, height), Image.Resampling.BICUBIC)
    canvas.paste(inner, ((canvas.width - width) // 2, (canvas.height - height) // 2))
    corners = [(x * tile[1], y * tile[0]) for y in range(rows) for x in range(columns)]
    return [picture, *(canvas.crop((x, y, x + tile[1], y + tile[0])) for x, y in corners)]
