"""`gazekit bench offload` counts what it says; nothing here asserts on time."""

import json
import mmap
from pathlib import Path

import pytest

from gazekit.bench import DecodeShape, OffloadShape, bench_offload, residence, restart_peak
from gazekit.gaze import shape_of

TINY = {"sizes": shape_of("2,4,2,16"), "visual": 1500, "attend": 144, "text": 20, "layers": 2, "context": 2}


def measured(share="group", **fields):
    return bench_offload(OffloadShape(decode=DecodeShape(**TINY, share=share), steps=5, **fields))


@pytest.mark.parametrize("share", ["head", "group"])
@pytest.mark.parametrize("tier", ["pinned", "memory_mapped"])
def test_it_decodes_the_same_bits_and_brings_back_what_was_written(share, tier, tmp_path):
    told = []
    shape = OffloadShape(
        decode=DecodeShape(**TINY, share=share),
        tier=tier,
        steps=5,
        sweep=True,
        folder=str(tmp_path),
        slots=1.0,
    )
    found = bench_offload(shape, lambda *words: told.append(words))
    assert found.equal is True
    assert found.swept is True
    assert {what for what, *_ in told} == {"fill", "decode", "sweep"}
    assert told[-1][1] == told[-1][2] > 0


def test_what_is_held_is_a_share_of_dense():
    found = measured(slots=1.5)
    row = 2 * 16 * 2  # a key and a value in bf16
    assert found.dense_bytes == 1500 * row * 2 * 2
    assert found.resident_bytes["hot"] == 2 * 2 * 6 * 36 * row  # layers, KV heads, 1.5 x 4 slots of 36 rows
    assert found.hot_share == found.resident_bytes["hot"] / found.dense_bytes
    assert found.resident_share > found.hot_share
    assert found.backend == "gather"  # the native kernel is not built here
    assert found.moved_bytes > 0


def test_queries_that_stay_bring_nothing_in_again():
    still, drifting = measured(drift=0.0), measured(drift=1.0)
    assert still.hit_rate == pytest.approx(4 / 5)
    assert drifting.hit_rate < still.hit_rate
    assert [one.steps for one in still.locality] == [1.0, 1.0]
    assert still.locality[0].hits[1.5] == pytest.approx(still.hit_rate, abs=0.05)


def test_what_reads_everything_moves_everything():
    """So many choices of each head that gather, which attends without the native kernel, multiplies all keys."""
    decode = DecodeShape(**TINY | {"attend": 540}, share="head")
    found = bench_offload(OffloadShape(decode=decode, steps=2))
    assert found.equal is True
    assert (found.backend, found.hit_rate) == ("gather", 0.0)
    assert found.moved_bytes * 2 == found.dense_bytes  # for each of two layers


def test_alone_it_compares_nothing():
    found = measured(compare=False)
    assert (found.equal, found.resident_ms, found.swept) == (None, None, None)


def test_memory_of_the_process_is_seen_to_grow():
    restart_peak()
    before = residence()
    # Straight from the system: what the allocator has kept from other tests would not grow.
    kept = mmap.mmap(-1, 64 * 2**20)
    for page in range(0, len(kept), mmap.PAGESIZE):
        kept[page] = 1
    after = residence()
    if Path("/proc/self/status").is_file():
        assert after.total - before.total > 60 * 2**20
    assert after.peak >= after.total - 2**20
    assert kept[0] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tier": "disk"}, "tier must be one of pinned, memory_mapped, got 'disk'"),
        ({"drift": 2.0}, r"drift must be in \[0, 1\], got 2.0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_impossible_shapes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        OffloadShape(decode=DecodeShape(**TINY), **fields)


def test_the_command_prints_and_writes(run, tmp_path, native_kernel):
    words = "--shape 1,4,2,16 --visual 800 --attend 72 --layers 1 --steps 2 --slots 1 1.5 --tier memory_mapped --sweep"
    file = tmp_path / "out" / "offload.json"
    code, out, _ = run(
        "bench", "offload", *words.split(), "--folder", tmp_path, "--device", "cpu", "--json", file
    )
    assert code == 0
    assert "1.5 K slots" in out
    assert "step to step" in out
    table = json.loads(file.read_text())
    assert [(one["slots"], one["equal"], one["swept"]) for one in table["results"]] == [
        (1.0, True, True), (1.5, True, True),
    ]  # fmt: skip
    assert table["results"][0]["locality"][0]["hits"].keys() == {"1.0", "1.5", "2.0", "3.0"}


def test_a_folder_that_is_not_there_is_an_error(run, tmp_path, native_kernel):
    words = "--shape 1,4,2,16 --visual 800 --attend 72 --layers 1 --tier memory_mapped --device cpu --folder"
    code, _, err = run("bench", "offload", *words.split(), tmp_path / "nowhere")
    assert code == 2
    assert "make it, or name another" in err
