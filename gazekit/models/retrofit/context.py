"""Context tokens of a model that was trained without: added rows of its vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from gazekit.models.retrofit.processors.context import emit_context

TOKEN = "<|gaze_ctx_{}|>"
# Of the spread of the rows that there are: rows that differ at all learn to say different things.
_SPREAD = 0.1


@torch.no_grad()
def add_context_tokens(model: PreTrainedModel, processor: ProcessorMixin, num: int) -> list[int]:
    """Gives every image and frame context tokens: rows of the vocabulary that the processor writes behind it.

    The tokenizer gets the tokens `<|gaze_ctx_0|>` and so on, the embedding their rows, drawn near the mean row under
    torch's seed. Generation never says one (`generation_config.suppress_tokens`). Doing it again changes nothing but
    a processor that does not write them yet: rows that the model has are kept. Saved, model and processor open as
    the stock classes.

    Args:
        model: Changed in place; its `config.gaze_context_ids` says the ids.
        processor: The model's, changed in place.
        num: Context tokens of a unit, at least 1.

    Returns:
        Their ids, in order.

    Raises:
        ValueError: `num` is below 1, the processor is none that expands images, or its context tokens have other ids
            than the model's.
    """
    if num < 1:
        raise ValueError(
            f"num must be at least 1, got {num}; leave the context of the composition out for none"
        )
    tokens = [TOKEN.format(index) for index in range(num)]
    tokenizer = processor.tokenizer
    known = list(getattr(model.config, "gaze_context_ids", None) or [])
    missing = [token for token in tokens if token not in tokenizer.get_vocab()]
    if TOKEN.format(0) in missing and known:
        raise ValueError(
            f"processor must be the one that was saved with the model, whose context tokens are {known}: this one's "
            "tokenizer has none; load it from the model's folder"
        )
    emit_context(processor, tokens)
    if missing:
        tokenizer.add_tokens(missing, special_tokens=True)
    ids = [int(one) for one in tokenizer.convert_tokens_to_ids(tokens)]
    if (both := min(num, len(known))) and ids[:both] != known[:both]:
        raise ValueError(
            f"the processor's context tokens must have the ids {known[:both]} that the model was saved with, got "
            f"{ids[:both]}; load both from the same folder"
        )
    settled = {*known, *_silent(model)}
    _write_rows(model, [one for one in ids if one not in settled])
    model.config.gaze_context_ids = ids if num >= len(known) else known[:num]
    _suppress(model, ids)
    return ids


def _write_rows(model: PreTrainedModel, ids: Sequence[int]) -> None:
    """Draws embedding rows; where the output layer has rows of its own, theirs are zero."""
    if not ids:
        return
    old = model.get_input_embeddings().weight
    common = old[: min(min(ids), len(old))]
    mean = common.mean(dim=0, dtype=torch.float32)
    spread = torch.linalg.vector_norm(common, dtype=torch.float32) / common.numel() ** 0.5
    if max(ids) >= len(old):
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    drawn = torch.randn(len(ids), old.shape[1]).to(mean.device)
    rows = mean + _SPREAD * spread * drawn
    index = torch.tensor(list(ids), device=embedding.weight.device)
    if head is not None and head.weight is not embedding.weight:
        head.weight[index] = 0
    embedding.weight[index] = rows.to(embedding.weight)


def _silent(model: PreTrainedModel) -> list[int]:
    """What generation never says: rows that were drawn for context tokens before gaze was taken out are among it."""
    return list(getattr(getattr(model, "generation_config", None), "suppress_tokens", None) or [])


def _suppress(model: PreTrainedModel, ids: Sequence[int]) -> None:
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.suppress_tokens = sorted({*_silent(model), *ids})


def context_rows(model: PreTrainedModel) -> Tensor:
    """The embedding rows of a model's context tokens, `[slot dim]`, a copy.

    Raises:
        ValueError: The model has none.
    """
    ids = list(getattr(model.config, "gaze_context_ids", None) or [])
    if not ids:
        raise ValueError(
            "model must have context tokens, has none; apply a composition with LearnedContext, and its processor"
        )
    embedding: Tensor = model.get_input_embeddings().weight
    return embedding.detach()[ids].clone()
