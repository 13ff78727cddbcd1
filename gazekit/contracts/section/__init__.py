"""Parts written down: a tree of plain values, in a recipe or in a checkpoint's config.json, and back.

A mapping with `_target_` names a class by its import path; its other keys are the arguments of that class,
whose signature is the schema. Reading never runs code that was not asked for: only what lives in gazekit, or
in a module that the caller lists, can be named.
"""

from gazekit.contracts.section.faults import Fault, SectionError, join, nearest
from gazekit.contracts.section.imports import admit
from gazekit.contracts.section.marks import Implied, Node, Written
from gazekit.contracts.section.reader import build, check
from gazekit.contracts.section.resolve import TARGET, TargetError, public_name, resolve
from gazekit.contracts.section.write import to_section

__all__ = [
    "TARGET", "Fault", "Implied", "Node", "SectionError", "TargetError", "Written", "admit", "build", "check",
    "join", "nearest", "public_name", "resolve", "to_section",
]  # fmt: skip
