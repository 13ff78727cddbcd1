"""Parts that each break one law, most of them a slip that one makes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.attend import ReferenceBackend
from gazekit.contracts import (
    Described,
    Entries,
    Kind,
    Look,
    Plan,
    Regions,
    Rows,
    Selection,
    TokenLayout,
    Tokens,
    View,
    regions_from_owner,
)
from gazekit.partition import GridPartition, RunPartition
from gazekit.pool import MeanPooler
from gazekit.route import TopKRouter
from gazekit.store import ResidentStore


@dataclass(frozen=True)
class Router:
    """Top-2 whose scores, view or selection are tampered with on the way."""

    k: int = 2
    scores: Callable[[Tensor, View], Tensor] = lambda scores, view: scores
    view: Callable[[View], View] = lambda view: view
    after: Callable[[Int[Tensor, "batch head row slot"], View], Tensor] = lambda index, view: index
    largest_first: bool = False

    def __call__(self, scores: Float[Tensor, "batch head row region"], view: View) -> Selection | None:
        view = self.view(view)
        if view.openness >= 1:
            return None
        selection = TopKRouter(k=self.k)(self.scores(scores, view), view)
        return Selection(index=self.after(selection.index, view))


def repeats(index: Tensor, view: View) -> Tensor:
    return torch.cat([index[..., :1], index], dim=-1)


def everything_complete(view: View) -> View:
    exists = (view.regions.size > 0)[:, None, :]
    own = view.rows.document[:, :, None] == view.regions.document[:, None, :]
    return replace(view, complete=exists & own)


def any_document(view: View) -> View:
    return replace(view, complete=view.regions.last[:, None, :] <= view.rows.first[:, :, None])


def reads_all_scores(scores: Tensor, view: View) -> Tensor:
    return scores + scores.mean(dim=-1, keepdim=True) * torch.arange(scores.shape[-1])


def counts_calls() -> Callable[[Tensor, View], Tensor]:
    calls = iter(range(10**9))
    return lambda scores, view: scores if next(calls) % 2 else -scores


def depends_on_row_number(scores: Tensor, view: View) -> Tensor:
    return scores * (1 - 2 * (torch.arange(scores.shape[2])[:, None] % 2))


def depends_on_sample_number(scores: Tensor, view: View) -> Tensor:
    return scores * (1 - 2 * (torch.arange(scores.shape[0])[:, None, None, None] % 2))


def depends_on_document_number(scores: Tensor, view: View) -> Tensor:
    return scores * (1 - 2 * (view.rows.document.clamp_min(0)[:, None, :, None] % 2))


def prefers_high_numbers(scores: Tensor, view: View) -> Tensor:
    return torch.arange(scores.shape[-1]).expand_as(scores).float()


def never_quite_open(view: View) -> View:
    return replace(view, openness=min(view.openness, 0.9))


def closes_backwards(view: View) -> View:
    return view if view.openness >= 1 else replace(view, openness=0.75 - min(view.openness, 0.75))


@dataclass(frozen=True)
class Stride:
    """Takes every second complete region, starting where k says: what k chooses, k + 1 does not."""

    k: int = 2

    def __call__(self, scores: Tensor, view: View) -> Selection | None:
        if view.openness >= 1:
            return None
        keep = view.complete & (torch.arange(view.regions.count) % 2 == self.k % 2)
        count = keep.shape[-1]
        ids = torch.where(keep, torch.arange(count), count).sort(-1).values
        return Selection(index=torch.where(ids < count, ids, -1)[:, None].int())


@dataclass(frozen=True)
class LastOfTies:
    """Top-2 of the regions in reverse order."""

    def __call__(self, scores: Tensor, view: View) -> Selection | None:
        flipped = replace(view, complete=view.complete.flip(-1))
        selection = TopKRouter(k=2)(scores.flip(-1), flipped)
        if selection is None:
            return None
        count = view.regions.count
        index = torch.where(selection.index >= 0, count - 1 - selection.index, count).sort(-1).values
        return Selection(index=torch.where(index < count, index, -1).int())


@dataclass(frozen=True)
class Partition:
    """A grid whose owners are tampered with."""

    change: Callable[[Int[Tensor, "batch token"], TokenLayout], Tensor]
    size: tuple[int, int, int] = (1, 2, 2)

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset({Kind.VISUAL})

    def __call__(self, layout: TokenLayout) -> Regions:
        owner = GridPartition(size=self.size)(layout).owner
        return regions_from_owner(self.change(owner, layout), layout)


def drops_a_token(owner: Tensor, layout: TokenLayout) -> Tensor:
    return owner.masked_fill((layout.place == 1).all(-1) | (layout.place[..., 2] == 2), -1)


def one_region_for_all(owner: Tensor, layout: TokenLayout) -> Tensor:
    return owner.clamp_max(0)


def one_region_a_document(owner: Tensor, layout: TokenLayout) -> Tensor:
    return torch.where(owner >= 0, layout.tokens.document[:, 0], -1)


def counts_from_the_end(owner: Tensor, layout: TokenLayout) -> Tensor:
    return torch.where(owner >= 0, owner.amax(1, keepdim=True) - owner, -1)


def longer_prompts_coarser(owner: Tensor, layout: TokenLayout) -> Tensor:
    return torch.where(owner >= 0, owner // max(1, int(owner.max()) // 2), -1)


@dataclass(frozen=True)
class Lies:
    """A grid that miscounts its members."""

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset({Kind.VISUAL})

    def __call__(self, layout: TokenLayout) -> Regions:
        regions = GridPartition(size=(1, 2, 2))(layout)
        return replace(regions, last=regions.first)


@dataclass(frozen=True)
class HastyRuns:
    """Runs of all tokens that count as complete before they are full."""

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset({Kind.TEXT, Kind.VISUAL, Kind.CONTEXT})

    def __call__(self, layout: TokenLayout) -> Regions:
        return regions_from_owner(RunPartition(length=4)(layout).owner, layout)


@dataclass(frozen=True)
class HalfNucleus:
    """Keeps as many of the best regions as `mass` says of 8, and forgets to keep all; more mass starts elsewhere."""

    mass: float = 0.5
    max_k: int | None = None
    strides: bool = False

    def __call__(self, scores: Tensor, view: View) -> Selection | None:
        if self.strides:
            return Stride(k=int(8 * self.mass) // 2)(scores, view)
        return TopKRouter(k=1)(scores, view)


@dataclass(frozen=True)
class Spread(Partition):
    """Cells as wide as their depth says: 3-D differs from 2-D on one frame."""

    def __call__(self, layout: TokenLayout) -> Regions:
        return GridPartition(size=(1, self.size[1] + self.size[0] - 1, self.size[2]))(layout)


@dataclass(frozen=True)
class Shifted(Partition):
    """Cells that start one row later the coarser they are."""

    def __call__(self, layout: TokenLayout) -> Regions:
        place = layout.place + torch.tensor([0, self.size[1] // 2, 0])
        place = torch.where(layout.place >= 0, place, -1)
        return GridPartition(size=self.size)(replace(layout, place=place))


@dataclass(frozen=True)
class LaterShifted(Partition):
    """Cells that start one column later in every document but the first."""

    def __call__(self, layout: TokenLayout) -> Regions:
        later = (layout.tokens.document[:, 0] > 0)[..., None] & (layout.place >= 0)
        place = layout.place + later * torch.tensor([0, 0, 1])
        return GridPartition(size=self.size)(replace(layout, place=place))


@dataclass(frozen=True)
class Pooler:
    """Mean pooling whose look, regions or scores are tampered with."""

    look: Callable[[Look, Regions], Look] = lambda look, regions: look
    regions: Callable[[Regions], Regions] = lambda regions: regions
    scores: Callable[[Tensor, Look, Rows], Tensor] = lambda scores, look, rows: scores

    def describe(self, look: Look, regions: Regions) -> Described:
        return MeanPooler().describe(self.look(look, regions), self.regions(regions))

    def score(self, look: Look, rows: Rows, described: Described) -> Tensor:
        return self.scores(MeanPooler().score(look, rows, described), look, rows)


def pads_join_the_first_region(regions: Regions) -> Regions:
    return regions.aligned(regions.owner.clamp_min(0)) if regions.count else regions


def centred(look: Look, regions: Regions) -> Look:
    return replace(look, key=look.key - look.key.mean(dim=(0, 2), keepdim=True))


def weighted_by_place(look: Look, regions: Regions) -> Look:
    return replace(look, key=look.key * torch.arange(1, look.key.shape[2] + 1)[:, None])


def normed(scores: Tensor, look: Look, rows: Rows) -> Tensor:
    return scores / scores.norm(dim=2, keepdim=True).clamp_min(1e-6)


def normed_over_batch(scores: Tensor, look: Look, rows: Rows) -> Tensor:
    return scores / scores.shape[0]


def half(scores: Tensor, look: Look, rows: Rows) -> Tensor:
    return scores.half()


def doubled(scores: Tensor, look: Look, rows: Rows) -> Tensor:
    return 2 * scores


@dataclass(frozen=True)
class Padded:
    """Divides the sum by the members of the largest region, so that it reads the batch's padding."""

    def describe(self, look: Look, regions: Regions) -> Described:
        member = (regions.owner[:, None] == torch.arange(regions.count)[:, None]).float()
        return Described({"mean": member[:, None] @ look.key / max(1, look.key.shape[2])})

    def score(self, look: Look, rows: Rows, described: Described) -> Tensor:
        return MeanPooler().score(look, rows, described)


