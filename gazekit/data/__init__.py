"""Data: conversations about images, and the sets that give them.

`DigitsData` and `DigitsWindows` bring Lightning in and are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gazekit.data.conversation import Conversation, Message, Slot
from gazekit.data.digits import ManyQuestions, MosaicSpec, SingleQuestion

if TYPE_CHECKING:
    from gazekit.data.module import DigitsData as DigitsData
    from gazekit.data.module import DigitsWindows as DigitsWindows

_LAZY = ("DigitsData", "DigitsWindows")

__all__ = ["Conversation", "ManyQuestions", "Message", "MosaicSpec", "SingleQuestion", "Slot", *_LAZY]


def __getattr__(name: str) -> object:
    """Loads the data modules at first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("gazekit.data.module"), name)
    globals()[name] = value
    return value
