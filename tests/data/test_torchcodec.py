"""The reader by torchcodec shows what PyAV's shows, by a decoder that follows torchcodec's documented interface."""

import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import pytest
import torch

from gazekit.data.records import Limits, RowFault
from gazekit.data.records.record import VideoFile
from tests.data.films import make_film, number_of, uneven

av = pytest.importorskip("av", reason="PyAV makes the films: pip install 'gazekit[video]'")

from gazekit.data.video import PyAVReader, TorchcodecReader  # noqa: E402


@dataclass
class Frame:
    data: torch.Tensor
    pts_seconds: float
    duration_seconds: float


class Decoder:
    """`torchcodec.decoders.VideoDecoder` as its documentation has it, as far as it is used."""

    def __init__(self, source, *, num_ffmpeg_threads=1):
        try:
            with av.open(source) as container:
                frames = [
                    (float(frame.pts * frame.time_base), torch.from_numpy(frame.to_ndarray(format="rgb24")))
                    for frame in container.decode(container.streams.video[0])
                ]
        except av.error.FFmpegError as error:
            raise ValueError(f"Could not open input file: {error}") from error
        self.times = [time for time, _ in frames]
        self.pictures = [picture.permute(2, 0, 1) for _, picture in frames]
        self.ends = [*self.times[1:], self.times[-1] + 1 / 30]
        self.metadata = SimpleNamespace(
            width=self.pictures[0].shape[2],
            height=self.pictures[0].shape[1],
            begin_stream_seconds=self.times[0],
            end_stream_seconds=self.ends[-1],
            average_fps=len(frames) / (self.ends[-1] - self.times[0]),
        )

    def get_frame_played_at(self, seconds):
        for time, end, picture in zip(self.times, self.ends, self.pictures, strict=True):
            if time <= seconds < end:
                return Frame(picture, time, end - time)
        raise IndexError(f"Invalid pts in seconds: {seconds}")


@pytest.fixture
def torchcodec(monkeypatch):
    decoders = ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = Decoder
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)


def read(reader, path, limits=None, **part):
    with open(path, "rb") as file:
        return reader.read(file, VideoFile(path.name, **part), limits or Limits())


@pytest.mark.usefixtures("torchcodec")
@pytest.mark.parametrize(
    "part", [{"end": 8.0}, {"start": 1.0, "end": 3.2}, {"first_frame": 10, "last_frame": 40}]
)
@pytest.mark.parametrize("limits", [Limits(fps=1.0), Limits(fps=4.0, frames=6)])
def test_the_frames_are_those_of_pyav(tmp_path, part, limits):
    path = make_film(tmp_path / "film.mp4", uneven(90, seed=3))
    mine, other = (read(reader, path, limits, **part) for reader in (TorchcodecReader(), PyAVReader()))
    numbers = [[number_of(each) for each in shown.images] for shown in (mine, other)]
    if "first_frame" not in part:  # of uneven frames each library has its own mean rate
        assert numbers[0] == numbers[1]
        assert mine.timestamps == pytest.approx(other.timestamps, abs=2e-3)
    assert len(set(numbers[0])) == len(numbers[0])


@pytest.mark.usefixtures("torchcodec")
def test_faults_are_told_apart(tmp_path):
    path = make_film(tmp_path / "film.mp4", [number / 30 for number in range(30)])
    assert read(TorchcodecReader(longest=32), path).images[0].size == (32, 24)
    with pytest.raises(RowFault, match="64 x 48 pixels, more than 1,000"):
        read(TorchcodecReader(), path, Limits(pixels=1000))
    with pytest.raises(RowFault, match=r"has nothing from 9 s to 1 s"):
        read(TorchcodecReader(), path, start=9.0)
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(RowFault, match=r"text\.mp4 cannot be decoded"):
        read(TorchcodecReader(), tmp_path / "text.mp4")
    with pytest.raises(ValueError, match="threads must be at least 1"):
        TorchcodecReader(threads=0)
