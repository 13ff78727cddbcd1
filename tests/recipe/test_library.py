"""Where recipes are looked up: in a checkout, in an editable install of one, in a wheel."""

from pathlib import Path

import pytest

import gazekit
from gazekit.recipe.library import find, folders, names


def touch(*paths: Path):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("seed: 1\n")


@pytest.fixture
def checkout(tmp_path):
    """As in a clone, and as an editable install sees it: recipes lie beside the package."""
    touch(tmp_path / "pyproject.toml", tmp_path / "gazekit/__init__.py", tmp_path / "recipes/tiny.yaml")
    touch(tmp_path / "recipes/systems/moba.yml", tmp_path / "recipes/notes.txt")
    return tmp_path / "gazekit"


@pytest.fixture
def wheel(tmp_path):
    """As in site-packages: recipes lie inside, and what lies beside belongs to others."""
    touch(tmp_path / "site/gazekit/__init__.py", tmp_path / "site/gazekit/recipes/tiny.yaml")
    touch(tmp_path / "site/recipes/strange.yaml")
    return tmp_path / "site/gazekit"


def test_a_checkout_has_its_recipes_beside_the_package(checkout):
    assert folders(checkout) == [checkout.parent / "recipes"]
    assert names(checkout) == ["systems/moba", "tiny"]
    assert find("systems/moba", checkout) == checkout.parent / "recipes/systems/moba.yml"


def test_a_wheel_has_its_recipes_inside(wheel):
    assert folders(wheel) == [wheel / "recipes"]
    assert names(wheel) == ["tiny"]
    assert find("tiny", wheel) == wheel / "recipes/tiny.yaml"


def test_a_checkout_comes_before_what_a_build_left_inside(checkout):
    touch(checkout / "recipes/tiny.yaml", checkout / "recipes/old.yaml")
    assert find("tiny", checkout) == checkout.parent / "recipes/tiny.yaml"
    assert find("old", checkout) == checkout / "recipes/old.yaml"


def test_gazekit_itself_has_recipes():
    assert folders()[0].is_dir()
    assert "tiny" in names()
    assert find("tiny").parent in folders(Path(gazekit.__file__).parent)


def test_a_path_is_taken_as_it_is(tmp_path, monkeypatch):
    touch(tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    assert find("mine.yaml") == find(Path("mine.yaml")) == tmp_path / "mine.yaml"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("tinny", r"there is no recipe named tinny \(known: .*tiny.*\); did you mean `tiny`\?"),
        ("mine", r"there is no recipe named mine .*; did you mean `mine.yaml`\?"),
        ("mnie.yaml", r"there is no recipe file mnie.yaml; did you mean `mine.yaml`\?"),
        ("nowhere/at/all.yaml", r"there is no recipe file nowhere/at/all.yaml$"),
        ("../recipes/tiny", r"there is no recipe named ../recipes/tiny"),
    ],
)
def test_what_is_not_there_names_what_is_near(tmp_path, monkeypatch, recipe, message):
    touch(tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=message):
        find(recipe)


def test_without_any_recipes_that_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"\(known: there are none\)$"):
        find("tiny", tmp_path)
