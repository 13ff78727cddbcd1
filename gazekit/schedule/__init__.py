"""How open the routing is at a point of training."""

from gazekit.schedule.constant import ConstantSchedule
from gazekit.schedule.layered import LayeredSchedule
from gazekit.schedule.progressive import ProgressiveSchedule

__all__ = ["ConstantSchedule", "LayeredSchedule", "ProgressiveSchedule"]
