"""The laws of what stays in view."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from hypothesis import strategies as st
from jaxtyping import Bool
from torch import Tensor

from gazekit.contracts import Context, Tokens
from gazekit.testing import strategies
from gazekit.testing.draw import Draw, composite
from gazekit.testing.laws.law import law, run


@dataclass(frozen=True)
class _Case:
    tokens: Tokens
    start: int

    @property
    def query(self) -> Tokens:
        return self.tokens.narrow(self.start, self.tokens.length)

    def __str__(self) -> str:
        listed = ", ".join(
            f"{field.name} {getattr(self.tokens, field.name).tolist()}" for field in fields(Tokens)
        )
        return f"keys: {listed}; queries from {self.start} on"


@composite
def _cases(draw: Draw) -> _Case:
    tokens = draw(strategies.tokens({"max_samples": 2}))
    return _Case(tokens, draw(st.integers(0, tokens.length - 1)))


def _keeps(part: Context, query: Tokens, key: Tokens) -> Bool[Tensor, "batch head query key"]:
    """What is kept, where a query may see a key at all; a part without a rule keeps nothing."""
    shape = (key.kind.shape[0], 1, query.length, key.length)
    kept = part.keeps(query, key)
    real = (query.document[..., :, None] == key.document[..., None, :]) & query.valid[..., :, None]
    return torch.zeros(shape, dtype=torch.bool) if kept is None else kept.expand(shape) & real


@law(_cases)
def counts_its_tokens(part: Context, case: _Case) -> None:
    """The number of learned context tokens is a whole number from 0 up."""
    assert isinstance(part.num_tokens, int), f"num_tokens is {part.num_tokens!r}"
    assert part.num_tokens >= 0, f"num_tokens is {part.num_tokens}"


@law(_cases)
def shape_and_type(part: Context, case: _Case) -> None:
    """The rule is None for all tokens, or gives one bool for each query and key."""
    kept = part.keeps(case.query, case.tokens)
    if kept is not None:
        batch = case.tokens.kind.shape[0]
        assert kept.dtype == torch.bool, f"keeps gives {kept.dtype}"
        assert list(kept.shape) == [batch, 1, case.query.length, case.tokens.length], list(kept.shape)


@law(_cases)
def elementwise(part: Context, case: _Case) -> None:
    """Whether a query keeps a key depends on these two alone, whatever stands beside them."""
    query, key = case.query, case.tokens
    whole = _keeps(part, query, key)
    for q in range(query.length):
        one = _keeps(part, query.narrow(q, q + 1), key)
        assert torch.equal(one, whole[:, :, q : q + 1]), f"query {q} by itself keeps {one.tolist()}"
    for k in range(key.length):
        one = _keeps(part, query, key.narrow(k, k + 1))
        assert torch.equal(one, whole[..., k : k + 1]), f"key {k} by itself is kept {one.tolist()}"


@law(_cases)
def packed_is_one_by_one(part: Context, case: _Case) -> None:
    """A document is kept alike wherever it is packed, whatever its number and those of its units."""
    tokens = case.tokens
    moved = Tokens(
        kind=tokens.kind,
        unit=torch.where(tokens.unit >= 0, tokens.unit + 3, -1),
        document=torch.where(tokens.document >= 0, tokens.document + 2, -1),
        order=tokens.order,
        owner=torch.where(tokens.owner >= 0, tokens.owner + 5, -1),
    )
    got = _keeps(part, moved.narrow(case.start, tokens.length), moved)
    assert torch.equal(got, _keeps(part, case.query, tokens)), f"packed behind others: {got.tolist()}"


LAWS = (counts_its_tokens, shape_and_type, elementwise, packed_is_one_by_one)


def check_context(part: Context, *, omit: Mapping[str, str] | None = None) -> None:
    """Checks a context against every law of its room.

    Args:
        part: Says what stays in view.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.
    """
    run(LAWS, part, omit)
