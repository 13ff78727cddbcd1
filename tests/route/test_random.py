import pytest
import torch

from gazekit.contracts import Router
from gazekit.partition import GridPartition
from gazekit.route import RandomRouter
from tests.scenes import layout, view

PARTITION = GridPartition(size=(1, 1, 1))


def index(text, *, seed=0, k=3, share="head", **told):
    prompt = layout(text)
    return RandomRouter(k=k, seed=seed, share=share)(None, view(prompt, PARTITION(prompt), **told)).index


def test_draws_k_different_regions_ascending():
    drawn = index("v4x4 t50", heads=4, kv_heads=2)
    assert drawn.shape == (1, 4, 50, 3)
    assert (drawn.diff(dim=-1) > 0).all()
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) < 16


def test_draws_evenly():
    drawn = index("v4x4 t2000", heads=2)
    share = torch.bincount(drawn.flatten().long(), minlength=16) / drawn.numel()
    spread = (1 / 16 * 15 / 16 / drawn.numel()) ** 0.5
    assert ((share - 1 / 16).abs() < 4.5 * spread).all()


def test_seed_layer_head_and_row_each_draw_anew():
    base = index("v4x4 t40")
    assert torch.equal(base, index("v4x4 t40"))
    assert not torch.equal(base, index("v4x4 t40", seed=1))
    assert not torch.equal(base, index("v4x4 t40", layer=1))
    assert not torch.equal(base[:, 0], base[:, 1])
    assert len({tuple(row) for row in base[0, 0].tolist()}) > 20


def test_decoding_draws_what_the_whole_draws():
    whole = index("v4x4 t9")
    for step in range(9):
        assert torch.equal(index("v4x4 t9", start=16 + step)[:, :, 0], whole[:, :, step])


def test_a_packed_document_draws_what_it_draws_alone():
    packed, alone = index("t2 v2x3 t4 / v4x4 t5"), index("v4x4 t5")
    assert torch.equal(packed[:, :, 6:] - 6, alone)


def test_a_batch_draws_what_its_samples_draw():
    samples = ("v4x4 t5", "t3 v2x3 t4")
    prompt = layout(*samples, left=True)
    batch = RandomRouter(k=3)(None, view(prompt, PARTITION(prompt))).index
    for sample, text in enumerate(samples):
        alone = index(text)
        assert torch.equal(batch[sample, :, : alone.shape[2]], alone[0])


def test_a_group_draws_together():
    assert index("v4x4 t5", heads=4, kv_heads=2, share="group").shape == (1, 2, 5, 3)


def test_openness_opens_it_like_any_router():
    assert (index("v4x4 t2", openness=0.5) >= 0).sum(-1).unique().tolist() == [10]
    prompt = layout("v4x4 t2")
    assert RandomRouter(k=3)(None, view(prompt, PARTITION(prompt), openness=1.0)) is None


def test_refuses_k_below_one():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        RandomRouter(k=0)


def test_it_is_a_router():
    assert isinstance(RandomRouter(k=1), Router)
