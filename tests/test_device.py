"""Which device a name stands for."""

import pytest
import torch

from gazekit.contracts.device import choose_device, missing


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many CUDA devices, and Metal or not."""

    def build(cuda: int = 0, mps: bool = False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return build


def test_auto_takes_cuda_then_mps_then_the_cpu(machine):
    for cuda, mps, device in ((2, True, "cuda"), (0, True, "mps"), (0, False, "cpu")):
        machine(cuda, mps)
        assert choose_device("auto") == choose_device() == device


def test_a_device_that_is_there_is_taken_by_name(machine):
    machine(cuda=2, mps=True)
    for device in ("cpu", "mps", "cuda", "cuda:1"):
        assert choose_device(device) == device


@pytest.mark.parametrize("device", ["gpu", "cpu:0", "mps:1", "cuda:x", "", "cuda:-1"])
def test_a_device_of_another_name_is_refused(machine, device):
    machine(cuda=2, mps=True)
    with pytest.raises(ValueError, match="device must be auto, cpu, mps, cuda or cuda:<number>, got"):
        choose_device(device)


def test_a_device_that_is_not_there_is_refused_with_the_reason(machine):
    machine()
    for device in ("cuda", "cuda:0", "mps"):
        with pytest.raises(ValueError, match=f"device {device} cannot be used: .*; use auto or cpu"):
            choose_device(device)
    machine(cuda=2)
    with pytest.raises(ValueError, match="device cuda:2 is not there: CUDA devices are numbered 0 to 1"):
        choose_device("cuda:2")


def test_why_a_device_is_missing_depends_on_torch(machine, monkeypatch):
    machine()
    for version, reason in (
        ("13.0", "torch sees no CUDA device"),
        (None, "this torch was built without CUDA"),
    ):
        monkeypatch.setattr(torch.version, "cuda", version)
        assert missing("cuda") == reason
    for built, reason in ((True, "no Metal device"), (False, "this torch was built without MPS")):
        monkeypatch.setattr(torch.backends.mps, "is_built", lambda built=built: built)
        assert missing("mps") == reason
