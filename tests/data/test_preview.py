import numpy as np
import pytest
from PIL import Image

from gazekit.data import MosaicSpec
from gazekit.data.digits import preview


def test_a_sheet_shows_items_masks_and_words(tmp_path):
    sheet = preview(tmp_path / "sheet.png", count=3, columns=2)
    loaded = np.asarray(Image.open(tmp_path / "sheet.png"))
    np.testing.assert_array_equal(loaded, np.asarray(sheet))
    assert loaded.shape[:2] == (2 * (4 * 64 + 36 + 16) + 16, 2 * (4 * 64 + 16) + 16)
    colour = loaded.max(axis=-1).astype(int) - loaded.min(axis=-1)
    assert (colour > 100).sum() > 200
    below = loaded[16 + 4 * 64 : 16 + 4 * 64 + 36, 16 : 16 + 4 * 64]
    assert (below.min(axis=-1) < 128).any()


def test_the_same_seed_gives_the_same_sheet_and_specs_matter(tmp_path):
    first, again = (preview(tmp_path / f"{number}.png", count=1, columns=1) for number in range(2))
    assert first.tobytes() == again.tobytes()
    wide = preview(tmp_path / "wide.png", count=1, columns=1, spec=MosaicSpec(rows=4, columns=6))
    assert wide.width - first.width == 4 * 32


@pytest.mark.parametrize("name", ["count", "columns"])
def test_an_empty_sheet_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        preview(tmp_path / "sheet.png", **{name: 0})
