"""Several processes are one: the same losses, gradients and weights."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from gazekit.training.checkpoints import latest, step_of
from tests.training.ranks import IMAGES, ROOT, finish, launch, watched

SCRIPT = "tests.training.ranks"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return watched(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    finish(launch(SCRIPT, str(folder), "ddp", "fsdp2"))
    return {
        strategy: [torch.load(folder / f"{strategy}-{rank}.pt", weights_only=True) for rank in range(2)]
        for strategy in ("ddp", "fsdp2")
    }


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_equal_one(strategy, alone, two):
    """Packed, accumulated, checkpointed; in steps where a rank has no image, or nobody has.

    In double precision, but for the loss itself: transformers computes it in fp32.
    """
    model, steps = alone
    for rank in two[strategy]:
        assert [step["loss"] for step in rank["steps"]] == pytest.approx([s["loss"] for s in steps], abs=1e-6)
        for mine, other in zip(rank["steps"], steps, strict=True):
            assert mine["gradients"].keys() == other["gradients"].keys()
            for name, gradient in mine["gradients"].items():
                torch.testing.assert_close(gradient, other["gradients"][name], atol=1e-9, rtol=1e-6, msg=name)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(rank["weights"][name], value, atol=1e-9, rtol=0, msg=name)


def test_the_steps_are_what_they_say(alone, two):
    """The comparison means something: a rank without an image, a step without any, tokens unevenly spread."""
    _, steps = alone
    encoders = [{name.split(".")[0] for name in step["gradients"]} for step in steps]
    assert [("tower" in parts, "context" in parts) for parts in encoders] == [
        ("1" in images, "1" in images) for images in IMAGES
    ]
    image = alone[0].config.image_token_id
    has = [any(bool((ids == image).any()) for ids in rank["steps"][1]["ids"]) for rank in two["ddp"]]
    assert sorted(has) == [False, True]


def goes_on(folder, two, strategy: str, step: int) -> None:
    """What was trained from a checkpoint is, bit for bit, what was trained without a break."""
    for rank, whole in enumerate(two[strategy]):
        again = torch.load(folder / f"{strategy}-{rank}.pt", weights_only=True)
        assert [one["step"] for one in again["steps"]] == list(range(step + 1, 5))
        for mine, other in zip(again["steps"], whole["steps"][step:], strict=True):
            assert mine["loss"] == other["loss"]
            assert all(torch.equal(a, b) for a, b in zip(mine["ids"], other["ids"], strict=True))
        assert all(torch.equal(again["weights"][name], value) for name, value in whole["weights"].items())


def killed(folder, *cases: str) -> list[int]:
    """Return codes of ranks of which some are killed; those that are left must end by themselves."""
    started = launch(SCRIPT, str(folder), *cases)
    said = [process.communicate(timeout=200)[0] for process in started]
    codes = [process.returncode for process in started]
    for code, text in zip(codes, said, strict=True):
        if code != -signal.SIGKILL:
            assert "of 2 stopped in step" in text, text
            assert "the same command goes on from the last checkpoint" in text
    return codes


def test_killed_ranks_go_on_where_they_stopped(tmp_path, two):
    """One rank of a sharded run, then all of a DDP run; the other rank of the first does not hang."""
    codes = killed(tmp_path, "fsdp2:2:1")
    assert codes[1] == -signal.SIGKILL
    assert codes[0] not in (0, -signal.SIGKILL)
    checkpoints = tmp_path / "fsdp2" / "checkpoints"
    assert step_of(latest(checkpoints)) == 2
    with pytest.raises(
        ValueError, match="holds a run in 2 processes, sharded, and this one is in one process"
    ):
        watched(tmp_path / "fsdp2")
    # As if killed in the middle of writing the next one.
    (checkpoints / "step-00000003.unfinished").mkdir()
    (checkpoints / "step-00000003.unfinished" / "half").write_bytes(b"half")
    codes = killed(tmp_path, "fsdp2", "ddp:1:all")
    assert codes == [-signal.SIGKILL] * 2
    goes_on(tmp_path, two, "fsdp2", 2)
    assert (checkpoints / "step-00000003.ckpt" / "files.json").is_file()
    assert not (checkpoints / "step-00000003.ckpt" / "half").exists()
    assert step_of(latest(tmp_path / "ddp" / "checkpoints")) == 1
    finish(launch(SCRIPT, str(tmp_path), "ddp"))
    goes_on(tmp_path, two, "ddp", 1)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_stages_follow_one_another_in_two_processes(strategy, tmp_path):
    """The command starts the second process; what it trains is what it trains in one."""
    words = ["tiny", "training.tower=null", "training.stages.1.optimizer=adamw"]
    words += [
        f"training.stages.{n}.{short}" for n in (0, 1) for short in ("steps=2", "batch_size=4", "warmup=0")
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name, more in (("one", []), ("two", [f"training.strategy={strategy}", "training.devices=2"])):
        command = [sys.executable, "-m", "gazekit", "train", *words, *more, "--out", str(tmp_path / name)]
        done = subprocess.run(
            [*command, "--device", "cpu"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("saved the model in") == 1
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    # In single precision AdamW makes whole steps of gradients that are next to nothing: a few weights in 10,000 differ.
    assert all((two[name] - value).abs().mean() < 1e-6 for name, value in one.items())
    losses = [
        [
            json.loads(done.read_text())["result"]["loss"]
            for done in sorted((tmp_path / name).glob("*/done.json"))
        ]
        for name in ("one", "two")
    ]
    assert len(losses[0]) == 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_process_that_does_not_come_is_not_waited_for_for_ever(strategy, tmp_path):
    asleep, waits = launch(SCRIPT, str(tmp_path), f"{strategy}:1:0:20")
    said, _ = waits.communicate(timeout=200)
    asleep.kill()
    asleep.communicate()
    assert waits.returncode not in (0, None)
    assert (
        "process 1 of 2 stopped in step 1: another one has failed, or did not come within 20 seconds" in said
    )


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("who", ["0", "1", "all"])
@pytest.mark.parametrize("step", [1, 3])
def test_killed_at_any_step(strategy, who, step, tmp_path, two):
    killed(tmp_path, f"{strategy}:{step}:{who}")
    finish(launch(SCRIPT, str(tmp_path), strategy))
    goes_on(tmp_path, two, strategy, step)
