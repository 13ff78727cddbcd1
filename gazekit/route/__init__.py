"""Which regions a row looks at."""

from gazekit.route.always import AlwaysRouter
from gazekit.route.nucleus import NucleusRouter
from gazekit.route.prior import PriorRouter
from gazekit.route.random import RandomRouter
from gazekit.route.reuse import ReuseRouter
from gazekit.route.threshold import ThresholdRouter
from gazekit.route.topk import TopKRouter
from gazekit.route.twolevel import TwoLevelRouter

__all__ = [
    "AlwaysRouter",
    "NucleusRouter",
    "PriorRouter",
    "RandomRouter",
    "ReuseRouter",
    "ThresholdRouter",
    "TopKRouter",
    "TwoLevelRouter",
]
