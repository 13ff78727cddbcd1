"""Which rows of which sources come when: sources, filters, mixtures."""

from gazekit.data.mixing.filters import (
    DenyPaths,
    DenySources,
    MinimumDuration,
    NotQuarantined,
    OnDisk,
    OnlyKeys,
    RowFilter,
)
from gazekit.data.mixing.mixture import InOrder, Mixture, Order, Place
from gazekit.data.mixing.row import Row
from gazekit.data.mixing.select import RowSelection, Selected, VideoLength, select_rows
from gazekit.data.mixing.sources import HubSource, JsonSource, OpenSource, Source
from gazekit.data.mixing.strata import DurationStrata, Stratum

__all__ = [
    "DenyPaths",
    "DenySources",
    "DurationStrata",
    "HubSource",
    "InOrder",
    "JsonSource",
    "MinimumDuration",
    "Mixture",
    "NotQuarantined",
    "OnDisk",
    "OnlyKeys",
    "OpenSource",
    "Order",
    "Place",
    "Row",
    "RowFilter",
    "RowSelection",
    "Selected",
    "Source",
    "Stratum",
    "VideoLength",
    "select_rows",
]
