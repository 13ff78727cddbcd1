"""The laws of stores: a machine that does to a store and to plain tensors the same things, in any order."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from hypothesis import errors, stateful
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import (
    Entries,
    Kind,
    Look,
    Plan,
    Regions,
    Selection,
    Sizes,
    Store,
    Tokens,
    complete_regions,
)
from gazekit.testing import oracle, strategies
from gazekit.testing.draw import generator, seeds
from gazekit.testing.laws.law import check_omissions, law_settings
from gazekit.testing.plain import PlainStore
from gazekit.testing.prompts import Division, Document, Grid, Scatter, sketch

LAWS = {
    "equals plain entries": "What is stored, and attention over what `fetch` gives, is what was added.",
    "outline": "`outline` says what lies where as `entries` does, and brings nothing in.",
    "length counts tokens seen": "`length` counts what was added, padding and evicted tokens too.",
    "places are true": "Where `begin`, `count` and `free` are given, exactly a region's members lie there.",
    "keep": "`keep` drops all entries but those named, per KV head; more can be added afterwards.",
    "mark and rollback": "`rollback` forgets what was added since the latest `mark`, no more; marks nest.",
    "reorder": "`reorder` permutes, repeats or drops samples, with all that is remembered of them.",
}

_SIZES = Sizes(num_layers=1, num_heads=4, num_kv_heads=2, head_dim=2, hidden_dim=8)
_CONFINED = frozenset({Kind.CONTEXT})


def _divisions() -> st.SearchStrategy[Division]:
    side = st.integers(1, 3)
    return st.one_of(
        st.builds(Grid, size=st.tuples(st.integers(1, 2), side, side)),
        st.builds(Scatter, count=st.integers(1, 3), seed=seeds()),
    )


def _turns() -> st.SearchStrategy[Document]:
    return strategies.documents(max_pieces=2, max_side=3)


class StoreMachine(stateful.RuleBasedStateMachine):
    """Feeds a store and a `PlainStore` alike and compares what can be attended to after every step."""

    make_store: Callable[[], Store]
    omit: Mapping[str, str]
    latest: ClassVar["StoreMachine"]

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        StoreMachine.latest = self

    @stateful.initialize(
        batch=st.integers(1, 3),
        division=_divisions(),
        pad_left=st.booleans(),
        seed=seeds(),
        data=st.data(),
    )
    def begin(self, batch: int, division: Division, pad_left: bool, seed: int, data: st.DataObject) -> None:
        """Opens an empty store and declares the first turn."""
        self.store = type(self).make_store()
        self.plain = PlainStore(sizes=_SIZES, batch=batch)
        self.division, self.pad_left = division, pad_left
        self.chance = generator(seed)
        self._turn(data)

    @stateful.rule(count=st.integers(1, 12))
    def add(self, count: int) -> None:
        """Feeds the next tokens that were declared, a generated one after those."""
        if self._fed():
            self.plain.generate()
        start = self.plain.length
        stop = min(start + count, self.plain.conversation.length)
        self.steps.append(f"add {stop - start} tokens")
        look = self._look(stop - start)
        self.plain.add(look)
        self.store.add(look, self.plain.tokens().narrow(start, stop), self.plain.conversation.regions)

    @stateful.precondition(lambda self: self._fed())
    @stateful.rule(data=st.data())
    def turn(self, data: st.DataObject) -> None:
        """Declares what follows, with regions of its own."""
        self._turn(data)

    @stateful.precondition(lambda self: self.plain.length and "keep" not in self.omit)
    @stateful.rule(heads=st.sampled_from([1, _SIZES.num_kv_heads]))
    def keep(self, heads: int) -> None:
        """Evicts about a quarter."""
        self.steps.append(f"keep some, index with {heads} heads")
        stays = torch.rand(self.plain.batch, heads, self.plain.length, generator=self.chance) < 0.75
        position = self.store.entries().position
        wide = max(heads, position.shape[1])
        place = position.expand(-1, wide, -1)
        kept = stays.expand(-1, wide, -1).gather(2, place.clamp_min(0)) & (place >= 0)
        order = kept.long().argsort(dim=-1, descending=True, stable=True)[..., : int(kept.sum(-1).max())]
        self.store.keep(torch.where(kept.gather(2, order), order, -1))
        self.plain.keep(stays)

    @stateful.precondition(lambda self: "mark and rollback" not in self.omit)
    @stateful.rule()
    def mark(self) -> None:
        """Remembers this point."""
        self.steps.append("mark")
        self.store.mark()
        self.plain.mark()

    @stateful.precondition(lambda self: self.plain.marked)
    @stateful.rule()
    def rollback(self) -> None:
        """Returns to the latest mark."""
        self.steps.append("rollback")
        self.store.rollback()
        self.plain.rollback()

    @stateful.precondition(lambda self: self.plain.length and "mark and rollback" not in self.omit)
    @stateful.rule(
        count=st.integers(1, 12), between=st.sampled_from(["add", "keep", "reorder", "turn"]), data=st.data()
    )
    def guess(self, count: int, between: str, data: st.DataObject) -> None:
        """Adds what is taken back at once, as speculative decoding does; other things may happen between."""
        self.mark()
        self.add(count)
        if between == "add" or between in self.omit:
            self.add(1)
        elif between == "keep":
            self.keep(_SIZES.num_kv_heads)
        elif between == "reorder":
            self.reorder(data)
        elif self._fed():
            self.turn(data)
            self.add(count)
        self.rollback()

    @stateful.precondition(lambda self: self.plain.length and "reorder" not in self.omit)
    @stateful.rule(data=st.data())
    def reorder(self, data: st.DataObject) -> None:
        """Permutes, repeats or drops samples."""
        places = st.integers(0, self.plain.batch - 1)
        sample = data.draw(st.lists(places, min_size=1, max_size=3))
        self.steps.append(f"reorder {sample}")
        self.store.reorder(torch.tensor(sample))
        self.plain.reorder(torch.tensor(sample))

    @stateful.invariant()
    def holds(self) -> None:
        """What all laws say of this moment."""
        if "length counts tokens seen" not in self.omit:
            assert self.store.length == self.plain.length, (
                f"length is {self.store.length} after {self.plain.length} tokens"
            )
        if self.plain.length == 0:
            return
        regions = self.plain.conversation.regions
        if "places are true" not in self.omit:
            _assert_places(self.store.entries(), regions)
        if "outline" not in self.omit:
            _assert_outline(self.store.outline(), self.store.entries())
        if "equals plain entries" not in self.omit:
            _assert_same_entries(self.store.entries(), self.plain.entries())
            self._compare(regions)

    def _compare(self, regions: Regions) -> None:
        """Attends densely and with a selection of the latest tokens."""
        count = min(3, self.plain.length)
        query_tokens = self.plain.tokens().narrow(self.plain.length - count, self.plain.length)
        rows = strategies.rows_of(query_tokens, frozenset({Kind.TEXT}))
        complete = complete_regions(rows, regions)
        chosen = (
            torch.rand(complete.shape[0], _SIZES.num_heads, *complete.shape[1:], generator=self.chance) < 0.5
        )
        selection = Selection(index=strategies.index_of(chosen & complete[:, None]))
        query = self._look(count).query
        for choice in (None, selection):
            plan = Plan(
                query=query_tokens, rows=rows, regions=regions, selection=choice, keeps=None, scale=1.0,
                confined=_CONFINED,
            )  # fmt: skip
            entries, everything = self.store.fetch(choice), self.plain.entries()
            if choice is not None:
                if "places are true" not in self.omit:
                    _assert_places(entries, regions)
                # Queries that do not route, and regions that are open, are not what a selection speaks of.
                entries, everything = (_chosen(one, choice, regions) for one in (entries, everything))
                _assert_same_entries(entries, everything)
            got = oracle.attend(query, entries, plan)
            self._assert_close(got, oracle.attend(query, everything, plan), choice)

    def _assert_close(
        self, got: Float[Tensor, "..."], expected: Float[Tensor, "..."], choice: Selection | None
    ) -> None:
        what = "dense attention" if choice is None else f"attention to {choice.index.tolist()}"
        torch.testing.assert_close(
            got, expected, rtol=1e-4, atol=1e-5, msg=lambda text: f"{what} differs from plain entries: {text}"
        )

    def _fed(self) -> bool:
        return self.plain.length == self.plain.conversation.length

    def _turn(self, data: st.DataObject) -> None:
        pieces = [data.draw(_turns()) for _ in range(self.plain.batch)]
        self.plain.turn(pieces, self.division, self.pad_left)
        layout, regions = self.plain.conversation.layout, self.plain.conversation.regions
        self.steps.append(f"declare\n{sketch(layout, regions)}")

    def _look(self, count: int) -> Look:
        heads = [_SIZES.num_heads, _SIZES.num_kv_heads, _SIZES.num_kv_heads]
        drawn = torch.randn(self.plain.batch, sum(heads), count, _SIZES.head_dim, generator=self.chance)
        query, key, value = drawn.split(heads, dim=1)
        return Look(query=query, key=key, value=value, layer=0, scale=1.0)


def _assert_same_entries(got: Entries, expected: Entries) -> None:
    heads = expected.position.shape[1]
    for b, samples in enumerate(got.position.expand(-1, heads, -1)):
        for head, position in enumerate(samples):
            place, alive = position.argsort()[(position < 0).sum() :], expected.position[b, head] >= 0
            stored, added = position[place].tolist(), expected.position[b, head, alive].tolist()
            assert stored == added, f"head {head} of sample {b} holds the tokens {stored}, not {added}"
            for name in ("key", "value"):
                one, other = getattr(got, name)[b, head, place], getattr(expected, name)[b, head, alive]
                assert torch.equal(one, other), f"head {head} of sample {b} has a {name} that was not added"


def _chosen(entries: Entries, selection: Selection, regions: Regions) -> Entries:
    """The entries that are free or in a region that some head of the group chose; the others as padding."""
    wanted = selection.chosen(regions.count).any(2).unflatten(1, (_SIZES.num_kv_heads, -1)).any(2)
    wanted = torch.nn.functional.pad(wanted, (0, 1), value=True)
    heads = _SIZES.num_kv_heads
    owner, kind, position = (
        field.expand(-1, heads, -1) for field in (entries.tokens.owner, entries.tokens.kind, entries.position)
    )
    seen = wanted.gather(2, torch.where(owner >= 0, owner, regions.count))
    rest = (entries.tokens.unit, entries.tokens.document, entries.tokens.order)
    unit, document, order = (field.expand(-1, heads, -1) for field in rest)
    tokens = Tokens(torch.where(seen, kind, int(Kind.PAD)), unit, document, order, owner)
    return replace(entries, tokens=tokens, position=torch.where(seen, position, -1))


def _assert_outline(outline: Entries, entries: Entries) -> None:
    for name in ("position", "begin", "count"):
        one, other = getattr(outline, name), getattr(entries, name)
        assert (one is None and other is None) or torch.equal(one, other), f"outline has another {name}"
    assert outline.free == entries.free, f"outline has free = {outline.free}, not {entries.free}"
    assert outline.key.shape == entries.key.shape, "outline has keys of another shape"
    for name, field in vars(outline.tokens).items():
        assert torch.equal(field, getattr(entries.tokens, name)), f"outline has another {name} of tokens"


def _assert_places(entries: Entries, regions: Regions) -> None:
    if entries.begin is None:
        return
    assert entries.count is not None, "count must stand beside begin"
    assert entries.free is not None, "free must stand beside begin"
    owner = entries.tokens.owner.masked_fill(~entries.tokens.valid, -1).tolist()
    for b, heads in enumerate(owner):
        for head, owners in enumerate(heads):
            if any(region >= 0 for region in owners[entries.free :]):
                raise AssertionError(f"a member lies behind free = {entries.free}: owners {owners}")
            of = head * entries.begin.shape[1] // len(heads)
            known = entries.begin.shape[2]
            for region in range(max(known, regions.count)):
                begin = int(entries.begin[b, of, region]) if region < known else 0
                count = int(entries.count[b, of, region]) if region < known else 0
                members = [place for place, other in enumerate(owners) if other == region]
                assert members == list(range(begin, begin + count)), (
                    f"region {region} of sample {b} lies at {members}, not at {count} places from {begin}"
                )


def check_store(make_store: Callable[[], Store], *, omit: Mapping[str, str] | None = None) -> None:
    """Checks a store against plain tensors, through what may be done to it in any order.

    Turns are declared, fed in pieces and followed by generated text; between these the store is marked,
    rolled back, reordered and has entries evicted.

    Args:
        make_store: Makes an empty store, such as the class itself.
        omit: Laws and operations that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names what failed and lists the shortest steps found.
        ValueError: An omission names no law, or gives no reason.

    Example:
        >>> from gazekit.store import ResidentStore
        >>> from gazekit.testing import laws
        >>> laws.check_store(ResidentStore)
    """
    check_omissions(list(LAWS), omit or {})
    machine = type(
        "Machine", (StoreMachine,), {"make_store": staticmethod(make_store), "omit": dict(omit or {})}
    )
    try:
        stateful.run_state_machine_as_test(machine, settings=law_settings(steps=20))
    except errors.InvalidDefinition:
        raise
    except Exception as broken:
        steps = "\n".join(StoreMachine.latest.steps)
        raise AssertionError(
            f"{make_store!r} breaks the laws of stores\n{type(broken).__name__}: {broken}\n"
            f"shortest steps found:\n{steps}"
        ) from broken
