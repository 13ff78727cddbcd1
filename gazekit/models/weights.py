"""Weights of learned parts of gaze: in a file of their own, so that the stock checkpoint keeps its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import cached_file

from gazekit.gaze import holders, rebind

FILE = "gaze.safetensors"
"""Lies beside the checkpoint."""

_MARK = ".gaze_parts."
_HUB = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


@dataclass(frozen=True)
class StateSplit:
    """A state dict in two.

    Attributes:
        stock: What the model has without gaze, under its own keys.
        gaze: The weights of learned parts.
    """

    stock: dict[str, Tensor]
    gaze: dict[str, Tensor]


def split_state(state: Mapping[str, Tensor]) -> StateSplit:
    """Tells the weights of learned parts from those that the model has anyway."""
    ours = {key: value for key, value in state.items() if _MARK in f".{key}"}
    return StateSplit({key: value for key, value in state.items() if key not in ours}, ours)


def save_parts(model: PreTrainedModel, folder: str | Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Writes the weights of a model's learned parts into `gaze.safetensors`; without any, no such file is left.

    Args:
        model: Any model with gaze, or without.
        folder: Where the checkpoint lies.
        state: Its state dict, where another than the model's own is saved.
    """
    file = Path(folder) / FILE
    ours = split_state(model.state_dict() if state is None else state).gaze
    if ours:
        save_file({key: value.detach().contiguous().clone() for key, value in ours.items()}, file)
    else:
        file.unlink(missing_ok=True)


def load_parts(model: PreTrainedModel, source: str | Path, **hub: Any) -> None:
    """Reads what `save_parts` wrote into a model that has the same composition.

    Args:
        model: Its learned parts are drawn anew first: who made it from a checkpoint did not know how they begin.
        source: Folder or hub name of the checkpoint.
        **hub: For a hub name, as `from_pretrained` takes them: revision, token and the like.

    Raises:
        ValueError: The file is missing though the model has learned parts, or does not hold what they need.
    """
    wanted = bool(holders(model))
    if not wanted and not Path(source).is_dir():
        return
    rebind(model)
    file = cached_file(source, FILE, _raise_exceptions_for_missing_entries=False, **hub)
    if file is None:
        if wanted:
            raise ValueError(
                f"{source} must hold {FILE}, the weights of the learned parts of its gaze, and does not; "
                "load it with the composition that it was saved with, then set_gaze"
            )
        return
    given, own = load_file(file), split_state(model.state_dict()).gaze
    missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    misshapen = sorted(key for key in own.keys() & given.keys() if own[key].shape != given[key].shape)
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    said = "; ".join(f"{_some(keys)} {word}" for word, keys in faults.items() if keys)
    if said:
        raise ValueError(
            f"{FILE} does not fit this model's gaze: {said}; use the composition that it was saved with"
        )
    model.load_state_dict(given, strict=False)


class SavesParts:
    """What a class of models adds to its own saving and loading, so that learned parts lie in a file of their own."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """`PreTrainedModel.from_pretrained`, and the weights of the composition's learned parts, from their own file.

        Raises:
            ValueError: Those weights are missing, or are not this composition's.
        """
        hub = {name: kwargs[name] for name in _HUB if name in kwargs}
        found = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)  # type: ignore[misc]
        if pretrained_model_name_or_path is not None:
            load_parts(found[0] if isinstance(found, tuple) else found, pretrained_model_name_or_path, **hub)
        return found

    def save_pretrained(
        self,
        save_directory: Any,
        is_main_process: bool = True,
        state_dict: dict[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        """`PreTrainedModel.save_pretrained`; learned parts of gaze go into `gaze.safetensors`, beside it."""
        model = cast(PreTrainedModel, self)
        state = model.state_dict() if state_dict is None else state_dict
        super().save_pretrained(save_directory, is_main_process, split_state(state).stock, **kwargs)  # type: ignore[misc]
        if is_main_process:
            save_parts(model, save_directory, state)


def _some(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
