"""`gazekit bench` measures what it says; nothing here asserts on time."""

import json
import math
import sys

import pytest
import torch

from gazekit.bench import (
    PHASES,
    DecodeShape,
    DecodeTable,
    OverheadShape,
    bench_decode,
    bench_overhead,
    dense,
    timing,
)
from gazekit.bench.memory import peak_bytes
from gazekit.cli import bench
from gazekit.cli.main import main
from gazekit.cli.output import check_writable, write_json
from gazekit.gaze import shape_of

TINY = {"sizes": shape_of("1,4,2,16"), "visual": 1000, "attend": 144, "text": 20, "layers": 2}


def last(shape: DecodeShape, backends: list[str]) -> DecodeTable:
    *_, found = bench_decode(shape, backends, repeats=2)
    return found


def test_it_counts_what_is_looked_at_and_read():
    table = last(DecodeShape(**TINY, context=3), ["gather", "masked"])
    found = table.results
    assert [one.backend for one in found] == ["gather", "masked"]
    dense = {one.form: one.ms for one in table.dense}
    assert set(dense) == {"dense folded", "dense grouped", "dense products"}
    assert {one.bytes for one in table.dense} == {2 * 2 * 16 * 2 * (1000 + 3 * 3 + 20)}
    for one in found:
        assert 100 <= one.attend <= 144  # four regions of 36, smaller ones at the edge
        assert one.ratio == pytest.approx(one.dense_ms / one.ms)
        assert one.dense_ms == min(dense.values())
        assert one.error < 1e-2
        assert one.limit == pytest.approx(1e3 * one.bytes / table.read_rate / one.ms)
    everything = 2 * 2 * 16 * 2 * (1000 + 3 * 2 + 20)
    assert 0 < found[0].bytes < everything
    # What is copied is more than the answer, one row of 16 for each of four heads in bf16.
    assert found[0].peak > 4 * 16 * 2


def test_groups_read_no_more_than_heads():
    head, group = (
        last(DecodeShape(**TINY, share=share), ["masked"]).results[0] for share in ("head", "group")
    )
    assert group.bytes <= head.bytes


def test_native_is_exact(native_kernel):
    (one,) = last(DecodeShape(**TINY, dtype=torch.float32), ["native"]).results
    assert one.refused is None
    assert one.error < 1e-5


def test_a_backend_that_refuses_is_listed_with_its_reason():
    (one,) = last(DecodeShape(**TINY), ["native"]).results
    assert (one.ms, one.ratio) == (None, None)
    assert "not built yet" in one.refused


def test_the_most_that_a_step_has_at_once_is_counted():
    before = torch.ones(1000)

    def step():
        first = before + 1  # 4,000 bytes
        second = torch.cat([first, first])  # and 8,000
        del first
        return second[:10] * 2

    assert peak_bytes(step, "cpu") == 12_000
    assert peak_bytes(lambda: before[:5], "cpu") == 0


