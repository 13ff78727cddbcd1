from dataclasses import replace

import pytest
import torch

from gazekit.attend import NativeBackend, ReferenceBackend
from tests.attend.cases import CASES, scene, sinks
from tests.attend.test_gather import LAST, region_major

NATIVE = NativeBackend()

pytestmark = pytest.mark.usefixtures("native_kernel")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("per_head", [False, True])
@pytest.mark.parametrize("name", LAST)
def test_equals_the_reference(name, per_head, dtype):
    made = region_major(scene(LAST[name]), per_head).to(dtype)
    assert NATIVE.refuses(made.entries, made.plan) is None
    found, expected = (
        backend.attend(made.query, made.entries, made.plan) for backend in (NATIVE, ReferenceBackend())
    )
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda made: made.to(torch.float64), "computes in fp32 or bf16, not in torch.float64"),
        (lambda made: replace(made, plan=replace(made.plan, keeps=sinks)), "a rule keeps entries in view"),
        (lambda made: replace(made, plan=replace(made.plan, selection=None)), "nothing is routed"),
    ],
)
def test_it_says_why_it_refuses(change, reason):
    made = change(region_major(scene(LAST["image"])))
    assert reason in NATIVE.refuses(made.entries, made.plan)


def test_it_refuses_what_autocast_would_make_of_its_inputs():
    made = region_major(scene(LAST["image"]))
    with torch.autocast("cpu", torch.float16):
        assert "computes in fp32 or bf16, not in torch.float16" in NATIVE.refuses(made.entries, made.plan)
    with torch.autocast("cpu", torch.bfloat16):
        assert NATIVE.refuses(made.entries, made.plan) is None
        assert NATIVE.attend(made.query, made.entries, made.plan).dtype == torch.bfloat16


def test_it_refuses_to_be_trained_through():
    made = region_major(scene(LAST["image"]))
    entries = replace(made.entries, key=made.entries.key.requires_grad_())
    assert "no backward" in NATIVE.refuses(entries, made.plan)
    with torch.no_grad():
        assert NATIVE.refuses(entries, made.plan) is None


def test_it_refuses_queries_that_autograd_follows():
    made = region_major(scene(LAST["image"]))
    assert "no backward" in NATIVE.refuses(made.entries, replace(made.plan, tracked=True))
    with pytest.raises(
        ValueError, match=r"query must not require a gradient .* build the plan with tracked=True"
    ):
        NATIVE.attend(made.query.requires_grad_(), made.entries, made.plan)
    with torch.no_grad():
        assert NATIVE.refuses(made.entries, replace(made.plan, tracked=True)) is None
        assert NATIVE.attend(made.query, made.entries, made.plan).any()


def test_it_refuses_prefill():
    made = scene(CASES["image"])
    assert "it decodes one query per sample" in NATIVE.refuses(made.entries, made.plan)
