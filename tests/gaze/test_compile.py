"""torch.compile takes the masked path whole, with no graph break."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["plain", "learned", "branches"])
def test_a_compiled_decoder_equals_itself(name):
    done = subprocess.run(
        [sys.executable, "-m", "tests.gaze.compiled", name], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
