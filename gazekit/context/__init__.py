"""What stays in view whatever is routed."""

from gazekit.context.learned import LearnedContext

__all__ = ["LearnedContext"]
