"""The laws of poolers."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from hypothesis import strategies as st
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Described, Featuring, Look, Pooler, Sizes
from gazekit.testing import strategies
from gazekit.testing.cases import PoolingCase
from gazekit.testing.draw import generator
from gazekit.testing.laws.law import law, run
from gazekit.testing.restate import pooling_sample


def _cases(sizes: Sizes | None = None) -> st.SearchStrategy[PoolingCase]:
    return strategies.pooling_cases(sizes)


def _scores(part: Pooler, case: PoolingCase) -> Float[Tensor, "batch head row region"]:
    return part.score(case.look, case.rows, _described(part, case))


def _described(part: Pooler, case: PoolingCase) -> Described:
    return part.describe(_featured(part, case.look), case.regions)


def _featured(part: Pooler, look: Look) -> Look:
    """The look with what the pooler keeps of each token, where it keeps something."""
    return replace(look, features=part.features(look)) if isinstance(part, Featuring) else look


def _real(case: PoolingCase) -> Bool[Tensor, "batch 1 row region"]:
    """True = both the row and the region exist."""
    return (case.rows.valid[:, :, None] & (case.regions.size > 0)[:, None, :])[:, None]


def _assert_equal(case: PoolingCase, got: Tensor, expected: Tensor, why: str, exact: bool = False) -> None:
    there = _real(case).expand_as(expected)
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(got[there], expected[there], msg=lambda text: f"{why}: {text}", **tolerance)


@law(_cases)
def shape_and_width(part: Pooler, case: PoolingCase) -> None:
    """Scores are `[batch head row region]`, fp32 or wider, and finite for rows and regions that exist."""
    scores = _scores(part, case)
    batch, heads = case.look.query.shape[:2]
    assert list(scores.shape) == [batch, heads, case.rows.count, case.regions.count], list(scores.shape)
    assert scores.dtype in (torch.float32, torch.float64), f"scores are {scores.dtype}"
    narrow = replace(case.look, query=case.look.query.bfloat16(), key=case.look.key.bfloat16())
    narrow = replace(narrow, value=case.look.value.bfloat16())
    dtype = _scores(part, replace(case, look=narrow)).dtype
    assert dtype in (torch.float32, torch.float64), f"scores of bf16 keys are {dtype}"
    assert scores[_real(case).expand_as(scores)].isfinite().all(), (
        "a score of a real row and region is not finite"
    )


@law(_cases)
def reads_only_members(part: Pooler, case: PoolingCase) -> None:
    """A region's scores depend on its own members alone; padding and others may even be NaN."""
    expected, owner = _scores(part, case), case.regions.owner
    for region in range(-1, case.regions.count):
        spoilt = (owner == region)[:, None, :, None]
        hidden = case.look.hidden
        look = replace(
            case.look,
            key=case.look.key.masked_fill(spoilt, torch.nan),
            value=case.look.value.masked_fill(spoilt, torch.nan),
            hidden=None if hidden is None else hidden.masked_fill(spoilt[:, 0], torch.nan),
        )
        others = torch.arange(case.regions.count) != region
        # Rows keep their hidden states: they ask, and are no members as far as asking goes.
        got = part.score(case.look, case.rows, _described(part, replace(case, look=look)))
        there = _real(case).expand_as(expected) & others
        same = torch.allclose(got[there], expected[there], rtol=1e-5, atol=1e-5)
        what = "tokens of no region" if region < 0 else f"the members of region {region}"
        assert same, f"with NaN in {what}, the scores of other regions change: {got.tolist()}"


@law(_cases)
def padding_changes_nothing(part: Pooler, case: PoolingCase) -> None:
    """Padding before the tokens leaves every score as it was, bit by bit."""
    expected = _scores(part, case)
    _assert_equal(case, _scores(part, _padded(case, 3)), expected, "with 3 tokens of padding", exact=True)


def _padded(case: PoolingCase, count: int) -> PoolingCase:
    look, rows = case.look, case.rows
    place = torch.arange(-count, look.query.shape[2]).clamp_min(-1).expand(look.query.shape[0], 1, -1)
    owner = torch.nn.functional.pad(case.regions.owner, (count, 0), value=-1)
    return replace(
        case,
        look=replace(
            look,
            query=_behind(count, look.query),
            key=_behind(count, look.key),
            value=_behind(count, look.value),
            hidden=_ahead(count, look.hidden),
            cos=_ahead(count, look.cos),
            sin=_ahead(count, look.sin),
            tokens=None if look.tokens is None else look.tokens.take(place),
        ),
        regions=case.regions.aligned(owner),
        rows=replace(
            rows,
            of=torch.nn.functional.pad(rows.of, (count, 0), value=-1),
            query=torch.where(rows.query >= 0, rows.query + count, -1),
        ),
    )


def _behind(count: int, tensor: Float[Tensor, "batch head token dim"]) -> Float[Tensor, "batch head new dim"]:
    return torch.nn.functional.pad(tensor, (0, 0, count, 0), value=7.0)


