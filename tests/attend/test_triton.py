"""The Triton backend against the reference: in the interpreter, or compiled where there is a CUDA device."""

from dataclasses import replace

import pytest
import torch

from gazekit.attend import ReferenceBackend, TritonBackend, choose
from gazekit.contracts import Backend, Kind
from gazekit.gaze import Gaze
from gazekit.kernels import triton
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from gazekit.testing.cases import map_tensors
from tests.attend.cases import CASES, Case, Scene, scene, sinks
from tests.attend.test_gather import LAST, region_major
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TRITON = TritonBackend(interpreted=DEVICE == "cpu")
MORE = {
    "regions of one": Case(("v4x4 t2 v3x3 t2",), size=(1, 1, 1), k=5, start=28),
    "a region each": Case(
        ("v3x3 t1 v3x3 t1 v3x3 t1 v3x3 t2",), size=(1, 3, 3), k=2, start=40, heads=7, kv_heads=1
    ),
    "regions of 64": Case(("v8x9 t3",), size=(1, 8, 8), k=1, start=74),
}

pytestmark = pytest.mark.usefixtures("triton_kernels")


def answers(made: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """What the backend says on DEVICE, and the reference."""
    there = map_tensors(
        {"query": made.query, "entries": made.entries, "plan": made.plan}, lambda x: x.to(DEVICE)
    )
    assert TRITON.refuses(there["entries"], there["plan"]) is None
    return TRITON.attend(**there).cpu(), ReferenceBackend().attend(made.query, made.entries, made.plan)


@pytest.mark.parametrize("name", LAST | MORE)
def test_equals_the_reference(name):
    for per_head, dtype in ((False, torch.float32), (True, torch.float16)):
        found, expected = answers(region_major(scene((LAST | MORE)[name]), per_head).to(dtype))
        assert found.dtype == dtype
        tolerance = 1e-5 if dtype == torch.float32 else 1e-3
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("name", LAST | MORE)
def test_equals_the_reference_in_bf16(name):
    found, expected = answers(region_major(scene((LAST | MORE)[name])).to(torch.bfloat16))
    assert (found.float() - expected.float()).norm() / expected.float().norm() < 2e-2


def test_a_view_of_a_larger_buffer_and_wider_values_will_do():
    made = region_major(scene(LAST["ragged"]))
    roomy = torch.full((*made.entries.key.shape[:2], 99, 20), float("nan"))
    length = made.entries.key.shape[2]
    roomy[:, :, :length, :8] = made.entries.key
    roomy[:, :, :length, 8:] = torch.cat([made.entries.value, made.entries.value.flip(2)[..., :4]], dim=-1)
    part = replace(made.entries, key=roomy[:, :, :length, :8], value=roomy[:, :, :length, 8:])
    found, expected = answers(replace(made, entries=part))
    assert found.shape[-1] == 12
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_sample_without_a_query_gives_zeros():
    made = region_major(scene(LAST["different counts"]))
    blank = made.plan.query.take(torch.tensor([[[0]], [[-1]], [[0]]]))
    rows = replace(made.plan.rows, of=torch.tensor([[0], [-1], [0]]))
    found, expected = answers(replace(made, plan=replace(made.plan, query=blank, rows=rows)))
    assert not found[1].any()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_nothing_in_view_gives_zeros():
    made = region_major(scene(Case(("v2x2 t1",), start=4)))
    none = replace(made.plan.selection, index=torch.full_like(made.plan.selection.index, -1))
    entries = replace(
        made.entries, key=made.entries.key[:, :, :4], value=made.entries.value[:, :, :4],
        tokens=made.entries.tokens.narrow(0, 4), position=made.entries.position[..., :4],
    )  # fmt: skip
    found, _ = answers(replace(made, entries=entries, plan=replace(made.plan, selection=none)))
    assert not found.any()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda made: made.to(torch.float64), "computes in fp32, fp16 or bf16, not in torch.float64"),
        (lambda made: made.to(torch.bfloat16), "wrongly in bf16"),
        (lambda made: replace(made, plan=replace(made.plan, keeps=sinks)), "a rule keeps entries in view"),
        (lambda made: replace(made, plan=replace(made.plan, selection=None)), "nothing is routed"),
        (
            lambda made: replace(made, plan=replace(made.plan, confined=frozenset({Kind.TEXT}))),
            "a query reaches tokens of its own unit only",
        ),
    ],
)  # fmt: skip
def test_it_says_why_it_refuses(change, reason):
    made = change(region_major(scene(LAST["image"])))
    assert reason in TritonBackend(interpreted=True).refuses(made.entries, made.plan)


def test_it_refuses_prompts_without_images_and_prefill():
    made = region_major(scene(Case(("t5",), start=4)))
    assert "nothing is routed" in TRITON.refuses(made.entries, made.plan)
    made = scene(CASES["image"])
    assert "it decodes one query per sample" in TRITON.refuses(made.entries, made.plan)


def test_it_refuses_to_be_trained_through():
    made = region_major(scene(LAST["image"]))
    entries = replace(made.entries, key=made.entries.key.requires_grad_())
    assert "no backward" in TritonBackend(interpreted=True).refuses(entries, made.plan)


def test_it_refuses_queries_that_autograd_follows():
    made, backend = region_major(scene(LAST["image"])), TritonBackend(interpreted=True)
    assert "no backward" in backend.refuses(made.entries, replace(made.plan, tracked=True))
    with pytest.raises(ValueError, match="query must not require a gradient"):
        backend.attend(made.query.requires_grad_(), made.entries, made.plan)


def test_it_runs_on_a_cpu_only_where_that_is_asked_for():
    made = region_major(scene(LAST["image"]))
    assert (
        TritonBackend().refuses(made.entries, made.plan) == "it runs on a CUDA GPU, and the keys lie on cpu"
    )
    assert not isinstance(choose("auto", made.entries, made.plan), TritonBackend)
    with pytest.raises(ValueError, match="backend 'triton' cannot do this: it runs on a CUDA GPU"):
        choose("triton", made.entries, made.plan)


@pytest.mark.gpu
def test_auto_takes_it_on_a_gpu():
    made = region_major(scene(LAST["image"]))
    there = map_tensors({"entries": made.entries, "plan": made.plan}, lambda x: x.cuda())
    assert choose("auto", there["entries"], there["plan"]) == TritonBackend()


@pytest.mark.skipif(DEVICE == "cuda", reason="its tensors lie on the CPU, where the interpreter must run")
@torch.no_grad()
def test_a_model_answers_the_same_by_the_kernels(monkeypatch):
    """Two samples, of which one has no image; the generated token is one more free entry."""
    lay = layout(sample(2, Image(3, 4, context=1), 3), sample(5))
    runner = Runner(decoder("qwen3"), Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=2)))
    tokens, logits = runner.greedy(lay, prompt(lay), 2)
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(TritonBackend, "_unusable", lambda self, key: None)
        patch.setattr(triton, "serves", lambda *fields: fields[0].shape[2] == 1)
        for name in ("scores", "select", "decode"):
            kernel = getattr(triton, name)
            patch.setattr(triton, name, lambda *a, k=kernel, n=name, **b: calls.append(n) or k(*a, **b))
        found, its_logits = runner.greedy(lay, prompt(lay), 2)
    assert calls == ["scores", "select", "decode"] * 3
    assert torch.equal(found, tokens)
    torch.testing.assert_close(its_logits, logits, rtol=1e-5, atol=1e-5)


def test_it_is_a_backend():
    assert isinstance(TRITON, Backend)
