import json
import os
import subprocess
import sys

import pytest
import torch

from gazekit.training import read_history, run
from gazekit.training.session import device_arguments, session
from tests.training.standin import RATES, ROOT, TinyData, TinyModel, assert_same_weights, stage
from tests.training.test_resume import InterruptAt

STAGES = [
    stage(name="align", steps=4, learning_rates={"projector": 1e-2}),
    stage(name="tune", steps=6, learning_rates={**RATES, "tower": 1e-3}),
]


def start(folder, model=None, **arguments):
    model = TinyModel() if model is None else model
    return model, run(model, STAGES, TinyData(), folder, device="cpu", progress=False, **arguments)


def test_stages_follow_one_another(tmp_path):
    _, results = start(tmp_path, keep={"tune": [5]})
    assert [(result.name, result.steps) for result in results] == [("align", 4), ("tune", 6)]
    assert all(result.seconds > 0 and result.loss > 0 for result in results)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        "1-align/done.json", "1-align/final.safetensors", "1-align/checkpoints/step-00000003.ckpt",
        "1-align/log/version_0/metrics.csv", "2-tune/checkpoints/step-00000005.ckpt", "2-tune/final.safetensors",
    } <= files  # fmt: skip
    assert json.loads((tmp_path / "2-tune" / "done.json").read_text())["result"]["steps"] == 6
    assert any("events.out.tfevents" in name for name in files)


def test_a_stage_that_is_finished_is_skipped(tmp_path, monkeypatch):
    whole, first = start(tmp_path / "whole")
    broken = TinyModel()
    run(broken, STAGES[:1], TinyData(), tmp_path / "broken", device="cpu", progress=False)
    again, _ = start(tmp_path / "broken", model=TinyModel(seed=7))
    assert_same_weights(again, whole)
    monkeypatch.setattr("gazekit.training.fit.Trainer", None)
    _, second = start(tmp_path / "whole", model=TinyModel(seed=7))
    assert second == first


def test_data_by_stage(tmp_path):
    data = {"align": TinyData(), "tune": TinyData(length=8)}
    model = TinyModel()
    run(model, STAGES, data, tmp_path / "a", device="cpu", progress=False)
    with pytest.raises(ValueError, match="data must hold every stage, lacks tune"):
        run(TinyModel(), STAGES, {"align": TinyData()}, tmp_path / "b", device="cpu", progress=False)


def test_stages_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="stages must have names of their own, got align, align"):
        run(TinyModel(), [STAGES[0]] * 2, TinyData(), tmp_path, device="cpu")


def test_killed_between_the_last_step_and_its_marker(tmp_path):
    """The last checkpoint is that of the last step: nothing is left to train, and the result is whole."""
    chosen = [stage(steps=6, checkpoint_every=3)]
    model = TinyModel()
    first = run(model, chosen, TinyData(), tmp_path, device="cpu", progress=False)
    for name in ("done.json", "final.safetensors"):
        (tmp_path / "1-tiny" / name).unlink()
    again = TinyModel(seed=7)
    second = run(again, chosen, TinyData(), tmp_path, device="cpu", progress=False)
    assert_same_weights(again, model)
    assert (second[0].loss, second[0].steps) == (first[0].loss, 6)


def test_history_holds_the_figures(tmp_path):
    start(tmp_path)
    rows = read_history(tmp_path / "2-tune")
    assert {"loss", "openness", "lr_projector", "step"} <= rows[0].keys()


def test_progress_lines_where_there_is_no_terminal(tmp_path, capsys):
    run(TinyModel(), [stage()], TinyData(), tmp_path, device="cpu", progress=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tiny ")]
    assert len(lines) == 12
    assert lines[5].startswith("tiny 6/12  loss ")
    assert "openness 0.67" in lines[5]


def test_device_is_checked():
    told = device_arguments("cpu")
    assert told == {
        "accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true",
    }  # fmt: skip
    with pytest.raises(ValueError, match="device must be one of auto, cpu, cuda, mps, got 'gpu'"):
        device_arguments("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device 'cuda' is not available on this machine"):
            device_arguments("cuda")


def test_memory_is_kept_under_glibc():
    """A block that is freed and asked for again costs no page faults."""
    script = (
        "import platform, resource\n"
        "from gazekit.training.allocator import keep_memory\n"
        "assert keep_memory() == (platform.libc_ver()[0] == 'glibc')\n"
        "def touch():\n"
        "    return bytearray(b'x') * (20 * 2**20)\n"
        "touch()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(10):\n"
        "    touch()\n"
        "faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "assert faults < 1000 or platform.libc_ver()[0] != 'glibc', faults\n"
    )
    subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def test_session_puts_everything_back():
    torch.use_deterministic_algorithms(False)
    with session("cpu"):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_interrupt_is_possible_in_a_later_stage(tmp_path):
    from gazekit.training import fit_stage
    from tests.training.test_resume import Interrupted

    whole, _ = start(tmp_path / "whole")
    broken = TinyModel()
    folder = tmp_path / "broken"
    fit_stage(broken, TinyData(), STAGES[0], folder / "1-align", device="cpu", progress=False)
    with pytest.raises(Interrupted):
        fit_stage(broken, TinyData(), STAGES[1], folder / "2-tune", device="cpu", progress=False,
                  callbacks=[InterruptAt(5)])  # fmt: skip
    again, _ = start(folder, model=TinyModel(seed=7))
    assert_same_weights(again, whole)
