"""Looking (level 3): pictures and pages of what a model looked at, and of what each room does."""

from gazekit.view.examples import Example
from gazekit.view.field import Field
from gazekit.view.figures import save_curves, save_glances
from gazekit.view.maps import save_maps, save_regions, save_schedule, save_selection
from gazekit.view.page import Picture, Table, write_page
from gazekit.view.strips import save_entries, save_visible

__all__ = [
    "Example", "Field", "Picture", "Table", "save_curves", "save_entries", "save_glances", "save_maps", "save_regions",
    "save_schedule", "save_selection", "save_visible", "write_page",
]  # fmt: skip
