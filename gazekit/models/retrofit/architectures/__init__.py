"""One file per architecture, named by the `model_type` of its config; each holds an `Adapter` as `ADAPTER`."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from gazekit.models.retrofit.media import Adapter


def known() -> list[str]:
    """The model types that have an adapter."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


def adapter_of(model_type: str) -> Adapter:
    """The adapter of an architecture.

    Raises:
        ValueError: There is none.
    """
    if model_type not in known():
        raise ValueError(
            f"model_type {model_type!r} has no layout adapter; there are {', '.join(known())}. To add one, write "
            f"gazekit/models/retrofit/architectures/{model_type}.py with an ADAPTER (gazekit.models.retrofit.Adapter)"
        )
    adapter: Adapter = import_module(f"{__name__}.{model_type}").ADAPTER
    return adapter
