"""The composition: which part does what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gazekit.contracts import Context, Kind, Partitioner, Pooler, Router, Schedule
from gazekit.pool import MeanPooler
from gazekit.schedule import ConstantSchedule

VisualScope = Literal["causal", "own_unit", "routed"]


@dataclass(frozen=True, kw_only=True)
class Gaze:
    """Sparse visual attention as a composition of parts; the default parts are Gaze Attention's (Song et al., 2026).

    Example:
        >>> from gazekit import Gaze, GridPartition, TopKRouter
        >>> gaze = Gaze(partition=GridPartition(size=(1, 6, 6)), route=TopKRouter(k=4))

    Attributes:
        partition: Divides the visual field. None only where nothing routes.
        pool: Describes and scores regions; None where the router needs no scores.
        route: Chooses regions; None = dense attention.
        schedule: Openness over training; outside training its end counts.
        context: What stays in view whatever is routed.
        backend: Name of an attention backend, or "auto".
        visual_scope: What visual tokens see as queries. "causal": all that precedes them. "own_unit": their own
            unit only. "routed": they choose regions as text does.

    Raises:
        ValueError: A router without a partition, or an unknown `visual_scope`.
    """

    partition: Partitioner | None = None
    pool: Pooler | None = field(default_factory=MeanPooler)
    route: Router | None = None
    schedule: Schedule = field(default_factory=ConstantSchedule)
    context: Context | None = None
    backend: str = "auto"
    visual_scope: VisualScope = "causal"

    def __post_init__(self) -> None:
        if self.route is not None and self.partition is None:
            raise ValueError(
                "partition must be given where route is: a router chooses among regions; "
                "add partition=GridPartition(size=(1, 6, 6)), or route=None for dense attention"
            )
        if self.visual_scope not in ("causal", "own_unit", "routed"):
            raise ValueError(
                f"visual_scope must be 'causal', 'own_unit' or 'routed', got {self.visual_scope!r}"
            )

    @property
    def routing_kinds(self) -> frozenset[Kind]:
        """Kinds of tokens that route as queries; context tokens never do."""
        return frozenset({Kind.TEXT, Kind.VISUAL} if self.visual_scope == "routed" else {Kind.TEXT})

    @property
    def confined(self) -> frozenset[Kind]:
        """Kinds of queries that reach tokens of their own unit only."""
        return frozenset({Kind.CONTEXT, Kind.VISUAL} if self.visual_scope == "own_unit" else {Kind.CONTEXT})
