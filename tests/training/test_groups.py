"""Learned parts of gaze are a part of their own, though they lie within the language model."""

import pytest

from gazekit.schedule import ProgressiveSchedule
from gazekit.training import CambrianModule, Stage
from gazekit.training.groups import freeze, optimizer_groups, parts_of, table
from gazekit.training.openness import schedules_of
from tests.models.test_weights import IMPORTS, section
from tests.models.tiny import gaze_section, make_model


@pytest.fixture
def model():
    return make_model(gaze=section(), imports=IMPORTS)


def stage(**rates: float) -> Stage:
    return Stage(name="one", steps=2, batch_size=1, learning_rates=rates)


def names(model, wanted: bool) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad == wanted}


@pytest.mark.parametrize("trained", [("gaze",), ("language",), ("projector", "gaze"), ("language", "gaze")])
def test_each_is_trained_if_the_stage_names_it(model, trained):
    one = stage(**dict.fromkeys(trained, 1e-3))
    parts = parts_of(model, one)
    freeze(parts)
    ours = {name for name, _ in model.named_parameters() if ".gaze_parts." in name}
    assert len(ours) == 6
    assert bool(ours & names(model, True)) == ("gaze" in trained)
    assert ours <= names(model, "gaze" in trained)
    language = {name for name, _ in model.named_parameters() if name.startswith("language_model.")} - ours
    assert language <= names(model, "language" in trained)
    grouped = [p for group in optimizer_groups(parts, one) for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in model.parameters() if p.requires_grad}
    assert len(grouped) == len({id(p) for p in grouped})
    sizes = {part.name: part.size for part in parts}
    assert sizes["gaze"] == 3 * (4 * 8 + 4)
    assert sum(sizes.values()) == sum(p.numel() for p in model.parameters())
    assert list(table(parts, one).columns[0].cells).count("gaze") == 1


@pytest.mark.parametrize("trained", ["gaze", "language"])
def test_only_what_is_trained_is_in_training_mode(model, trained):
    CambrianModule(model, stage(**{trained: 1e-3}), verbose=False).train()
    held = model.language_model.layers[0].self_attn.gaze_parts
    assert held.training == held.pool.down.training == (trained == "gaze")
    assert model.language_model.norm.training == (trained == "language")
    assert not model.tower.training


def test_the_schedule_above_branches_is_followed():
    schedule = {"_target_": "gazekit.schedule.ProgressiveSchedule", "shape": "linear"}
    branches = {"branches": [gaze_section()], "combine": {"_target_": "gazekit.combine.SumCombine"}}
    followed = set(schedules_of(make_model(gaze={**branches, "schedule": schedule})))
    assert followed == {ProgressiveSchedule(shape="linear")}
    assert set(schedules_of(make_model(gaze={**branches, "branches": [{}], "schedule": schedule}))) == {None}
