import os

import pytest
import torch
from jaxtyping import TypeCheckError

import gazekit
from gazekit.contracts import Selection
from gazekit.schedule import ConstantSchedule


def test_unknown_top_level_names_fail_as_attributes():
    with pytest.raises(AttributeError, match="no attribute 'Telescope'"):
        gazekit.Telescope  # noqa: B018


def test_lazy_names_are_listed_before_they_are_loaded():
    assert {"Gaze", "GridPartition", "TopKRouter", "CambrianModule"} <= set(dir(gazekit))


def test_uninitialised_memory_reads_as_nan():
    assert torch.empty(3, 5).isnan().all()
    assert torch.zeros(2).new_empty(7).isnan().all()
    assert (torch.empty(4, dtype=torch.int32) == torch.iinfo(torch.int32).max).all()


@pytest.mark.skipif(os.environ.get("GAZEKIT_TYPECHECK") == "0", reason="the checks are switched off")
def test_shapes_and_types_are_checked():
    with pytest.raises(TypeCheckError, match="index"):
        Selection(index=torch.zeros(2, 3, dtype=torch.int32))
    with pytest.raises(TypeCheckError, match="openness"):
        ConstantSchedule(openness="dense")
    assert ConstantSchedule(openness=1).openness == 1
