import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import flex_attention

from gazekit.attend import FlexBackend, ReferenceBackend, choose
from gazekit.attend import _blocks as blocks
from gazekit.attend import flex as flex_module
from gazekit.contracts import Backend, Kind, visible
from gazekit.testing.arrange import take_entries
from tests.attend.cases import CASES, Case, scene
from tests.attend.flexed import CASES as COMPILED
from tests.attend.flexed import LONG

ROOT = Path(__file__).parents[2]
EAGER = FlexBackend(compiled=False)


@pytest.fixture(autouse=True)
def _as_it_stands(monkeypatch):
    """torch's unfused form without a compiler in between, which would trace every call anew."""
    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


@pytest.mark.parametrize("name", [name for name in CASES if name != "keeps"])
def test_equals_the_reference(name):
    made = scene(CASES[name])
    assert EAGER.refuses(made.entries, made.plan) is None
    out = EAGER.attend(made.query, made.entries, made.plan)
    expected = ReferenceBackend().attend(made.query, made.entries, made.plan)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    blind = ~visible(made.plan, made.entries.tokens, made.case.heads).any(-1).expand(*out.shape[:3])
    assert not out[blind].any()


@pytest.mark.parametrize("name", COMPILED)
def test_a_block_that_is_left_out_holds_nothing_visible(name):
    made = scene(COMPILED[name])
    heads = made.case.heads
    structure = blocks.structure_of(made.plan, made.entries.tokens, heads)
    mask = structure.mask(blocks.rule_of(structure, made.plan, made.entries, heads))
    assert mask.full_kv_num_blocks is None
    seen = visible(made.plan, made.entries.tokens, heads)
    queries, keys = seen.shape[2:]
    padded = torch.nn.functional.pad(seen, (0, -keys % 128, 0, -queries % 128))
    held = padded.unflatten(3, (-1, 128)).unflatten(2, (-1, 128)).any(5).any(3)
    reached = mask.to_dense().bool()
    assert not (held & ~reached).any()
    assert made.case.permuted or reached.sum() < reached.numel()


def test_causal_blocks_are_left_out():
    made = scene(Case(("t600",), k=None))
    structure = blocks.structure_of(made.plan, made.entries.tokens, 4)
    assert structure.num_blocks.tolist() == [[[1, 2, 3, 4, 5]]]
    assert structure.blocks[0, 0, 2, :3].tolist() == [0, 1, 2]


def test_documents_are_left_out():
    made = scene(Case(("t256 / t256",), k=None))
    structure = blocks.structure_of(made.plan, made.entries.tokens, 4)
    assert structure.num_blocks.tolist() == [[[1, 2, 1, 2]]]
    assert structure.blocks[0, 0, 3, :2].tolist() == [2, 3]


def test_the_structure_is_made_once_for_all_layers_and_never_from_the_selection(monkeypatch):
    made, other = scene(Case((LONG,), k=2)), scene(Case((LONG,), k=5))
    calls = []
    original = flex_module.structure_of
    monkeypatch.setattr(flex_module, "structure_of", lambda *a: calls.append(a) or original(*a))
    first = EAGER.attend(made.query, made.entries, made.plan)
    later = replace(made.plan, selection=other.plan.selection)
    second = EAGER.attend(made.query, made.entries, later)
    assert len(calls) == 1
    assert not torch.equal(first, second)
    torch.testing.assert_close(second, ReferenceBackend().attend(made.query, made.entries, later))
    dropped = replace(made.entries, tokens=made.entries.tokens.narrow(0, 40), key=made.entries.key[:, :, :40],
                      value=made.entries.value[:, :, :40], position=made.entries.position[..., :40])  # fmt: skip
    third = EAGER.attend(made.query, dropped, made.plan)
    assert len(calls) == 2
    torch.testing.assert_close(third, ReferenceBackend().attend(made.query, dropped, made.plan))


