"""The loop (level 2): partition, pool, route, attend; what transformers calls; the trace of what was looked at."""

from gazekit.gaze.attention import NAME, begin_pass, compositions, evicting, install, register, uninstall
from gazekit.gaze.cache import (
    GazeCache,
    GazeCacheLayer,
    SequenceCache,
    prepare_cache,
    remember,
    remembered,
)
from gazekit.gaze.composition import Gaze
from gazekit.gaze.forward import Eviction, ForwardPass
from gazekit.gaze.trace import GazeTrace, Glance, watch

__all__ = [
    "NAME", "Eviction", "ForwardPass", "Gaze", "GazeCache", "GazeCacheLayer", "GazeTrace", "Glance", "SequenceCache",
    "begin_pass", "compositions", "evicting", "install", "prepare_cache", "register", "remember", "remembered",
    "uninstall", "watch",
]  # fmt: skip
