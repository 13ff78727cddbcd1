"""What the losses are, against the same said plainly."""

import math
from dataclasses import replace

import pytest
import torch

from gazekit.contracts import Look, complete_regions
from gazekit.gaze.forward import rows_of
from gazekit.loss import DistillationLoss, MapLoss
from gazekit.partition import GridPartition
from tests.scenes import layout, unchecked, view

GRID = GridPartition(size=(1, 2, 2))


def scene(block: int = 1, prior: bool = False):
    torch.manual_seed(0)
    lay = layout("t1 v2x4 t4 / t1 v2x2 t2", "p3 v4x4 t3", left=True)
    if prior:
        lay = replace(lay, prior=torch.rand(lay.clip.shape).double() - 0.2)
    regions = GRID(lay)
    query = lay.tokens.owned_by(regions.owner[:, None])
    told = view(lay, regions, heads=4, kv_heads=2)
    if block > 1:
        of = torch.where(lay.kind == 1, torch.arange(lay.length) // block, -1)
        rows = rows_of(query, lay.kind == 1, of)
        told = replace(told, rows=rows, complete=complete_regions(rows, regions))
    told = replace(told, scale=0.5, keys=query, query=query)
    heads = torch.randn(2, 8, lay.length, 3, dtype=torch.float64).split([4, 2, 2], dim=1)
    look = Look(query=heads[0], key=heads[1], value=heads[2], layer=0, scale=0.5)
    scores = torch.randn(2, 4, told.rows.count, regions.count, dtype=torch.float64, requires_grad=True)
    return look, told, scores


def plain_mass(look, told, b, head, query, pool="sum"):
    """Attention of one query to each region, by loops."""
    kind, document, order = (getattr(told.layout.tokens, f)[b, 0] for f in ("kind", "document", "order"))
    seen = (kind != 0) & (document == document[query]) & (order <= order[query])
    logits = (look.key[b, head // 2] @ look.query[b, head, query]) * told.scale
    weight = torch.where(seen, logits, -math.inf).softmax(0)
    parts = [weight[told.regions.owner[b] == region] for region in range(told.regions.count)]
    return torch.stack(
        [part.sum() if pool == "sum" else part.max() if len(part) else weight[0] * 0 for part in parts]
    )


def plain_rows(look, told, b, head, row, pool):
    each = torch.stack(
        [plain_mass(look, told, b, head, q, pool) for q in (told.rows.of[b] == row).nonzero()[:, 0].tolist()]
    )
    return each.mean(0) if pool == "sum" else each.amax(0)


def plain_distillation(look, told, scores, pool):
    total = scores.new_zeros(())
    for b, row in told.rows.valid.nonzero().tolist():
        there = told.complete[b, row]
        if not there.any():
            continue
        for head in range(4):
            mass = plain_rows(look, told, b, head, row, pool)[there]
            log = (scores[b, head, row, there] * told.scale).log_softmax(0)
            share = mass / mass.sum()
            total = total + (share * (share.log() - log)).sum() / 4
    return total


@pytest.mark.parametrize("pool", ["sum", "max"])
@pytest.mark.parametrize("block", [1, 3])
def test_distillation_is_the_divergence_from_true_attention(pool, block):
    look, told, scores = scene(block)
    assert told.rows.blocks == (block > 1)
    loss = DistillationLoss(pool=pool)(scores, look, told)
    expected = plain_distillation(look, told, scores, pool)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(each, scores)[0] for each in (loss, expected))
    torch.testing.assert_close(ours, theirs)
    assert ours.abs().max() > 1e-3


def test_chunks_of_rows_add_up():
    look, told, scores = scene(3)
    whole = DistillationLoss()(scores, look, told)
    parts = [
        DistillationLoss()(
            scores[:, :, r : r + 1],
            look,
            replace(told, rows=told.rows.narrow(r, r + 1), complete=told.complete[:, r : r + 1]),
        )
        for r in range(told.rows.count)
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_chunks_of_queries_change_nothing(monkeypatch):
    look, told, scores = scene(3)
    whole = DistillationLoss()(scores, look, told)
    monkeypatch.setattr("gazekit.loss._mass._BYTES", 1)
    torch.testing.assert_close(DistillationLoss()(scores, look, told), whole)


def test_scores_that_are_the_true_logits_cost_nothing():
    look, told, _ = scene()
    mass = torch.zeros(2, 4, told.rows.count, told.regions.count, dtype=torch.float64)
    for b, row in told.rows.valid.nonzero().tolist():
        for head in range(4):
            mass[b, head, row] = plain_rows(look, told, b, head, row, "sum")
    loss = DistillationLoss()(mass.clamp_min(1e-300).log() / told.scale, look, told)
    torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-12, rtol=0)


def test_the_map_pulls_queries_and_keys():
    look, told, _ = scene(prior=True)
    look = replace(look, query=look.query.requires_grad_(), key=look.key.requires_grad_())
    loss = MapLoss()(None, look, told)
    expected = torch.zeros((), dtype=torch.float64)
    prior = told.layout.prior.clamp_min(0)
    for b, row in told.rows.valid.nonzero().tolist():
        there = told.complete[b, row]
        favour = torch.stack([prior[b, told.regions.owner[b] == r].sum() for r in range(told.regions.count)])[
            there
        ]
        if favour.sum() > 0:
            mass = torch.stack([plain_rows(look, told, b, head, row, "sum") for head in range(4)]).mean(0)[
                there
            ]
            share = (favour / favour.sum()).double()
            expected = expected + (share * (share.log() - (mass / mass.sum()).log())).sum()
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        *(torch.autograd.grad(x, (look.query, look.key)) for x in (loss, expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
        assert ours.abs().max() > 1e-3


def test_rows_without_anything_to_choose_cost_nothing():
    look, told, scores = scene(prior=True)
    nothing = replace(told, complete=torch.zeros_like(told.complete))
    for loss in (DistillationLoss(), MapLoss()):
        found = loss(scores, replace(look, key=look.key.requires_grad_()), nothing)
        assert found == 0
        found.backward()
    assert (scores.grad == 0).all()
    empty = replace(told, layout=replace(told.layout, prior=torch.zeros_like(told.layout.prior)))
    assert MapLoss()(None, look, empty) == 0


def test_what_cannot_be_is_refused():
    look, told, scores = scene()
    with pytest.raises(ValueError, match=r"MapLoss needs layout\.prior, got none"):
        MapLoss()(scores, look, told)
    with pytest.raises(ValueError, match="DistillationLoss needs scores, got none"):
        DistillationLoss()(None, look, told)
    for loss in (DistillationLoss, MapLoss):
        with pytest.raises(ValueError, match=r"weight must be at least 0, got -1\.0"):
            loss(weight=-1.0)
    with unchecked(), pytest.raises(ValueError, match=r"pool must be .sum. or .max., got 'mean'"):
        DistillationLoss(pool="mean")
