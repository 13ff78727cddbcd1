"""An answered question with everything that a picture of the gaze needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image


@dataclass(frozen=True, eq=False)
class Example:
    """One image, one question, and for each word of the answer the regions that every head chose.

    Attributes:
        image: What the model saw.
        question: What was asked.
        expected: Words of the right answer.
        said: Words that were generated.
        glances: Regions chosen when each word was written, -1 = empty.
        box: Half-open ranges of each region along (t, y, x), in tokens.
        masks: True = a pixel of what the word describes; all False where it describes no place.
    """

    image: Image.Image
    question: str
    expected: tuple[str, ...]
    said: tuple[str, ...]
    glances: Int[np.ndarray, "word layer head slot"]
    box: Int[np.ndarray, "region 3 2"]
    masks: Bool[np.ndarray, "word height width"]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens over the image."""
        return int(self.box[:, 1, 1].max()), int(self.box[:, 2, 1].max())

    def chosen_share(self, word: int) -> np.ndarray:
        """Share of all layers' heads that chose each region for a word, `[region]`."""
        picks = self.glances[word].reshape(-1, self.glances.shape[-1])
        counts = np.zeros(len(self.box))
        for pick in picks:
            counts[pick[pick >= 0]] += 1
        return counts / len(picks)
