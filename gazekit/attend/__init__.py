"""Look: one softmax over all visible entries, by backends that all mean the same."""

from gazekit.attend.choose import check_backend_name, choose, refusals
from gazekit.attend.flex import FlexBackend
from gazekit.attend.gather import GatherBackend
from gazekit.attend.masked import MaskedBackend
from gazekit.attend.native import NativeBackend
from gazekit.attend.reference import ReferenceBackend
from gazekit.attend.triton import TritonBackend
from gazekit.attend.xformers import XformersBackend

__all__ = [
    "FlexBackend",
    "GatherBackend",
    "MaskedBackend",
    "NativeBackend",
    "ReferenceBackend",
    "TritonBackend",
    "XformersBackend",
    "check_backend_name",
    "choose",
    "refusals",
]
