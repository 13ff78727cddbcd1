"""The frames that are nearest to given times, with little decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

_FAR = 1.0  # seconds ahead at which a jump is tried where the file has no index of key frames


@dataclass(frozen=True)
class Found:
    """A frame.

    Attributes:
        time: When it is presented, in seconds from the first frame of the stream.
        until: When the next one is; its own time and length for the last.
        picture: What it shows.
    """

    time: float
    until: float
    picture: Image.Image


class NearestFrames:
    """Walks through a stream from time to time, forward only.

    Args:
        container: An open container of PyAV.
        stream: Its video stream.
        picture: Makes a picture of a decoded frame; only of those that are shown.
    """

    def __init__(self, container: Any, stream: Any, picture: Callable[[Any], Image.Image]) -> None:
        self.container, self.stream, self.picture = container, stream, picture
        self.base = float(stream.time_base)
        self.start = float((stream.start_time or 0) * stream.time_base)
        self.rate = float(stream.average_rate or stream.guessed_rate or 0) or 25.0
        self.far, self.lead = _FAR, 0.0
        self.seeks = self.decoded = 0
        self._frames: Iterator[Any] = container.decode(stream)
        self._count = 0

    def at(self, targets: Sequence[float]) -> list[Found]:
        """The nearest frame for each time, the earlier of two; the last frames are nearest to what lies behind them.

        Args:
            targets: Seconds from the first frame, ascending.

        Returns:
            As many as there are times, in their order, or none where nothing could be decoded.
        """
        found: list[Found] = []
        here, ahead = None, self._next()
        for target in targets:
            if ahead is not None and self._worth_a_jump(self._time(ahead), target):
                here, ahead = self._jump(target, here, ahead)
            while ahead is not None and self._time(ahead) <= target:
                here, ahead = ahead, self._next()
            best = self._nearer(here, ahead, target)
            if best is None:
                break
            time = self._time(best)
            if found and time == found[-1].time:
                found.append(found[-1])
                continue
            after = self._time(ahead) if best is here and ahead is not None else time + 1 / self.rate
            found.append(Found(time, max(time, after), self.picture(best)))
        return found

    def _nearer(self, here: Any, ahead: Any, target: float) -> Any:
        if here is None or ahead is None:
            return here if here is not None else ahead
        return ahead if self._time(ahead) - target < target - self._time(here) else here

    def _worth_a_jump(self, now: float, target: float) -> bool:
        """Whether a key frame lies between, or, where the file does not say, whether there may be one."""
        key = self._key_before(target)
        return target - now > self.far if key is None else key > now

    def _key_before(self, target: float) -> float | None:
        """When the last key frame that is not later is decoded; None where the file has no index of them."""
        entries = self.stream.index_entries
        if not entries:
            return None
        place = entries.search_timestamp(int((target - self.lead + self.start) / self.base), backward=True)
        return None if place < 0 else entries[place].timestamp * self.base - self.start

    def _jump(self, target: float, here: Any, ahead: Any) -> tuple[Any, Any]:
        """Goes on from a key frame before the target; where that was no way forward, jumps are tried less.

        Indices count in the order of decoding, in which a key frame may come before its time: where it lies behind the
        target, the jump is made again from further before.
        """
        now = self._time(ahead)
        while True:
            aim = target - self.lead
            self.container.seek(int((aim + self.start) / self.base), stream=self.stream, backward=True)
            self.seeks += 1
            self._frames = self.container.decode(self.stream)
            landed = self._next()
            if landed is None or self._time(landed) <= target or aim <= 0:
                break
            self.lead = max(4 / self.rate, 2 * self.lead)
        if landed is None:
            return (here, ahead) if now > target else (ahead, None)
        if self._time(landed) <= now:
            self.far = max(2 * self.far, target - now)
        return None, landed

    def _next(self) -> Any:
        frame = next(self._frames, None)
        self.decoded += frame is not None
        self._count += 1
        return frame

    def _time(self, frame: Any) -> float:
        """Seconds from the first frame; of streams without time stamps by counting."""
        if frame.pts is None:
            return (self._count - 1) / self.rate
        return float(frame.pts * frame.time_base) - self.start