def _ahead(count: int, tensor: Float[Tensor, "batch token width"] | None) -> Tensor | None:
    return None if tensor is None else _behind(count, tensor[:, None])[:, 0]


@law(_cases)
def batch_is_one_by_one(part: Pooler, case: PoolingCase) -> None:
    """Each sample scores as it would by itself."""
    together = _scores(part, case)
    for b in range(together.shape[0]):
        alone = pooling_sample(case, b)
        got = together[b : b + 1, ..., : alone.regions.count]
        _assert_equal(alone, got, _scores(part, alone), f"sample {b} in the batch and by itself")


@law(_cases)
def chunked_rows_are_all_rows(part: Pooler, case: PoolingCase) -> None:
    """Scoring a few rows at a time gives what scoring all at once does."""
    described = _described(part, case)
    expected = part.score(case.look, case.rows, described)
    for row in range(case.rows.count):
        got = part.score(case.look, case.rows.narrow(row, row + 1), described)
        one = replace(case, rows=case.rows.narrow(row, row + 1))
        _assert_equal(one, got, expected[:, :, row : row + 1], f"row {row} by itself")


@law(_cases)
def order_of_members_is_irrelevant(part: Pooler, case: PoolingCase) -> None:
    """Keys and values listed in another order, with their regions, score the same."""
    order = torch.randperm(case.layout.length, generator=generator(case.layout.length))
    look = _featured(part, case.look)
    features = None if look.features is None else look.features[:, :, order]
    look = replace(look, key=look.key[:, :, order], value=look.value[:, :, order], features=features)
    described = part.describe(look, case.regions.aligned(case.regions.owner[:, order]))
    got = part.score(case.look, case.rows, described)
    _assert_equal(case, got, _scores(part, case), "with tokens in another order")


@law(_cases)
def constant_in_constant_out(part: Pooler, case: PoolingCase) -> None:
    """A region whose keys are all the same scores like that key."""
    key = case.look.key[:, :, :1].expand_as(case.look.key)
    expected = _logits(replace(case, look=replace(case.look, key=key)))[..., :1].expand(
        -1, -1, -1, case.regions.count
    )
    got = _scores(part, replace(case, look=replace(case.look, key=key)))
    _assert_equal(case, got, expected, "with equal keys")


@law(_cases)
def between_its_members(part: Pooler, case: PoolingCase) -> None:
    """A region's score lies between those of the members that match the query worst and best."""
    logits, got = _logits(case), _scores(part, case)
    member = case.regions.owner[:, None, :] == torch.arange(case.regions.count)[:, None]
    spread = logits[:, :, :, None, :].expand(-1, -1, -1, case.regions.count, -1)
    outside = ~member[:, None, None]
    low = spread.masked_fill(outside, torch.inf).amin(-1)
    high = spread.masked_fill(outside, -torch.inf).amax(-1)
    there = _real(case).expand_as(got)
    inside = (low - 1e-4 <= got) & (got <= high + 1e-4)
    assert inside[there].all(), f"scores {got.tolist()} leave [{low.tolist()}, {high.tolist()}]"


@law(_cases)
def bounds_its_members(part: Pooler, case: PoolingCase) -> None:
    """A region scores no worse than the member that matches the query best. Only for poolers that promise it."""
    logits, got = _logits(case), _scores(part, case)
    for region in range(case.regions.count):
        member = (case.regions.owner == region)[:, None, None]
        best = logits.masked_fill(~member, -torch.inf).amax(-1)
        there = _real(case)[..., region].expand_as(best)
        assert (got[..., region] >= best - 1e-4)[there].all(), (
            f"region {region} scores {got[..., region].tolist()}, below {best.tolist()}"
        )


def _logits(case: PoolingCase) -> Float[Tensor, "batch head row token"]:
    """How well each single key matches each row, unscaled."""
    keys = case.look.key.repeat_interleave(case.look.group, dim=1)
    query: Int[Tensor, "batch 1 row 1"] = case.rows.query.clamp_min(0)[:, None, :, None]
    chosen = case.look.query.gather(2, query.expand(-1, keys.shape[1], -1, keys.shape[3]))
    return chosen @ keys.transpose(2, 3)


LAWS = (
    shape_and_width,
    reads_only_members,
    padding_changes_nothing,
    batch_is_one_by_one,
    chunked_rows_are_all_rows,
    order_of_members_is_irrelevant,
    constant_in_constant_out,
    between_its_members,
)


def check_pooler(part: Pooler, *, sizes: Sizes | None = None, omit: Mapping[str, str] | None = None) -> None:
    """Checks a pooler against every law of its room.

    Args:
        part: Describes regions and scores them.
        sizes: Heads and widths that a pooler with weights is bound to; None tries several.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.
    """
    run(LAWS, part, omit, sizes=sizes)
