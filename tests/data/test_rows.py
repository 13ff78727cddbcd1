import json
import os
import pickle
import random
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gazekit.data import JsonRows
from gazekit.data.records import RowFault, index, scan
from gazekit.data.records.index import open_index
from tests.data.dirty import write_rows

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(alphabet='a"\\{}[],: \n\r\té漢')
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet='k"\\[{,', max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
records = st.lists(st.dictionaries(st.text(alphabet='ab"\\,]}', max_size=5), values, max_size=3), max_size=8)


@pytest.fixture
def blocks(monkeypatch):
    """Reads files a few bytes at a time, so that everything falls on a border between blocks once."""
    return lambda size: monkeypatch.setattr(scan, "_BLOCK", size)


def read(path: Path):
    return [JsonRows(path)[number] for number in range(len(JsonRows(path)))]


@pytest.mark.parametrize("layout", ["lines", "array"])
@given(
    rows=records,
    block=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    ascii_=st.booleans(),
    end=st.booleans(),
)
def test_every_row_comes_back_whatever_it_holds_and_wherever_blocks_end(
    tmp_path_factory, layout, rows, block, indent, ascii_, end
):
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    if layout == "array":
        text = json.dumps(rows, indent=indent, ensure_ascii=ascii_)
    else:
        text = "\n".join(json.dumps(row, ensure_ascii=ascii_) for row in rows)
    path.write_text(text + ("\n" if end else ""), encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_BLOCK", block)
        assert open_index(path).layout == layout or not rows
        assert read(path) == rows


@pytest.mark.parametrize("size", [3, 7, 1 << 20])
def test_blank_lines_and_foreign_line_ends_are_no_rows(tmp_path, blocks, size):
    blocks(size)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\n  \n{"a": 1}\r\n\r\n\t\n {"a": 2} \n\n{"a": 3}\n   ')
    assert read(path) == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize("text", [b"", b"\n \n", b"[]", b" [ ] \n", b"[\n\n]"])
def test_a_file_without_rows_has_none(tmp_path, blocks, text):
    blocks(2)
    path = tmp_path / "a.json"
    path.write_bytes(text)
    assert read(path) == []


@pytest.mark.parametrize("text", [b'[{"a": 1}, {"a": 2}, {"a": "th', b'[{"a": 1}, {"a": 2}, {"a": {"b": 3}'])
def test_an_array_that_is_cut_keeps_its_whole_rows(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text)
    rows = JsonRows(path)
    assert [rows[0], rows[1], len(rows)] == [{"a": 1}, {"a": 2}, 3]
    with pytest.raises(RowFault, match=r"row 2 of a\.json \(byte 20\) is not JSON .*may be cut"):
        rows[2]


def test_what_follows_an_array_is_refused(tmp_path, blocks):
    blocks(4)
    path = tmp_path / "a.json"
    path.write_text("[{}]\n[{}]")
    with pytest.raises(ValueError, match="must hold one JSON array and nothing behind it"):
        JsonRows(path)
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("head", "what"), [(b"\x1f\x8b", "gzip"), (b"PAR1", "parquet"), (b"\x28\xb5\x2f\xfd", "zstd")]
)
def test_packed_files_are_named(tmp_path, head, what):
    (tmp_path / "a.jsonl").write_bytes(head + b"....")
    with pytest.raises(ValueError, match=f"must be JSONL or a JSON array, got {what}; unpack it"):
        JsonRows(tmp_path / "a.jsonl")


def test_rows_have_numbers_and_no_others(tmp_path):
    rows = JsonRows(write_rows(tmp_path / "a.jsonl", [{"a": 1}, [2]]))
    for number in (-1, 2):
        with pytest.raises(IndexError, match=f"row {number} is outside a file of 2 rows"):
            rows[number]
    with pytest.raises(RowFault, match=r"row 1 .* must be an object, got list"):
        rows[1]


def test_a_huge_row_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("gazekit.data.records.rows._LARGEST", 100)
    rows = JsonRows(write_rows(tmp_path / "a.jsonl", [{"a": "x" * 200}, {"a": 1}]))
    with pytest.raises(RowFault, match=r"row 0 .* is larger than"):
        rows[0]
    assert rows[1] == {"a": 1}


