"""transformers' cache over our stores, one layer each."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import cache as once
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

from gazekit.contracts import Storage, Store, TokenLayout
from gazekit.gaze.forward import Divisions
from gazekit.gaze.memory import LayerMemory
from gazekit.store import ResidentStore

_log = logging.getLogger(__name__)
_CACHE_NAMES = ("past_key_values", "cache")


class GazeCacheLayer(CacheLayerMixin):
    """A layer of the cache whose keys and values lie in a region-major `Store`.

    `update` hands the new keys and values on as they are: the attention function, which knows the layout, puts them
    into the store and attends to what lies there. `get_seq_length` counts tokens seen, as position ids need.

    Args:
        make_store: Makes an empty store; None = the one that the layer's composition names, once it is known.
        divisions: Divisions of the prompt, shared by all layers of a cache.
    """

    is_croppable = False
    is_sliding = False

    def __init__(self, make_store: Callable[[], Store] | None, divisions: Divisions) -> None:
        super().__init__()
        self._make_store = make_store
        self.divisions = divisions
        self.memory = LayerMemory((make_store or ResidentStore)())

    def settle(self, storage: Storage) -> None:
        """Keeps keys and values where a composition says, unless the cache was told, or holds some already."""
        if self._make_store is None:
            self._make_store = storage
            if self.memory.store.length == 0:
                self.memory = LayerMemory(storage())

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Notes dtype and device; the store sizes itself."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Passes the new keys and values on to the attention function.

        Raises:
            RuntimeError: No gaze forward is under way, so nobody would store them.
        """
        if not self.memory.awaiting:
            raise RuntimeError(
                "this cache belongs to gaze attention and was given to a model that runs another one; "
                "call the model that gaze was installed in, with attention implementation 'gaze'"
            )
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        return key_states, value_states

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys, as if they lay in sequence."""
        return self.memory.store.length + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens seen."""
        return self.memory.store.length

    def get_max_length(self) -> int:
        """Unbounded."""
        return -1

    def reset(self) -> None:
        """Forgets everything."""
        self.memory = LayerMemory((self._make_store or ResidentStore)())
        self._forget_prompt()
        self.is_initialized = False

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Permutes the samples as beam search does, within each prompt; `batch_select_indices` moves any."""
        if self.get_seq_length() > 0:
            self.memory.reorder(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats every sample."""
        self._select(lambda samples: samples.repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps some samples."""
        self._select(lambda samples: samples[indices])

    def crop(self, tokens_to_remove: int) -> None:
        """Refused: a region that was described cannot become incomplete again.

        Raises:
            ValueError: Always, unless nothing is to be removed.
        """
        if tokens_to_remove != 0:
            raise ValueError(
                "a gaze cache cannot be cropped, which guessing ahead (an assistant, prompt lookup) would need: give "
                "generate() no cache with it, but the whole conversation"
            )

    def offload(self) -> None:
        """Refused: an offloading store is the way.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "a gaze cache is not offloaded by transformers; choose a gazekit store that offloads"
        )

    def _select(self, choose: Callable[[Tensor], Tensor]) -> None:
        if self.get_seq_length() > 0:
            entries = self.memory.store.outline()
            samples = torch.arange(entries.key.shape[0], device=entries.key.device)
            self.memory.reorder(choose(samples))
            self._forget_prompt()

    def _forget_prompt(self) -> None:
        """What is known of the prompts, sample by sample, is true no longer."""
        self.divisions.clear()
        self.__dict__.pop("gaze_layout", None)


class GazeCache(Cache):
    """One `GazeCacheLayer` per decoder layer.

    Args:
        num_layers: Decoder layers.
        make_store: Makes an empty store for one layer; None = what the layer's composition names.
    """

    def __init__(self, num_layers: int, make_store: Callable[[], Store] | None = None) -> None:
        super().__init__(layers=_layers(num_layers, make_store))


class SequenceCache(DynamicCache):
    """Keys and values in the order of the sequence, for what takes tokens back: `crop` works, and every step reads all.

    A type of its own, so that `prepare_cache` leaves it as it is. The prompt may be declared before anything is in it
    (`remember`), where its layout cannot be handed to every forward.
    """


def prepare_cache(past_key_values: Cache | None, config: PreTrainedConfig) -> Cache:
    """The cache to use: an empty dynamic one, or none, gets our layers; any other stays as it is.

    A layer with a sliding window keeps transformers' own. What stays as it is keeps keys and values in sequence order:
    attention is the same then, only decoding reads everything; that is said once for each type of cache.

    Args:
        past_key_values: What the model was called with.
        config: The decoder's, which tells what kind each layer is of.
    """
    cache = DynamicCache(config=config) if past_key_values is None else past_key_values
    if any(isinstance(layer, GazeCacheLayer) for layer in cache.layers):
        return cache
    layers = cache.layers or DynamicCache(config=config).layers
    ours = type(cache) is DynamicCache and not cache.offloading and cache.get_seq_length() == 0
    if ours and any(type(layer) is DynamicLayer for layer in layers):
        divisions = Divisions()
        cache.layers = [
            GazeCacheLayer(None, divisions) if type(layer) is DynamicLayer else layer for layer in layers
        ]
        cache.layer_class_to_replicate = None
    else:
        _say_slower(type(cache).__name__ + (" with offloading" if cache.offloading else ""))
    return cache


def cache_name(model: nn.Module) -> str:
    """What this version of transformers calls the cache among a model's arguments and outputs."""
    names = inspect.signature(model.forward).parameters
    return next(name for name in _CACHE_NAMES if name in names)


def take_cache(model: nn.Module, kwargs: dict[str, Any]) -> tuple[str, Cache | None]:
    """The cache out of arguments, under whatever name, and the name to put it back under."""
    found = [kwargs.pop(name) for name in _CACHE_NAMES if kwargs.get(name) is not None]
    return cache_name(model), found[0] if found else None


def remember(cache: Cache, layout: TokenLayout) -> None:
    """Keeps the layout of what a cache holds, for a later turn that declares its own tokens only."""
    holders = [layer for layer in cache.layers if isinstance(layer, GazeCacheLayer)] or [cache]
    holders[0].__dict__["gaze_layout"] = layout


def remembered(cache: Cache) -> TokenLayout | None:
    """The layout that a cache was filled under; None = not known (it never was, or samples were moved since)."""
    holders = [layer for layer in cache.layers if isinstance(layer, GazeCacheLayer)] or [cache]
    return holders[0].__dict__.get("gaze_layout")


@once
def _say_slower(name: str) -> None:
    """Says once for each kind of cache what it costs."""
    _log.warning(
        "a %s keeps keys and values in sequence order: attention is the same, but each step reads all of them; leave "
        "the cache to generate(), without guessing ahead, so that steps read only what was chosen",
        name,
    )


def _layers(num_layers: int, make_store: Callable[[], Store] | None) -> list[CacheLayerMixin]:
    shared = Divisions()
    return [GazeCacheLayer(make_store, shared) for _ in range(num_layers)]
