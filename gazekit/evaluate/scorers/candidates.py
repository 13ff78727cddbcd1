"""A choice out of a sentence, as MMMU's script and its descendants look for it."""

from __future__ import annotations

from collections.abc import Mapping

_EDGES = ",.!?;:'"
_MIN_WORDS = 6
"""Texts of options are looked for in longer answers only."""


def pad(response: str) -> str:
    """Without punctuation at its ends, between blanks."""
    for edge in _EDGES:
        response = response.strip(edge)
    return f" {response} "


def named_choice(response: str, options: Mapping[str, str]) -> str | None:
    """The letter that a sentence answers with; None if it names none (MMMU's script then guesses).

    Letters in brackets, else letters before a blank ("NASA built it" is A), else letters before a full stop, else, in
    answers of more than five words, the texts of options. Among several the last wins.

    Source: MMMU, `parse_multi_choice_response`, as in lmms-eval 0.7.3.

    Args:
        response: What was said.
        options: Texts by capital letter, in order.
    """
    response = pad(response)
    for form, place in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        there = [letter for letter in options if form.format(letter) in response]
        if there:
            # max() keeps the first of equals: letters that do not stand alone are all at -1.
            return max(there, key=lambda letter: response.rfind(place.format(letter)))
    there = texts_in(response, options)
    lowered = response.lower()
    return max(there, key=lambda letter: lowered.rfind(options[letter].lower())) if there else None


def texts_in(response: str, options: Mapping[str, str]) -> list[str]:
    """The letters of the options whose texts are in an answer of more than five words."""
    if len(response.split()) < _MIN_WORDS:
        return []
    lowered = response.lower()
    return [letter for letter, text in options.items() if text.lower() in lowered]
