"""What a model is made of, told from its config: nothing is downloaded, no weight is given memory."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig

from gazekit.contracts import Sizes, TokenLayout
from gazekit.gaze import Gaze, prompt_layout
from gazekit.models.cambrian import CambrianForConditionalGeneration
from gazekit.models.config import CambrianConfig
from gazekit.models.gaze import Section, compose, context_tokens, section_of
from gazekit.models.retrofit import Adapter, Media, Medium, layout_of_media
from gazekit.models.retrofit.architectures import adapter_of

Pixels = tuple[int, int]

_PROJECTOR = {"multi_modal_projector", "connector", "merger", "deepstack_merger_list", "image_newline"}
_VISION = {"visual", "vision_tower", "vision_model"}
_LANGUAGE = {"language_model", "text_model", "lm_head"}
_DEFAULT: Pixels = (448, 448)
# Rows of visual tokens that an uncut image is tried with.
_MOST_SIDE = 96


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """A model as its config describes it.

    Attributes:
        parameters: How many there are in each part, each counted once, and their `total`; `gaze` where the
            composition has learned parts.
        sizes: Of its decoder, without the layers that have a sliding window.
        layout: A prompt of one image, or of one video, without text.
        grid: Rows and columns of visual tokens of the image; where it has several grids, of the first of more than one
            token.
        gazes: Its compositions; empty where it is dense.
        notes: What was assumed.
    """

    parameters: Mapping[str, int]
    sizes: Sizes
    layout: TokenLayout
    grid: tuple[int, int]
    gazes: tuple[Gaze, ...]
    notes: tuple[str, ...] = ()


def anatomy_of(
    config: PreTrainedConfig,
    *,
    gaze: Section | None = None,
    imports: Iterable[str] = (),
    image: Pixels | None = None,
    frames: int = 1,
) -> Anatomy:
    """Looks into a Cambrian, or into a VLM of transformers that has a layout adapter.

    Args:
        config: Of the whole model.
        gaze: A composition in place of the one that the config has.
        imports: Modules beside gazekit that the composition may name.
        image: Height and width of the image in pixels, for models that take any; None = the model's own, else 448 x
            448.
        frames: Units of a video in place of one image; a Cambrian's only.

    Raises:
        ValueError: The model has no vision, or its architecture no adapter; `image` is given for a model whose grid
            its config fixes; `frames` for one of another architecture.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    if isinstance(config, CambrianConfig):
        return _cambrian(config, gaze, imports, image, frames)
    if frames > 1:
        raise ValueError(
            f"frames is for Cambrians, got {frames} for a model of type {config.model_type!r}; leave it out, or name "
            "the shape to gazekit cost --frames"
        )
    return _vlm(config, gaze, imports, image)


def config_at(model: str | os.PathLike) -> PreTrainedConfig:
    """The config of a saved model, or of one on the hub; no code that comes with it is run.

    Args:
        model: A folder, or a name on the hub (owner/name).

    Raises:
        FileNotFoundError: The folder holds no model.
        OSError: The hub has none of that name, or cannot be reached.
    """
    if Path(model).exists() and not (Path(model) / "config.json").is_file():
        raise FileNotFoundError(f"{model} is no saved model: it has no config.json")
    return AutoConfig.from_pretrained(model, trust_remote_code=False)


def sizes_of(text: PreTrainedConfig) -> Sizes:
    """The sizes of a decoder, from its config."""
    heads = text.num_attention_heads
    return Sizes(
        num_layers=text.num_hidden_layers,
        num_heads=heads,
        num_kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        hidden_dim=text.hidden_size,
    )


def _cambrian(
    config: CambrianConfig,
    gaze: Section | None,
    imports: Iterable[str],
    image: Pixels | None,
    frames: int,
) -> Anatomy:
    if image is not None and image != config.size:
        raise ValueError(
            f"image cannot be {image[0]} x {image[1]}: this model resizes every image to {config.size[0]} x "
            f"{config.size[1]} pixels; leave it out"
        )
    if gaze is not None:
        config = copy.deepcopy(config)
        config.gaze = section_of(gaze)
    with torch.device("meta"):
        model = CambrianForConditionalGeneration(config, imports=imports)
    parts = {name: sum(p.numel() for p in found) for name, found in model.parts().items()}
    if parts["gaze"] == 0:
        del parts["gaze"]
    return Anatomy(
        parameters={**parts, "total": sum(parts.values())},
        sizes=sizes_of(config.text_config),
        layout=prompt_layout([(frames, *config.grid)], num_context=context_tokens(model.gazes)),
        grid=config.grid,
        gazes=model.gazes,
    )


