"""A run that was interrupted, however and wherever, ends with the weights of one that was not."""

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from gazekit.training import Checkpoints, read_history
from gazekit.training.checkpoints import latest, saved, step_of
from tests.training.standin import ROOT, TinyData, TinyModel, assert_same_weights, stage, train


class Interrupted(Exception):
    pass


class InterruptAt(Callback):
    def __init__(self, batch: int) -> None:
        self.batch, self.seen = batch, 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.seen += 1
        if self.seen > self.batch:
            raise Interrupted


def interrupted(folder: Path, *batches: int, **arguments: object) -> TinyModel:
    """Trains in as many starts as it takes: the first breaks off in its batch `batches[0]`, and so on."""
    for batch in batches:
        with pytest.raises(Interrupted):
            train(folder, callbacks=[InterruptAt(batch)], **arguments)
    return train(folder, **arguments)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return train(tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.parametrize("batches", [(0,), (2,), (3,), (7, 1, 4), (11,)])
def test_interrupted_run_ends_with_the_same_weights(batches, tmp_path, uninterrupted):
    assert_same_weights(interrupted(tmp_path, *batches), uninterrupted)


def test_dropout_and_data_would_show(tmp_path, uninterrupted):
    """The comparison can fail: another seed of the generators gives other weights."""
    other = train(tmp_path, seed=5)
    assert not torch.equal(other.projector.weight, uninterrupted.projector.weight)


@pytest.mark.parametrize("batch", [4, 5, 6, 11])
def test_shuffled_epochs_that_end_within_the_stage(batch, tmp_path):
    """Five batches an epoch: checkpoints fall into epochs and, with `checkpoint_every=5`, on their end."""
    for every in (3, 5):
        arguments = {"data": TinyData(length=20, shuffle=True), "stage": stage(checkpoint_every=every)}
        whole = train(tmp_path / f"whole{every}", **arguments)
        assert_same_weights(interrupted(tmp_path / f"broken{every}", batch, **arguments), whole)


def test_accumulated_batches(tmp_path):
    arguments = {"data": TinyData(batch_size=2), "stage": stage(accumulate=2)}
    whole = train(tmp_path / "whole", **arguments)
    assert_same_weights(interrupted(tmp_path / "broken", 9, **arguments), whole)


def test_killed_process(tmp_path, uninterrupted):
    """SIGKILL in the middle of a step: nothing is flushed, nothing said goodbye to."""
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from lightning.pytorch import Callback\n"
        "from tests.training.standin import train\n"
        "class Kill(Callback):\n"
        "    def on_before_optimizer_step(self, trainer, pl_module, optimizer):\n"
        "        if trainer.global_step == 7:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        f"train(Path({str(tmp_path)!r}), callbacks=[Kill()])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert step_of(latest(tmp_path / "checkpoints")) == 6
    assert_same_weights(train(tmp_path), uninterrupted)


def middle_of_largest(path: Path) -> int:
    """A byte that holds a weight: between the entries of an archive there are some that hold nothing."""
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda info: info.file_size)
    header = path.read_bytes()[entry.header_offset :][:30]
    names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return entry.header_offset + 30 + names + entry.file_size // 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_checkpoint_falls_back_to_the_one_before(damage, tmp_path, uninterrupted, capsys):
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[InterruptAt(7)])
    last = saved(tmp_path / "checkpoints")[-1]
    content = bytearray(last.read_bytes())
    if damage == "flipped":
        content[middle_of_largest(last)] ^= 1
    last.write_bytes(content[: {"truncated": len(content) // 2, "flipped": None, "empty": 0}[damage]])
    assert step_of(latest(last.parent)) == 3
    assert_same_weights(train(tmp_path), uninterrupted)


def test_unfinished_file_is_no_checkpoint(tmp_path, uninterrupted):
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[InterruptAt(4)])
    (tmp_path / "checkpoints" / "step-00000004.unfinished").write_bytes(b"half")
    assert_same_weights(train(tmp_path), uninterrupted)


def test_keeps_the_last_two_and_those_asked_for(tmp_path):
    train(tmp_path, keep=[0, 4])
    assert [step_of(path) for path in saved(tmp_path / "checkpoints")] == [0, 4, 9, 12]


def test_finished_stage_is_loaded_not_run(tmp_path, uninterrupted):
    first = train(tmp_path)
    again = TinyModel(seed=9)
    train(tmp_path, model=again, callbacks=[InterruptAt(0)])
    assert_same_weights(again, first)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"learning_rates": {"projector": 0.5}}, "learning_rates was"), ({"steps": 13}, "steps was 12")],
)
def test_other_settings_are_refused(changes, named, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[InterruptAt(4)])
    with pytest.raises(ValueError, match=named):
        train(tmp_path, stage=stage(**changes))
    train(tmp_path)
    with pytest.raises(ValueError, match=f"{named}.*choose another folder"):
        train(tmp_path, stage=stage(**changes))
    with pytest.raises(ValueError, match="seed was 0 and is 3"):
        train(tmp_path, seed=3)


def test_history_has_every_row_once(tmp_path):
    whole = train(tmp_path / "whole", log_every=1) and read_history(tmp_path / "whole")
    interrupted(tmp_path / "broken", 7, 2, log_every=1)
    broken = read_history(tmp_path / "broken")
    assert [row["step"] for row in broken] == list(range(12))
    assert [row["loss"] for row in broken] == [row["loss"] for row in whole]


def test_checkpoints_load_without_running_code(tmp_path):
    train(tmp_path)
    record = torch.load(saved(tmp_path / "checkpoints")[-1], weights_only=True)
    assert record["gazekit"]["run"]["stage"]["steps"] == 12


def test_checkpoints_is_a_checkpoint_callback_for_any_trainer():
    assert Checkpoints(Path("x"), every=5).keep == frozenset()
