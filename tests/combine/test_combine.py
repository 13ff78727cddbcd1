"""Branches weighed and added."""

import pytest
import torch

from gazekit.combine import GatedCombine, SumCombine
from gazekit.contracts import Combine, Look, Sizes

SIZES = Sizes(num_layers=2, num_heads=4, num_kv_heads=2, head_dim=3, hidden_dim=6, num_branches=3)


def scene(hidden: bool = True):
    torch.manual_seed(0)
    query = torch.randn(2, 4, 5, 3)
    look = Look(
        query=query, key=query[:, :2], value=query[:, :2], layer=0, scale=1.0,
        hidden=torch.randn(2, 5, 6) if hidden else None,
    )  # fmt: skip
    return look, list(torch.randn(3, 2, 4, 5, 3))


def test_fixed_weights():
    look, outs = scene()
    assert isinstance(SumCombine(), Combine)
    torch.testing.assert_close(SumCombine()(look, outs), torch.stack(outs).mean(0))
    weighed = SumCombine(weights=(1.0, 0.0, -2.0))(look, outs)
    torch.testing.assert_close(weighed, outs[0] - 2 * outs[2])


def test_each_query_head_and_branch_has_a_gate():
    look, outs = scene()
    gated = GatedCombine()
    gated.bind(SIZES)
    assert isinstance(gated, Combine)
    expected = torch.zeros_like(outs[0])
    for b in range(2):
        for query in range(5):
            raw = gated.gate.weight @ look.hidden[b, query] + gated.gate.bias
            for head in range(4):
                for branch in range(3):
                    expected[b, head, query] += (
                        raw[branch * 4 + head].sigmoid() * outs[branch][b, head, query]
                    )
    torch.testing.assert_close(gated(look, outs), expected)
    gated(look, outs).square().sum().backward()
    assert gated.gate.weight.grad.abs().max() > 0
    with torch.no_grad():
        gated.gate.weight.zero_()
    torch.testing.assert_close(gated(look, outs), torch.stack(outs).sum(0) / 2)
    assert gated.bfloat16()(look, [out.bfloat16() for out in outs]).dtype == torch.bfloat16


def test_what_cannot_be_is_refused():
    look, outs = scene(hidden=False)
    with pytest.raises(ValueError, match="weights must hold one number for each branch, got none"):
        SumCombine(weights=())
    with pytest.raises(ValueError, match="one number for each of the 3 branches, got 2"):
        SumCombine(weights=(1.0, 2.0))(look, outs)
    gated = GatedCombine()
    gated.bind(SIZES)
    with pytest.raises(ValueError, match=r"GatedCombine needs look\.hidden, got none"):
        gated(look, outs)
