"""Data: conversations about images, and the sets that give them.

`DigitsData` brings Lightning in and is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gazekit.data.batches import EncodeConversations, PackedBatches
from gazekit.data.conversation import Conversation, Message, Slot
from gazekit.data.digits import DigitsTokenizer, ManyQuestions, MosaicSpec, SingleQuestion
from gazekit.data.packing import balance, join, pack
from gazekit.data.windows import DigitsWindows

if TYPE_CHECKING:
    from gazekit.data.module import DigitsData as DigitsData

__all__ = [
    "Conversation",
    "DigitsData",
    "DigitsTokenizer",
    "DigitsWindows",
    "EncodeConversations",
    "ManyQuestions",
    "Message",
    "MosaicSpec",
    "PackedBatches",
    "SingleQuestion",
    "Slot",
    "balance",
    "join",
    "pack",
]


def __getattr__(name: str) -> object:
    """Loads the data module at first use (PEP 562)."""
    if name != "DigitsData":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("gazekit.data.module"), name)
    globals()[name] = value
    return value
