"""Low-rank adapters in the decoder of a Cambrian, for as long as they are trained."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from gazekit.models.retrofit.lora import Lora, lora_modules, merge_lora


class TakesLora:
    """What a class of models adds to take adapters in, and to leave no trace of them in what it saves.

    Attributes:
        lora: The adapters' own layers while they are trained, a part of their own; None = there are none.
    """

    language_model: nn.Module
    lora: nn.ModuleList | None

    def add_lora(self, lora: Lora) -> None:
        """Puts low-rank adapters, which change nothing yet, into the decoder: the part "lora" of training.

        Raises:
            ValueError: The decoder has none of the layers that it names.
        """
        lora.insert(self.language_model)
        self.lora = nn.ModuleList(lora_modules(self.language_model))

    def fold(self) -> None:
        """Adds adapters to the weights that they adapt and takes them out; the model says what it said."""
        if self.lora is not None:
            merge_lora(self.language_model)
            self.lora = None

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """`PreTrainedModel.save_pretrained`; adapters are folded in first."""
        self.fold()
        cast(Any, super()).save_pretrained(save_directory, *args, **kwargs)