@dataclass(frozen=True)
class Backend:
    """The reference whose plan, entries or output are tampered with."""

    plan: Callable[[Plan], Plan] = lambda plan: plan
    entries: Callable[[Entries], Entries] = lambda entries: entries
    out: Callable[[Tensor, Tensor, Entries, Plan], Tensor] = lambda out, query, entries, plan: out
    reason: Callable[[Plan], object] = lambda plan: None

    def attend(self, query: Tensor, entries: Entries, plan: Plan) -> Tensor:
        entries, plan = self.entries(entries), self.plan(plan)
        return self.out(ReferenceBackend().attend(query, entries, plan), query, entries, plan)

    def refuses(self, entries: Entries, plan: Plan) -> object:
        return self.reason(plan)


def forgets_the_selection(plan: Plan) -> Plan:
    return replace(plan, selection=None)


def first_head_for_all(plan: Plan) -> Plan:
    if plan.selection is None:
        return plan
    return replace(plan, selection=Selection(index=plan.selection.index[:, :1]))


def closes_open_regions(plan: Plan) -> Plan:
    return replace(plan, regions=replace(plan.regions, last=torch.full_like(plan.regions.last, -1)))


def forgets_what_is_kept(plan: Plan) -> Plan:
    return replace(plan, keeps=None)


