"""One demo of a few steps, made once, for all tests of it."""

import subprocess
import sys
from pathlib import Path

import pytest

SHORT = """
import sys
from pathlib import Path
import gazekit.demo as demo
demo._QUICK[:] = ["training.tower.steps=6", "training.stages.0.steps=2", "training.stages.1.steps=16",
                  "training.stages.1.checkpoint_every=2", "training.tower.batch_size=64",
                  "training.stages.0.batch_size=16", "training.stages.1.batch_size=16"]
demo._QUICK_CONTEXT[:] = ["training.stages.0.steps=2", "training.stages.0.batch_size=16"]
demo.QUICK_QUESTIONS = 12
demo.run(out=Path(sys.argv[1]), seed=3, quick=True, device="cpu")
"""


def start_demo(out: Path) -> subprocess.Popen:
    """The demo in a process of its own, as `gazekit demo --quick` runs it but with fewer steps."""
    return subprocess.Popen(
        [sys.executable, "-c", SHORT, str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The folder of a demo that ran through."""
    out = tmp_path_factory.mktemp("demo") / "whole"
    process = start_demo(out)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    (out / "said.txt").write_text(said)
    return out
