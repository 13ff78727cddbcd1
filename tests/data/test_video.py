"""Frames are those nearest to the times to look at, whatever the file is like."""

import io
import os
import time

import pytest

from gazekit.data.records import Limits, RowFault
from gazekit.data.records.frames import choose_times
from gazekit.data.records.record import VideoFile
from tests.data.films import make_film, number_of, uneven

pytest.importorskip("av", reason="PyAV reads videos: pip install 'gazekit[video]'")

from gazekit.data.video import PyAVReader
from gazekit.data.video.nearest import NearestFrames

EVEN = [number / 30 for number in range(300)]
FILMS = {
    "even, mp4": (EVEN, {}, "mp4"),
    "uneven, mp4": (uneven(120), {"gop": 24}, "mp4"),
    "uneven, mkv": (uneven(120), {"gop": 24}, "mkv"),
    "one key frame": (uneven(90, seed=1), {"gop": 500}, "mp4"),
    "begins late": (EVEN, {"start": 7.0}, "mkv"),
    "key frames alone": (uneven(60, seed=2), {"gop": 1}, "mkv"),
    "no index": (EVEN, {"gop": 15}, "ts"),
}


@pytest.fixture(scope="module", params=FILMS)
def film(request, tmp_path_factory):
    times, options, ending = FILMS[request.param]
    return make_film(tmp_path_factory.mktemp("films") / f"film.{ending}", times, **options), times


def read(path, limits=None, reader=None, **part):
    with open(path, "rb") as file:
        return (reader or PyAVReader()).read(file, VideoFile(path.name, **part), limits or Limits())


def assert_nearest(numbers, times, targets):
    """Every time has its nearest frame (either of two as near), and no frame is there twice or for nothing."""
    assert len(set(numbers)) == len(numbers)
    meant = set()
    for target in targets:
        least = min(abs(time - target) for time in times)
        near = {number for number in numbers if abs(times[number] - target) <= least + 2e-3}
        assert near, f"nothing shown is as near to {target} as there is"
        meant |= near
    assert set(numbers) == meant


@pytest.mark.parametrize(("fps", "frames"), [(1.0, 64), (3.0, 12), (0.4, 64)])
def test_frames_are_the_nearest(film, fps, frames):
    path, times = film
    limits = Limits(fps=fps, frames=frames)
    shown = read(path, limits, end=times[-1])
    numbers = [number_of(each) for each in shown.images]
    assert_nearest(numbers, times, choose_times(0.0, times[-1], limits))
    assert len(numbers) <= frames
    assert list(shown.timestamps) == pytest.approx([times[number] for number in numbers], abs=2e-3)


def test_a_part_by_seconds(film):
    path, times = film
    shown = read(path, Limits(fps=2.0), start=1.0, end=3.0)
    assert_nearest([number_of(each) for each in shown.images], times, [1.0, 1.5, 2.0, 2.5])


def test_a_part_by_frames(tmp_path):
    path = make_film(tmp_path / "x.mp4", EVEN)
    shown = read(path, Limits(fps=2.0), first_frame=30, last_frame=89)
    assert [number_of(each) for each in shown.images] == [30, 45, 60, 75]


def test_a_slow_film_shows_no_frame_twice(tmp_path):
    path = make_film(tmp_path / "slow.mkv", [0.0, 4.0, 8.0])
    shown = read(path, Limits(fps=1.0))
    assert [number_of(each) for each in shown.images] == [0, 1, 2]
    assert shown.timestamps == pytest.approx((0.0, 4.0, 8.0), abs=2e-3)


def test_long_gaps_are_jumped_over_by_key_frames(tmp_path):
    import av

    path = make_film(tmp_path / "long.mp4", [number / 30 for number in range(1800)], gop=30)
    with av.open(str(path)) as container:
        walk = NearestFrames(container, container.streams.video[0], lambda frame: frame.to_image())
        found = walk.at([0.0, 20.0, 40.0, 59.0])
    assert [round(each.time, 3) for each in found] == [0.0, 20.0, 40.0, 59.0]
    assert walk.seeks <= 6
    assert walk.decoded < 200


def test_large_frames_are_scaled_and_turned(tmp_path):
    path = make_film(tmp_path / "x.mp4", EVEN[:3], size=(64, 48))
    assert read(path, reader=PyAVReader(longest=32)).images[0].size == (32, 24)
    assert read(path, reader=PyAVReader(longest=None)).images[0].size == (64, 48)
    turned = make_film(tmp_path / "turned.mp4", EVEN[:3], size=(64, 48), rotation=90)
    assert read(turned).images[0].size == (48, 64)
    with pytest.raises(ValueError, match="longest must be at least 1"):
        PyAVReader(longest=0)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_files_cut_short_are_broken(tmp_path, ending):
    whole = make_film(tmp_path / f"x.{ending}", EVEN).read_bytes()
    for share in (0, 100, len(whole) // 2):
        (tmp_path / "cut.mkv").write_bytes(whole[:share])
        with pytest.raises(
            RowFault, match=r"cut\.mkv (cannot be decoded|ends .* before it should|has no)"
        ) as fault:
            read(tmp_path / "cut.mkv")
        assert fault.value.kind in ("broken", "frames")


def test_what_is_no_video_is_a_fault(tmp_path):
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(RowFault, match=r"text\.mp4 cannot be decoded"):
        read(tmp_path / "text.mp4")
    path = make_film(tmp_path / "x.mp4", EVEN[:60])
    with pytest.raises(RowFault, match="64 x 48 pixels, more than 1,000"):
        read(path, Limits(pixels=1000))
    with pytest.raises(RowFault, match=r"has nothing from 9 s to 2 s; it is 2 s long"):
        read(path, start=9.0)


def test_sound_alone_is_no_video(tmp_path):
    import av
    import numpy as np

    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(RowFault, match="has no video stream"):
        read(tmp_path / "sound.mkv")


def test_a_file_opens_no_other_file(tmp_path):
    secret = make_film(tmp_path / "secret.mkv", EVEN[:30])
    lists = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile '{secret}'\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(RowFault):
            read(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["even", "uneven"])
def test_ten_minutes_in_bounded_memory(tmp_path, rate):
    """Frames within half a native frame of their times, memory within 250 MB, key frames and not all decoded."""
    import av
    import psutil

    times = [n / 30 for n in range(18000)] if rate == "even" else [t for t in uneven(4500) if t < 600]
    path = make_film(tmp_path / "long.mp4", times, size=(640, 480), gop=250)
    process = psutil.Process(os.getpid())
    before, begin = process.memory_info().rss, time.perf_counter()
    limits = Limits(fps=1.0, frames=128)
    shown = read(path, limits)
    seconds, grown = time.perf_counter() - begin, (process.memory_info().rss - before) / 2**20
    targets = choose_times(0.0, times[-1] + 1 / 30, limits)
    assert len(shown.images) == 128
    for target, at in zip(targets, shown.timestamps, strict=True):
        place = min(range(len(times)), key=lambda n: abs(times[n] - target))
        gap = max(
            times[min(place + 1, len(times) - 1)] - times[place], times[place] - times[max(place - 1, 0)]
        )
        assert abs(at - target) <= gap / 2 + 1e-3
    assert grown < 250
    with av.open(io.BytesIO(path.read_bytes())) as container:
        walk = NearestFrames(container, container.streams.video[0], lambda frame: frame.to_image())
        walk.at([0.0, 300.0, 599.0 if rate == "even" else times[-1] - 1])
    assert walk.decoded < len(times) / 4
    print(f"{rate}: {seconds:.2f} s, {grown:.0f} MB more, {len(times)} frames")
