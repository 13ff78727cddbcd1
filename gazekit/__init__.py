"""Sparse visual attention for multimodal LLMs, composed of small parts.

The names below are loaded when they are first used, so that ``import gazekit`` stays light: it brings in
neither transformers nor Lightning nor OmegaConf.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gazekit.context import LearnedContext as LearnedContext
    from gazekit.context import SinkContext as SinkContext
    from gazekit.context import UnionContext as UnionContext
    from gazekit.context import WindowContext as WindowContext
    from gazekit.data import DigitsData as DigitsData
    from gazekit.gaze import Gaze as Gaze
    from gazekit.gaze import GazeTrace as GazeTrace
    from gazekit.models import CambrianConfig as CambrianConfig
    from gazekit.models import CambrianForConditionalGeneration as CambrianForConditionalGeneration
    from gazekit.models import CambrianProcessor as CambrianProcessor
    from gazekit.models.retrofit import apply_gaze as apply_gaze
    from gazekit.models.retrofit import remove_gaze as remove_gaze
    from gazekit.partition import GridPartition as GridPartition
    from gazekit.partition import RunPartition as RunPartition
    from gazekit.partition import SegmentPartition as SegmentPartition
    from gazekit.partition import TokenPartition as TokenPartition
    from gazekit.pool import MeanPooler as MeanPooler
    from gazekit.route import AlwaysRouter as AlwaysRouter
    from gazekit.route import NucleusRouter as NucleusRouter
    from gazekit.route import PriorRouter as PriorRouter
    from gazekit.route import RandomRouter as RandomRouter
    from gazekit.route import ReuseRouter as ReuseRouter
    from gazekit.route import ThresholdRouter as ThresholdRouter
    from gazekit.route import TopKRouter as TopKRouter
    from gazekit.route import TwoLevelRouter as TwoLevelRouter
    from gazekit.schedule import ConstantSchedule as ConstantSchedule
    from gazekit.schedule import LayeredSchedule as LayeredSchedule
    from gazekit.schedule import ProgressiveSchedule as ProgressiveSchedule
    from gazekit.training import CambrianModule as CambrianModule

__version__ = "0.1.0"

_HOMES = {
    "AlwaysRouter": "gazekit.route",
    "CambrianConfig": "gazekit.models",
    "CambrianForConditionalGeneration": "gazekit.models",
    "CambrianModule": "gazekit.training",
    "CambrianProcessor": "gazekit.models",
    "ConstantSchedule": "gazekit.schedule",
    "DigitsData": "gazekit.data",
    "Gaze": "gazekit.gaze",
    "GazeTrace": "gazekit.gaze",
    "GridPartition": "gazekit.partition",
    "LayeredSchedule": "gazekit.schedule",
    "LearnedContext": "gazekit.context",
    "MeanPooler": "gazekit.pool",
    "NucleusRouter": "gazekit.route",
    "PriorRouter": "gazekit.route",
    "ProgressiveSchedule": "gazekit.schedule",
    "RandomRouter": "gazekit.route",
    "ReuseRouter": "gazekit.route",
    "RunPartition": "gazekit.partition",
    "SegmentPartition": "gazekit.partition",
    "SinkContext": "gazekit.context",
    "ThresholdRouter": "gazekit.route",
    "TokenPartition": "gazekit.partition",
    "TopKRouter": "gazekit.route",
    "TwoLevelRouter": "gazekit.route",
    "UnionContext": "gazekit.context",
    "WindowContext": "gazekit.context",
    "apply_gaze": "gazekit.models.retrofit",
    "remove_gaze": "gazekit.models.retrofit",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    """Loads a top-level name from its room at first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the lazy names too, so that completion finds them before they are loaded."""
    return sorted({*globals(), *_HOMES})
