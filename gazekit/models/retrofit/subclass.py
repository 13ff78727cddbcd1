"""The class of a model that gaze was put into: its own, with a layout before `generate` and a pass in `forward`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from gazekit.contracts import TokenLayout
from gazekit.gaze import Gaze, holders, uninstall
from gazekit.models.gaze import compose, fit, guides
from gazekit.models.retrofit.calls import for_forward, for_generate
from gazekit.models.retrofit.prompt import given_media, layout_of_prompt
from gazekit.models.weights import SavesParts, load_parts

_EXTRA = ("gaze_layout", "gaze_openness")


class WithGaze(SavesParts):
    """What `apply_gaze` adds to a model's own class; never made by itself.

    Attributes:
        gazes: Its compositions, which cycle over the layers.
    """

    gazes: tuple[Gaze, ...]
    stock_attention: str

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        equip(cast(PreTrainedModel, self), compose(config.gaze))

    def layout(
        self, input_ids: Int[Tensor, "batch token"], attention_mask: Tensor | None = None, **inputs: Any
    ) -> TokenLayout:
        """The layout of a whole prompt; `pack()` of it is what `forward` and `generate` take as `gaze_layout`.

        Args:
            input_ids: The whole prompt, placeholders expanded.
            attention_mask: 1 = real, 0 = padding; None = all real.
            **inputs: What else the processor returned: grids, sizes, pixels.

        Raises:
            ValueError: Placeholders do not match the images and videos.
        """
        model = cast(PreTrainedModel, self)
        given = given_media(model.config, inputs)
        return layout_of_prompt(model.config, input_ids, attention_mask, given)

    def create_masks_for_generate(self, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor | None:
        """The plain mask: what tokens see follows from the layout, also where a static cache would want more."""
        return attention_mask

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        """`generate` of the model's own class; the layout is read off the whole prompt first.

        To go on with a kept cache, pass the ids, the mask and the images of the whole conversation so far.

        Raises:
            ValueError: Placeholders and images do not match, or only a piece of the prompt was given.
        """
        model = cast(PreTrainedModel, self)
        kwargs = for_generate(model, kwargs.get("input_ids", inputs), kwargs)
        return super().generate(inputs, *args, **kwargs)  # type: ignore[misc]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickled as the stock class and its state: the class itself is made anew where it is read."""
        return _revive, (stock_class(type(self)),), self.__dict__


def gaze_class(stock: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """The subclass of a model's class that looks through gaze, the same one each time.

    It has the name and module of its stock class: by these transformers finds the conversion of checkpoint keys and
    what attention the model can be given, and it writes the name into config.json, which thereby stays the stock
    model's. Its `__qualname__`, and so its repr, says Gaze.
    """
    return _made(cast(Hashable, stock))


def equip(model: PreTrainedModel, gazes: tuple[Gaze, ...]) -> None:
    """Puts compositions into a model's decoder, and remembers what attention it had.

    Raises:
        ValueError: A composition has a guide, which knows a Cambrian's pixels alone.
    """
    if found := guides(gazes):
        raise ValueError(
            f"guide must be None for a {type(model).__name__}, got {type(found[0]).__name__}: its pixels come in "
            "another shape; write segments or a map into model.layout(...) and pass it as gaze_layout=layout.pack()"
        )
    decoder = model.get_decoder()
    model.__dict__["stock_attention"] = decoder.config._attn_implementation
    fit(decoder, gazes)
    model.__dict__["gazes"] = gazes


def take_out(model: PreTrainedModel) -> None:
    """Undoes `equip`."""
    decoder = model.get_decoder()
    uninstall(decoder)
    decoder.set_attn_implementation(model.__dict__.pop("stock_attention"))
    del model.__dict__["gazes"]


def restore_parts(model: PreTrainedModel) -> None:
    """Reads the weights of learned parts from where the model was loaded.

    Raises:
        ValueError: They are missing, or are not this composition's; or the model was loaded from nowhere.
    """
    source = model.config._name_or_path
    if source:
        load_parts(model, source, revision=getattr(model.config, "_commit_hash", None))
    elif holders(model):
        raise ValueError(
            "gaze cannot be restored with learned parts in a model that was not loaded from a checkpoint: their "
            "weights are not known; pass the composition itself to draw them anew"
        )


def stock_class(ours: type) -> type[PreTrainedModel]:
    """The class that a subclass was made from."""
    return cast(type[PreTrainedModel], ours.__mro__[ours.__mro__.index(SavesParts) + 1])


@functools.cache
def _made(stock: Any) -> type[PreTrainedModel]:
    made: Any = type(
        stock.__name__, (WithGaze, stock), {"__module__": stock.__module__, "__doc__": stock.__doc__}
    )
    made._keys_to_ignore_on_load_missing = [*(stock._keys_to_ignore_on_load_missing or []), r"\.gaze_parts\."]
    made.__qualname__ = f"Gaze{stock.__name__}"
    made.forward = _forward_of(stock)
    return made


def _revive(stock: type[PreTrainedModel]) -> PreTrainedModel:
    made: Any = gaze_class(stock)
    return made.__new__(made)


def _forward_of(stock: type[PreTrainedModel]) -> Callable[..., Any]:
    """The stock forward with two arguments more, which its signature names: `generate` accepts no others."""
    signature = inspect.signature(stock.forward)
    names = [name for name in signature.parameters if name != "self"]

    @functools.wraps(stock.forward)
    def forward(
        self: PreTrainedModel,
        *args: Any,
        gaze_layout: Int[Tensor, "batch token field"] | None = None,
        gaze_openness: float | Sequence[float] | None = None,
        **kwargs: Any,
    ) -> Any:
        kwargs |= dict(zip(names, args, strict=False))
        return stock.forward(self, **for_forward(self, kwargs, gaze_layout, gaze_openness))

    extra = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in _EXTRA]
    own = list(signature.parameters.values())
    last = [parameter for parameter in own if parameter.kind is inspect.Parameter.VAR_KEYWORD]
    rest = [parameter for parameter in own if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    forward.__signature__ = signature.replace(parameters=[*rest, *extra, *last])  # type: ignore[attr-defined]
    return forward
