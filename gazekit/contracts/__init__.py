"""What passes between rooms: frozen dataclasses and protocols (level 0)."""

from gazekit.contracts.attention import Entries, Keeps, Plan, by_owner, in_view, reachable, to_heads, visible
from gazekit.contracts.layout import TokenLayout
from gazekit.contracts.look import Described, Look, Selection, Sizes, Summary, View
from gazekit.contracts.parts import (
    Backend,
    Combine,
    Context,
    Featuring,
    Guide,
    Learned,
    Partitioner,
    Pooler,
    Router,
    RoutingLoss,
    Schedule,
    Sparing,
    Storage,
    Store,
    Summarizer,
)
from gazekit.contracts.regions import Regions, Rows, complete_regions, regions_from_owner, tokens_at
from gazekit.contracts.tokens import Kind, Tokens, concatenate
from gazekit.contracts.too_long import TooLongError

__all__ = [
    "Backend", "Combine", "Context", "Described", "Entries", "Featuring", "Guide", "Keeps", "Kind", "Learned",
    "Look", "Partitioner", "Plan", "Pooler", "Regions", "Router", "RoutingLoss", "Rows", "Schedule", "Selection",
    "Sizes", "Sparing", "Storage", "Store", "Summarizer", "Summary", "TokenLayout", "Tokens", "TooLongError", "View",
    "by_owner", "complete_regions", "concatenate", "in_view", "reachable", "regions_from_owner", "to_heads",
    "tokens_at", "visible",
]  # fmt: skip
