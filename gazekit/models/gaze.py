"""Where a model meets its gaze: from the section in config.json to the composition in its decoder, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from gazekit.contracts import Guide, Kind, TokenLayout
from gazekit.contracts.section import build, to_section
from gazekit.gaze import Gaze, install, uninstall

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
    counts = sorted({context_tokens([gaze]) for gaze in found})
    if len(counts) != 1:
        raise ValueError(
            f"gaze must name at least one composition, all with the same number of context tokens, got {counts}: "
            "a unit's context tokens are shared by all layers"
        )
    return tuple(found)


def section_of(
    gaze: Gaze | Sequence[Gaze | Mapping[str, Any]] | Mapping[str, Any] | None,
) -> dict | list | None:
    """The section that `compose` reads back: compositions are written down, sections stay as they are."""
    if gaze is None:
        return None
    if isinstance(gaze, (Gaze, Mapping)):
        return _written(gaze)
    return [_written(one) for one in gaze]


def context_tokens(gazes: Sequence[Gaze]) -> int:
    """Context tokens that compositions, which agree on them, give to each unit."""
    return gazes[0].num_context if gazes else 0


def num_context(section: Section | None) -> int:
    """Context tokens that a section gives to each unit.

    Raises:
        ValueError: The context is a part of the user's own and does not write its `num_tokens`.
    """
    first = section if section is None or isinstance(section, Mapping) else next(iter(section), None)
    if first is None:
        return 0
    contexts = [one.get("context") for one in (first, *(first.get("branches") or ()))]
    return max(0 if context is None else _num_tokens(context) for context in contexts)


def _num_tokens(context: Mapping[str, Any]) -> int:
    return int(context["num_tokens"]) if "num_tokens" in context else int(build(context).num_tokens)


def guides(gazes: Sequence[Gaze]) -> list[Guide]:
    """What compositions have written into each layout, each guide once."""
    found: list[Guide] = []
    for gaze in gazes:
        if gaze.guide is not None and gaze.guide not in found:
            found.append(gaze.guide)
    return found


def guided(
    layout: TokenLayout, gazes: Sequence[Gaze], pixels: Float[Tensor, "batch unit 3 height width"]
) -> TokenLayout:
    """The layout with what the compositions' guides see in the pixels.

    Raises:
        ValueError: Two guides write the same field, of which a prompt has but one.
    """
    if not bool((layout.kind == Kind.VISUAL).any()):
        return layout
    for guide in guides(gazes):
        told = guide(layout, pixels)
        for name in ("segment", "prior"):
            before = getattr(layout, name)
            if before is not None and getattr(told, name) is not before:
                raise ValueError(
                    f"guide must be one for all layers, got {type(guide).__name__} and another that writes "
                    f"layout.{name} too; a prompt has one"
                )
        layout = told
    return layout


def fit(decoder: nn.Module, gazes: Sequence[Gaze]) -> None:
    """Installs compositions in a decoder; none gives it its stock attention back."""
    if gazes:
        install(decoder, gazes)
    else:
        uninstall(decoder)


def _written(gaze: Gaze | Mapping[str, Any]) -> dict[str, Any]:
    section = gaze if isinstance(gaze, Mapping) else to_section(gaze)
    assert isinstance(section, Mapping), "a composition is written as a mapping"
    return dict(section)
