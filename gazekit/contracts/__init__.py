"""What passes between rooms: frozen dataclasses and protocols (level 0)."""

from gazekit.contracts.attention import Entries, Keeps, Plan, by_owner, in_view, reachable, to_heads, visible
from gazekit.contracts.layout import TokenLayout
from gazekit.contracts.look import Described, Look, Selection, Sizes, View
from gazekit.contracts.parts import Backend, Context, Partitioner, Pooler, Router, Schedule, Store
from gazekit.contracts.regions import Regions, Rows, complete_regions, regions_from_owner
from gazekit.contracts.tokens import Kind, Tokens, concatenate

__all__ = [
    "Backend", "Context", "Described", "Entries", "Keeps", "Kind", "Look", "Partitioner", "Plan", "Pooler",
    "Regions", "Router", "Rows", "Schedule", "Selection", "Sizes", "Store", "TokenLayout", "Tokens", "View",
    "by_owner", "complete_regions", "concatenate", "in_view", "reachable", "regions_from_owner", "to_heads",
    "visible",
]  # fmt: skip
