import numpy as np
import pytest
from PIL import Image

from gazekit.data import Conversation, Message, MosaicSpec
from gazekit.data.digits import DigitsItem, preview
from gazekit.data.digits.preview import _colours, _tinted
from gazekit.data.digits.questions import ask_where


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


def test_words_about_one_cell_share_its_colour_and_others_do_not():
    row, where = _colours((4, 5, 6, 7)), _colours((None, 9, None, 9))
    assert len(set(row)) == 4
    assert where[1] == where[3] != where[0]
    plain = np.full((4, 4, 3), 255, dtype=np.uint8)
    mask = np.eye(4, dtype=bool)
    item = DigitsItem(
        image=Image.fromarray(plain),
        question=ask_where(np.array([[1, 2], [2, 2]]), 1),
        masks=np.stack([np.zeros_like(mask), mask] * 2),
        prompt=Conversation(messages=(Message(role="user", content=("?",)),)),
    )
    tinted = _tinted(item, where)
    assert (tinted[mask] == np.array(where[1])).all()
    assert (tinted[~mask] == 255).all()
