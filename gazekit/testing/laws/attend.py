"""The laws of backends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Backend, Kind, Selection
from gazekit.testing import oracle, strategies
from gazekit.testing.arrange import shuffled
from gazekit.testing.cases import AttentionCase, map_tensors
from gazekit.testing.laws.law import Refused, law, run
from gazekit.testing.restate import attention_sample, document_of, padded

_TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}


@dataclass(frozen=True)
class _Outcome:
    """An output, and its gradients with respect to query, key and value."""

    out: Float[Tensor, "batch head query value_dim"]
    gradients: tuple[Tensor, Tensor, Tensor]


def _cases(
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    dims: Sequence[int] = (1, 3, 8),
    decoding: bool = False,
) -> st.SearchStrategy[AttentionCase]:
    cases = strategies.decoding_cases if decoding else strategies.attention_cases
    return cases(dims=dims, dtype=dtype, device=device)


def _small(
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    dims: Sequence[int] = (2,),
    decoding: bool = False,
) -> st.SearchStrategy[AttentionCase]:
    cases = strategies.decoding_cases if decoding else strategies.attention_cases
    return cases(dims=dims[:1], dtype=torch.float64, device=device, max_side=2)


def _out(part: Backend, case: AttentionCase) -> Float[Tensor, "batch head query value_dim"]:
    """The part's answer on the CPU; a plan that it refuses is no case."""
    there = map_tensors(case, lambda tensor: tensor.to(case.device))
    reason = part.refuses(there.entries, there.plan)
    if reason is not None:
        raise Refused(f"it refuses, since {reason}")
    return part.attend(there.query, there.entries, there.plan).cpu()


def _with_gradients(attend: Callable[[AttentionCase], Tensor], case: AttentionCase) -> _Outcome:
    """Output and gradients for a fixed direction that is no constant."""
    leaves = [x.detach().clone().requires_grad_() for x in (case.query, case.entries.key, case.entries.value)]
    entries = replace(case.entries, key=leaves[1], value=leaves[2])
    out = attend(replace(case, query=leaves[0], entries=entries))
    toward = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).sin().to(out.dtype).reshape(out.shape)
    if not out.requires_grad:
        return _Outcome(
            out, (torch.zeros_like(leaves[0]), torch.zeros_like(leaves[1]), torch.zeros_like(leaves[2]))
        )
    found = torch.autograd.grad(out, leaves, toward, allow_unused=True)
    query, key, value = (torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True))
    return _Outcome(out.detach(), (query, key, value))


