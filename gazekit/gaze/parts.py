"""Parts with weights: each layer has its own, registered where its attention is."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import nn

from gazekit.contracts import Sizes
from gazekit.contracts.section import to_section
from gazekit.gaze.composition import Gaze

HOLDER = "gaze_parts"
"""The child of a `self_attn` that holds its learned parts, each under its place in the composition."""


def learned(part: object) -> dict[str, nn.Module]:
    """The modules of a composition by their places in it: "pool", "route.inner", "branches.0.pool"."""
    found: dict[str, nn.Module] = {}

    def note(path: str, module: nn.Module) -> nn.Module:
        return found.setdefault(path, module)

    _walk(part, "", note)
    return found


def fit_parts(attention: nn.Module, gaze: Gaze) -> Gaze:
    """The composition with modules of this layer's own, registered as its `gaze_parts`.

    A module that stays at its place with the same arguments keeps its weights; others are bound to the layer's sizes,
    drawn from torch's generator, and get its device and dtype. Modules of two branches that are written alike, and
    whose branches have the same partition, are one module.
    """
    before = registered(attention)
    shared: dict[object, nn.Module] = {}
    mine: dict[str, nn.Module] = {}

    def own(path: str, module: nn.Module) -> nn.Module:
        key = _identity(path, module, gaze)
        if key not in shared:
            old = before.get(path)
            shared[key] = old if old is not None and _alike(old, module) else _bound(module, attention, gaze)
            mine[path] = shared[key]
        return shared[key]

    fitted = cast(Gaze, _walk(gaze, "", own))
    drop_parts(attention)
    if mine:
        attention.add_module(HOLDER, _tree(mine))
    return fitted


def rebind(model: nn.Module) -> None:
    """Draws the weights of all learned parts in a model anew.

    For models whose loader made memory for them without knowing how they begin.
    """
    for attention in model.modules():
        gaze = getattr(attention, "gaze", None)
        if isinstance(gaze, Gaze):
            for module in registered(attention).values():
                _bind(module, attention, gaze)


def drop_parts(attention: nn.Module) -> None:
    """Takes the learned parts out of a layer."""
    if HOLDER in attention._modules:
        del attention._modules[HOLDER]


def registered(attention: nn.Module) -> dict[str, nn.Module]:
    """The learned parts of a layer by their places in its composition."""
    gaze = getattr(attention, "gaze", None)
    holder = attention._modules.get(HOLDER)
    if holder is None or not isinstance(gaze, Gaze):
        return {}
    named = dict(holder.named_modules())
    return {path: named[path] for path in learned(gaze) if path in named}


def holders(model: nn.Module) -> list[nn.Module]:
    """What holds the learned parts of each layer of a model."""
    return [held for module in model.modules() if (held := module._modules.get(HOLDER)) is not None]


def _bound(template: nn.Module, attention: nn.Module, gaze: Gaze) -> nn.Module:
    return _bind(copy.deepcopy(template), attention, gaze)


def _bind(module: nn.Module, attention: nn.Module, gaze: Gaze) -> nn.Module:
    bind = getattr(module, "bind", None)
    if bind is not None:
        bind(_sizes(attention, gaze))
    stock = (p for name, p in attention.named_parameters() if not name.startswith(f"{HOLDER}."))
    like = next((parameter for parameter in stock if parameter.is_floating_point()), None)
    if like is not None:
        module.to(device=like.device, dtype=like.dtype)
    return module.train(attention.training)


def _sizes(attention: nn.Module, gaze: Gaze) -> Sizes:
    """What the layer's config says."""
    config = cast(Any, attention).config
    heads = config.num_attention_heads
    return Sizes(
        num_layers=config.num_hidden_layers,
        num_heads=heads,
        num_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(attention, "head_dim", config.hidden_size // heads),
        hidden_dim=config.hidden_size,
        num_branches=max(1, len(gaze.branches)),
    )


def _walk(part: object, path: str, change: Callable[[str, nn.Module], nn.Module]) -> object:
    """The part with every module inside its fields changed; the very same part where there is none."""
    if isinstance(part, nn.Module):
        return change(path, part)
    inside: Mapping[str, object] = {}
    if isinstance(part, tuple):
        inside = {str(place): inner for place, inner in enumerate(part)}
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        inside = {field.name: getattr(part, field.name) for field in dataclasses.fields(part) if field.init}
    new = {name: _walk(inner, f"{path}.{name}".lstrip("."), change) for name, inner in inside.items()}
    if all(new[name] is inner for name, inner in inside.items()):
        return part
    return tuple(new.values()) if isinstance(part, tuple) else dataclasses.replace(cast(Any, part), **new)


def _identity(path: str, module: nn.Module, gaze: Gaze) -> object:
    """What two modules that are to be one have in common."""
    within, _, rest = path.partition(".")
    if within != "branches":
        return path
    branch, _, place = rest.partition(".")
    return place, gaze.branches[int(branch)].partition, _written(module)


def _alike(one: nn.Module, other: nn.Module) -> bool:
    return type(one) is type(other) and _written(one) == _written(other)


def _written(module: nn.Module) -> object:
    """What a module is written as; itself where it cannot be written."""
    try:
        return repr(to_section(module))
    except ValueError:
        return id(module)


def _tree(modules: Mapping[str, nn.Module]) -> nn.Module:
    """Modules under the names that their paths spell."""
    root = nn.Module()
    for path, module in modules.items():
        *above, last = path.split(".")
        parent = root
        for name in above:
            if name not in parent._modules:
                parent.add_module(name, nn.Module())
            parent = cast(nn.Module, parent._modules[name])
        parent.add_module(last, module)
    return root
