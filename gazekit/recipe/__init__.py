"""Recipes: a whole model, its data, training and evaluation as one short YAML file.

`load` reads one with its bases and overrides, `check` reports all that is wrong with it at once, `show`
prints what it comes to, and `Recipe.build` makes the parts.
"""

from gazekit.contracts.section import Fault, SectionError, build
from gazekit.recipe.library import folders, names
from gazekit.recipe.load import check, load, parse, show
from gazekit.recipe.schema import Recipe, RecipeError

__all__ = [
    "Fault", "Recipe", "RecipeError", "SectionError", "build", "check", "folders", "load", "names", "parse",
    "show",
]  # fmt: skip
