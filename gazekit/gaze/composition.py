"""The composition: which part does what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from gazekit.contracts import (
    Combine,
    Context,
    Guide,
    Kind,
    Partitioner,
    Pooler,
    Router,
    RoutingLoss,
    Schedule,
    Storage,
)
from gazekit.pool import MeanPooler
from gazekit.schedule import ConstantSchedule
from gazekit.store import storage_of

VisualScope = Literal["causal", "own_unit", "routed"]
StorageName = Literal["resident", "offloaded", "memory_mapped"]

# Made once, since every layer of every step asks.
_TEXT, _SEEING = frozenset({Kind.TEXT}), frozenset({Kind.TEXT, Kind.VISUAL})
_CONTEXT, _OF_UNITS = frozenset({Kind.CONTEXT}), frozenset({Kind.CONTEXT, Kind.VISUAL})


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
        rows: Divides the queries of a forward into blocks that choose together, at the first query of each; None =
            each query chooses for itself. A block that comes in pieces is one block in each of them, and a query
            that comes alone, as in decoding, chooses for itself.
        summaries: Whether the pooler's descriptors stand in the softmax as entries of their own, beside the tokens.
        loss: What scores or attention are pulled toward in training; it adds to the gradient, not to the loss shown.
        guide: Writes segments or a map into the layout of each prompt from its pixels, for parts that read them; a
            layout that is given by hand stays as it is.
        store: Where keys and values are kept while a model generates. "resident": on the device. "offloaded": visual
            ones in the host's memory, "memory_mapped": in a file; or a storage with options. The answers are the same.
        branches: Compositions that attend by themselves. Beside them only schedule, context, guide, store and combine
            are given, and hold for all of them; parts with weights that two branches write alike, and their partitions
            too, are one part.
        combine: Makes one answer of the branches' answers.

    Raises:
        ValueError: A router, loss or summaries without a partition, a pooler that cannot summarise, branches without
            combine or beside fields that belong into them, or an unknown `visual_scope`.
    """

    partition: Partitioner | None = None
    pool: Pooler | None = field(default_factory=MeanPooler)
    route: Router | None = None
    schedule: Schedule = field(default_factory=ConstantSchedule)
    context: Context | None = None
    backend: str = "auto"
    visual_scope: VisualScope = "causal"
    rows: Partitioner | None = None
    summaries: bool = False
    loss: RoutingLoss | None = None
    guide: Guide | None = None
    store: StorageName | Storage = "resident"
    branches: tuple[Gaze, ...] = ()
    combine: Combine | None = None

    def __post_init__(self) -> None:
        if self.route is not None and self.partition is None:
            raise ValueError(
                "partition must be given where route is: a router chooses among regions; "
                "add partition=GridPartition(size=(1, 6, 6)), or route=None for dense attention"
            )
        if self.partition is None and (self.loss is not None or self.summaries):
            name = "summaries are on" if self.summaries else "loss is"
            raise ValueError(
                f"partition must be given where {name}: both are about regions; "
                "add partition=GridPartition(size=(1, 6, 6))"
            )
        if self.summaries and not hasattr(self.pool, "entries"):
            raise ValueError(
                f"summaries need a pooler whose descriptors can stand as entries, got {type(self.pool).__name__}; "
                "use one with a method entries(described), such as SummaryPooler()"
            )
        if self.visual_scope not in ("causal", "own_unit", "routed"):
            raise ValueError(
                f"visual_scope must be 'causal', 'own_unit' or 'routed', got {self.visual_scope!r}"
            )

        storage_of(self.store)
        object.__setattr__(self, "branches", tuple(self.branches))
        _check_branches(self)

    @cached_property
    def looks(self) -> tuple[Gaze, ...]:
        """What attends by itself: the branches, with what is said above them; without branches the composition."""
        return tuple(
            replace(one, schedule=self.schedule, context=one.context or self.context) for one in self.branches
        ) or (self,)

    @property
    def storage(self) -> Storage:
        """Makes the store of a layer."""
        return storage_of(self.store)

    @property
    def routes(self) -> bool:
        """False = every query sees every region."""
        return any(one.route is not None for one in self.looks)

    @property
    def num_context(self) -> int:
        """Learned context tokens per unit."""
        return max(0 if one.context is None else one.context.num_tokens for one in self.looks)

    @property
    def routing_kinds(self) -> frozenset[Kind]:
        """Kinds of tokens that route as queries; context tokens never do."""
        return _SEEING if self.visual_scope == "routed" else _TEXT

    @property
    def confined(self) -> frozenset[Kind]:
        """Kinds of queries that reach tokens of their own unit only."""
        return _OF_UNITS if self.visual_scope == "own_unit" else _CONTEXT


_OF_BRANCHES = ("partition", "route", "backend", "visual_scope", "rows", "summaries", "loss")


def _check_branches(gaze: Gaze) -> None:
    """Refuses branches that do not say how they combine, and what would stand above them without effect."""
    if not gaze.branches:
        if gaze.combine is not None:
            raise ValueError("combine needs branches to combine, got none; add branches, or leave it out")
        return
    if gaze.combine is None:
        raise ValueError("combine must be given where branches are; add combine=SumCombine()")
    plain = {name: Gaze.__dataclass_fields__[name].default for name in _OF_BRANCHES}
    given = [name for name, default in plain.items() if getattr(gaze, name) != default]
    if gaze.pool not in (None, MeanPooler()):
        given.append("pool")
    if given:
        raise ValueError(
            f"branches must each say {', '.join(given)}; move {'it' if len(given) == 1 else 'them'} there"
        )
    for one in gaze.branches:
        if one.branches:
            raise ValueError(
                "branches must not have branches of their own, got some; write all of them side by side"
            )
        if one.schedule != ConstantSchedule():
            raise ValueError("branches must leave the schedule to the composition above them; move it there")
        if one.guide is not None:
            raise ValueError("branches must leave the guide to the composition above them; move it there")
        if one.store != "resident":
            raise ValueError("branches must leave the store to the composition above them; move it there")
