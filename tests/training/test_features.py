"""Features of a frozen tower, kept on disk: same losses, encoded once, bounded, and never another tower's."""

import logging

import pytest
import torch
from torch import nn

from gazekit.training import FeatureCache, Stage, read_history
from gazekit.training.features import GIBIBYTE, cached_features, fingerprint
from tests.models.test_vision import tower
from tests.training.standin import TinyModel, assert_same_weights
from tests.training.test_cambrian import make, stage, train

FROZEN = {
    "learning_rates": {"projector": 2e-3, "context": 2e-3, "language": 2e-3},
    "steps": 4,
    "optimizer": "adamw",
}
FRAMES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def files(folder):
    return sorted(file.relative_to(folder) for file in folder.rglob("*.safetensors"))


@pytest.fixture
def one():
    return tower()


def cache(folder, one, limit=GIBIBYTE):
    return FeatureCache(folder, one, limit=limit)


def test_losses_equal_those_without_it(tmp_path, monkeypatch):
    plain = train(tmp_path / "plain", chosen=stage(**FROZEN))
    kept = stage(**FROZEN, feature_cache=str(tmp_path / "features"))
    first = train(tmp_path / "first", chosen=kept)
    encoded = []
    monkeypatch.setattr(
        "gazekit.models.tower.VisionTower._encode", lambda self, frames: encoded.append(frames)
    )
    second = train(tmp_path / "second", chosen=kept)
    assert encoded == []
    losses = [[row["loss"] for row in read_history(tmp_path / name)] for name in ("plain", "first", "second")]
    assert losses[0] == losses[1]
    torch.testing.assert_close(torch.tensor(losses[2]), torch.tensor(losses[0]), atol=1e-6, rtol=0)
    assert_same_weights(first, plain)
    assert second.tower.cache is None
    assert len(files(tmp_path / "features")) == 4 * 2


@torch.no_grad()
def test_each_frame_is_encoded_once(tmp_path, one):
    kept = cache(tmp_path, one)
    encoded = []

    def encode(frames):
        encoded.append(len(frames))
        return one(frames)

    twice = FRAMES[[0, 1, 0, 2]]
    torch.testing.assert_close(kept(twice, encode), one(twice))
    torch.testing.assert_close(kept(FRAMES, encode), one(FRAMES))
    assert encoded == [3, 1]
    assert (kept.hits, kept.misses) == (4, 4)
    again = cache(tmp_path, one)
    torch.testing.assert_close(again(FRAMES, encode), one(FRAMES))
    assert encoded == [3, 1]


@torch.no_grad()
def test_what_features_follow_from_is_in_the_key(tmp_path, one):
    cache(tmp_path, one)(FRAMES[:1], one)
    assert len(files(tmp_path)) == 1
    cache(tmp_path, one)(FRAMES[:1] + 1e-3, one)  # another file, or another processor
    assert len(files(tmp_path)) == 2
    with torch.autocast("cpu", torch.bfloat16):
        cache(tmp_path, one)(FRAMES[:1], one)
    assert len(files(tmp_path)) == 3
    other = tower(vision_layer=-2)
    torch.testing.assert_close(cache(tmp_path, other)(FRAMES[:1], other), other(FRAMES[:1]))
    assert len(files(tmp_path)) == 4
    heads = tower(vision={"num_attention_heads": 4})
    torch.testing.assert_close(cache(tmp_path, heads)(FRAMES[:1], heads), heads(FRAMES[:1]))
    assert len(files(tmp_path)) == 5
    next(one.parameters()).add_(1)
    torch.testing.assert_close(cache(tmp_path, one)(FRAMES[:1], one), one(FRAMES[:1]))
    assert len(files(tmp_path)) == 6


@torch.no_grad()
def test_the_folder_does_not_grow_past_its_bound(tmp_path, one, caplog):
    size = one(FRAMES[:1]).numel() * 4 + 256
    kept = cache(tmp_path, one, limit=int(2.9 * size))
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            torch.testing.assert_close(kept(FRAMES, one), one(FRAMES))
    held = sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))
    assert 0 < held <= 2.9 * size
    assert not list(tmp_path.rglob("*.unfinished"))
    assert caplog.text.count("as many as it may; others are encoded every time") == 1
    full = cache(tmp_path, one, limit=held + 100)
    torch.testing.assert_close(full(FRAMES, one), one(FRAMES))
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors")) == held


def test_the_same_weights_have_the_same_fingerprint(one):
    assert fingerprint(one) == fingerprint(tower())
    with torch.no_grad():
        one.model.post_layernorm.bias[0] = 1
    assert fingerprint(one) != fingerprint(tower())


def test_a_sharded_tower_is_refused():
    class Sharded(torch.Tensor):
        def full_tensor(self):
            return self

    part = nn.Module()
    part.state_dict = lambda: {"weight": torch.zeros(1).as_subclass(Sharded)}
    with pytest.raises(
        ValueError, match="feature_cache needs a whole tower on every device, and weight is sharded"
    ):
        fingerprint(part)


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(ValueError, match="features of a frozen tower, and learning_rates trains it"):
        stage(learning_rates={"tower": 1e-3}, feature_cache=str(tmp_path))
    with pytest.raises(ValueError, match="feature_cache_gib must be above 0, got 0"):
        Stage(name="a", steps=1, batch_size=1, learning_rates={"projector": 1.0}, feature_cache_gib=0)
    with (
        pytest.raises(
            ValueError, match="feature_cache needs a Cambrian, whose tower takes one, got a TinyModel"
        ),
        cached_features(TinyModel(), str(tmp_path), 1),
    ):
        pass


def test_the_tower_encodes_by_itself_again_afterwards(tmp_path):
    model = make().model
    with cached_features(model, str(tmp_path), 1) as kept:
        assert model.tower.cache is kept
    assert model.tower.cache is None
    with cached_features(model, None, 1) as kept:
        assert kept is None
