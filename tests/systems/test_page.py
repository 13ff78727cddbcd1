"""The page about published systems says what their recipes say."""

import pytest

from gazekit.cli import main
from gazekit.recipe.library import names
from tests.systems.page import PAGE, entries, renewed


def test_the_table_is_what_the_recipes_say():
    assert PAGE.read_text() == renewed(PAGE.read_text()), "run python -m tests.systems.page"


def test_every_recipe_says_what_it_attends_to_and_where_it_is_from():
    found = entries()
    assert [f"systems/{one.name}" for one in found if one.attends.endswith(".") and one.source] == [
        f"systems/{one.name}" for one in found
    ]
    assert sorted(f"systems/{one.name}" for one in found) == [n for n in names() if n.startswith("systems/")]


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("systems/")])
def test_it_passes_the_check(name, capsys):
    assert main(["check", name]) == 0
    assert name.rsplit("/")[-1] in capsys.readouterr().out
