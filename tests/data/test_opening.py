import io
import os
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gazekit.data.conversation import Frames
from gazekit.data.records import (
    DataRoot,
    ImageFile,
    Limits,
    RecordOpener,
    RowFault,
    choose_frames,
    choose_times,
    read_record,
)  # fmt: skip
from gazekit.data.records.picture import read_picture
from tests.data.dirty import bomb, turns, write_image

PIXELS = 10**8


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return DataRoot(tmp_path / "root")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.jpg", {"quality": 90}), ("a.png", {}), ("a.webp", {"lossless": True}), ("a.bmp", {}), ("a.gif", {}),
        ("a.tif", {}),
    ],
)  # fmt: skip
def test_a_picture_is_what_pillow_makes_of_it(root, name, how):
    path = write_image(root.folder / name, **how)
    with Image.open(path) as expected:
        assert (
            read_picture(ImageFile(name), root, pixels=PIXELS).tobytes() == expected.convert("RGB").tobytes()
        )


def test_every_mode_becomes_rgb_without_a_warning(root):
    grey = Image.new("L", (4, 4), 7)
    palette = Image.new("RGBA", (4, 4), (255, 0, 0, 128)).quantize()
    for name, picture in {
        "l": grey,
        "p": palette,
        "one": grey.convert("1"),
        "cmyk": grey.convert("CMYK"),
    }.items():
        picture.save(root.folder / f"{name}.tif") if name == "cmyk" else picture.save(
            root.folder / f"{name}.png", **({"transparency": bytes(range(4))} if name == "p" else {})
        )
        ending = "tif" if name == "cmyk" else "png"
        assert read_picture(ImageFile(f"{name}.{ending}"), root, pixels=PIXELS).mode == "RGB"


def test_a_link_that_stays_inside_is_followed(root):
    write_image(root.folder / "deep/a.png")
    (root.folder / "link").symlink_to("deep")
    assert read_picture(ImageFile("link/a.png"), root, pixels=PIXELS).size == (24, 16)


def test_a_root_may_be_a_link_itself(tmp_path, root):
    write_image(root.folder / "a.png")
    (tmp_path / "other").symlink_to(root.folder)
    assert DataRoot(tmp_path / "other").find("a.png") == root.folder / "a.png"


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path, root):
    write_image(tmp_path / "root-2/a.png")
    (root.folder / "link").symlink_to(tmp_path / "root-2")
    with pytest.raises(RowFault, match="is a link that leads out of the root"):
        root.find("link/a.png")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../a",
        "a/../../b",
        "a\\..\\..\\b",
        "\\\\host\\a",
        "C:\\a",
        "file:///etc/passwd",
        "gs://b/a",
        "a\0b",
        "..",
    ],
)
def test_nothing_outside_is_opened(root, name, monkeypatch):
    def opened(*_, **__):
        raise AssertionError("opened")

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(RowFault) as fault:
        root.open(name)
    assert fault.value.kind == "outside"


def test_a_file_that_becomes_a_link_after_it_was_resolved_is_not_opened(root, tmp_path, monkeypatch):
    secret = write_image(tmp_path / "secret.png")
    (root.folder / "a.png").symlink_to(secret)
    monkeypatch.setattr(DataRoot, "find", lambda self, name: self.folder / name)
    with pytest.raises(RowFault, match="cannot be opened") as fault:
        root.open("a.png")
    assert fault.value.kind == "outside"


def test_another_spelling_is_pointed_out(root):
    write_image(root.folder / "Photo.JPG")
    with pytest.raises(RowFault, match=r"photo\.jpg does not exist in .*; there is Photo\.JPG"):
        root.find("photo.jpg")


def test_a_bomb_is_refused_before_anything_is_decoded(root, monkeypatch):
    (root.folder / "bomb.png").write_bytes(bomb())
    (root.folder / "large.png").write_bytes(bomb(side=11_000))  # Pillow only warns of this one

    def decoded(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "convert", decoded)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    for name in ("bomb.png", "large.png"):
        with pytest.raises(RowFault, match="scale it down") as fault:
            read_picture(ImageFile(name), root, pixels=PIXELS)
        assert fault.value.kind == "bomb"
    write_image(root.folder / "small.png", size=(30, 30))
    with pytest.raises(RowFault, match=r"small\.png has 30 x 30 pixels, more than 899;"):
        read_picture(ImageFile("small.png"), root, pixels=899)


def test_formats_that_run_programs_are_not_opened(root):
    (root.folder / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(RowFault, match="is no image in JPEG, PNG"):
        read_picture(ImageFile("a.eps"), root, pixels=PIXELS)


def encoded(format_: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)).save(out, format_)
    return out.getvalue()


