"""What a law looks at."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Entries, Look, Plan, Regions, Rows, TokenLayout, Tokens, View
from gazekit.testing.prompts import sketch

T = TypeVar("T")


@dataclass(frozen=True)
class PoolingCase:
    """A look at all tokens of a layout, its regions, and the rows that score them."""

    layout: TokenLayout
    look: Look
    regions: Regions
    rows: Rows

    def __str__(self) -> str:
        return (
            f"layout (regions in capitals):\n{sketch(self.layout, self.regions)}\n"
            f"rows at queries {self.rows.query.tolist()}\n"
            f"key {list(self.look.key.shape)}:\n{self.look.key}\n"
            f"query {list(self.look.query.shape)}:\n{self.look.query}"
        )


@dataclass(frozen=True)
class RoutingCase:
    """Scores, and what a router may know besides."""

    scores: Float[Tensor, "batch head row region"]
    view: View

    def __str__(self) -> str:
        view = self.view
        return (
            f"layout (regions in capitals):\n{sketch(view.layout, view.regions)}\n"
            f"openness {view.openness}, layer {view.layer}, "
            f"{view.num_heads} heads, {view.num_kv_heads} KV heads\n"
            f"rows at queries {view.rows.query.tolist()}, order {view.rows.first.tolist()}\n"
            f"complete [batch row region]: {view.complete.int().tolist()}\nscores: {self.scores.tolist()}"
        )


@dataclass(frozen=True)
class AttentionCase:
    """Queries, entries and the plan of one call of a backend; tensors lie on the CPU.

    Attributes:
        query: The queries.
        entries: What they may attend to.
        plan: How.
        device: Where the backend is to be asked.
    """

    query: Float[Tensor, "batch head query dim"]
    entries: Entries
    plan: Plan
    device: str = "cpu"

    def __str__(self) -> str:
        entries, plan = self.entries, self.plan
        selection = None if plan.selection is None else plan.selection.index.tolist()
        return (
            f"query {list(self.query.shape)} {self.query.dtype}, key {list(entries.key.shape)}, "
            f"value {list(entries.value.shape)}\n"
            f"queries: {_tokens_text(plan.query)}\nentries: {_tokens_text(entries.tokens)}\n"
            f"begin {_listed(entries.begin)}, count {_listed(entries.count)}, free {entries.free}\n"
            f"rows: of {plan.rows.of.tolist()}, first {plan.rows.first.tolist()}\n"
            f"regions: first {plan.regions.first.tolist()}, last {plan.regions.last.tolist()}, "
            f"document {plan.regions.document.tolist()}\n"
            f"selection {selection}, keeps {'a rule' if plan.keeps else None}, "
            f"confined {sorted(kind.name for kind in plan.confined)}"
        )


def _tokens_text(tokens: Tokens) -> str:
    return ", ".join(f"{field.name} {getattr(tokens, field.name).tolist()}" for field in fields(tokens))


def _listed(tensor: Tensor | None) -> object:
    return None if tensor is None else tensor.tolist()


def map_tensors(thing: T, function: Callable[[Tensor], Tensor]) -> T:
    """Applies `function` to every tensor of a dataclass, dataclasses and dicts inside it included."""
    return _mapped(thing, function)


def _mapped(thing: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(thing, Tensor):
        return function(thing)
    if isinstance(thing, dict):
        return {name: _mapped(value, function) for name, value in thing.items()}
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(thing, **{f.name: _mapped(getattr(thing, f.name), function) for f in fields(thing)})
    return thing
