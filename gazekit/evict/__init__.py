"""KV-cache eviction (level 2): what is dropped is decided once, and never comes back."""

from gazekit.evict.question import QuestionEviction

__all__ = ["QuestionEviction"]
