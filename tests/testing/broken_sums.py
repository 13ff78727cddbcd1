"""Combinations and losses that each break one law."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gazekit.combine import SumCombine
from gazekit.contracts import Look, View
from gazekit.loss import DistillationLoss


@dataclass(frozen=True)
class Combine:
    """The branches' mean, tampered with."""

    after: Callable[[Tensor, Look, Sequence[Tensor]], Tensor]

    def __call__(self, look: Look, outs: Sequence[Tensor]) -> Tensor:
        return self.after(SumCombine()(look, outs), look, outs)


def wider(mean: Tensor, look: Look, outs: Sequence[Tensor]) -> Tensor:
    return mean.float()


def softmax_of_branches(mean: Tensor, look: Look, outs: Sequence[Tensor]) -> Tensor:
    stacked = torch.stack(list(outs))
    return (stacked.softmax(0) * stacked).sum(0)


def first_branch(mean: Tensor, look: Look, outs: Sequence[Tensor]) -> Tensor:
    return outs[0] + 0 * mean


def added(mean: Tensor, look: Look, outs: Sequence[Tensor]) -> Tensor:
    return mean * (len(outs) + 1)


def weighed_by_place(mean: Tensor, look: Look, outs: Sequence[Tensor]) -> Tensor:
    return mean / torch.arange(1, mean.shape[2] + 1)[:, None]


def weighed_by_sample(mean: Tensor, look: Look, outs: Sequence[Tensor]) -> Tensor:
    return mean / torch.arange(1, mean.shape[0] + 1)[:, None, None, None]


@dataclass(frozen=True)
class Loss:
    """Distillation, tampered with."""

    weight: float = 1.0
    view: Callable[[View], View] = lambda view: view
    scores: Callable[[Tensor, View], Tensor] = lambda scores, view: scores
    after: Callable[[Tensor, Tensor, View], Tensor] = lambda loss, scores, view: loss
    detach: bool = True

    def __call__(self, scores: Tensor, look: Look, view: View) -> Tensor:
        loss = DistillationLoss()(self.scores(scores, view), look, self.view(view))
        return self.after(loss, scores, view)


def mean_of_rows(loss: Tensor, scores: Tensor, view: View) -> Tensor:
    return loss / view.rows.valid.sum().clamp_min(1)


def mean_of_samples(loss: Tensor, scores: Tensor, view: View) -> Tensor:
    return loss / len(scores)


def below_zero(loss: Tensor, scores: Tensor, view: View) -> Tensor:
    return loss - view.complete.any(-1).sum()


def counts_rows(loss: Tensor, scores: Tensor, view: View) -> Tensor:
    return loss + view.rows.valid.sum()


def other_way(loss: Tensor, scores: Tensor, view: View) -> Tensor:
    """The value of the loss, the gradient of its opposite."""
    return loss.detach() - (loss - loss.detach())


def everything_complete(view: View) -> View:
    there = (view.regions.size > 0)[:, None] & view.rows.valid[..., None]
    return replace(view, complete=there)
