"""Reading data: samples a second of one core, beside the bare decoding of the same files."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from gazekit.data import JsonSource, Limits, read_record
from gazekit.data.encode import EncodeConversation
from gazekit.data.mixing import Mixture
from gazekit.data.records import JsonRows, RecordOpener


@dataclass(frozen=True)
class ReadingResult:
    """How fast one way of reading is.

    Attributes:
        form: "pillow": opens and decodes each file, and nothing else. "gazekit": place in a mixture, row, record,
            checked path, decoded image. "encoded": the same, and tensors of it by a processor.
        samples_per_second: Of one core's time, from each image's median over the rounds; files are in memory.
        ratio: To "pillow" in the same rounds.
    """

    form: str
    samples_per_second: float
    ratio: float


@dataclass(frozen=True)
class IndexResult:
    """How fast rows are found.

    Attributes:
        rows: In the file.
        bytes: Of the file.
        build_seconds: To find all rows, once.
        open_seconds: To open the file afterwards.
        median_microseconds: To read and parse a row by lot.
        resident_megabytes: Growth of resident memory over all of it.
    """

    rows: int
    bytes: int
    build_seconds: float
    open_seconds: float
    median_microseconds: float
    resident_megabytes: float


def bench_reading(
    folder: Path,
    *,
    count: int = 64,
    side: int = 384,
    repeats: int = 15,
    encode: EncodeConversation | None = None,
) -> Iterator[list[ReadingResult]]:
    """Measures reading in turns; yields the figures so far after each round.

    Args:
        folder: Where the files are made: JPEGs of smooth noise at quality 90, and a JSONL.
        count: Images.
        side: Of an image, in pixels.
        repeats: Rounds; one more goes before, which is not counted.
        encode: Turns conversations into tensors; None = that form is left out.
    """
    path = _make_images(folder, count, side)
    source = JsonSource(path=str(path)).open()
    order, opener = Mixture([count], [1.0], seed=0), RecordOpener(limits=Limits())
    files = [str(folder / f"{number}.jpg") for number in range(count)]

    def bare(place: int) -> None:
        with Image.open(files[order.at(place).row]) as picture:
            picture.convert("RGB")

    def read(place: int) -> object:
        return opener(read_record(source.rows[source.number(order.at(place).row)]), source.root)

    def encoded(place: int) -> None:
        assert encode is not None
        encode(opener(read_record(source.rows[source.number(order.at(place).row)]), source.root))

    forms: dict[str, Callable[[int], object]] = {"pillow": bare, "gazekit": read}
    if encode is not None:
        forms["encoded"] = encoded
    times: dict[str, list[list[float]]] = {name: [[] for _ in range(count)] for name in forms}
    for round_ in range(repeats + 1):
        for place in range(count):
            # in turns, so that what disturbs one disturbs all; none is always the first to touch a file
            names = list(forms)
            shift = (place + round_) % len(names)
            for name in names[shift:] + names[:shift]:
                begin = time.thread_time()  # what other processes take of the core does not count
                forms[name](place)
                times[name][place].append(time.thread_time() - begin)
        if round_ == 0:
            for kept in times.values():
                kept[:] = [[] for _ in range(count)]
            continue
        seconds = {name: sum(map(median, kept)) for name, kept in times.items()}
        yield [ReadingResult(name, count / took, seconds["pillow"] / took) for name, took in seconds.items()]


def bench_index(path: Path, *, rows: int, reads: int = 5000) -> IndexResult:
    """Measures the rows of a file that is made for it, of about 1,000 bytes a row.

    Args:
        path: The file; made anew.
        rows: Rows to write.
        reads: Rows to read by lot.
    """
    filler = "word " * 160
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            turns = [{"from": "human", "value": f"<image>\n{filler}"}, {"from": "gpt", "value": "yes"}]
            row = {"id": number, "image": f"images/{number:08d}.jpg", "conversations": turns}
            file.write(json.dumps(row) + "\n")
    before, begin = resident(), time.perf_counter()
    JsonRows(path)
    built = time.perf_counter()
    found = JsonRows(path)
    opened = time.perf_counter()
    draw, times = random.Random(0), []
    for _ in range(reads):
        number = draw.randrange(rows)
        start = time.perf_counter()
        row = dict(found[number])
        times.append(time.perf_counter() - start)
        assert row["id"] == number
    return IndexResult(
        rows=rows,
        bytes=path.stat().st_size,
        build_seconds=built - begin,
        open_seconds=opened - built,
        median_microseconds=1e6 * median(times),
        resident_megabytes=(resident() - before) / 1e6,
    )


def resident() -> int:
    """Bytes of this process that lie in memory.

    Raises:
        OSError: The system does not say so (it is not Linux).
    """
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _make_images(folder: Path, count: int, side: int) -> Path:
    """Smooth noise, which compresses about as photographs do, and a row for each image."""
    rng, rows = np.random.default_rng(0), []
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (side // 6, side // 6, 3), np.uint8))
        grain = rng.integers(-12, 13, (side, side, 3))
        smooth = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(
            folder / f"{number}.jpg", quality=90
        )
        turns = [{"from": "human", "value": "<image>\nwhat is this?"}, {"from": "gpt", "value": "noise"}]
        rows.append(json.dumps({"id": number, "image": f"{number}.jpg", "conversations": turns}))
    path = folder / "rows.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
