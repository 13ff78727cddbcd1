"""Bars and strips are as long as what they stand for."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from gazekit import GridPartition
from gazekit.contracts import Look
from gazekit.gaze import prompt_layout
from gazekit.store import ResidentStore
from gazekit.view import save_entries, save_visible
from gazekit.view._plot import ACCENT, INK, WARM

LAYOUT = prompt_layout([(1, 4, 4)], num_context=2, num_text=2)
REGIONS = GridPartition(size=(1, 2, 2))(LAYOUT)
TOKENS = LAYOUT.tokens.owned_by(REGIONS.owner[:, None])


def count(path, colour, tolerance=12):
    """Pixels of about a colour."""
    with Image.open(path) as image:
        apart = np.abs(np.asarray(image.convert("RGB"), dtype=int) - ImageColor.getrgb(colour))
    return int((apart.max(axis=-1) <= tolerance).sum())


def sees(*keys):
    return torch.tensor([key in keys for key in range(20)])


def test_a_bar_is_as_long_as_what_a_query_sees(tmp_path):
    for number, seen in enumerate([sees(), sees(3), sees(0, 5, 6, 15)]):
        save_visible(tmp_path / f"{number}.png", {"a": seen, "b": sees()}, TOKENS, title="what is seen")
    none, one, four = (count(tmp_path / f"{number}.png", ACCENT) for number in range(3))
    assert four - none == pytest.approx(4 * (one - none), rel=0.1)


def test_text_has_a_bar_of_its_own(tmp_path):
    save_visible(tmp_path / "image.png", {"a": sees(3)}, TOKENS)
    save_visible(tmp_path / "text.png", {"a": sees(18, 19)}, TOKENS)
    assert count(tmp_path / "text.png", INK) > 2 * count(tmp_path / "image.png", INK)


def test_a_strip_shows_what_is_stored_and_what_is_marked(tmp_path):
    key = torch.randn(1, 2, 20, 4, generator=torch.Generator().manual_seed(0))
    store, moments = ResidentStore(), []
    for start, stop in ((0, 8), (8, 20)):
        piece = key[:, :, start:stop]
        store.add(
            Look(query=piece, key=piece, value=piece, layer=0, scale=1.0), TOKENS.narrow(start, stop), REGIONS
        )
        moments.append(deepcopy(store.entries()))
    chosen = torch.tensor([False, True, False, True])  # one region of the first two rows, one of the last
    marks = []
    for number, entries in enumerate(moments):
        path = tmp_path / f"{number}.png"
        save_entries(path, {"now": entries}, chosen=chosen, title="stored")
        marks.append(count(path, WARM) / (4 * (number + 1)) * entries.key.shape[2])
        save_entries(path, {"now": entries})
        assert count(path, WARM) == 0
    assert marks[0] == pytest.approx(marks[1], rel=0.05)


def test_a_picture_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="visible must hold at least one query, got none"):
        save_visible(tmp_path / "none.png", {}, TOKENS)
    with pytest.raises(ValueError, match="entries must hold at least one moment, got none"):
        save_entries(tmp_path / "none.png", {})
