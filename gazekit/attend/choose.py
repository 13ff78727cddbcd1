"""Which backend does a plan."""

from __future__ import annotations

import difflib

from gazekit.attend.gather import GatherBackend
from gazekit.attend.masked import MaskedBackend
from gazekit.attend.native import NativeBackend
from gazekit.attend.reference import ReferenceBackend
from gazekit.attend.triton import TritonBackend
from gazekit.contracts import Backend, Entries, Plan

_BACKENDS: dict[str, Backend] = {
    "reference": ReferenceBackend(),
    "masked": MaskedBackend(),
    "gather": GatherBackend(),
    "native": NativeBackend(),
    "triton": TritonBackend(),
}
_PREFERENCE = ("triton", "native", "gather", "masked")


def choose(name: str, entries: Entries, plan: Plan) -> Backend:
    """The backend of that name, or for "auto" the first that can of triton, native, gather, masked.

    Raises:
        ValueError: The name is unknown, or the backend of that name refuses the plan.
    """
    if name == "auto":
        return next(_BACKENDS[each] for each in _PREFERENCE if _BACKENDS[each].refuses(entries, plan) is None)
    if name not in _BACKENDS:
        known = ["auto", *_BACKENDS]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"backend must be one of {', '.join(known)}, got {name!r}; did you mean {near!r}?")
    reason = _BACKENDS[name].refuses(entries, plan)
    if reason is not None:
        raise ValueError(f"backend {name!r} cannot do this: {reason}; use backend='auto'")
    return _BACKENDS[name]


def refusals(entries: Entries, plan: Plan) -> dict[str, str | None]:
    """Why each backend cannot do a plan, by name; None = it can."""
    return {name: backend.refuses(entries, plan) for name, backend in _BACKENDS.items()}