class TestIndex:
    def test_is_built_once_and_lies_beside_the_file(self, tmp_path, monkeypatch):
        path = write_rows(tmp_path / "a.jsonl", [{"a": 1}, {"a": 2}])
        told = []
        assert len(open_index(path, lambda *done: told.append(done))) == 2
        assert told[-1] == (path.stat().st_size, path.stat().st_size)
        assert {one.name for one in tmp_path.iterdir()} == {"a.jsonl", "a.jsonl.gazekit-index"}
        monkeypatch.setattr(index, "_build", None)
        assert len(open_index(path)) == 2

    @pytest.mark.parametrize("change", ["size", "time"])
    def test_is_built_anew_when_the_file_has_changed(self, tmp_path, change):
        path = write_rows(tmp_path / "a.jsonl", [{"a": 1}, {"a": 2}])
        size = path.stat().st_size
        assert read(path) == [{"a": 1}, {"a": 2}]
        if change == "size":
            write_rows(path, [{"a": 3}])
        else:
            path.write_bytes(b'{"a": 3}'.ljust(size))
            os.utime(path, ns=(1, 1))
        assert read(path) == [{"a": 3}]

    @pytest.mark.parametrize(
        "damage", [lambda b: b[:20], lambda b: b[:-8], lambda b: b"X" + b[1:], lambda b: b""]
    )
    def test_is_built_anew_when_it_is_damaged(self, tmp_path, damage):
        path = write_rows(tmp_path / "a.jsonl", [{"a": 1}, {"a": 2}])
        JsonRows(path)
        place = tmp_path / "a.jsonl.gazekit-index"
        place.write_bytes(damage(place.read_bytes()))
        assert read(path) == [{"a": 1}, {"a": 2}]

    def test_goes_to_the_cache_where_the_folder_cannot_be_written(self, tmp_path, monkeypatch):
        (tmp_path / "in").mkdir()
        path = write_rows(tmp_path / "in/a.jsonl", [{"a": 1}])
        monkeypatch.setenv("GAZEKIT_CACHE", str(tmp_path / "cache"))
        true = tempfile.mkstemp

        def read_only(*, prefix, dir):
            if dir == path.parent:
                raise PermissionError(13, "Permission denied")
            return true(prefix=prefix, dir=dir)

        monkeypatch.setattr("gazekit.data.records.cache.tempfile.mkstemp", read_only)
        assert read(path) == [{"a": 1}]
        assert os.listdir(path.parent) == ["a.jsonl"]
        (kept,) = (tmp_path / "cache/data").iterdir()
        assert kept.name.endswith("a.jsonl.gazekit-index")
        assert stat.S_IMODE(kept.stat().st_mode) == 0o644
        monkeypatch.setattr(index, "_build", None)
        assert read(path) == [{"a": 1}]

    def test_says_so_where_nothing_can_be_written(self, tmp_path, monkeypatch):
        path = write_rows(tmp_path / "a.jsonl", [{"a": 1}])

        def full(**_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("gazekit.data.records.cache.tempfile.mkstemp", full)
        with pytest.raises(OSError, match=r"can be written \(.*No space left.*\); set GAZEKIT_CACHE"):
            JsonRows(path)

    def test_is_not_made_of_a_file_that_grows(self, tmp_path):
        path = write_rows(tmp_path / "a.jsonl", [{"a": 1}])

        def grow(done, total):
            with path.open("a") as file:  # without end: it must not be read to its end
                file.write("{}\n")

        with pytest.raises(ValueError, match="changed while its rows were counted"):
            open_index(path, grow)
        assert os.listdir(tmp_path) == ["a.jsonl"]


def test_rows_go_to_another_process_and_notice_a_change(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"a": 1}, {"a": 2}])
    rows = JsonRows(path)
    assert rows[0] == {"a": 1}
    sent = pickle.dumps(rows)
    assert pickle.loads(sent)[1] == {"a": 2}
    write_rows(path, [{"a": 1}])
    with pytest.raises(ValueError, match="has changed since it was opened"):
        pickle.loads(sent)


@pytest.mark.slow
def test_a_million_rows_are_found_in_seconds_and_read_in_microseconds(tmp_path):
    """The figures of docs/results/data.md, with room to spare."""
    import time

    from gazekit.bench.data import resident

    path, filler = tmp_path / "big.jsonl", "word " * 190
    with path.open("w") as file:
        for number in range(1_000_000):
            file.write(
                json.dumps({"id": number, "conversations": [{"from": "human", "value": filler}]}) + "\n"
            )
    assert path.stat().st_size > 950_000_000
    before, started = resident(), time.perf_counter()
    rows = JsonRows(path)
    assert time.perf_counter() - started < 60
    started = time.perf_counter()
    rows = JsonRows(path)
    assert time.perf_counter() - started < 1
    draw, times = random.Random(0), []
    for _ in range(5000):
        number = draw.randrange(len(rows))
        started = time.perf_counter()
        row = rows[number]
        times.append(time.perf_counter() - started)
        assert row["id"] == number
    assert sorted(times)[2500] < 200e-6
    assert resident() - before < 100e6
