"""Queries, entries and plans of small prompts, and a naive reading of the rules of attention."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from gazekit.contracts import Entries, Keeps, Kind, Plan, Regions, Selection, TokenLayout, Tokens
from gazekit.partition import GridPartition
from gazekit.route import RandomRouter
from tests.scenes import layout, rows, view


@dataclass(frozen=True)
class Case:
    """A prompt and how it is looked at; `scene` makes numbers of it."""

    samples: tuple[str, ...]
    size: tuple[int, int, int] = (1, 2, 2)
    k: int | None = 2
    heads: int = 4
    kv_heads: int = 2
    share: str = "head"
    start: int = 0
    left: bool = False
    routing: tuple[Kind, ...] = (Kind.TEXT,)
    confined: frozenset[Kind] = field(default_factory=lambda: frozenset({Kind.CONTEXT}))
    keeps: Keeps | None = None
    permuted: bool = False
    per_head: bool = False
    dim: int = 8


def sinks(query: Tokens, key: Tokens) -> torch.Tensor:
    """The first three tokens of a document and the last four before the query stay in view."""
    near = (query.order[..., :, None] - key.order[..., None, :]) < 4
    return (key.order < 3)[..., None, :] | near


CASES = {
    "image": Case(("t2 v4x4 c2 t3",)),
    "ragged": Case(("t1 v3x5 c1 t4", "v5x3 t2 v2x2 t5")),
    "padded": Case(("t1 v3x5 c1 t4", "t3", "v2x2 t2"), left=True),
    "no image": Case(("t5", "t3")),
    "one head": Case(("v4x4 t4",), heads=1, kv_heads=1),
    "group of 1": Case(("v4x4 t4", "v3x3 t1 v2x2 t2"), heads=3, kv_heads=3),
    "group of 4": Case(("v4x4 t4", "v3x3 t1 v2x2 t2"), heads=8, kv_heads=2),
    "group of 7": Case(("v4x4 t4", "v3x3 t1 v2x2 t2"), heads=14, kv_heads=2),
    "shared by the group": Case(("v4x4 t4", "v3x3 t3"), heads=6, kv_heads=2, share="group"),
    "packed": Case(("t1 v4x4 t3 / v2x4 c1 t2 / t2", "v4x4 t2 / t3")),
    "open": Case(("t1 v2x4 t2 +2x4 t2 +2x4 t2", "v2x2 t1 +2x2 t1"), size=(2, 2, 2), k=1),
    "visual routes": Case(("v4x4 t1 v3x3 t2",), routing=(Kind.TEXT, Kind.VISUAL), k=1),
    "own unit": Case(
        ("v4x4 c2 t1 v3x3 c2 t2",), confined=frozenset({Kind.CONTEXT, Kind.VISUAL}), heads=2, kv_heads=1
    ),
    "keeps": Case(("t1 v4x4 t6", "v3x3 t8"), k=1, keeps=sinks),
    "permuted": Case(("t1 v3x5 c1 t4", "v5x3 t2 v2x2 t5"), permuted=True),
    "tokens per head": Case(("t1 v3x5 c1 t4", "v5x3 t2 v2x2 t5"), permuted=True, per_head=True),
    "later piece": Case(("t1 v4x4 t2 v3x3 t2", "v4x4 t9"), start=12),
    "one query": Case(("t1 v4x4 c1 t4", "v3x3 t8"), start=21, left=True),
    "dense": Case(("t1 v4x4 c1 t4", "v3x3 t8"), k=None, left=True),
    "odd width": Case(("t1 v3x5 c1 t4",), dim=7, heads=2, kv_heads=1),
}


@dataclass(frozen=True)
class Scene:
    """A case in numbers."""

    case: Case
    layout: TokenLayout
    regions: Regions
    query: torch.Tensor
    entries: Entries
    plan: Plan

    def to(self, dtype: torch.dtype) -> Scene:
        """The same with floating-point numbers of another dtype."""
        entries = replace(self.entries, key=self.entries.key.to(dtype), value=self.entries.value.to(dtype))
        return replace(self, query=self.query.to(dtype), entries=entries)


def scene(case: Case, seed: int = 0) -> Scene:
    """Random queries, keys and values, and a selection by lot."""
    generator = torch.Generator().manual_seed(seed)
    prompt = layout(*case.samples, left=case.left)
    regions = GridPartition(size=case.size)(prompt)
    batch, length = prompt.kind.shape
    tokens = prompt.tokens.owned_by(regions.owner[:, None])
    index = torch.arange(length).expand(batch, case.kv_heads if case.per_head else 1, -1)
    if case.permuted:
        index = torch.rand(index.shape, generator=generator).argsort(-1)
    told = view(prompt, regions, heads=case.heads, kv_heads=case.kv_heads, start=case.start)
    routed = rows(prompt, regions, case.start, case.routing)
    told = replace(told, rows=routed, complete=_complete(routed, regions))
    selection = None if case.k is None else RandomRouter(k=case.k, seed=seed, share=case.share)(None, told)
    plan = Plan(
        query=tokens.narrow(case.start, length), rows=routed, regions=regions, selection=selection,
        keeps=case.keeps, scale=case.dim**-0.5, confined=case.confined,
    )  # fmt: skip
    key, value = (torch.randn(batch, case.kv_heads, length, case.dim, generator=generator) for _ in range(2))
    entries = Entries(key=key, value=value, tokens=tokens.take(index), position=index)
    query = torch.randn(batch, case.heads, length - case.start, case.dim, generator=generator)
    return Scene(case=case, layout=prompt, regions=regions, query=query, entries=entries, plan=plan)


def _complete(routed, regions: Regions) -> torch.Tensor:
    same = routed.document[:, :, None] == regions.document[:, None, :]
    return same & (routed.document >= 0)[:, :, None] & (regions.last[:, None, :] <= routed.first[:, :, None])


def by_the_rules(made: Scene) -> torch.Tensor:
    """What the rules say, one sample, head, query and key at a time; reads layout and selection alone."""
    case, prompt = made.case, made.layout
    batch, length = prompt.kind.shape
    position = made.entries.position.expand(batch, case.kv_heads, -1).tolist()
    seen = torch.zeros(batch, case.heads, length - case.start, length, dtype=torch.bool)
    for sample in range(batch):
        tokens = _read(prompt, made.regions.owner, sample)
        last = {}
        for token in tokens:
            if token["owner"] >= 0:
                last[token["owner"]] = max(last.get(token["owner"], -1), token["order"])
        home = {token["owner"]: token["document"] for token in tokens}
        for head in range(case.heads):
            row = -1
            for place, query in enumerate(tokens[case.start :]):
                routes = query["kind"] in case.routing and case.k is not None
                row += query["kind"] in case.routing
                chosen = _chosen(made.plan.selection, sample, head, row, case) if routes else set()
                for slot, at in enumerate(position[sample][head * case.kv_heads // case.heads]):
                    key = tokens[at]
                    allowed = _base(query, key, case.confined)
                    if allowed and routes and key["owner"] >= 0:
                        begun = (
                            home[key["owner"]] == query["document"] and last[key["owner"]] > query["order"]
                        )
                        kept = case.keeps is not None and (
                            key["order"] < 3 or query["order"] - key["order"] < 4
                        )
                        allowed = key["owner"] in chosen or begun or kept
                    seen[sample, head, place, slot] = allowed
    return seen


def _read(prompt: TokenLayout, owner: torch.Tensor, sample: int) -> list[dict[str, int]]:
    fields = {
        name: getattr(prompt.tokens, name)[sample, 0].tolist()
        for name in ("kind", "unit", "document", "order")
    }
    fields["owner"] = owner[sample].tolist()
    return [{name: values[at] for name, values in fields.items()} for at in range(prompt.length)]


def _base(query: dict[str, int], key: dict[str, int], confined: frozenset[Kind]) -> bool:
    if query["kind"] == Kind.PAD or key["kind"] == Kind.PAD:
        return False
    if query["document"] != key["document"] or key["order"] > query["order"]:
        return False
    return query["kind"] not in confined or query["unit"] == key["unit"]


def _chosen(selection: Selection, sample: int, head: int, row: int, case: Case) -> set[int]:
    index = selection.index
    return set(index[sample, head * index.shape[1] // case.heads, row].tolist()) - {-1}
