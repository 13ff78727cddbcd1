"""A backend beside the reference: values and gradients."""

from __future__ import annotations

from dataclasses import replace

import torch

from gazekit.attend import ReferenceBackend
from gazekit.contracts import Backend, visible
from tests.attend.cases import Scene


def run(backend: Backend, made: Scene) -> list[torch.Tensor]:
    """The output and the gradients of query, key and value under one random cotangent."""
    inputs = [x.detach().clone().requires_grad_() for x in (made.query, made.entries.key, made.entries.value)]
    out = backend.attend(inputs[0], replace(made.entries, key=inputs[1], value=inputs[2]), made.plan)
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return [out, *torch.autograd.grad(out, inputs, cotangent)]


def assert_equals_reference(backend: Backend, made: Scene, tolerance: float = 1e-5) -> None:
    """Equal to the reference in output and all three gradients; exact zeros where nothing is seen."""
    found, expected = run(backend, made), run(ReferenceBackend(), made)
    for name, one, other in zip(("out", "to_query", "to_key", "to_value"), found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(
            one, other, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )
    seen = visible(made.plan, made.entries.tokens, made.case.heads)
    blind = ~seen.any(-1).expand(*found[0].shape[:3])
    assert not found[0][blind].any()
    assert not found[1][blind].any()
    unseen = ~seen.expand(-1, made.case.heads, -1, -1).unflatten(1, (made.case.kv_heads, -1)).any(dim=(2, 3))
    assert not found[2][unseen].any()
    assert not found[3][unseen].any()
