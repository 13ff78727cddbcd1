"""Which backend does a plan."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Mapping

import torch

from gazekit.attend.flex import FlexBackend, compiles_for_little
from gazekit.attend.gather import GatherBackend, whole_is_cheaper
from gazekit.attend.masked import MaskedBackend
from gazekit.attend.native import NativeBackend
from gazekit.attend.reference import ReferenceBackend
from gazekit.attend.triton import TritonBackend
from gazekit.attend.xformers import XformersBackend
from gazekit.contracts import Backend, Entries, Plan

_log = logging.getLogger(__name__)

_BACKENDS: dict[str, Backend] = {
    "reference": ReferenceBackend(),
    "masked": MaskedBackend(),
    "gather": GatherBackend(),
    "native": NativeBackend(),
    "flex": FlexBackend(),
    "triton": TritonBackend(),
    "xformers": XformersBackend(),
}
_PREFERENCE = ("triton", "native", "gather", "flex", "masked")
_said: set[str] = set()
# Why "auto" passes by one that can.
_PASSED_BY: Mapping[str, Callable[[Entries, Plan], str | None]] = {
    "gather": whole_is_cheaper,
    "flex": compiles_for_little,
}


def choose(name: str, entries: Entries, plan: Plan) -> Backend:
    """The backend of that name, or for "auto" the first that can and pays of triton, native, gather, flex, masked.

    What "auto" takes, and why not those before it, is logged once for each answer that differs.

    Raises:
        ValueError: The name is unknown, or the backend of that name refuses the plan.
    """
    check_backend_name(name)
    if name == "auto":
        return _BACKENDS[_automatic(entries, plan)]
    reason = _BACKENDS[name].refuses(entries, plan)
    if reason is not None:
        raise ValueError(f"backend {name!r} cannot do this: {reason}; use backend='auto'")
    return _BACKENDS[name]


def check_backend_name(name: str) -> None:
    """Refuses a name that no backend has, before there is a plan to ask about.

    Raises:
        ValueError: The name is unknown.
    """
    known = ["auto", *_BACKENDS]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"backend must be one of {', '.join(known)}, got {name!r}; did you mean {near!r}?")


def refusals(entries: Entries, plan: Plan) -> dict[str, str | None]:
    """Why each backend cannot do a plan, by name; None = it can."""
    return {name: backend.refuses(entries, plan) for name, backend in _BACKENDS.items()}


def _automatic(entries: Entries, plan: Plan) -> str:
    """The name of the first of the preferred that can and pays; the last of them can do everything."""
    passed: dict[str, str] = {}
    for name in _PREFERENCE:
        reason = _BACKENDS[name].refuses(entries, plan)
        if reason is None and name in _PASSED_BY:
            reason = _PASSED_BY[name](entries, plan)
        if reason is None:
            if not torch.compiler.is_compiling():
                _say(name, passed)
            return name
        passed[name] = reason
    raise AssertionError("masked refuses nothing")


def _say(name: str, passed: Mapping[str, str]) -> None:
    why = "".join(f"; not {other}: {reason}" for other, reason in passed.items())
    after = _PREFERENCE[_PREFERENCE.index(name) + 1 :]
    why += f"; not asked: {', '.join(after)}" if after else ""
    # The same but for its numbers is the same answer.
    answer = name + re.sub(r"\d+", "", why)
    if answer not in _said:
        _said.add(answer)
        _log.info("backend auto: %s%s", name, why)