def _vlm(
    config: PreTrainedConfig, gaze: Section | None, imports: Iterable[str], image: Pixels | None
) -> Anatomy:
    if getattr(config, "vision_config", None) is None:
        raise ValueError(
            f"the model must be a vision-language model, got one of type {config.model_type!r}, whose config has no "
            "vision_config"
        )
    adapter = adapter_of(config.model_type)
    section = gaze if gaze is not None else getattr(config, "gaze", None)
    gazes = compose(section, imports)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    parameters = _by_name(model)
    medium, notes = _medium(config, adapter, image)
    count = context_tokens(gazes)
    if count:
        notes.append(f"{count} context tokens add as many rows to the vocabulary; they are not counted above")
    # A class token that stays is a grid of its own.
    number = next(
        one for one in medium.grid.unique() if int((medium.grid == one).sum()) > 1 or medium.length == 1
    )
    sizes, sliding = sizes_of(config.get_text_config()), _sliding(config.get_text_config())
    if sliding:
        notes.append(
            f"{sliding} of {sizes.num_layers} layers have a sliding window: they stay as they are and are not counted"
        )
    first = medium.place[medium.grid == number]
    rows, columns = (int(first[:, axis].max()) + 1 for axis in (1, 2))
    return Anatomy(
        parameters=parameters,
        sizes=replace(sizes, num_layers=sizes.num_layers - sliding),
        layout=_layout(config, adapter, medium, count),
        grid=(rows, columns),
        gazes=gazes,
        notes=tuple(notes),
    )


def _sliding(text: PreTrainedConfig) -> int:
    """Layers with a sliding window, which gaze leaves alone."""
    return (getattr(text, "layer_types", None) or []).count("sliding_attention")


def _by_name(model: nn.Module) -> dict[str, int]:
    """Every parameter once, by the first step of its name that tells its part; a projector may lie inside a tower."""
    parts = {"vision": 0, "projector": 0, "language": 0, "other": 0}
    for name, parameter in model.named_parameters():
        steps = set(name.split("."))
        part = next(
            (
                part
                for part, names in (("projector", _PROJECTOR), ("vision", _VISION), ("language", _LANGUAGE))
                if steps & names
            ),
            "other",
        )
        parts[part] += parameter.numel()
    if not parts["other"]:
        del parts["other"]
    return {**parts, "total": sum(parts.values())}


def _medium(config: PreTrainedConfig, adapter: Adapter, image: Pixels | None) -> tuple[Medium, list[str]]:
    """One image as the adapter lays it out, and what was assumed about it.

    A grid of patches is rounded as Qwen's processors round it; their limits on pixels are not applied.
    """
    vision = config.vision_config
    fixed = _whole_image(config, adapter, {})
    if isinstance(fixed, Medium):
        if image is not None:
            raise ValueError(
                f"image cannot be {image[0]} x {image[1]}: the config of a model of type {config.model_type!r} fixes "
                "its images' grid; leave it out"
            )
        return fixed, [
            f"an image of one tile, {fixed.length} tokens, is assumed; processors may cut larger ones"
        ]
    dynamic = "image_grid_thw" in adapter.inputs
    own = None if dynamic else getattr(vision, "image_size", None)
    size = image or (_DEFAULT if own is None else (own, own) if isinstance(own, int) else tuple(own))
    notes = []
    if image is None:
        notes.append(f"an image of {size[0]} x {size[1]} pixels is assumed (--image HxW names another)")
    given = {"image_sizes": torch.tensor([list(size)])}
    if dynamic:
        step = vision.patch_size * vision.spatial_merge_size
        patches = [max(1, round(side / step)) * vision.spatial_merge_size for side in size]
        given = {"image_grid_thw": torch.tensor([[1, *patches]])}
    found = _whole_image(config, adapter, given)
    if isinstance(found, ValueError):
        raise found
    return found, notes


def _whole_image(
    config: PreTrainedConfig, adapter: Adapter, given: Mapping[str, Tensor]
) -> Medium | ValueError:
    """The smallest image that an adapter reads off a prompt; why there is none, where it needs what was not given."""
    refused = ValueError(
        f"no image of a model of type {config.model_type!r} has a square of up to {_MOST_SIDE} tokens"
    )
    for side in range(1, _MOST_SIDE + 1):
        ids = torch.full((1, side**2), adapter.visual_ids(config)[0])
        try:
            found = adapter.media(config, ids, torch.ones_like(ids, dtype=torch.bool), given).images
            if found:
                return found[0]
        except ValueError as error:
            refused = error
    return refused


def _layout(config: PreTrainedConfig, adapter: Adapter, medium: Medium, num_context: int) -> TokenLayout:
    """A prompt of the image and its context tokens, whose ids need only differ from the image's."""
    image = adapter.visual_ids(config)[0]
    context = [image + 1 + number for number in range(num_context)]
    ids = torch.tensor([[image] * medium.length + context])
    valid = torch.ones_like(ids, dtype=torch.bool)
    return layout_of_media(ids, valid, Media(images=[medium]), (image, None), context)