def lets_context_look_around(plan: Plan) -> Plan:
    return replace(plan, confined=frozenset())


def leaks_a_gradient(out: Tensor, query: Tensor, entries: Entries, plan: Plan) -> Tensor:
    every = entries.value.sum()
    return out + (every - every.detach())


def stops_the_gradient_of_keys(entries: Entries) -> Entries:
    return replace(entries, key=entries.key.detach())


def nan_where_blind(out: Tensor, query: Tensor, entries: Entries, plan: Plan) -> Tensor:
    return torch.where((out == 0).all(-1, keepdim=True), torch.nan, out)


def adds_place(out: Tensor, query: Tensor, entries: Entries, plan: Plan) -> Tensor:
    return out + 1e-3 * entries.key[:, :1, :1, :1]


def adds_batch(out: Tensor, query: Tensor, entries: Entries, plan: Plan) -> Tensor:
    return out + 1e-2 * torch.arange(out.shape[0])[:, None, None, None]


def one_document(tokens: Tokens) -> Tokens:
    return replace(tokens, document=tokens.document.clamp_max(0), order=tokens.order)


def mixes_documents(plan: Plan) -> Plan:
    regions, rows = plan.regions, plan.rows
    return replace(
        plan,
        query=one_document(plan.query),
        regions=replace(regions, document=regions.document.clamp_max(0)),
        rows=replace(rows, document=rows.document.clamp_max(0)),
    )


