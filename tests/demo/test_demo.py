"""The main job end to end: what it writes, that it goes on after it was killed, that its model answers."""

import json
import signal
import time

import pytest
from safetensors.torch import load_file

import gazekit.demo
from gazekit.cli import main
from gazekit.demo.report import EXAMPLES
from tests.demo.conftest import start_demo


def test_it_leaves_results_pictures_and_a_page(finished):
    results = json.loads((finished / "results.json").read_text())
    for name in ("dense", "gaze", "gaze_context", "random", "eviction"):
        assert 0 <= results[name]["accuracy"] <= 1
    assert results["dense"]["attended_visual"] == 64
    assert results["gaze"]["attended_visual"] == 8
    assert results["gaze"]["attended_share"] == pytest.approx(1 / 8)
    assert results["gaze_context"]["num_context"] >= 1
    assert results["gaze_context"]["attended_share_with_context"] <= 0.25
    assert {"accuracy", "accuracy_2x", "accuracy_4x"} <= set(results["eviction"])
    assert {"accuracy", "random", "mean", "union"} <= set(results["routing"])
    assert {"tower", "gaze", "dense", "evaluate", "total"} <= set(results["seconds"])
    assert results["seed"] == 3
    assert "torch" in results["versions"]
    for picture in ("loss.png", "openness.png", "glances.png", "example.png"):
        assert (finished / picture).read_bytes().startswith(b"\x89PNG")
    page = (finished / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 + EXAMPLES
    assert "Answers about held-out scans" in (finished / "said.txt").read_text()


def test_its_model_answers_about_a_file(finished, capsys):
    image = str(finished / "example.png")
    assert (
        main(
            ["generate", str(finished / "model"), "--image", image, "--ask", "read row 2", "--device", "cpu"]
        )
        == 0
    )
    assert capsys.readouterr().out.endswith("\n")


def test_a_demo_of_another_seed_is_not_mixed_in(finished):
    with pytest.raises(ValueError, match="holds the run of another recipe"):
        gazekit.demo.run(out=finished, seed=4, quick=True, device="cpu")


def test_killed_and_started_again_it_ends_with_the_same_weights(finished, tmp_path):
    out = tmp_path / "killed"
    for moment in ("runs/gaze/checkpoints/step-*.ckpt", "runs/dense/checkpoints/step-*.ckpt"):
        process = start_demo(out)
        while process.poll() is None and not list(out.glob(moment)):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, said
        assert not (out / "results.json").exists()
    process = start_demo(out)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    for weights in sorted(path.relative_to(finished) for path in finished.rglob("*.safetensors")):
        whole, resumed = load_file(finished / weights), load_file(out / weights)
        assert whole.keys() == resumed.keys()
        for name, tensor in whole.items():
            assert tensor.equal(resumed[name]), f"{weights}: {name}"
    whole, resumed = (json.loads((folder / "results.json").read_text()) for folder in (finished, out))
    for figures in (whole, resumed):
        figures.pop("seconds")
    assert whole == resumed
