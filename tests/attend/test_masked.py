from dataclasses import replace

import pytest
import torch

from gazekit.attend import MaskedBackend, ReferenceBackend
from gazekit.attend import masked as masked_module
from gazekit.contracts import Backend, visible
from tests.attend.cases import CASES, scene
from tests.attend.parity import assert_equals_reference

WHOLE, PIECES = MaskedBackend(), MaskedBackend(chunk_bytes=12_000)


@pytest.mark.parametrize("backend", [WHOLE, PIECES], ids=["whole", "pieces"])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name, backend):
    assert_equals_reference(backend, scene(CASES[name]))


@pytest.mark.parametrize("name", ["ragged", "padded", "packed", "group of 7", "dense"])
def test_values_may_be_wider_than_keys(name):
    made = scene(CASES[name])
    value = torch.cat([made.entries.value, made.entries.value.flip(2)], dim=-1)
    assert_equals_reference(PIECES, replace(made, entries=replace(made.entries, value=value)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    made = scene(CASES["ragged"]).to(dtype)
    loose = {torch.float16: 5e-3, torch.bfloat16: 4e-2}.get(dtype, 1e-12)
    assert_equals_reference(WHOLE, made, tolerance=loose)


def test_without_gradients_the_answer_is_the_same():
    made = scene(CASES["ragged"])
    expected = PIECES.attend(made.query.requires_grad_(), made.entries, made.plan)
    with torch.no_grad():
        out = PIECES.attend(made.query, made.entries, made.plan)
    assert not out.requires_grad
    assert torch.equal(out, expected)


def test_masks_are_not_kept_for_the_backward():
    made = scene(CASES["ragged"])
    batch, heads, queries, _ = made.query.shape
    sizes = []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        WHOLE.attend(made.query.requires_grad_(), made.entries, made.plan)
    assert sizes
    assert max(sizes) < batch * heads * queries * made.entries.key.shape[2] / 2


def test_chunks_keep_to_their_bytes(monkeypatch):
    made = scene(CASES["ragged"])
    bytes_of = []

    def note(*args):
        bias = original(*args)
        bytes_of.append(bias.nbytes)
        return bias

    original = masked_module.bias_of
    monkeypatch.setattr(masked_module, "bias_of", note)
    PIECES.attend(made.query, made.entries, made.plan)
    one_query = made.query.shape[0] * made.case.heads * made.entries.key.shape[2] * 4
    assert len(bytes_of) > 1
    assert max(bytes_of) <= max(PIECES.chunk_bytes, one_query)


def test_a_chunk_reads_no_key_behind_the_last_that_it_reaches(monkeypatch):
    made = scene(CASES["packed"])
    read = []

    def note(query, key, *rest):
        read.append(key.shape[2])
        return original(query, key, *rest)

    original = masked_module.run_forward
    monkeypatch.setattr(masked_module, "run_forward", note)
    one = MaskedBackend(chunk_bytes=1)
    out = one.attend(made.query, made.entries, made.plan)
    torch.testing.assert_close(out, ReferenceBackend().attend(made.query, made.entries, made.plan))
    seen = visible(made.plan, made.entries.tokens, made.case.heads).any(dim=(0, 1))
    causal = torch.arange(1, seen.shape[1] + 1)
    assert len(read) == seen.shape[0]
    assert all(needed <= found for needed, found in zip((seen * causal).amax(1).tolist(), read, strict=True))
    assert sum(read) < 0.6 * seen.numel()
    read.clear()
    one.attend(made.query, made.entries, made.plan)
    assert sum(read) < 0.6 * seen.numel()


def test_a_mask_that_heads_share_counts_as_often_as_it_is_laid_out(monkeypatch):
    """Folded queries need it once for each head of a group."""
    made = scene(CASES["group of 4"])
    dense = replace(made.plan, selection=None)
    bytes_of = []

    def note(*args):
        bias = original(*args)
        bytes_of.append(bias.nbytes)
        return bias

    original = masked_module.fold_bias
    monkeypatch.setattr(masked_module, "fold_bias", note)
    PIECES.attend(made.query, made.entries, dense)
    assert len(bytes_of) > 1
    assert max(bytes_of) <= PIECES.chunk_bytes


def test_under_autocast_it_computes_in_the_lower_dtype():
    made = scene(CASES["ragged"])
    entries = replace(made.entries, value=made.entries.value.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = WHOLE.attend(made.query.requires_grad_(), entries, made.plan)
    out.float().square().sum().backward()
    exact = ReferenceBackend().attend(made.query, made.entries, made.plan)
    assert out.dtype == torch.bfloat16
    assert made.query.grad.dtype == torch.float32
    torch.testing.assert_close(out.float(), exact, rtol=4e-2, atol=4e-2)


def test_nothing_to_attend_to_gives_zeros():
    made = scene(CASES["dense"])
    none = replace(
        made.entries, key=made.entries.key[:, :, :0], value=made.entries.value[:, :, :0],
        tokens=made.entries.tokens.narrow(0, 0), position=made.entries.position[..., :0],
    )  # fmt: skip
    out = WHOLE.attend(made.query.requires_grad_(), none, made.plan)
    out.sum().backward()
    assert out.shape == made.query.shape
    assert not out.any()
    assert not made.query.grad.any()


def test_refuses_chunks_of_nothing():
    with pytest.raises(ValueError, match="chunk_bytes must be at least 1, got 0; leave it out for 32 MiB"):
        MaskedBackend(chunk_bytes=0)


def test_it_is_a_backend_that_refuses_nothing():
    made = scene(CASES["image"])
    assert isinstance(WHOLE, Backend)
    assert WHOLE.refuses(made.entries, made.plan) is None
