"""What every test runs under: checked shapes, NaN-filled memory, one thread, no network.

Switches (environment): ``GAZEKIT_TYPECHECK=0`` leaves the shape and type checks out,
``HYPOTHESIS_PROFILE=thorough`` tries many more examples. Options: ``--slow`` runs the tests marked slow,
``--refresh-pictures`` renews the pictures of the documentation.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

if os.environ.get("GAZEKIT_TYPECHECK", "1") != "0":
    # Not gazekit.testing: beartype cannot read the types of hypothesis, which its strategies and laws are made of.
    rooms = {path.stem for path in (Path(__file__).parents[1] / "gazekit").iterdir()} - {
        "testing",
        "__pycache__",
    }
    # As type checkers have it, an int will do where a float is asked for.
    checker = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
    install_import_hook(sorted(f"gazekit.{room}" for room in rooms), checker)

torch.set_num_threads(1)

if not torch.cuda.is_available():
    # Triton decides when it is imported, and a kernel when it is decorated: nothing has done either yet.
    os.environ.setdefault("TRITON_INTERPRET", "1")


def _fill_uninitialised_memory() -> None:
    """Fills what ``torch.empty`` returns with NaN (integers: the largest value), so that reading it shows."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True


_fill_uninitialised_memory()

_SLOW_CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "default",
    max_examples=20,
    deadline=None,
    suppress_health_check=_SLOW_CHECKS,
    derandomize=bool(os.environ.get("CI")),
)
settings.register_profile("thorough", max_examples=300, deadline=None, suppress_health_check=_SLOW_CHECKS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")
    parser.addoption(
        "--refresh-pictures", action="store_true", help="put the pictures that docs pages make in their place"
    )


def _missing(config: pytest.Config) -> dict[str, str]:
    """Why the tests of each marker cannot run here; a marker that can run is absent."""
    browser = importlib.util.find_spec("playwright") and (shutil.which("chromium") or shutil.which("chrome"))
    reasons = {
        "gpu": None if torch.cuda.is_available() else "needs a CUDA device",
        "slow": None if config.getoption("--slow") else "slow: run with --slow",
        "browser": None if browser else "needs playwright and a Chromium on the PATH",
        "lmms_eval": None if importlib.util.find_spec("lmms_eval") else "needs lmms-eval",
    }
    return {marker: reason for marker, reason in reasons.items() if reason}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = _missing(config)
    for item in items:
        for marker, reason in missing.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True, scope="session")
def _kernels_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No kernel that was built on this machine before takes part, unless a test asks for `native_kernel`."""
    folder = tmp_path_factory.mktemp("kernels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAZEKIT_CACHE", str(folder))
        patch.delenv("GAZEKIT_NATIVE", raising=False)
        yield folder


@pytest.fixture(autouse=True)
def _no_kernel_is_left(_kernels_of_ones_own: Path) -> Iterator[None]:
    """A kernel that a test leaves would serve those that come after it in its process, and others not."""
    yield
    left = list(_kernels_of_ones_own.rglob("*.so"))
    for kernel in left:
        kernel.unlink()
    if left:
        from gazekit.kernels import native

        native.forget()
    assert not left, "it builds the native kernel; let it ask for `native_kernel`"


@pytest.fixture
def native_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The C++ kernel, built once a session; gone again after the test."""
    from gazekit.kernels import native

    if (reason := native.unbuildable()) is not None:
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAZEKIT_CACHE", str(tmp_path_factory.getbasetemp() / "built"))
        native.build()
        native.forget()
        yield
    native.forget()


@pytest.fixture
def triton_kernels() -> None:
    """The Triton kernels: compiled where there is a CUDA device, else in the interpreter, which is slow."""
    from gazekit.kernels import triton

    if (reason := triton.missing()) is not None:
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def _uninitialised_memory_stays_filled() -> Iterator[None]:
    """Undoes what a test, or a Trainer inside it, switched off."""
    yield
    _fill_uninitialised_memory()


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command and gives its exit code, and what stood on stdout and stderr."""
    from gazekit.cli import main

    monkeypatch.setenv("COLUMNS", "200")

    def typed(*words: object):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return typed
