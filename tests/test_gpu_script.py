"""`.ci/gpu` asks for what there is, and fails where there is no GPU."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gazekit.cli.commands.bench import KINDS
from gazekit.cli.main import parse

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "gpu"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the script is in the repository alone")


def run(*words: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHON": sys.executable, **variables}
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, env=environment, cwd=ROOT)


def test_its_commands_are_ours():
    done = run("--print")
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line.removeprefix("+ ")) for line in done.stdout.splitlines()]
    benches = [words[words.index("bench") :] for words in lines if "bench" in words]
    files = [words[-1] for words in benches]
    assert len(set(files)) == len(files) > 20
    for kind in KINDS:
        known = [words for words in benches if words[1] == kind]
        for words in known:
            assert parse(words).json == Path(words[-1])
    shapes = {tuple(words[words.index(name) + 1] for name in ("--shape", "--share", "--batch")) for words in benches
              if words[1] == "decode" and "--batch" in words}  # fmt: skip
    assert len(shapes) == 2 * 2 * 3
    tests = [words for words in lines if "pytest" in words]
    assert "gpu" in tests[0]
    for words in tests:
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would run for minutes")
def test_without_a_gpu_it_fails_and_writes_nothing(tmp_path):
    done = run(RESULTS=str(tmp_path / "gpu"))
    assert done.returncode != 0
    assert "sees no CUDA device" in done.stderr
    assert not (tmp_path / "gpu").exists()
