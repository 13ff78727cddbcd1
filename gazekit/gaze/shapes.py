"""Sizes of decoders by name, for counting without a model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from gazekit.contracts import Sizes

SHAPES: Mapping[str, Sizes] = {
    "qwen3-4b": Sizes(num_layers=36, num_heads=32, num_kv_heads=8, head_dim=128, hidden_dim=2560),
    "qwen2.5-7b": Sizes(num_layers=28, num_heads=28, num_kv_heads=4, head_dim=128, hidden_dim=3584),
    "tiny": Sizes(num_layers=3, num_heads=4, num_kv_heads=2, head_dim=32, hidden_dim=128),
}
"""The decoders of the paper, and that of `recipes/tiny.yaml`."""


def shape_of(text: str) -> Sizes:
    """Sizes by name, or by numbers: layers, heads, KV heads, head dim and, where it matters, hidden dim.

    >>> shape_of("2,4,2,8").hidden_dim
    32

    Args:
        text: Of `SHAPES`, or four or five numbers with commas between them; the hidden dim is heads x head dim
            where it is left out.

    Raises:
        ValueError: Neither, or heads that do not divide among the KV heads.
    """
    if text in SHAPES:
        return SHAPES[text]
    numbers = [int(word) if word.strip().isdecimal() else 0 for word in text.split(",")]
    if len(numbers) not in (4, 5) or min(numbers) < 1:
        near = difflib.get_close_matches(text, SHAPES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"shape must be one of {', '.join(SHAPES)}, or layers,heads,kv_heads,head_dim[,hidden_dim] in whole "
            f"numbers of at least 1, got {text!r}{hint}"
        )
    layers, heads, kv_heads, dim, *hidden = numbers
    if heads % kv_heads:
        raise ValueError(f"shape must have heads that divide among the KV heads, got {heads} and {kv_heads}")
    return Sizes(
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=dim,
        hidden_dim=hidden[0] if hidden else heads * dim,
    )
