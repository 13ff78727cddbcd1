"""Files that a user calls images."""

import pytest
from PIL import Image

from gazekit.models.pictures import open_picture


def test_whatever_a_decoder_says_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    assert open_picture(path).size == (8, 8)

    def garbled(self):
        raise IndexError("no such table")

    monkeypatch.setattr(Image.Image, "load", garbled)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", garbled)
    with pytest.raises(ValueError, match=r"a.png cannot be decoded \(no such table\); replace the file"):
        open_picture(path)
