"""Data: conversations about images and videos, and the sets that give them.

`ConversationData` and `DigitsData` bring Lightning in and are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gazekit.data.batches import EncodeConversations, PackedBatches
from gazekit.data.conversation import Conversation, Frames, Message, Slot
from gazekit.data.digits import DigitsTokenizer, ManyQuestions, MosaicSpec, SingleQuestion
from gazekit.data.mixing import (
    DenyPaths,
    DenySources,
    DurationStrata,
    HubSource,
    JsonSource,
    MinimumDuration,
    NotQuarantined,
    OnDisk,
    OnlyKeys,
    Stratum,
)
from gazekit.data.packing import balance, join, pack
from gazekit.data.records import JsonRows, Limits, read_record
from gazekit.data.windows import DigitsWindows

if TYPE_CHECKING:
    from gazekit.data.conversations import ConversationData as ConversationData
    from gazekit.data.module import DigitsData as DigitsData

__all__ = [
    "Conversation",
    "ConversationData",
    "DenyPaths",
    "DenySources",
    "DigitsData",
    "DigitsTokenizer",
    "DigitsWindows",
    "DurationStrata",
    "EncodeConversations",
    "Frames",
    "HubSource",
    "JsonRows",
    "JsonSource",
    "Limits",
    "ManyQuestions",
    "Message",
    "MinimumDuration",
    "MosaicSpec",
    "NotQuarantined",
    "OnDisk",
    "OnlyKeys",
    "PackedBatches",
    "SingleQuestion",
    "Slot",
    "Stratum",
    "balance",
    "join",
    "pack",
    "read_record",
]

_LAZY = {"ConversationData": "gazekit.data.conversations", "DigitsData": "gazekit.data.module"}


def __getattr__(name: str) -> object:
    """Loads a data module at first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