@pytest.mark.parametrize("heads", [4, 2])
@pytest.mark.parametrize("name", dense.EVERYWHERE)
def test_every_dense_form_is_attention(name, heads):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, n, e, 16, generator=generator) for n, e in ((heads, 1), (2, 9), (2, 9))
    )
    key_, value_ = (field.repeat_interleave(heads // 2, dim=1) for field in (key, value))
    expected = ((query @ key_.mT) / 4).softmax(-1) @ value_
    torch.testing.assert_close(dense.EVERYWHERE[name](query, key, value), expected)


def test_dense_forms_that_cannot_run_here_say_why():
    query, key = torch.randn(2, 4, 1, 16), torch.randn(2, 2, 9, 16)
    assert dense.refusal(dense.products, query, key, key) is None
    assert "flashinfer" in dense.refusal(dense.flashinfer, query, key, key) or "one sample" in dense.refusal(
        dense.flashinfer, query, key, key
    )
    assert dense.refusal(lambda q, k, v: q * 0 + 1, query, key, key).startswith("it is wrong by")
    assert set(dense.forms_on("cuda")) > set(dense.forms_on("cpu"))


def test_times_are_medians_of_every_layer_and_no_form_goes_first_alone(monkeypatch):
    clock, calls = [0.0], []

    def form(name, seconds):
        def run(layer):
            calls.append((name, layer))
            # The first round is not counted, and one of the others is disturbed.
            clock[0] += seconds * (layer + 1) + (100.0 if len(calls) in (1, 6) else 0.0)

        return run

    monkeypatch.setattr(timing.time, "thread_time", lambda: clock[0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    forms = {"a": form("a", 0.001), "b": form("b", 0.002)}
    *_, found = timing.interleaved(forms, layers=2, repeats=3, device="cpu")
    assert found == pytest.approx({"a": 1.5, "b": 3.0})
    assert calls[:4] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


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
    assert table["machine"]["read_bytes_per_second"] > 0
    assert len(table["dense"]) == 2 * 3
    assert (tmp_path / "out" / "decode.png").read_bytes()[:4] == b"\x89PNG"


def test_a_picture_is_drawn_from_few_entries_to_many(run, tmp_path, monkeypatch, native_kernel):
    monkeypatch.setattr(bench, "_DRAWN", (60, 600))
    monkeypatch.setattr(bench, "_LAYERED", 100)
    words = [
        "--shape",
        "1,4,2,16",
        "--attend",
        "72",
        "--layers",
        "2",
        "--repeats",
        "1",
        "--backend",
        "masked",
    ]
    files = ["--json", str(tmp_path / "drawn.json"), "--plot", str(tmp_path / "drawn.png")]
    code, *_ = run("bench", "decode", *words, "--device", "cpu", *files)
    assert code == 0
    found = json.loads((tmp_path / "drawn.json").read_text())["results"]
    assert [one["visual"] for one in found] == [60, 600]
    assert 0 < found[0]["attend"] <= 60
    assert (tmp_path / "drawn.png").read_bytes()[:4] == b"\x89PNG"


def test_an_unknown_backend_is_named_before_anything_is_filled(run, monkeypatch):
    monkeypatch.setattr(sys.modules["gazekit.bench.decode"], "_scene", None)
    code, _, err = run(
        "bench", "decode", "--shape", "tiny", "--backend", "nativ", "--layers", "1", "--device", "cpu"
    )
    assert code != 0
    assert "did you mean 'native'?" in err


@pytest.mark.parametrize("phase", PHASES)
def test_parts_and_the_one_function_compute_the_same(phase):
    shape = OverheadShape(
        sizes=shape_of("6,4,2,16"), units=1, text=9, k=3, phase=phase, layers=2, dtype=torch.float32
    )
    *_, found = bench_overhead(shape, repeats=2)
    assert found.error < 1e-6
    assert found.overhead == pytest.approx(found.parts_ms / found.function_ms - 1)
    assert found.spread - found.overhead == pytest.approx(found.once_ms / found.function_ms / 6)


def test_overhead_needs_something_to_look_at():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        OverheadShape(sizes=shape_of("tiny"), units=1, k=0)
    with pytest.raises(ValueError, match='phase must be "decode" or "prefill", got \'both\''):
        OverheadShape(sizes=shape_of("tiny"), units=1, phase="both")


def test_overhead_needs_as_many_regions_as_are_looked_at(run, native_kernel):
    code, _, err = run("bench", "overhead", "--shape", "tiny", "--units", "1", "--k", "17")
    assert code == 2
    assert "k must be at most the 16 regions of the units, got 17; add units" in err


@pytest.mark.parametrize("kind", ["decode", "train", "offload", "overhead", "data"])
def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(run, tmp_path, kind):
    before = torch.get_num_threads()
    code, out, err = run("bench", kind, "--json", tmp_path)
    assert code == 2
    assert not out
    assert f"{tmp_path} cannot be written (Is a directory); name another file" in err
    assert torch.get_num_threads() == before


def test_trying_whether_a_file_can_be_written_leaves_none_and_changes_none(tmp_path):
    new, old = tmp_path / "deep" / "new.json", tmp_path / "old.json"
    old.write_text("kept")
    check_writable(new, None, old)
    assert new.parent.is_dir()
    assert not new.exists()
    assert old.read_text() == "kept"


def test_what_is_no_number_is_null_in_a_file(tmp_path):
    write_json(tmp_path / "x.json", {"a": [math.nan, 1.5], "b": {2.0: math.inf}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [None, 1.5], "b": {"2.0": None}}


def test_overhead_is_printed_and_written(native_kernel, tmp_path, capsys):
    path = tmp_path / "overhead.json"
    command = (
        "bench overhead --shape 1,4,2,16 --units 1 --text 5 --k 2 --layers 1 --repeats 1 --phase both --json"
    )
    assert main([*command.split(), str(path)]) == 0
    assert "one function" in capsys.readouterr().out
    found = json.loads(path.read_text())["overhead"]
    assert [one["phase"] for one in found] == ["decode", "prefill"]
    assert max(one["error"] for one in found) < 1e-2
