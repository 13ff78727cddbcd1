"""What is handed to xformers, beside a stand-in that does what xformers documents; and what is refused."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
import torch

from gazekit.attend import ReferenceBackend, XformersBackend, xformers
from gazekit.contracts import Backend
from tests.attend.cases import Case, scene
from tests.attend.test_gather import LAST, region_major

XFORMERS = XformersBackend()
SHARED = {
    "pages of 64": Case(("v16x16 t4",), size=(1, 8, 8), heads=14, kv_heads=2, share="group", start=259),
    "regions of 36": Case(
        ("v13x15 t4", "v12x12 t1 v6x7 t2"), size=(1, 6, 6), k=3, share="group", start=198, left=True
    ),
    "by layer": Case(("v4x4 c1 t4", "t3"), share="layer", start=20, left=True),
    "group of 1": LAST["group of 1"],
}


def _attended(query, key, value, attn_bias, scale):
    """`[1 token head dim]` each: block by block, the first keys of each block's room."""
    outs, asked = [], 0
    for block, (queries, keys) in enumerate(zip(attn_bias.queries, attn_bias.keys, strict=True)):
        begin = block * attn_bias.room
        some = query[0, asked : asked + queries, 0]
        asked += queries
        weights = (some.float() @ key[0, begin : begin + keys, 0].float().T * scale).softmax(-1)
        outs.append(weights @ value[0, begin : begin + keys, 0].float())
    return torch.cat(outs)[None, :, None].to(value.dtype)


@pytest.fixture
def library(monkeypatch):
    """A module by the name of xformers, with what the backend calls."""

    def from_seqlens(q_seqlen, kv_padding, kv_seqlen, *, device):
        assert len(q_seqlen) == len(kv_seqlen)
        assert 1 <= min(kv_seqlen) <= max(kv_seqlen) <= kv_padding
        return SimpleNamespace(queries=q_seqlen, keys=kv_seqlen, room=kv_padding)

    package, ops = ModuleType("xformers"), ModuleType("xformers.ops")
    package.__spec__ = SimpleNamespace(name="xformers")
    package.ops = ops
    ops.memory_efficient_attention_forward = _attended
    mask = SimpleNamespace(from_seqlens=from_seqlens)
    ops.fmha = SimpleNamespace(attn_bias=SimpleNamespace(BlockDiagonalPaddedKeysMask=mask))
    monkeypatch.setitem(sys.modules, "xformers", package)
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    _forget()
    yield ops
    _forget()


def _forget():
    xformers._ops.cache_clear()
    xformers._probe.cache_clear()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("per_head", [False, True])
@pytest.mark.parametrize("name", SHARED)
def test_equals_the_reference(name, per_head):
    made = region_major(scene(SHARED[name]), per_head)
    assert XFORMERS.refuses(made.entries, made.plan) is None
    found = XFORMERS.attend(made.query, made.entries, made.plan)
    expected = ReferenceBackend().attend(made.query, made.entries, made.plan)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (LAST["image"], "query heads that share keys choose apart"),
        (Case(("v4x4 t4",), start=18, share="group"), "it decodes one query per sample"),
    ],
)
def test_says_what_it_cannot_express(case, reason):
    made = region_major(scene(case))
    assert reason in XFORMERS.refuses(made.entries, made.plan)


@pytest.mark.usefixtures("library")
def test_it_refuses_to_be_trained_through():
    made = region_major(scene(SHARED["pages of 64"]))
    made.entries.key.requires_grad_()
    assert "it has no backward" in XFORMERS.refuses(made.entries, made.plan)


@pytest.mark.usefixtures("library")
def test_it_refuses_queries_that_autograd_follows():
    made = region_major(scene(SHARED["pages of 64"]))
    assert "it has no backward" in XFORMERS.refuses(made.entries, replace(made.plan, tracked=True))
    with pytest.raises(ValueError, match="query must not require a gradient"):
        XFORMERS.attend(made.query.requires_grad_(), made.entries, made.plan)


def test_says_that_the_library_is_not_there(monkeypatch):
    monkeypatch.setattr(xformers.util, "find_spec", lambda name: None)
    made = region_major(scene(SHARED["pages of 64"]))
    assert (
        XFORMERS.refuses(made.entries, made.plan)
        == "xformers is not installed; pip install 'gazekit[xformers]'"
    )


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (NotImplementedError("No operator found\nfor these inputs"), "torch.float32: No operator found"),
        (None, "xformers computes something else here"),
    ],
)
def test_says_what_the_library_says(library, monkeypatch, broken, reason):
    def call(query, key, value, attn_bias, scale):
        if broken is not None:
            raise broken
        return torch.zeros_like(query)

    library.memory_efficient_attention_forward = call
    made = region_major(scene(SHARED["pages of 64"]))
    found = XFORMERS.refuses(made.entries, made.plan)
    assert found.endswith(reason)


def test_it_is_a_backend():
    assert isinstance(XFORMERS, Backend)
