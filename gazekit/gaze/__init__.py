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
from gazekit.gaze.cost import cost
from gazekit.gaze.figures import Compared, Cost, KVBytes
from gazekit.gaze.forward import Eviction, ForwardPass
from gazekit.gaze.locality import Locality, localities, locality
from gazekit.gaze.memory import LayerMemory
from gazekit.gaze.parts import HOLDER, holders, rebind
from gazekit.gaze.prompt import Clip, prompt_layout
from gazekit.gaze.shapes import SHAPES, shape_of
from gazekit.gaze.trace import GazeTrace, Glance, watch

__all__ = [
    "HOLDER", "NAME", "SHAPES", "Clip", "Compared", "Cost", "Eviction", "ForwardPass", "Gaze", "GazeCache",
    "GazeCacheLayer",
    "GazeTrace", "Glance", "KVBytes", "LayerMemory", "Locality", "SequenceCache", "begin_pass", "compositions", "cost",
    "evicting", "holders", "install", "localities", "locality", "prepare_cache", "prompt_layout", "rebind", "register",
    "remember", "remembered", "shape_of", "uninstall", "watch",
]  # fmt: skip