def mixes_entries(entries: Entries) -> Entries:
    return replace(entries, tokens=one_document(entries.tokens))


def biased_padding(out: Tensor, query: Tensor, entries: Entries, plan: Plan) -> Tensor:
    return out + 1e-2 * (~plan.query.valid[:, :, :, None])


class ForgetsOnReorder(ResidentStore):
    """Permutes what lies in memory, not what tells where it lies."""

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> None:
        places = self._keeper.shelf.places
        super().reorder(sample)
        if places.size.shape == self._keeper.shelf.places.size.shape:
            self._keeper.shelf.ledger.places = places


class KeepsKeysOnReorder(ResidentStore):
    """Permutes values and tokens, and leaves the keys."""

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> None:
        key = self._keeper.shelf.memory.key
        super().reorder(sample)
        memory = self._keeper.shelf.memory
        if key.shape == memory.key.shape:
            self._keeper.shelf = replace(self._keeper.shelf, memory=replace(memory, key=key))


class ForgetsMarks(ResidentStore):
    """Takes the length back and leaves what was added."""

    def rollback(self) -> None:
        shelf = self._keeper.shelf
        super().rollback()
        if self._keeper.shelf is not None:
            ledger = replace(shelf.ledger, length=self._keeper.length)
            self._keeper.shelf = replace(shelf, ledger=ledger)


class KeepsForAllHeads(ResidentStore):
    """Evicts in every head what the first one names."""

    def keep(self, index: Int[Tensor, "batch #kv_head entry"]) -> None:
        super().keep(index[:, :1].expand_as(index))


class CountsReal(ResidentStore):
    """Leaves padding out of the length."""

    pads = 0

    def add(self, look: Look, tokens: Tokens, regions: Regions) -> None:
        super().add(look, tokens, regions)
        self.pads += int((~tokens.valid).any(dim=0).sum())

    @property
    def length(self) -> int:
        return super().length - self.pads


class WrongPlaces(ResidentStore):
    """Says that each region begins one place later."""

    def entries(self) -> Entries:
        entries = super().entries()
        return replace(entries, begin=entries.begin + 1)


class Rises:
    """Opens again half-way."""

    def __call__(self, progress: float, depth: float = 0.0) -> float:
        return 1.0 - progress if progress < 0.5 else 2.0 - 2 * progress


class Later:
    """Half closed from the start, and never fully."""

    def __call__(self, progress: float, depth: float = 0.0) -> float:
        return 0.5


class Beyond:
    """Closes beyond the target."""

    def __call__(self, progress: float, depth: float = 0.0) -> float:
        return 1.0 - 2 * progress


@dataclass(frozen=True)
class Context:
    """A number of tokens and a rule."""

    num_tokens: object = 0
    rule: Callable[[Tokens, Tokens], Bool[Tensor, "batch 1 query key"] | Tensor | None] = lambda query, key: (
        None
    )

    def keeps(self, query: Tokens, key: Tokens) -> Tensor | None:
        return self.rule(query, key)


def first_keys(query: Tokens, key: Tokens) -> Tensor:
    first = torch.arange(key.length) == 0
    return first.expand(key.kind.shape[0], 1, query.length, -1)


def first_document(query: Tokens, key: Tokens) -> Tensor:
    return (key.document == 0)[:, :, None, :].expand(-1, -1, query.length, -1)


def floats(query: Tokens, key: Tokens) -> Tensor:
    return (key.order < 2).float()[:, :, None, :].expand(-1, -1, query.length, -1)
