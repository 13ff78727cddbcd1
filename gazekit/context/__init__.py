"""What stays in view whatever is routed."""

from gazekit.context.learned import LearnedContext
from gazekit.context.sink import SinkContext
from gazekit.context.union import UnionContext
from gazekit.context.window import WindowContext

__all__ = ["LearnedContext", "SinkContext", "UnionContext", "WindowContext"]
