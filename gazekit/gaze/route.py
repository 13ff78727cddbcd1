"""Scoring and routing, a chunk of rows at a time, and the loss that the scores may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Described, Look, Router, Selection, View
from gazekit.gaze.composition import Gaze
from gazekit.gaze.forward import Division, ForwardPass
from gazekit.gaze.supply import Supply
from gazekit.loss import attention_mass

_SCORE_BYTES = 256 * 2**20
_AS_IT_IS = nullcontext()


@dataclass(frozen=True)
class Routed:
    """What routing led to.

    Attributes:
        selection: What each row looks at; None = every region.
        loss: Mean over rows of the composition's loss, with its graph; None = there is none.
        mass: What dense attention would lay on each region that can be chosen, where the trace asks for it.
    """

    selection: Selection | None = None
    loss: Float[Tensor, ""] | None = None
    mass: Float[Tensor, "batch head row region"] | None = None


def route(
    look: Look,
    seen: Look,
    gaze: Gaze,
    branch: int,
    division: Division,
    supply: Supply,
    described: Described | None,
    forward: ForwardPass,
    learns: bool,
) -> Routed:
    """What each row looks at.

    Args:
        look: The layer's call.
        seen: The same with all entries for keys, where the loss is wanted.
        gaze: What looks.
        branch: Its place among the branches.
        division: Its regions and rows.
        supply: What there is to attend to.
        described: What the pooler knows of the regions.
        forward: What all layers share.
        learns: Whether the loss is wanted.
    """
    openness = forward.openness_of(gaze, look.layer)
    chooses = gaze.route is not None and openness < 1.0
    if gaze.route is not None:
        forward.selections[branch, look.layer] = (division, None)
    if division.regions.count == 0 or division.rows.count == 0 or not (chooses or learns):
        return Routed()
    asking = detached(look) if learns and gaze.loss is not None and gaze.loss.detach else look
    batch, heads = look.query.shape[:2]
    step = max(1, _SCORE_BYTES // (32 * batch * heads * division.regions.count))
    chosen: list[Tensor] = []
    losses: list[Tensor] = []
    masses: list[Tensor] = []
    weighs = chooses and forward.trace is not None and forward.trace.weighs
    for start in range(0, division.rows.count, step):
        view = _view(look, division, forward, branch, openness, start, start + step)
        with grad_enabled(learns):
            scores = None
            if described is not None and gaze.pool is not None:
                scores = gaze.pool.score(asking, view.rows, described)
            if learns and gaze.loss is not None:
                losses.append(
                    gaze.loss(
                        scores, seen, replace(view, keys=supply.everything.tokens, query=division.tokens)
                    )
                )
        if chooses and gaze.route is not None:
            selection = _select(gaze.route, scores, view)
            chooses = selection is not None
            chosen += [] if selection is None else [selection.index]
        if weighs:
            with torch.no_grad():
                every = supply.everything
                whole = replace(look, key=every.key, value=every.value)
                mass = attention_mass(whole, replace(view, keys=every.tokens, query=division.tokens))
            masses.append(mass.masked_fill(~view.complete[:, None], 0.0))
    found = Selection(_joined(chosen)) if chooses else None
    if found is not None:
        forward.selections[branch, look.layer] = (division, found)
    loss = sum(losses[1:], losses[0]) / division.rows.valid.sum().clamp_min(1) if losses else None
    return Routed(found, loss, _joined(masses) if masses else None)


def _select(router: Router, scores: Tensor | None, view: View) -> Selection | None:
    """What a router selects, outside autograd."""
    if not torch.is_grad_enabled():
        return router(scores, view)
    with torch.no_grad():
        return router(None if scores is None else scores.detach(), view)


def grad_enabled(wanted: bool) -> AbstractContextManager[object]:
    """Autograd on or off; where it is as wanted already, as throughout inference, nothing is done."""
    return _AS_IT_IS if torch.is_grad_enabled() == wanted else torch.set_grad_enabled(wanted)


def _joined(chunks: list[Tensor]) -> Tensor:
    """The chunks of rows one after another."""
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks, dim=2)


def _view(
    look: Look, division: Division, forward: ForwardPass, branch: int, openness: float, start: int, stop: int
) -> View:
    """What a router may know of the rows `[start, stop)`."""
    return View(
        layout=forward.layout,
        regions=division.regions,
        rows=division.rows.narrow(start, stop),
        complete=division.complete
        if stop - start >= division.rows.count
        else division.complete[:, start:stop],
        openness=openness,
        layer=look.layer,
        scale=look.scale,
        num_heads=look.query.shape[1],
        num_kv_heads=look.key.shape[1],
        earlier=_Earlier(forward, division, branch, look.layer, slice(start, stop)),
        divided=forward.regions_of,
    )


@dataclass(frozen=True)
class _Earlier(Mapping[int, Selection | None]):
    """What earlier layers chose for some rows; cut to them when it is asked for, which few routers do."""

    forward: ForwardPass
    division: Division
    branch: int
    before: int
    rows: slice

    def __getitem__(self, layer: int) -> Selection | None:
        if not self._has(layer):
            raise KeyError(layer)
        _, found = self.forward.selections[self.branch, layer]
        return None if found is None else Selection(found.index[:, :, self.rows])

    def __iter__(self) -> Iterator[int]:
        return (
            layer for branch, layer in self.forward.selections if branch == self.branch and self._has(layer)
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _has(self, layer: int) -> bool:
        # A layer that is computed again in the backward has later ones there too.
        if layer >= self.before or (self.branch, layer) not in self.forward.selections:
            return False
        return self.forward.selections[self.branch, layer][0] is self.division


def detached(look: Look) -> Look:
    """The look without a way back into the model."""
    tensors: dict[str, Any] = {
        name: value.detach() for name, value in vars(look).items() if isinstance(value, Tensor)
    }
    return replace(look, **tensors)


class _Attach(torch.autograd.Function):
    """Returns the output as it is; in the backward the loss gets its weight for a gradient."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, loss: Tensor, weight: float) -> Tensor:
        ctx.weight, ctx.like = weight, (loss.dtype, loss.device)
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        dtype, device = ctx.like
        return grad, torch.full((), ctx.weight, dtype=dtype, device=device), None


def attach(
    out: Float[Tensor, "batch head query value_dim"], loss: Float[Tensor, ""] | None, weight: float
) -> Float[Tensor, "batch head query value_dim"]:
    """The output, whose backward brings the loss's gradient along; so it survives checkpointing of a layer.

    It needs no place in the model's own loss. What scales that (an average over accumulated batches, a gradient
    scaler) does not scale it.
    """
    if loss is None or not loss.requires_grad:
        return out
    return _Attach.apply(out, loss, weight)
