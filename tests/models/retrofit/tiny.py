"""Tiny random VLMs, one case for each architecture: a model whose attention is sharp, and how it writes a prompt.

A case is a file's worth of an architecture: `build` makes the model, `write` turns rows of pieces into the inputs that
its processor would return. The scenes are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

VOCABULARY = 120
# Ids that only images use; text is drawn below, and answers never hold one.
SPECIAL = range(100, VOCABULARY)
PAD, IMAGE, VIDEO, BEGIN, END = 0, 110, 111, 112, 113

TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": PAD,
}


@dataclass(frozen=True)
class Image:
    """A picture of so many rows and columns of visual tokens (of about that shape, where sizes are fixed)."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Video:
    """So many steps in time of such pictures."""

    frames: int
    rows: int
    columns: int


Piece = int | Image | Video
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """One architecture.

    Attributes:
        build: Makes the model, in eval mode, with stock attention.
        write: Inputs of a left-padded batch; a number in a row stands for so many text tokens.
        video: Whether it takes videos.
        size: Rows and columns of a region that divides an image of this architecture into several.
    """

    build: Callable[[], PreTrainedModel]
    write: Callable[[Sequence[Sequence[Piece]]], Inputs]
    video: bool = True
    size: tuple[int, int] = (2, 2)


SCENES: dict[str, list[list[Piece]]] = {
    "one image": [[3, Image(4, 4), 4]],
    "two images": [[2, Image(3, 4), 2, Image(4, 2), 3]],
    "video": [[2, Video(4, 2, 4), 4]],
    "left-padded batch": [[2, Image(4, 2), 3], [5], [1, Image(3, 4), 2, Image(2, 2), 2]],
    "text": [[6]],
}


def finished(model: PreTrainedModel, sharpness: float = 3.0) -> PreTrainedModel:
    """Makes the attention of the language model sharp, so that routing matters, and answers of plain text."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.get_decoder().named_parameters():
            if parameter.ndim == 2:
                parameter.mul_(sharpness)
            elif "norm" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.generation_config.suppress_tokens = list(SPECIAL)
    model.generation_config.pad_token_id = PAD
    return model.eval()


def checkpointed(model: PreTrainedModel) -> PreTrainedModel:
    """A model that trains with its activations computed again in the backward pass."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    return model.train()


def padded(rows: Sequence[Sequence[int]]) -> Inputs:
    """Left-padded ids and their mask."""
    longest = max(map(len, rows))
    ids = torch.tensor([[PAD] * (longest - len(row)) + list(row) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def written(rows: Sequence[Sequence[Piece]], show: Callable[[Image | Video], list[int]]) -> list[list[int]]:
    """The ids of rows: random text, and what `show` says of each picture, called in order."""
    generator = torch.Generator().manual_seed(7)

    def ids(piece: Piece) -> list[int]:
        if isinstance(piece, int):
            return torch.randint(2, SPECIAL.start, (piece,), generator=generator).tolist()
        return show(piece)

    return [[number for piece in row for number in ids(piece)] for row in rows]


def pixels(*shape: int, seed: int = 3) -> Tensor:
    """Random pixels."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def longer(inputs: Inputs, tokens: Tensor) -> Inputs:
    """The same prompts with an answer of plain text behind each."""
    length = inputs["input_ids"].shape[1]
    behind = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    aligned = {name for name in ("mm_token_type_ids", "token_type_ids") if name in inputs}
    behind |= {name: torch.zeros_like(tokens) for name in aligned}
    assert all(inputs[name].shape[1] == length for name in behind)
    return inputs | {name: torch.cat([inputs[name], value], dim=1) for name, value in behind.items()}
