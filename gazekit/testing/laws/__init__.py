"""The laws of every room, as callables: `laws.check_router(MyRouter(k=4))` in a test of one's own."""

from gazekit.testing.laws import attend, combine, context, loss, partition, pool, route, schedule, store
from gazekit.testing.laws.attend import check_backend
from gazekit.testing.laws.combine import check_combine
from gazekit.testing.laws.context import check_context
from gazekit.testing.laws.law import Law
from gazekit.testing.laws.loss import check_loss
from gazekit.testing.laws.partition import check_grid, check_partitioner
from gazekit.testing.laws.pool import check_pooler
from gazekit.testing.laws.route import check_nucleus, check_router
from gazekit.testing.laws.schedule import check_schedule
from gazekit.testing.laws.store import check_store

__all__ = [
    "Law",
    "attend",
    "check_backend",
    "check_combine",
    "check_context",
    "check_grid",
    "check_loss",
    "check_nucleus",
    "check_partitioner",
    "check_pooler",
    "check_router",
    "check_schedule",
    "check_store",
    "combine",
    "context",
    "loss",
    "partition",
    "pool",
    "route",
    "schedule",
    "store",
]
