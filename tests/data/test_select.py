"""Rows that filters keep, written to a file of their own; videos measured on the way."""

import json
from collections import Counter

import pytest

from gazekit.data import DenyPaths, DurationStrata, JsonRows, MinimumDuration, OnDisk, Stratum
from gazekit.data.mixing.select import RowSelection, select_rows
from gazekit.data.records import DataRoot
from gazekit.data.video import PyAVReader
from tests.data.films import make_film

FILTERS = (
    DenyPaths(names=["*sound*"]),
    MinimumDuration(seconds=1.0),
    DurationStrata(strata=[Stratum(below=2.0, share=0.0), Stratum(share=1.0)]),
    OnDisk(),
)


def row(number, **shown) -> dict:
    said = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "Nüsse."}]
    return {"id": number, **shown, "conversations": said if shown else [{**said[0], "value": "Hm?"}, said[1]]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Films of half a second, one and a half and three, and what is no film; rows about them."""
    root = tmp_path_factory.mktemp("films")
    for name, frames in (("half", 5), ("middle", 15), ("long", 30)):
        make_film(root / f"{name}.mp4", [each / 10 for each in range(frames)])
    (root / "garbage.mp4").write_bytes(b"no film at all")
    (root / "frames").mkdir()
    rows = [
        row(0, video="half.mp4"), row(1, video="middle.mp4"), row(2, video="long.mp4"), row(3, video="garbage.mp4"),
        row(4, video="gone.mp4"), row(5, video="sound.wav"), row(6), row(7, video="half.mp4", video_duration=9),
        row(8, video="frames"),
    ]  # fmt: skip
    lines = [json.dumps(each) for each in rows]
    (root / "rows.jsonl").write_text("\n".join([*lines, '{"id": 9, "cut']) + "\n")
    return root


def selection(folder, length=None) -> RowSelection:
    return RowSelection(
        rows=JsonRows(folder / "rows.jsonl"), filters=FILTERS, root=DataRoot(folder), length=length
    )


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_videos_are_measured_before_they_are_judged(folder, tmp_path, workers):
    told = []
    found = select_rows(
        selection(folder, PyAVReader()),
        tmp_path / "out.jsonl",
        workers=workers,
        progress=lambda *at: told.append(at),
    )
    kept = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [each["id"] for each in kept] == [2, 6, 7, 8]
    assert kept[0].pop("video_duration") == pytest.approx(3.0, abs=0.11)
    assert kept == [
        row(2, video="long.mp4"),
        row(6),
        row(7, video="half.mp4", video_duration=9),
        row(8, video="frames"),
    ]
    left_out = {"MinimumDuration": 1, "DurationStrata": 1, "unreadable": 2, "OnDisk": 1, "DenyPaths": 1}
    assert (found.rows, found.kept, found.left_out) == (10, 4, Counter(left_out))
    assert told[-1] == (10, 10)


def test_without_lengths_a_row_stays_as_it_is(folder, tmp_path):
    select_rows(selection(folder), tmp_path / "out.jsonl")
    kept = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [each["id"] for each in kept] == [0, 1, 2, 3, 6, 7, 8]
    assert "video_duration" not in kept[0]


def test_a_file_that_is_there_is_left_alone(folder, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(
        ValueError, match=r"out must be a new file, .* is there already; name another or remove it"
    ):
        select_rows(selection(folder), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "mine"


def test_what_is_interrupted_leaves_nothing(folder, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        select_rows(selection(folder), tmp_path / "out.jsonl", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_was_left_out(folder, tmp_path, run):
    words = (f"data.path={folder / 'rows.jsonl'}", f"data.root={folder}")
    code, out, err = run(
        "data", "select", "data/cambrian-s-3m-fifth", tmp_path / "a.jsonl", *words, "--durations", "--json"
    )
    assert code == 0, err
    said = json.loads(out)
    assert said["rows"] == 10
    assert said["left_out"] == {
        "MinimumDuration": 3,
        "DurationStrata": 1,
        "unreadable": 2,
        "OnDisk": 1,
        "DenyPaths": 1,
    }
    assert len(JsonRows(tmp_path / "a.jsonl")) == said["kept"] == 2
    code, out, _ = run("data", "select", "data/cambrian-s-3m-fifth", tmp_path / "b.jsonl", *words)
    assert "left out by DenyPaths" in out
    code, _, err = run("data", "select", "tiny", tmp_path / "c.jsonl")
    assert code == 2
    assert "data.path must be given for a selection, and the data of tiny names none" in err
