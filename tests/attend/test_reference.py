import math

import pytest
import torch

from gazekit.attend import ReferenceBackend
from gazekit.contracts import Backend, Entries
from tests.attend.cases import CASES, Case, by_the_rules, scene

REFERENCE = ReferenceBackend()


@pytest.mark.parametrize("name", CASES)
def test_it_is_a_softmax_over_what_is_visible(name):
    made = scene(CASES[name]).to(torch.float64)
    out = REFERENCE.attend(made.query, made.entries, made.plan)
    seen = by_the_rules(made)
    group = made.case.heads // made.case.kv_heads
    for sample, head, place in torch.cartesian_prod(*(torch.arange(n) for n in out.shape[:3])).tolist():
        which = seen[sample, head, place]
        key, value = (x[sample, head // group, which] for x in (made.entries.key, made.entries.value))
        weight = [math.exp(made.plan.scale * float(made.query[sample, head, place] @ k)) for k in key]
        expected = sum(
            (w / sum(weight) * v for w, v in zip(weight, value, strict=True)), torch.zeros_like(out[0, 0, 0])
        )
        torch.testing.assert_close(out[sample, head, place], expected)


def test_by_hand():
    """One head, logits 0 and ln 3: weights 1/4 and 3/4."""
    made = scene(Case(("t2",), heads=1, kv_heads=1, dim=1))
    entries = Entries(
        key=torch.tensor([[[[0.0], [math.log(3.0)]]]]), value=torch.tensor([[[[4.0], [8.0]]]]),
        tokens=made.entries.tokens, position=made.entries.position,
    )  # fmt: skip
    out = REFERENCE.attend(torch.ones(1, 1, 2, 1), entries, made.plan)
    assert out.flatten().tolist() == pytest.approx([4.0, 7.0])


@pytest.mark.parametrize(
    "name", ["ragged", "padded", "packed", "open", "keeps", "group of 7", "tokens per head"]
)
def test_gradients_are_those_of_finite_differences(name):
    case = CASES[name]
    made = scene(Case(**{**vars(case), "dim": 2})).to(torch.float64)

    def attend(query, key, value):
        entries = Entries(key=key, value=value, tokens=made.entries.tokens, position=made.entries.position)
        return REFERENCE.attend(query, entries, made.plan)

    inputs = (made.query, made.entries.key, made.entries.value)
    assert torch.autograd.gradcheck(attend, [x.requires_grad_() for x in inputs], fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_dtype(dtype):
    made = scene(CASES["ragged"])
    exact = REFERENCE.attend(*(lambda s: (s.query, s.entries, s.plan))(made.to(torch.float64)))
    rough = made.to(dtype)
    out = REFERENCE.attend(rough.query, rough.entries, rough.plan)
    assert out.dtype == dtype
    loose = {torch.float16: 5e-3, torch.bfloat16: 4e-2}.get(dtype, 1e-6)
    torch.testing.assert_close(out.double(), exact, rtol=loose, atol=loose)


def test_it_is_a_backend_that_refuses_nothing():
    made = scene(CASES["image"])
    assert isinstance(REFERENCE, Backend)
    assert REFERENCE.refuses(made.entries, made.plan) is None
