"""The laws of what makes one answer of several branches."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Combine, Look, Sizes
from gazekit.testing import strategies
from gazekit.testing.draw import Draw, composite, generator, seeds
from gazekit.testing.laws.law import law, run
from gazekit.testing.restate import sample_of


@dataclass(frozen=True)
class _Case:
    look: Look
    outs: Float[Tensor, "branch batch head query value_dim"]
    others: Float[Tensor, "branch batch head query value_dim"]

    def __str__(self) -> str:
        return f"{len(self.outs)} branches of {list(self.outs.shape[1:])}:\n{self.outs}\nhidden:\n{self.look.hidden}"


@composite
def _cases(draw: Draw, sizes: Sizes | None = None) -> _Case:
    model = sizes or replace(draw(strategies.sizes()), num_branches=draw(st.integers(1, 3)))
    batch, length = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    look = draw(strategies.looks(model, batch, length))
    shape = (2, model.num_branches, batch, model.num_heads, length, draw(st.integers(1, 3)))
    outs, others = torch.randn(shape, generator=generator(draw(seeds())))
    return _Case(look, outs, others)


def _answer(
    part: Combine, look: Look, outs: Float[Tensor, "branch batch head query value_dim"]
) -> Float[Tensor, "batch head query value_dim"]:
    return part(look, list(outs)).detach()


def _assert_equal(got: Tensor, expected: Tensor, why: str) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5, msg=lambda text: f"{why}: {text}")


@law(_cases)
def shape_and_type(part: Combine, case: _Case) -> None:
    """The answer has the shape and the type of the branches' answers."""
    for outs in (case.outs, case.outs.bfloat16()):
        got = _answer(part, case.look, outs)
        assert got.shape == outs.shape[1:], list(got.shape)
        assert got.dtype == outs.dtype, f"of {outs.dtype} it makes {got.dtype}"


@law(_cases)
def linear_in_the_branches(part: Combine, case: _Case) -> None:
    """Weights do not depend on what is weighed: the answer of a sum is the sum of the answers."""
    one, other = (_answer(part, case.look, outs) for outs in (case.outs, case.others))
    _assert_equal(_answer(part, case.look, case.outs - 2 * case.others), one - 2 * other, "outs - 2 others")


@law(_cases)
def every_branch_counts(part: Combine, case: _Case) -> None:
    """Each branch moves the answer of every query, and gets a gradient."""
    outs = case.outs.clone().requires_grad_()
    part(case.look, list(outs)).sum().backward()
    assert outs.grad is not None, "no branch gets a gradient"
    idle = (outs.grad == 0).flatten(1).any(1).nonzero().flatten().tolist()
    assert not idle, f"branches {idle} get no gradient"


@law(_cases)
def between_the_branches(part: Combine, case: _Case) -> None:
    """The answer lies between the smallest and the largest of the branches', so that one branch is left as it is."""
    got = _answer(part, case.look, case.outs)
    low, high = case.outs.amin(0) - 1e-5, case.outs.amax(0) + 1e-5
    assert ((low <= got) & (got <= high)).all(), f"{got.tolist()} leaves the branches' range"


@law(_cases)
def queries_answer_by_themselves(part: Combine, case: _Case) -> None:
    """A query's answer depends on that query alone, so that decoded = whole."""
    whole = _answer(part, case.look, case.outs)
    for q in range(case.outs.shape[3]):
        one = slice(q, q + 1)
        along: dict[str, Any] = {
            name: field[:, one] for name in _ALONG if (field := getattr(case.look, name)) is not None
        }
        look = replace(case.look, query=case.look.query[:, :, one], **along)
        _assert_equal(_answer(part, look, case.outs[..., one, :]), whole[:, :, one], f"query {q} by itself")


@law(_cases)
def batch_is_one_by_one(part: Combine, case: _Case) -> None:
    """Each sample is answered as it would be by itself."""
    whole = _answer(part, case.look, case.outs)
    for b in range(case.outs.shape[1]):
        look = sample_of(case.look, b)
        got = _answer(part, look, case.outs[:, b : b + 1])
        _assert_equal(got, whole[b : b + 1], f"sample {b} by itself")


_ALONG = ("hidden", "cos", "sin")

LAWS = (
    shape_and_type,
    linear_in_the_branches,
    every_branch_counts,
    between_the_branches,
    queries_answer_by_themselves,
    batch_is_one_by_one,
)


def check_combine(
    part: Combine, *, sizes: Sizes | None = None, omit: Mapping[str, str] | None = None
) -> None:
    """Checks a combination of branches against every law of its room.

    Args:
        part: Makes one answer of several.
        sizes: Heads, widths and branches that a part with weights is bound to; None tries several.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.
    """
    run(LAWS, part, omit, sizes=sizes)
