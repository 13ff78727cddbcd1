"""Parts with weights: made by `bind`, the same from the same seed, reached by gradients."""

import copy

import pytest
import torch

from gazekit.contracts import Learned
from gazekit.pool import (
    CompressionPooler,
    IndexerPooler,
    LearnedAttentionPooler,
    LinearGatePooler,
    LowRankPooler,
    MeanPooler,
)
from gazekit.testing import Runs, divide
from tests.pool.looks import SIZES, drawn, look_at, scenes, scored
from tests.scenes import layout, rows

MAKES = {
    "attention": LearnedAttentionPooler,
    "compression": lambda: CompressionPooler(length=4, stride=2),
    "gate": LinearGatePooler,
    "indexer": lambda: IndexerPooler(num_heads=2, dim=4),
    "low rank": lambda: LowRankPooler(rank=3),
}
parts = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)


def bound(make, seed=0):
    pooler = make()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pooler.bind(SIZES)
    return pooler


@parts
def test_weights_follow_from_the_seed_and_travel(make):
    pooler, again, other = bound(make), bound(make), bound(make, seed=1)
    assert isinstance(pooler, Learned)
    names = dict(pooler.named_parameters())
    assert names
    assert all(torch.equal(weight, names[name]) for name, weight in again.named_parameters())
    other.load_state_dict(pooler.state_dict())
    for look, regions, routed in scenes():
        expected = scored(pooler, look, regions, routed)
        for one in (other, copy.deepcopy(pooler)):
            assert torch.equal(scored(one, look, regions, routed), expected)


@parts
def test_without_weights_it_says_what_to_do(make):
    look, regions, routed = next(scenes())
    with pytest.raises(RuntimeError, match=r"has no weights yet; call bind\(sizes\)"):
        scored(make(), look, regions, routed)


@parts
def test_gradients_reach_every_weight_from_the_start(make):
    for look, regions, routed in scenes():
        pooler = bound(make).double()
        real = routed.valid[:, None, :, None] & (regions.size > 0)[:, None, None]
        scored(pooler, look, regions, routed).masked_fill(~real, 0).log_softmax(-1)[..., 0].sum().backward()
        for name, weight in pooler.named_parameters():
            if name.startswith("value"):
                continue
            assert weight.grad.isfinite().all(), name
            assert weight.grad.abs().max() > 0, name


@parts
def test_gradients_are_those_of_the_scores(make):
    prompt = layout("t1 v2x3 t2")
    regions = divide(prompt, Runs(length=4))
    pooler, look = drawn(make()), look_at(prompt)
    routed = rows(prompt, regions)
    # A gradient at the kink of a rectifier or a maximum has no slope to compare with; random numbers are not there.
    weights = [weight for name, weight in pooler.named_parameters() if not name.startswith("value")]
    assert torch.autograd.gradcheck(
        lambda *_: scored(pooler, look, regions, routed)[..., :2], weights, fast_mode=True
    )


@pytest.mark.parametrize("make", [LearnedAttentionPooler], ids=["attention"])
def test_it_begins_as_the_mean(make):
    for look, regions, routed in scenes():
        real = (routed.valid[:, None, :, None] & (regions.size > 0)[:, None, None]).expand(-1, 4, -1, -1)
        got, expected = (scored(one, look, regions, routed) for one in (bound(make), MeanPooler()))
        torch.testing.assert_close(got[real], expected[real], rtol=0, atol=1e-9)


def test_principal_components_keep_what_varies():
    prompt = layout("v4x4 t2")
    look, regions = look_at(prompt), divide(prompt, Runs(length=3))
    plane = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    flat = look.key[..., :2] @ plane
    look = type(look)(look.query, flat, flat, 0, look.scale)
    pooler = LowRankPooler(rank=2)
    pooler.bind(SIZES)
    pooler.double()
    routed = rows(prompt, regions)
    expected = scored(MeanPooler(), look, regions, routed)
    assert not torch.allclose(scored(pooler, look, regions, routed), expected)
    pooler.fit(flat)
    torch.testing.assert_close(scored(pooler, look, regions, routed), expected, rtol=0, atol=1e-9)
    basis = pooler.basis.detach()
    torch.testing.assert_close(basis.mT @ basis, torch.eye(2, dtype=torch.float64).expand(2, 2, 2))


def test_the_indexer_scores_tokens_for_all_heads_alike():
    look, regions, routed = next(scenes())
    got = scored(drawn(IndexerPooler(num_heads=2, dim=4)), look, regions, routed)
    assert (got == got[:, :1]).all()
    assert not (got == got[..., :1]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LowRankPooler(rank=0), "rank must be at least 1, got 0; a quarter"),
        (lambda: LowRankPooler(rank=7).bind(SIZES), r"rank must be at most .* 6, got 7; use MeanPooler\(\)"),
        (lambda: LinearGatePooler(dim=0), "dim must be at least 1, got 0; leave it out"),
        (lambda: IndexerPooler(num_heads=0), "num_heads must be at least 1, got 0; the source has 64"),
        (lambda: IndexerPooler(dim=0), "dim must be at least 1, got 0; the source has 128"),
        (lambda: CompressionPooler(length=4, stride=5), "stride must be in 1 to length, 4, got 5; a longer"),
        (lambda: CompressionPooler(length=4, stride=0), "stride must be in 1 to length, 4, got 0"),
        (lambda: CompressionPooler(width=0), "width must be at least 1, got 0; leave it out"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_indexer_needs_hidden_states():
    look, _, _ = next(scenes())
    bare = type(look)(look.query, look.key, look.value, 0, look.scale)
    with pytest.raises(ValueError, match=r"look\.hidden must be given.*pass Look"):
        drawn(IndexerPooler()).features(bare)
