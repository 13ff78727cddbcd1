"""Which regions a row looks at."""

from gazekit.route.random import RandomRouter
from gazekit.route.topk import TopKRouter

__all__ = ["RandomRouter", "TopKRouter"]
