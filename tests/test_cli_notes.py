"""What the figures say of themselves."""

import pytest

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.cli.main import main
from gazekit.cli.notes import notes_of
from gazekit.combine import SumCombine
from gazekit.pool import MinMaxPooler
from gazekit.prior import CentreGuide
from gazekit.route import AlwaysRouter, NucleusRouter

GRID = GridPartition(size=(1, 2, 2))
PLAIN = Gaze(partition=GRID, route=TopKRouter(k=1))
MASS = Gaze(partition=GRID, route=AlwaysRouter(first=1, inner=NucleusRouter(mass=0.5)))


@pytest.mark.parametrize(
    ("gaze", "said"),
    [
        (Gaze(branches=(PLAIN, PLAIN), combine=SumCombine()), "branches attend by themselves"),
        (
            Gaze(partition=GRID, route=TopKRouter(k=1), guide=CentreGuide()),
            "what a guide writes is stood in for",
        ),
        (Gaze(partition=GRID, route=TopKRouter(k=1), rows=GRID), "queries of a prompt choose in blocks"),
        (MASS, "NucleusRouter chooses as many regions as the scores say"),
        (
            Gaze(partition=GRID, pool=MinMaxPooler(), route=TopKRouter(k=1)),
            "MinMaxPooler takes other numbers",
        ),
    ],
)
def test_what_is_not_exact_is_said(gaze, said):
    (note,) = notes_of([gaze])
    assert said in note


def test_what_is_exact_needs_no_note_and_nothing_is_said_twice():
    assert notes_of([PLAIN, PLAIN, Gaze()]) == []
    assert len(notes_of([MASS, MASS])) == 1


@pytest.mark.parametrize("command", ["cost", "inspect"])
def test_both_commands_say_it(command, capsys):
    assert main([command, "systems/vsa"]) == 0
    assert "branches attend by themselves" in " ".join(capsys.readouterr().out.split())
