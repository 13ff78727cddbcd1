"""Every part keeps the laws of its room, and no public part is left out."""

import importlib
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import pytest
from torch.nn.attention import flex_attention

from gazekit import contracts

_spec = importlib.util.spec_from_file_location("law_cases", Path(__file__).with_name("cases.py"))
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

ROOMS = {
    "partition": contracts.Partitioner,
    "pool": contracts.Pooler,
    "route": contracts.Router,
    "schedule": contracts.Schedule,
    "context": contracts.Context,
    "attend": contracts.Backend,
    "store": contracts.Store,
    "combine": contracts.Combine,
    "loss": contracts.RoutingLoss,
}


@pytest.fixture
def unfused_flex(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's unfused form without a compiler in between, which would trace every call anew."""
    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


def parts(room: str) -> list[type]:
    module: ModuleType = importlib.import_module(f"gazekit.{room}")
    public = [getattr(module, name) for name in module.__all__]
    return [thing for thing in public if inspect.isclass(thing) and thing.__name__ not in cases.APART]


def class_of(part: object) -> type:
    return part if inspect.isclass(part) else type(part)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=str(case), marks=[pytest.mark.slow] if case.slow else []) for case in cases.CASES],
)
def test_part_keeps_the_laws(case, request: pytest.FixtureRequest) -> None:
    if case.needs is not None:
        request.getfixturevalue(case.needs)
    case.run()


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_part_has_its_line_and_keeps_its_contract(room: str) -> None:
    listed = {class_of(case.part): case.part for case in cases.CASES}
    assert parts(room), f"gazekit.{room} shows no part"
    for part in parts(room):
        assert part in listed, f"{part.__name__} has no line in tests/laws/cases.py"
        made = listed[part]() if room == "store" or inspect.isclass(listed[part]) else listed[part]
        assert isinstance(made, ROOMS[room]), f"{part.__name__} is no {ROOMS[room].__name__}"


def test_a_part_of_another_room_is_no_such_part() -> None:
    assert not isinstance(cases.MeanPooler(), contracts.Backend)
    assert not isinstance(cases.ResidentStore(), contracts.Pooler)


def test_every_omission_gives_its_reason() -> None:
    for case in cases.CASES:
        assert all(reason.count(" ") >= 2 for reason in case.omit.values()), case
    assert all(reason.count(" ") >= 2 for reason in cases.APART.values())
    assert set(cases.APART) <= {
        name for room in ROOMS for name in importlib.import_module(f"gazekit.{room}").__all__
    }
