"""`gazekit bench` measures what it says; nothing here asserts on time."""

import json

import pytest
import torch

from gazekit.bench import DecodeShape, OverheadShape, bench_decode, bench_overhead
from gazekit.cli.main import main
from gazekit.gaze import shape_of

TINY = {"sizes": shape_of("1,4,2,16"), "visual": 1000, "attend": 144, "text": 20, "layers": 2}


def last(shape: DecodeShape, backends: list[str]):
    *_, found = bench_decode(shape, backends, repeats=2)
    return found


def test_it_counts_what_is_looked_at_and_read():
    found, dense = last(DecodeShape(**TINY, context=3), ["gather", "masked"])
    assert [one.backend for one in found] == ["gather", "masked"]
    assert set(dense) == {"dense folded", "dense grouped", "dense products"}
    for one in found:
        assert 100 <= one.attend <= 144  # four regions of 36, smaller ones at the edge
        assert one.ratio == pytest.approx(one.dense_ms / one.ms)
        assert one.dense_ms == min(dense.values())
        assert one.error < 1e-2
    everything = 2 * 2 * 16 * 2 * (1000 + 3 * 2 + 20)
    assert 0 < found[0].bytes < everything


def test_groups_read_no_more_than_heads():
    head, group = (last(DecodeShape(**TINY, share=share), ["masked"])[0][0] for share in ("head", "group"))
    assert group.bytes <= head.bytes


def test_native_is_exact(native_kernel):
    (one,), _ = last(DecodeShape(**TINY, dtype=torch.float32), ["native"])
    assert one.refused is None
    assert one.error < 1e-5


def test_a_backend_that_refuses_is_listed_with_its_reason():
    (one,), _ = last(DecodeShape(**TINY), ["native"])
    assert (one.ms, one.ratio) == (None, None)
    assert "not built yet" in one.refused


def test_entries_that_make_no_whole_frame_are_there_too():
    assert DecodeShape(**TINY).clips == [(1, 24, 24), (1, 17, 24), (1, 1, 16)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attend": 2000}, "attend must be at most the 1000 visual entries, got 2000"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
    ],
)
def test_impossible_shapes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        DecodeShape(**{**TINY, **change})


def test_the_command_prints_and_writes(run, tmp_path, native_kernel):
    words = [
        "--shape",
        "1,4,2,16",
        "--visual",
        "500",
        "1000",
        "--attend",
        "72",
        "--layers",
        "2",
        "--repeats",
        "1",
    ]
    files = ["--json", str(tmp_path / "out" / "decode.json"), "--plot", str(tmp_path / "out" / "decode.png")]
    code, out, _ = run("bench", "decode", *words, "--backend", "native", "gather", "--device", "cpu", *files)
    assert code == 0
    assert "dense products" in out
    assert "native" in out
    table = json.loads((tmp_path / "out" / "decode.json").read_text())
    assert [(one["backend"], one["visual"]) for one in table["results"]] == [
        ("native", 500), ("gather", 500), ("native", 1000), ("gather", 1000),
    ]  # fmt: skip
    assert set(table["results"][0]) >= {
        "backend", "share", "visual", "attend", "batch", "ms", "dense_ms", "ratio", "bytes", "error"
    }  # fmt: skip
    assert {"processor", "threads"} <= set(table["machine"])
    assert "torch" in table["versions"]
    assert (tmp_path / "out" / "decode.png").read_bytes()[:4] == b"\x89PNG"


def test_an_unknown_backend_is_named(run):
    code, _, err = run(
        "bench", "decode", "--shape", "tiny", "--backend", "nativ", "--layers", "1", "--device", "cpu"
    )
    assert code != 0
    assert "did you mean 'native'?" in err


def test_parts_and_the_one_function_compute_the_same():
    shape = OverheadShape(sizes=shape_of("1,4,2,16"), units=1, text=9, k=3, layers=2, dtype=torch.float32)
    *_, found = bench_overhead(shape, repeats=2)
    assert found.error == 0.0
    assert found.overhead == pytest.approx(found.parts_ms / found.function_ms - 1)


def test_overhead_needs_something_to_look_at():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        OverheadShape(sizes=shape_of("tiny"), units=1, k=0)


def test_overhead_is_printed_and_written(tmp_path, capsys):
    path = tmp_path / "overhead.json"
    command = "bench overhead --shape 1,4,2,16 --units 1 --text 5 --k 2 --layers 1 --repeats 1 --json"
    assert main([*command.split(), str(path)]) == 0
    assert "one function" in capsys.readouterr().out
    assert json.loads(path.read_text())["overhead"]["error"] == 0.0
