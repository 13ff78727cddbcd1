"""Every command of docs/cambrian-from-downloads.md, in order, on what the downloads would leave, scaled down.

What is changed is in `smaller`, and the two variables at the top of the page: tower and decoder, steps and batches,
lengths of answers, the number of processes.
"""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gazekit.cli import main
from gazekit.data import JsonRows
from gazekit.evaluate.results import Result
from tests.cambrian.downloads import benchmarks, ones_own, training_sets
from tests.cambrian.small import few_steps, parts
from tests.test_docs import ROOT, of

pytest.importorskip("datasets", reason="needs datasets")
pytestmark = pytest.mark.filterwarnings("ignore")  # what datasets and PyAV say when the interpreter ends

PAGE = "docs/cambrian-from-downloads.md"
STEPS = 3
LAST_RUN = "runs/cambrian-4b-stage2-video"


def commands() -> list[str]:
    """The lines of the page that are run."""
    return [
        line
        for block in of(PAGE, "console")
        if not block.mark.startswith("not run: ")
        for line in block.code.splitlines()
    ]


def smaller(folder: Path) -> dict[str, list[str]]:
    """What each command is given besides."""
    alone = ["--device", "cpu"]
    training = [*few_steps(STEPS), "training.stages.0.checkpoint_every=1", "data.num_workers=0", *alone]
    return {
        "train": [*parts(folder / "models", "4b"), *training],
        "evaluate": ["--max-new-tokens", "2", *alone],
        "generate": ["--max-new-tokens", "4", *alone],
        "inspect": alone,
    }


class Reader:
    """A reader who types what the page shows.

    Args:
        folder: Where.
        gpus: How many there are; 1 = nothing is launched, all runs in this process.
    """

    def __init__(self, folder: Path, gpus: int) -> None:
        self.folder, self.gpus, self.smaller = folder, gpus, smaller(folder)
        self.variables: dict[str, str] = {}

    def type(self, line: str) -> int:
        """Runs a command; returns its exit code."""
        words = shlex.split(re.sub(r"\$(\w+)", lambda name: self.variables[name[1]], line))
        if words[0] == "export":
            self.variables = dict(word.split("=") for word in words[1:])
            assert self.variables == {"GPUS": "8", "WORKERS": "16"}
            self.variables = {"GPUS": str(self.gpus), "WORKERS": "0"}
            return 0
        launched = words[0] == "torchrun"
        before = (
            ["torchrun", "--nproc-per-node", str(self.gpus), "-m", "gazekit"] if launched else ["gazekit"]
        )
        assert words[: len(before)] == before
        words = words[len(before) :]
        words += self.smaller.get(words[0], [])
        return self.launch(words) if launched and self.gpus > 1 else main(words)

    def launch(self, words: list[str]) -> int:
        module = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.gpus),
        ]  # fmt: skip
        told = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        return subprocess.run(
            [*module, "-m", "gazekit", *words], cwd=self.folder, env=told, check=False
        ).returncode


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """A working folder with all that the downloads leave."""
    import datasets

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setattr(datasets.config, name, True, raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    training_sets(tmp_path / "data")
    benchmarks(tmp_path / "data/benchmarks")
    ones_own(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_not_run_says_why_and_is_a_download():
    left_out = [block for block in of(PAGE, "console") if block.mark.startswith("not run: ")]
    assert [block.mark for block in left_out] == [
        "not run: needs the hub",
        "not run: needs the downloads",
        "not run: needs the hub",
    ]
    assert not any("gazekit " in block.code.replace("gazekit[", "") for block in left_out)


def test_every_command_runs(downloaded, capsys, monkeypatch):
    lines, reader, said = commands(), Reader(downloaded, gpus=1), []
    *_, before, again = (place for place, line in enumerate(lines) if " train " in line)
    assert lines[before] == lines[again]  # the second goes on where the first was stopped
    for place, line in enumerate(lines):
        if place == before:
            interrupted(reader, line, monkeypatch)
        else:
            code, shown = reader.type(line), capsys.readouterr()
            assert code == 0, f"{line}\n{shown.err}"
            said.append(shown.out)
    look_at(downloaded, "\n".join(said))
    assert steps_of(downloaded / LAST_RUN / "1-video") == [list(range(STEPS - 1)), [STEPS - 1]]


@pytest.mark.slow
def test_every_command_runs_in_two_processes(downloaded, capfd):
    reader, said = Reader(downloaded, gpus=2), []
    for line in commands():
        code, shown = reader.type(line), capfd.readouterr()
        assert code == 0, f"{line}\n{shown.err}"
        said.append(shown.out)
    look_at(downloaded, "\n".join(said))


class PowerCut(Exception):
    """What stops a run."""


def interrupted(reader: Reader, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command that trains, and stops it in its last step."""
    step, taken = torch.optim.AdamW.step, []

    def until(self, *arguments, **named):
        if len(taken) == STEPS - 1:
            raise PowerCut
        taken.append(1)
        return step(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", until)
        with pytest.raises(PowerCut):
            reader.type(line)


def steps_of(run: Path) -> list[list[int]]:
    """The steps that each start of a run has taken."""
    logs = [log.read_text().splitlines() for log in sorted(run.glob("log/*/metrics.csv"))]
    return [sorted({int(row["step"]) for row in csv.DictReader(log) if row["loss"]}) for log in logs]


def look_at(folder: Path, said: str) -> None:
    """What a reader should have in the end."""
    assert len(JsonRows(folder / "data/Cambrian-Alignment/alignment.jsonl")) == 4
    videos = JsonRows(folder / "data/Cambrian-S-3M/video.jsonl")
    assert [videos[n]["video"] for n in range(len(videos))] == ["long.mp4", "other.mp4", "third.mp4"]
    assert said.count("no faults") == 6
    for kind, count in (("image", 14), ("video", 6)):
        results = [Result.load(path) for path in sorted((folder / "results" / kind).glob("*.json"))]
        assert len(results) == 3 * count
        assert {one.system for one in results} == {"gaze", "dense", "random"}
        config = json.loads((folder / f"cambrian-4b-{kind}/config.json").read_text())
        assert config["gaze"]["route"]["k"] == {"image": 4, "video": 111}[kind]
    for row in ("Cambrian-4B", "mean score of a sample", "gqa"):
        assert row in said
