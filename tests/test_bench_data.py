"""`gazekit bench data` measures what it says; nothing here asserts on time."""

import json

import pytest

from gazekit.bench.video import bench_watching


def test_both_ways_show_the_same_number_of_frames(tmp_path):
    *_, (plain, ours) = bench_watching(tmp_path, seconds=4, size=(64, 48), rate=10, gop=8, repeats=2)
    assert (plain.form, plain.frames, plain.ratio) == ("pyav", 4, 1.0)
    assert (ours.form, ours.frames) == ("gazekit", 4)
    assert ours.ratio == pytest.approx(ours.samples_per_second / plain.samples_per_second)


def test_the_command_writes_what_it_prints(run, tmp_path):
    words = ("bench", "data", "--images", 2, "--side", 12, "--repeats", 1, "--json", tmp_path / "data.json")
    code, out, _ = run(*words, "--seconds", 1, "--rows", 50)
    assert code == 0
    found = json.loads((tmp_path / "data.json").read_text())
    assert [one["form"] for one in found["reading"]] == ["pillow", "gazekit"]
    assert [one["form"] for one in found["watching"]] == ["pyav", "gazekit"]
    assert found["index"]["rows"] == 50
    assert "1 s of 640 x 480, 1 frames shown, one core" in out
    run(*words, "--seconds", 0)
    assert json.loads((tmp_path / "data.json").read_text())["watching"] == []
