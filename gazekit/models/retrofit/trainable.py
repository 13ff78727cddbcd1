"""Someone else's model divided into parts that are trained apart, its context tokens alone if need be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from gazekit.models.retrofit.lora import Lora, lora_modules, merge_lora

_IGNORED = -100
# What the vision towers of the Qwen family hold of the way from features to embeddings.
_IN_TOWER = ("merger", "deepstack_merger_list")


class ContextRows(nn.Module):
    """The embeddings of context tokens as parameters of their own, in place of rows of a frozen embedding.

    A frozen embedding has one tensor for its whole vocabulary: training some of its rows would give all of them
    gradients and optimizer states, and an output layer tied to it too. These rows, in fp32 whatever the model is,
    stand in for its own wherever their ids are looked up, until `fold` writes them back.

    Args:
        embedding: The model's input embedding.
        ids: Ids of the context tokens.

    Attributes:
        weight: The rows.
    """

    ids: Tensor
    embedding: nn.Embedding

    def __init__(self, embedding: nn.Embedding, ids: Sequence[int]) -> None:
        super().__init__()
        where = torch.tensor(list(ids), device=embedding.weight.device)
        self.register_buffer("ids", where, persistent=False)
        self.weight = nn.Parameter(embedding.weight.detach()[where].float())
        self.__dict__["embedding"] = embedding
        self.__dict__["hook"] = embedding.register_forward_hook(self._stand_in)

    def _stand_in(
        self, module: nn.Module, args: tuple[Tensor, ...], output: Float[Tensor, "*axes dim"]
    ) -> Float[Tensor, "*axes dim"]:
        found = args[0][..., None] == self.ids.to(args[0].device)
        # Gemma scales what it looks up.
        rows = self.weight * getattr(module, "embed_scale", 1.0)
        return torch.where(
            found.any(-1, keepdim=True), rows.to(output)[found.to(torch.uint8).argmax(-1)], output
        )

    @torch.no_grad()
    def fold(self) -> None:
        """Writes the rows into the embedding, which then looks them up itself."""
        whole = self.embedding.weight
        whole[self.ids] = self.weight.to(whole)
        self.hook.remove()


class TrainableRetrofit(nn.Module):
    """A retrofitted model as training takes it: its children are its parts.

    They are language, tower, projector, lora and context (the rows of its context tokens alone), each only where the
    model has it; what lies inside another part is listed behind it. The loss is computed on supervised tokens alone,
    so that a long prompt costs no logits, and over the words that generation may say, which the context tokens are not
    among.

    Args:
        model: What `apply_gaze` returned; trained in place.
        lora: Adapters to put into its decoder; None = none.

    Attributes:
        model: The same model.

    Raises:
        ValueError: `lora` names modules that the decoder does not have.
    """

    def __init__(self, model: PreTrainedModel, lora: Lora | None = None) -> None:
        super().__init__()
        # Not a child: its parts are, and each parameter belongs to one.
        self.__dict__["model"] = model
        decoder = model.get_decoder()
        if lora is not None:
            lora.insert(decoder)
        tower, head = model.get_encoder(modality="image"), model.get_output_embeddings()
        self.language_model = decoder
        if head is not None:
            self.lm_head = head
        self.tower = tower
        inner = [getattr(tower, name) for name in _IN_TOWER if hasattr(tower, name)]
        others = _rest(model, [tower, decoder, head])
        if inner or others.modules or others.parameters:
            self.projector = _Bundle([*inner, *others.modules], others.parameters)
        if lora is not None:
            self.lora = nn.ModuleList(lora_modules(decoder))
        ids = getattr(model.config, "gaze_context_ids", None)
        if ids:
            self.context = ContextRows(model.get_input_embeddings(), ids)

    @property
    def config(self) -> Any:
        """The model's."""
        return self.model.config

    def forward(
        self,
        input_ids: Int[Tensor, "batch token"],
        attention_mask: Tensor,
        labels: Int[Tensor, "batch token"],
        num_items_in_batch: int | Tensor | None = None,
        gaze_openness: float | None = None,
        **inputs: Any,
    ) -> Loss:
        """The loss of a batch: the sum over supervised tokens, over `num_items_in_batch` or their own number.

        Args:
            input_ids: Whole prompts with their answers.
            attention_mask: 1 = real, 0 = padding.
            labels: Token ids to predict, shifted inside; -100 = not supervised.
            num_items_in_batch: What the sum is divided by; None = the number of supervised tokens.
            gaze_openness: 1 = dense ... 0 = the target; None = where the schedule ends.
            **inputs: What else the processor returned: pixels, grids, token types.
        """
        wanted = labels[:, 1:]
        keep = (wanted != _IGNORED).any(dim=0).nonzero().flatten()
        logits = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            logits_to_keep=keep,
            use_cache=False,
            gaze_openness=gaze_openness,
            **inputs,
        ).logits.float()
        if silent := getattr(self.config, "gaze_context_ids", None):
            logits = logits.index_fill(-1, torch.tensor(list(silent), device=logits.device), float("-inf"))
        target = wanted[:, keep].to(logits.device)
        total = cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=_IGNORED, reduction="sum")
        count = (target != _IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return Loss(total / count)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Any = None) -> None:
        """The model's, under either of the names that transformers has for it."""
        kind = self._checkpointing
        enable = getattr(self.model, f"{kind}_checkpointing_enable")
        enable(**{f"{kind}_checkpointing_kwargs": gradient_checkpointing_kwargs})

    def gradient_checkpointing_disable(self) -> None:
        """The model's, likewise."""
        getattr(self.model, f"{self._checkpointing}_checkpointing_disable")()

    @property
    def is_gradient_checkpointing(self) -> bool:
        """The model's, likewise."""
        return bool(getattr(self.model, f"is_{self._checkpointing}_checkpointing"))

    @property
    def _checkpointing(self) -> str:
        return "activation" if hasattr(self.model, "activation_checkpointing_enable") else "gradient"

    def fold(self) -> PreTrainedModel:
        """Ends training: rows go back into the embedding, adapters into the weights that they adapt.

        Returns:
            The model, with no other parameters than before.
        """
        if hasattr(self, "context"):
            self.context.fold()
            del self.context
        if hasattr(self, "lora"):
            merge_lora(self.language_model)
            del self.lora
        return self.model

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Ends training (`fold`) and saves the model, as its own `save_pretrained` does."""
        self.fold().save_pretrained(folder)


@dataclass(frozen=True)
class Loss:
    """What a training step returns.

    Attributes:
        loss: The loss.
    """

    loss: Float[Tensor, ""]


class _Bundle(nn.Module):
    """Modules and loose parameters as one part."""

    def __init__(self, modules: Sequence[nn.Module], parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.inside = nn.ModuleList(modules)
        self.loose = nn.ParameterList(parameters)


@dataclass(frozen=True)
class _Rest:
    modules: list[nn.Module]
    parameters: list[nn.Parameter]


def _rest(model: nn.Module, known: Iterable[nn.Module | None]) -> _Rest:
    """The largest modules, and loose parameters, that hold nothing of the known ones."""
    inside = {part for module in known if module is not None for part in module.modules()}
    found = _Rest([], [])

    def walk(module: nn.Module) -> Iterator[nn.Module]:
        if module in inside or next(module.parameters(), None) is None:
            return
        if inside.isdisjoint(module.modules()):
            yield module
            return
        found.parameters.extend(p for p in module.parameters(recurse=False))
        for child in module.children():
            yield from walk(child)

    found.modules.extend(walk(model))
    return found
