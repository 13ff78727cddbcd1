"""`gazekit evaluate` on benchmarks that lie in files: figures, results, resuming, comparing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gazekit.evaluate import Result
from tests.evaluate.asking import ROWS, cambrian, qwen
from tests.models.retrofit.qwen_small import make_qwen

datasets = pytest.importorskip("datasets", reason="needs datasets")
pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]
FAST = ("--max-new-tokens", 2, "--batch-size", 4, "--device", "cpu")


def saved(pair, folder):
    model, processor = pair
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved(cambrian(), tmp_path_factory.mktemp("saved") / "tiny")


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return saved(qwen(), tmp_path_factory.mktemp("saved") / "vlm")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, rows in ROWS.items():
        datasets.Dataset.from_list(rows()).to_parquet(str(folder / f"{name}.parquet"))
    return folder


def test_systems_on_benchmarks(run, model, data, tmp_path):
    words = ("--benchmarks", "gqa", "mme", "--systems", "eviction", "gaze", "dense", "random")
    code, out, err = run("evaluate", model, *words, "--data", data, "--out", tmp_path, *FAST, "--json")
    assert code == 0, err
    figures = json.loads(out)
    assert list(figures) == ["gqa", "mme"]
    assert list(figures["gqa"]) == ["eviction", "gaze", "dense", "random"]
    shares = {name: one["attended_share"] for name, one in figures["mme"].items()}
    assert shares == {"gaze": 0.5, "dense": 1.0, "random": 0.5, "eviction": 0.5}
    found = Result.load(tmp_path / "gqa-eviction.json")
    assert (found.model, found.system, found.settings["eviction"]) == ("tiny", "eviction", 8)
    assert found.settings["gaze"][0]["route"] is None
    assert len({Result.load(path).settings["weights"] for path in tmp_path.glob("*.json")}) == 1
    code, out, err = run("compare", tmp_path / "gqa-gaze.json", tmp_path / "gqa-dense.json")
    assert code == 0, err
    assert "gqa (lmms)" in out


def test_a_budget_sets_the_regions(run, model, vlm, data, tmp_path):
    for place, share in ((model, 0.75), (vlm, 0.75)):
        out = tmp_path / place.name
        words = ("--benchmarks", "chartqa", "--systems", "gaze", "random", "--budget", "0.8", "--limit", 3)
        code, _, err = run("evaluate", place, *words, "--data", data, "--out", out, *FAST)
        assert code == 0, err
        for system in ("gaze", "random"):
            found = Result.load(out / f"chartqa-{system}.json")
            assert found.scores["attended_share"] == share
            assert (found.settings["budget"], found.settings["k"], found.settings["limit"]) == (0.8, 3, 3)


def test_a_model_of_transformers_is_measured(run, vlm, data, tmp_path):
    words = ("--benchmarks", "gqa", "--profile", "cambrian", "--data", data, "--out", tmp_path, *FAST)
    code, out, err = run("evaluate", vlm, *words)
    assert code == 0, err
    assert "attended share" in out
    found = Result.load(tmp_path / "gqa-gaze.json")
    assert found.profile == "cambrian"
    assert (
        found.records[0].prompt
        == "<image>\nwhere is row 0\nAnswer the question using a single word or phrase."
    )
    code, _, err = run("evaluate", vlm, *words, "--systems", "eviction")
    assert code == 2
    assert "eviction needs a Cambrian" in err


def test_a_dense_model_is_measured_dense(run, data, tmp_path):
    folder = saved(make_qwen(sharpness=8.0), tmp_path / "stock")
    words = ("--benchmarks", "gqa", "--data", data, *FAST, "--json")
    code, _, err = run("evaluate", folder, *words)
    assert code == 2
    assert "can only be measured with --systems dense" in err
    code, out, err = run("evaluate", folder, *words, "--systems", "dense")
    assert code == 0, err
    assert json.loads(out)["gqa"]["dense"]["attended_share"] == 1.0


def test_the_blind_lie_beside(run, model, data, tmp_path):
    words = ("--benchmarks", "gqa", "--data", data, "--out", tmp_path, *FAST)
    for more in ((), ("--blind",)):
        code, _, err = run("evaluate", model, *words, *more)
        assert code == 0, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gqa-gaze-blind.json", "gqa-gaze.json"]


def test_what_is_there_is_taken_or_refused(run, model, data, tmp_path):
    words = ("--benchmarks", "gqa", "--data", data, "--out", tmp_path, "--device", "cpu", "--batch-size", 4)
    assert run("evaluate", model, *words, "--max-new-tokens", 2)[0] == 0
    before = (tmp_path / "gqa-gaze.json").read_bytes()
    assert run("evaluate", model, *words, "--max-new-tokens", 2)[0] == 0
    assert (tmp_path / "gqa-gaze.json").read_bytes() == before
    code, _, err = run("evaluate", model, *words, "--max-new-tokens", 3)
    assert code == 2
    assert "max_new_tokens: 2 there, 3 here" in err
    assert run("evaluate", model, *words, "--max-new-tokens", 3, "--fresh")[0] == 0
    assert (tmp_path / "gqa-gaze.json").read_bytes() != before


def test_missing_data_are_named(run, model, tmp_path):
    code, _, err = run("evaluate", model, "--benchmarks", "image", "--data", tmp_path)
    assert code == 2
    assert "mme needs the data set lmms-lab-encoder/MME" in err
    assert "hf download lmms-lab-encoder/MME --repo-type dataset" in err
    code, _, err = run("evaluate", model, "--benchmarks", "gqa", "--data", tmp_path / "no")
    assert (code, err) == (
        2,
        f"error: there is no folder {tmp_path / 'no'}; name one that holds the data sets\n",
    )


@pytest.mark.slow
def test_a_run_that_was_killed_ends_in_the_identical_file(run, model, data, tmp_path):
    """Killed as a machine fails: no goodbye, in the middle of whatever it did."""
    words = [
        model,
        "--benchmarks",
        "mme",
        "--data",
        data,
        "--batch-size",
        1,
        "--max-new-tokens",
        16,
        "--device",
        "cpu",
    ]
    assert run("evaluate", *words, "--out", tmp_path / "whole")[0] == 0
    command = [sys.executable, "-m", "gazekit", "evaluate", *map(str, words), "--out", str(tmp_path / "cut")]
    partial = tmp_path / "cut" / "mme-gaze.partial-0.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while not partial.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert partial.exists()
    assert not (tmp_path / "cut" / "mme-gaze.json").exists()
    assert run("evaluate", *words, "--out", tmp_path / "cut")[0] == 0
    whole, resumed = ((tmp_path / name / "mme-gaze.json").read_bytes() for name in ("whole", "cut"))
    assert resumed == whole


@pytest.mark.slow
def test_torchrun_answers_as_one_process(run, model, data, tmp_path):
    words = [model, "--benchmarks", "mme", "gqa", "--data", data, *FAST]
    assert run("evaluate", *words, "--out", tmp_path / "one")[0] == 0
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "gazekit",
    ]
    done = subprocess.run(
        [*launch, "evaluate", *map(str, words), "--out", str(tmp_path / "two")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("attended visual") == 2
    for name in ("mme-gaze.json", "gqa-gaze.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
