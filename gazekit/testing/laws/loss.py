"""The laws of losses on scores and attention."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Look, RoutingLoss, View
from gazekit.testing import strategies
from gazekit.testing.cases import RoutingCase
from gazekit.testing.draw import Draw, composite
from gazekit.testing.laws.law import law, run
from gazekit.testing.restate import routing_sample, row_chunk, sample_of


@dataclass(frozen=True)
class _Case:
    routing: RoutingCase
    look: Look

    @property
    def view(self) -> View:
        return self.routing.view

    def __str__(self) -> str:
        return f"{self.routing}\nkey:\n{self.look.key}\nquery:\n{self.look.query}"


@composite
def _cases(draw: Draw, outside: bool | None = None) -> _Case:
    model = draw(strategies.sizes())
    routing = draw(strategies.routing_cases(model, outside=outside))
    layout = routing.view.layout
    tokens = layout.tokens.owned_by(routing.view.regions.owner[:, None])
    look = draw(strategies.looks(model, layout.kind.shape[0], layout.length))
    look = replace(look, tokens=tokens, layer=routing.view.layer, scale=routing.view.scale)
    return _Case(replace(routing, view=replace(routing.view, keys=tokens, query=tokens)), look)


@dataclass(frozen=True)
class _Found:
    """A loss, and its gradients with respect to scores, queries and keys; zero where there is none."""

    loss: Float[Tensor, ""]
    scores: Tensor
    query: Tensor
    key: Tensor


def _asked(part: RoutingLoss, case: _Case) -> _Found:
    leaves = [
        t.detach().clone().requires_grad_() for t in (case.routing.scores, case.look.query, case.look.key)
    ]
    look = replace(case.look, query=leaves[1], key=leaves[2])
    # A term that needs nothing, so that a loss which does not depend on anything has a gradient too.
    loss = part(leaves[0], look, case.view)
    total = loss + 0.0 * leaves[0].nan_to_num().sum()
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    each = [
        torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, grads, strict=True)
    ]
    return _Found(loss.detach(), *each)


def _assert_equal(got: Tensor, expected: Tensor, why: str) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5, msg=lambda text: f"{why}: {text}")


@law(_cases)
def weight_and_detach_are_said(part: RoutingLoss, case: _Case) -> None:
    """The weight is a number from 0 up, and `detach` says yes or no."""
    assert isinstance(part.weight, float | int), f"weight is {part.weight!r}"
    assert part.weight >= 0, f"weight is {part.weight}"
    assert isinstance(part.detach, bool), f"detach is {part.detach!r}"


@law(_cases)
def never_negative(part: RoutingLoss, case: _Case) -> None:
    """The loss is one finite number from 0 up, in fp32 or wider, and its gradients are finite."""
    found = _asked(part, case)
    assert found.loss.ndim == 0, list(found.loss.shape)
    assert found.loss.dtype in (torch.float32, torch.float64), f"the loss is {found.loss.dtype}"
    assert found.loss.isfinite(), f"the loss is {found.loss}"
    assert found.loss >= -1e-5, f"the loss is {found.loss}"
    for name in ("scores", "query", "key"):
        assert getattr(found, name).isfinite().all(), (
            f"the gradient of {name} is {getattr(found, name).tolist()}"
        )


@law(_cases)
def chunks_of_rows_add_up(part: RoutingLoss, case: _Case) -> None:
    """The loss of all rows is the sum of those of one row at a time, gradients too."""
    whole = _asked(part, case)
    each = [
        _asked(part, replace(case, routing=row_chunk(case.routing, row, row + 1)))
        for row in range(case.view.rows.count)
    ]
    if each:
        _assert_equal(torch.stack([one.loss for one in each]).sum(0), whole.loss, "the sum over rows")
        _assert_equal(
            torch.cat([one.scores for one in each], dim=2), whole.scores, "the rows' gradients of scores"
        )
        _assert_equal(
            torch.stack([one.key for one in each]).sum(0), whole.key, "the sum of the rows' gradients"
        )


@law(_cases)
def samples_add_up(part: RoutingLoss, case: _Case) -> None:
    """The loss of a batch is the sum of those of its samples."""
    whole = _asked(part, case).loss
    parts = []
    for b in range(case.routing.scores.shape[0]):
        look = sample_of(case.look, b)
        parts.append(_asked(part, _Case(routing_sample(case.routing, b), look)).loss)
    _assert_equal(torch.stack(parts).sum(0), whole, "the sum over samples")


@law(_cases)
def reads_only_complete_regions(part: RoutingLoss, case: _Case) -> None:
    """Scores of regions that a row may not choose change nothing and get no gradient."""
    shut = ~case.view.complete[:, None]
    expected = _asked(part, case)
    spoilt = replace(case.routing, scores=case.routing.scores.masked_fill(shut, torch.nan))
    got = _asked(part, replace(case, routing=spoilt))
    _assert_equal(got.loss, expected.loss, "with NaN where incomplete")
    leak = (got.scores != 0) & shut
    assert not leak.any(), f"scores of incomplete regions get a gradient at {leak.nonzero().tolist()}"


@law(_cases)
def nothing_to_choose_costs_nothing(part: RoutingLoss, case: _Case) -> None:
    """Rows without a complete region have no loss and no gradient."""
    view = replace(case.view, complete=torch.zeros_like(case.view.complete))
    found = _asked(part, replace(case, routing=replace(case.routing, view=view)))
    assert found.loss == 0, f"the loss is {found.loss}"
    for name in ("scores", "query", "key"):
        assert (getattr(found, name) == 0).all(), f"there is a gradient of {name}"


@law(_cases)
def a_step_against_the_gradient_lowers_it(part: RoutingLoss, case: _Case) -> None:
    """A small step of scores, queries and keys against their gradients does not raise the loss."""
    found = _asked(part, case)
    slope = sum(float(getattr(found, name).square().sum()) for name in ("scores", "query", "key"))
    # Ill-conditioned below, where rounding decides.
    if slope < 1e-6:
        return
    step = 1e-3 / max(1.0, slope)
    moved = replace(
        case,
        routing=replace(case.routing, scores=case.routing.scores - step * found.scores),
        look=replace(
            case.look, query=case.look.query - step * found.query, key=case.look.key - step * found.key
        ),
    )
    after = _asked(part, moved).loss
    assert after <= found.loss + 1e-5, f"the loss goes from {found.loss} to {after}"


LAWS = (
    weight_and_detach_are_said,
    never_negative,
    chunks_of_rows_add_up,
    samples_add_up,
    reads_only_complete_regions,
    nothing_to_choose_costs_nothing,
    a_step_against_the_gradient_lowers_it,
)


def check_loss(
    part: RoutingLoss, *, outside: bool | None = None, omit: Mapping[str, str] | None = None
) -> None:
    """Checks a loss against every law of its room.

    Args:
        part: Says what scores or attention should be like.
        outside: Whether prompts carry segments and a map from outside; None tries both.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.
    """
    run(LAWS, part, omit, outside=outside)