def test_what_is_kept_for_other_layers_is_for_the_same_rules_and_entries_alone():
    made = scene(CASES["later piece"])
    others = [
        made,
        replace(made, plan=replace(made.plan, confined=frozenset({Kind.CONTEXT, Kind.TEXT}))),
        replace(
            made, entries=take_entries(made.entries, torch.arange(20, 2, -1)[None, None].expand(2, 1, -1))
        ),
    ]
    for one in (*others, *others):
        plan = replace(one.plan, memo=made.plan.memo)
        found, expected = (b.attend(one.query, one.entries, plan) for b in (EAGER, ReferenceBackend()))
        torch.testing.assert_close(found, expected)


def test_nothing_to_attend_to_gives_zeros():
    made = scene(CASES["dense"])
    none = replace(
        made.entries, key=made.entries.key[:, :, :0], value=made.entries.value[:, :, :0],
        tokens=made.entries.tokens.narrow(0, 0), position=made.entries.position[..., :0],
    )  # fmt: skip
    out = EAGER.attend(made.query, none, made.plan)
    assert out.shape == made.query.shape
    assert not out.any()


def test_gradients_on_a_cpu_are_refused():
    made = scene(CASES["image"])
    asking = replace(made.entries, key=made.entries.key.requires_grad_())
    with pytest.raises(ValueError, match="backend 'flex' cannot do this: on a CPU it has no backward"):
        choose("flex", asking, made.plan)
    with torch.no_grad():
        assert isinstance(choose("flex", asking, made.plan), FlexBackend)


def test_one_query_on_a_cpu_is_refused_but_by_the_unfused_form():
    made = scene(CASES["one query"])
    made = replace(made, query=made.query[:, :, :1], plan=made.plan.narrow(0, 1))
    assert "cannot compile it for one query" in FlexBackend().refuses(made.entries, made.plan)
    assert FlexBackend(compiled=False).refuses(made.entries, made.plan) is None


def test_rules_on_tokens_are_refused():
    made = scene(CASES["keeps"])
    assert "a rule keeps entries in view" in FlexBackend().refuses(made.entries, made.plan)


def test_what_cuda_cannot_do_is_refused(monkeypatch):
    monkeypatch.setattr(flex_module, "has_triton", lambda: True)
    made = scene(CASES["image"])
    on = lambda key: replace(made.entries, key=key, value=key)  # noqa: E731
    narrow = _Elsewhere(made.entries.key, "cuda")
    assert "heads of 16 or wider, got 8" in FlexBackend().refuses(on(narrow), made.plan)
    wide = _Elsewhere(torch.zeros(1, 2, made.entries.key.shape[2], 64, dtype=torch.float64), "cuda")
    assert "not in double precision" in FlexBackend().refuses(on(wide), made.plan)
    assert "the keys lie on mps" in FlexBackend().refuses(on(_Elsewhere(wide, "mps")), made.plan)
    monkeypatch.setattr(flex_module, "has_triton", lambda: False)
    assert "it needs Triton" in FlexBackend().refuses(on(wide), made.plan)
    passed_by = flex_module.compiles_for_little
    assert passed_by(on(wide), made.plan) is None
    assert passed_by(made.entries, made.plan) == "compiling it does not pay on cpu"
    assert passed_by(on(wide), made.plan.narrow(0, 1)) == "compiling it does not pay for one query"


class _Elsewhere(torch.Tensor):
    """A tensor that says that it lies on another device."""

    @staticmethod
    def __new__(cls, tensor: torch.Tensor, device: str):
        made = torch.Tensor._make_subclass(cls, tensor)
        made.elsewhere = torch.device(device)
        return made

    @property
    def device(self):
        return self.elsewhere


def compiled(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.attend.flexed", *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_compiled_it_equals_the_reference_and_another_k_compiles_nothing():
    """In blocks that are full a kernel does not ask the rule, which the unfused form would hide."""
    assert compiled("quick", "k=2", "k=7") == "1"


@pytest.mark.slow
def test_compiled_it_equals_the_reference_everywhere():
    assert int(compiled(*COMPILED, "value")) == len(COMPILED)


@pytest.mark.gpu
def test_on_a_gpu_it_equals_the_reference_in_values_and_gradients():
    compiled("cuda", *COMPILED)


def test_it_is_a_backend():
    assert isinstance(FlexBackend(), Backend)
