"""A run whose model is sharded: its checkpoints are folders of shares, and export makes one folder of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from gazekit.cli import main
from gazekit.models import CambrianForConditionalGeneration
from gazekit.recipe.export import export
from gazekit.training.checkpoints import latest, saved, step_of
from tests.cambrian.small import conversations, few_steps, parts

ROOT = Path(__file__).parents[2]
SHARDED = ["training.strategy=fsdp2", "training.stages.0.checkpoint_every=1", "model.start=null"]


def sized(folder: Path) -> list[str]:
    return [*parts(folder, "4b"), *conversations(folder, "stage2_image"), *few_steps(2), *SHARDED]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """As one process that holds the only share; what it leaves in the environment is taken back."""
    folder = tmp_path_factory.mktemp("sharded")
    words = ["cambrian-4b/stage2_image", *sized(folder)]
    with patch.dict(os.environ):
        try:
            assert main(["train", *words, "--out", str(folder / "run"), "--device", "cpu"]) == 0
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
    return folder / "run"


def state(folder):
    return CambrianForConditionalGeneration.from_pretrained(folder).state_dict()


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def unfinished(run: Path, folder: Path) -> Path:
    """The run as it was when its last stage had made its last checkpoint, and nothing more."""
    shutil.copytree(run, folder)
    shutil.rmtree(folder / "model")
    for name in ("final.safetensors", "done.json"):
        (folder / "1-image" / name).unlink()
    return folder


def test_a_sharded_checkpoint_is_exported(run, tmp_path):
    """bf16 computes, fp32 is kept: what is exported is bit for bit what the run has saved."""
    checkpoints = saved(run / "1-image" / "checkpoints")
    assert [(step_of(path), path.is_dir()) for path in checkpoints] == [(1, True), (2, True)]
    export(unfinished(run, tmp_path / "run"), tmp_path / "out")
    wanted = state(run / "model")
    assert {value.dtype for value in wanted.values()} == {torch.float32}
    assert same(state(tmp_path / "out"), wanted)


@pytest.mark.parametrize("damage", ["missing", "truncated", "unsealed", "flipped"])
def test_a_damaged_one_is_passed_over(damage, run, tmp_path):
    folder = unfinished(run, tmp_path / "run") / "1-image" / "checkpoints"
    last = saved(folder)[-1]
    share = max(last.glob("*.distcp"), key=lambda path: path.stat().st_size)
    if damage == "missing":
        share.unlink()
    elif damage == "truncated":
        share.write_bytes(share.read_bytes()[:-1])
    elif damage == "unsealed":
        (last / "files.json").unlink()
    else:
        content = bytearray(share.read_bytes())
        content[len(content) // 2] ^= 1
        share.write_bytes(content)
    assert step_of(latest(folder)) == 1


@pytest.mark.slow
def test_two_processes_that_the_command_starts(tmp_path):
    """Lightning's own launcher; adapters; then an export of its last checkpoint, in one process."""
    words = [
        "cambrian-4b/stage2_image", *sized(tmp_path), "training.devices=2",
        "model.lora.rank=2", "training.stages.0.learning_rates.language=null",
        "training.stages.0.learning_rates.lora=0.01",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "gazekit",
        "train",
        *words,
        "--out",
        str(tmp_path / "run"),
        "--device",
        "cpu",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(list(latest(tmp_path / "run/1-image/checkpoints").glob("*.distcp"))) == 2
    export(unfinished(tmp_path / "run", tmp_path / "copy"), tmp_path / "out")
    assert same(state(tmp_path / "out"), state(tmp_path / "run" / "model"))