FILES = {name: encoded(name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format_", sorted(FILES))
def test_no_garbled_file_does_more_than_be_a_fault(format_):
    draw, kinds = random.Random(format_), set()
    for _ in range(200):
        content = bytearray(FILES[format_])
        for _ in range(draw.randint(1, 6)):
            content[draw.randrange(draw.choice([60, len(content)]))] = draw.randrange(256)
        try:
            picture = read_picture(
                ImageFile(None, bytes(content[: draw.randint(1, 2 * len(content))])), None, pixels=10**6
            )
        except RowFault as fault:
            kinds.add(fault.kind)
        else:
            assert picture.mode == "RGB"
    assert "broken" in kinds
    assert kinds <= {"broken", "bomb"}


def test_rows_without_a_root_open_nothing():
    with pytest.raises(RowFault, match="the data has no root"):
        read_picture(ImageFile("a.jpg"), None, pixels=PIXELS)


class TestFrames:
    def times(self, frames: Frames) -> list[float]:
        return [round(time, 3) for time in frames.timestamps]

    @pytest.fixture
    def clip(self, root):
        for number in range(12):
            write_image(root.folder / f"clip/{number}.png", seed=number)
        (root.folder / "clip/notes.txt").write_text("no frame")
        return root

    def watch(self, root, limits=None, **video):
        path = video.pop("path", "clip")
        row = {"video": path, "conversations": turns("<video>?"), **video}
        return RecordOpener(limits=limits or Limits())(read_record(row), root).videos[0]

    def test_are_in_the_order_of_their_numbers(self, clip):
        frames = self.watch(clip)
        assert self.times(frames) == list(range(12))
        expected = [Image.open(clip.folder / f"clip/{n}.png").tobytes() for n in (2, 10)]
        assert [frames.images[n].tobytes() for n in (2, 10)] == expected

    def test_are_as_many_as_there_are_and_no_more(self, clip):
        assert len(self.watch(clip, Limits(fps=10.0)).images) == 12
        assert self.times(self.watch(clip, Limits(fps=0.25))) == [0, 4, 8]
        assert self.times(self.watch(clip, Limits(frames=4))) == [1, 4, 7, 10]
        assert self.times(self.watch(clip, Limits(frames=1))) == [6]

    def test_begin_and_end_where_the_row_says(self, clip):
        assert self.times(self.watch(clip, start=3, end=6)) == [3, 4, 5, 6]
        assert self.times(self.watch(clip, start_frame=2, end_frame=5)) == [2, 3, 4, 5]
        assert self.times(self.watch(clip, fps=4)) == [0, 1, 2]
        assert self.times(self.watch(clip, fps=4, start=1.5)) == [1.5, 2.5]

    def test_have_the_rate_of_their_folder(self, clip):
        (clip.folder / "TVQA").mkdir()
        (clip.folder / "clip").rename(clip.folder / "TVQA/clip")
        assert self.times(self.watch(clip, path="TVQA/clip")) == [0, 1, 2, 3]

    def test_are_a_fault_where_there_are_none(self, clip):
        with pytest.raises(RowFault, match="clip has no frame from 20 s to 12 s, of 12 in all"):
            self.watch(clip, start=20)

    def test_that_are_links_out_of_the_root_are_not_opened(self, clip, tmp_path):
        (clip.folder / "clip/3.png").unlink()
        (clip.folder / "clip/3.png").symlink_to(write_image(tmp_path / "secret.png"))
        with pytest.raises(RowFault, match="leads out of the root"):
            self.watch(clip)


class Reader:
    """Shows the first bytes of a file as a frame's grey."""

    def read(self, file, video, limits):
        first = file.read(1)
        if first == b"x":
            raise ValueError("not a film")
        return Frames((Image.new("L", (2, 2), first[0]),), (video.start or 0.0,))


def test_a_reader_is_handed_an_open_file_and_what_to_show(root):
    (root.folder / "a.mp4").write_bytes(b"7...")
    (root.folder / "b.mp4").write_bytes(b"x...")
    opener = RecordOpener(limits=Limits(), video=Reader())
    talk = opener(read_record({"video": "a.mp4", "start": 2, "conversations": turns()}), root)
    assert talk.videos[0].images[0].getpixel((0, 0)) == ord("7")
    assert talk.videos[0].timestamps == (2.0,)
    with pytest.raises(RowFault, match=r"b\.mp4 cannot be shown \(not a film\)"):
        opener(read_record({"video": "b.mp4", "conversations": turns()}), root)


def test_headers_alone_decode_no_video(root):
    (root.folder / "x.mp4").write_bytes(b"x...")
    (root.folder / "empty.mp4").write_bytes(b"")
    opener = RecordOpener(limits=Limits(), video=Reader())
    row = {"video": "x.mp4", "conversations": turns()}
    assert len(opener(read_record(row), root, header_only=True).videos) == 1
    for name, kind in (("no.mp4", "missing"), ("empty.mp4", "empty")):
        with pytest.raises(RowFault) as fault:
            opener(read_record({**row, "video": name}), root, header_only=True)
        assert fault.value.kind == kind
    with pytest.raises(RowFault, match=r"x\.mp4 needs a reader of video files"):
        RecordOpener(limits=Limits())(read_record(row), root)


@given(
    st.lists(st.floats(0.01, 5), min_size=1, max_size=40), st.floats(0, 20), st.floats(0.1, 60), st.floats(0.1, 4),
    st.integers(1, 16),
)  # fmt: skip
def test_frames_are_those_seen_when_one_looks_none_twice_and_not_too_many(steps, begin, length, fps, most):
    times = np.cumsum([0.0, *steps]).tolist()
    targets = choose_times(begin, begin + length, Limits(fps=fps, frames=most))
    assert 1 <= len(targets) <= most
    assert targets == sorted(targets)
    assert begin <= targets[0]
    assert targets[-1] <= begin + length
    chosen = choose_frames(times, targets)
    assert chosen == sorted(set(chosen))
    for target in targets:
        seen = max([number for number, time in enumerate(times) if time <= target + 1e-6], default=0)
        assert seen in chosen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"tokens": 1}, "tokens must be at least 2, got 1"),
        ({"fps": 0.0}, "fps must be above 0"),
        ({"folder_fps": {"TVQA": -1.0}}, r"folder_fps\['TVQA'\] must be above 0"),
    ],
)
def test_limits_name_their_faults(change, message):
    with pytest.raises(ValueError, match=message):
        Limits(**change)
