"""Looking (level 3): pictures and pages of what a model looked at."""

from gazekit.view.examples import Example
from gazekit.view.figures import save_curves, save_glances
from gazekit.view.page import Picture, Table, write_page

__all__ = ["Example", "Picture", "Table", "save_curves", "save_glances", "write_page"]
