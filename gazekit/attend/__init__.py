"""Look: the backends, all of one semantics."""