def _oracle(case: AttentionCase) -> Float[Tensor, "batch head query value_dim"]:
    """The answer by the rules, in fp64 whatever the case's dtype."""
    wide = map_tensors(case, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    return oracle.attend(wide.query, wide.entries, wide.plan).to(case.query.dtype)


def _assert_close(got: Tensor, expected: Tensor, what: str) -> None:
    tolerance = _TOLERANCE[got.dtype]
    torch.testing.assert_close(
        got, expected, rtol=tolerance, atol=tolerance, msg=lambda text: f"{what}: {text}\ngot {got.tolist()}"
    )


@law(_cases)
def says_why_it_refuses(part: Backend, case: AttentionCase) -> None:
    """`refuses` gives None or a reason in words, and the same when asked again."""
    there = map_tensors(case, lambda tensor: tensor.to(case.device))
    reason = part.refuses(there.entries, there.plan)
    assert reason is None or (isinstance(reason, str) and reason.strip()), f"refuses gives {reason!r}"
    assert part.refuses(there.entries, there.plan) == reason, "refuses changes its mind"


@law(_cases)
def equals_the_rules(part: Backend, case: AttentionCase) -> None:
    """The output is one softmax over exactly the entries that the rules of attention make visible."""
    got, expected = _out(part, case), _oracle(case)
    assert list(got.shape) == list(expected.shape), f"output has shape {list(got.shape)}"
    assert got.dtype == case.query.dtype, f"output is {got.dtype}, queries are {case.query.dtype}"
    _assert_close(got, expected, "output")


@law(_cases)
def gradients_equal_the_rules(part: Backend, case: AttentionCase) -> None:
    """The gradients of queries, keys and values are those of the rules of attention."""
    got, expected = _with_gradients(lambda c: _out(part, c), case), _with_gradients(_oracle, case)
    for name, one, other in zip(("query", "key", "value"), got.gradients, expected.gradients, strict=True):
        _assert_close(one, other, f"gradient of {name}")


@law(_cases)
def unseen_entries_get_no_gradient(part: Backend, case: AttentionCase) -> None:
    """Keys and values that no query sees get a gradient of exactly zero."""
    outcome = _with_gradients(lambda c: _out(part, c), case)
    num_heads, kv_heads = case.query.shape[1], case.entries.key.shape[1]
    unseen = torch.ones(case.entries.key.shape[:3], dtype=torch.bool)
    for b, heads in enumerate(oracle.sees(case.plan, case.entries, num_heads)):
        for head, queries in enumerate(heads):
            unseen[b, head * kv_heads // num_heads, [e for visible in queries for e in visible]] = False
    for name, gradient in zip(("key", "value"), outcome.gradients[1:], strict=True):
        leak = (gradient[unseen] != 0).sum().item()
        assert leak == 0, f"{leak} numbers of the gradient of {name} leak to entries that no query sees"


@law(_cases)
def all_regions_is_dense(part: Backend, case: AttentionCase) -> None:
    """A selection of every complete region gives dense attention."""
    complete = (case.plan.rows.document[:, :, None] == case.plan.regions.document[:, None, :]) & (
        case.plan.regions.last[:, None, :] <= case.plan.rows.first[:, :, None]
    )
    ids = torch.arange(complete.shape[-1]).expand(complete.shape).masked_fill(~complete, complete.shape[-1])
    ids = ids.sort(dim=-1).values
    every = Selection(index=ids.masked_fill(ids == complete.shape[-1], -1)[:, None].int())
    dense = _oracle(replace(case, plan=replace(case.plan, selection=None)))
    _assert_close(_out(part, replace(case, plan=replace(case.plan, selection=every))), dense, "all regions")


@law(_cases)
def order_of_entries_is_irrelevant(part: Backend, case: AttentionCase) -> None:
    """Entries in another order, regions still contiguous where they were, give the same."""
    _assert_close(_out(part, shuffled(case, seed=1)), _out(part, case), "permuted entries")


@law(_cases)
def batch_is_one_by_one(part: Backend, case: AttentionCase) -> None:
    """Each sample gets what it would by itself."""
    together = _out(part, case)
    for b in range(together.shape[0]):
        _assert_close(together[b : b + 1], _out(part, attention_sample(case, b)), f"sample {b} by itself")


@law(_cases)
def packed_is_one_by_one(part: Backend, case: AttentionCase) -> None:
    """Each packed document gets what it would by itself."""
    together = _out(part, case)
    for b in range(together.shape[0]):
        sample = attention_sample(case, b)
        for document in sorted(set(sample.plan.query.document.flatten().tolist()) - {-1}):
            queries = sample.plan.query.document[0, 0] == document
            got = _out(part, document_of(sample, document))
            _assert_close(
                got, together[b : b + 1, :, queries], f"document {document} of sample {b} by itself"
            )


@law(_cases)
def left_padding_changes_nothing(part: Backend, case: AttentionCase) -> None:
    """Padding before entries and, if there are several, queries leaves the output; its own rows are zeros."""
    before = 3 if case.query.shape[2] > 1 else 0
    got = _out(part, padded(case, queries=before, entries=3))
    _assert_close(got[:, :, before:], _out(part, case), "left padding")
    assert (got[:, :, :before] == 0).all(), "rows of padding are not zero"


@law(_cases)
def nothing_seen_gives_zeros(part: Backend, case: AttentionCase) -> None:
    """A query that sees nothing gives zeros, and gradients of zero, never NaN."""
    tokens = case.entries.tokens
    blank = replace(tokens, kind=torch.full_like(tokens.kind, Kind.PAD))
    outcome = _with_gradients(
        lambda c: _out(part, c), replace(case, entries=replace(case.entries, tokens=blank))
    )
    for name, tensor in zip(
        ("output", "query", "key", "value"), (outcome.out, *outcome.gradients), strict=True
    ):
        assert (tensor == 0).all(), (
            f"{name if name == 'output' else 'the gradient of ' + name} is {tensor.tolist()}"
        )


@law(_small)
def gradcheck(part: Backend, case: AttentionCase) -> None:
    """In fp64 the gradients equal finite differences."""
    leaves = [x.clone().requires_grad_() for x in (case.query, case.entries.key, case.entries.value)]

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return _out(part, replace(case, query=query, entries=replace(case.entries, key=key, value=value)))

    assert torch.autograd.gradcheck(attend, leaves, fast_mode=True)


LAWS = (
    says_why_it_refuses,
    equals_the_rules,
    gradients_equal_the_rules,
    unseen_entries_get_no_gradient,
    all_regions_is_dense,
    order_of_entries_is_irrelevant,
    batch_is_one_by_one,
    packed_is_one_by_one,
    left_padding_changes_nothing,
    nothing_seen_gives_zeros,
    gradcheck,
)


def check_backend(
    part: Backend,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    dims: Sequence[int] = (1, 3, 8),
    decoding: bool = False,
    omit: Mapping[str, str] | None = None,
) -> None:
    """Checks a backend against every law of its room, on plans that it does not refuse.

    Args:
        part: Attends.
        dtype: Of queries, keys and values.
        device: Where it is asked.
        dims: Widths of heads to try.
        decoding: Ask for one generated token at a time alone, for a backend that refuses all else.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.
    """
    run(LAWS, part, omit, dtype=dtype, device=device, dims=dims, decoding=decoding)
