"""Runs compiled FlexAttention beside the reference; by test_flex in a process without type checks.

Types checked at run time would be compiled too. Says on its last line how many kernels were made.
"""

import sys
from dataclasses import replace

import torch
import torch._inductor.config
from torch._dynamo.utils import counters

from gazekit.attend import FlexBackend, ReferenceBackend, choose
from gazekit.contracts import Kind
from gazekit.testing.cases import map_tensors
from tests.attend.cases import Case, scene
from tests.attend.parity import run

LONG = "t3 v12x12 c2 t60"
"""Text that routes lies in a second block of queries: all it may see of the first is a block that is full but for the
selection, where a kernel would not ask the rule."""

CONFINED = frozenset({Kind.CONTEXT, Kind.VISUAL})
CASES = {
    "k=2": Case((LONG,), dim=16, k=2),
    "k=7": Case((LONG,), dim=16, k=7),
    "packed": Case((f"{LONG} / t9 v4x4 t100", "t2 v4x4 t9"), dim=16, k=3, heads=14, share="group"),
    "padded": Case((LONG, "t2"), dim=16, left=True, heads=3, kv_heads=3),
    "tokens per head": Case((LONG,), dim=16, permuted=True, per_head=True),
    "dense": Case((LONG, "t40"), dim=16, k=None),
    "own unit": Case(
        ("v9x9 c2 t1 v9x9 c2 t2",),
        dim=16,
        confined=frozenset({Kind.CONTEXT, Kind.VISUAL}),
        heads=2,
        kv_heads=1,
    ),
}


def on_a_gpu(names: list[str]) -> None:
    """Values and all three gradients, by the kernels that a GPU runs."""
    for name in names:
        for dtype, tolerance in (
            (torch.float32, 1e-2),
            (torch.bfloat16, 2e-2),
        ):  # TF32 products may stand in for fp32
            made = map_tensors(scene(CASES[name]).to(dtype), lambda tensor: tensor.cuda())
            assert FlexBackend().refuses(made.entries, made.plan) is None
            assert isinstance(choose("auto", made.entries, made.plan), FlexBackend)
            found, expected = run(FlexBackend(), made), run(ReferenceBackend(), made)
            for one, other in zip(found, expected, strict=True):
                error = (one.float() - other.float()).norm() / other.float().norm()
                assert error < tolerance, (name, dtype, error)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    if "quick" in sys.argv:
        torch._inductor.config.cpp_cache_precompile_headers = False
    for name in names:
        made = scene(CASES[name])
        out = FlexBackend().attend(made.query, made.entries, made.plan)
        expected = ReferenceBackend().attend(made.query, made.entries, made.plan)
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
        blind = expected.abs().amax(-1) == 0
        assert not out[blind].any(), name
    if "value" in sys.argv:
        made = scene(CASES["k=2"])
        value = torch.cat([made.entries.value, made.entries.value.flip(2)], dim=-1)
        entries = replace(made.entries, value=value)
        out = FlexBackend().attend(made.query, entries, made.plan)
        torch.testing.assert_close(
            out, ReferenceBackend().attend(made.query, entries, made.plan), atol=1e-5, rtol=1e-5
        )
    print(counters["stats"]["unique_graphs"])


if __name__ == "__main__":
    (on_a_gpu if "cuda" in sys.argv else main)([name for name in sys.argv[1:] if name in CASES])
