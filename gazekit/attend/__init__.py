"""Look: one softmax over all visible entries, by backends that all mean the same."""

from gazekit.attend.choose import choose, refusals
from gazekit.attend.gather import GatherBackend
from gazekit.attend.masked import MaskedBackend
from gazekit.attend.native import NativeBackend
from gazekit.attend.reference import ReferenceBackend
from gazekit.attend.triton import TritonBackend

__all__ = [
    "GatherBackend",
    "MaskedBackend",
    "NativeBackend",
    "ReferenceBackend",
    "TritonBackend",
    "choose",
    "refusals",
]
