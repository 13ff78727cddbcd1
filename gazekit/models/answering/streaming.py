"""An answer word by word, exactly as it will stand in the end."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers.generation.streamers import BaseStreamer

_FIRST_WIDE = "\u2e80"  # from here on scripts are written without spaces


class WordStreamer(BaseStreamer):
    """Says each word of an answer as soon as no later token can change it.

    All tokens are decoded each time, so that what was said, joined, is what decoding the whole answer gives. White
    space at both ends is left out, as it is from answers.

    Args:
        decode: Tokens to text.
        say: Told of each further piece of text.
    """

    def __init__(self, decode: Callable[[list[int]], str], say: Callable[[str], object]) -> None:
        self.decode, self.say = decode, say
        self.tokens: list[int] = []
        self.said = ""
        self._prompt = True

    def put(self, value: Tensor) -> None:
        """Takes the prompt first, then token after token."""
        if self._prompt:
            self._prompt = False
            return
        self.tokens += value.reshape(-1).tolist()
        self._tell(settled(self.decode(self.tokens).lstrip()))

    def end(self) -> None:
        """Says the rest."""
        self._tell(self.decode(self.tokens).strip())

    def _tell(self, text: str) -> None:
        if len(text) > len(self.said) and text.startswith(self.said):
            self.say(text[len(self.said) :])
            self.said = text


def settled(text: str) -> str:
    """The beginning of a text that tokens behind it leave as it is: whole words, without the space behind them."""
    if text and text[-1] >= _FIRST_WIDE and text[-1] != "\ufffd":
        return text
    whole: Any = re.match(r"(.*\S)(?=\s)", text, re.DOTALL)
    return whole[1] if whole else ""
