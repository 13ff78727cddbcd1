"""Where a model meets its gaze: from the section in config.json to the composition in its decoder, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from gazekit.contracts.section import build, to_section
from gazekit.gaze import Gaze, compositions, install

Section = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def compose(section: Section | None, imports: Iterable[str] = ()) -> tuple[Gaze, ...]:
    """The compositions that a section describes; none for dense attention.

    Args:
        section: One section, or a list that cycles over the layers, as a recipe's `gaze:` has it.
        imports: Modules beside gazekit that the section may name.

    Raises:
        ValueError: The section is wrong, names what is neither gazekit's nor imported, or its compositions disagree
            on the context tokens.
    """
    if section is None:
        return ()
    single = isinstance(section, Mapping)
    found = build([section] if single else list(section), list[Gaze], imports)
    counts = sorted({_context_tokens(gaze) for gaze in found})
    if len(counts) != 1:
        raise ValueError(
            f"gaze must name at least one composition, all with the same number of context tokens, got {counts}: "
            "a unit's context tokens are shared by all layers"
        )
    return tuple(found)


def describe(gaze: Gaze | Sequence[Gaze]) -> dict | list:
    """The section that `compose` reads back."""
    return to_section(gaze) if isinstance(gaze, Gaze) else [to_section(one) for one in gaze]


def num_context(section: Section | None) -> int:
    """Context tokens that a section gives to each unit.

    Raises:
        ValueError: The context is a part of the user's own and does not write its `num_tokens`.
    """
    first = section if section is None or isinstance(section, Mapping) else next(iter(section), None)
    context = None if first is None else first.get("context")
    if context is None:
        return 0
    return int(context["num_tokens"]) if "num_tokens" in context else int(build(context).num_tokens)


def fit(decoder: nn.Module, gazes: Sequence[Gaze]) -> None:
    """Installs compositions in a decoder; none gives it its stock attention back."""
    if gazes:
        install(decoder, gazes)
    elif compositions(decoder):
        for layer in decoder.layers:
            del layer.self_attn.gaze
        decoder.set_attn_implementation("sdpa")


def _context_tokens(gaze: Gaze) -> int:
    return 0 if gaze.context is None else gaze.context.num_tokens
