"""What guides write into a layout from pixels, and that models ask them."""

from dataclasses import replace

import pytest
import torch

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.combine import SumCombine
from gazekit.contracts import Guide, TokenLayout
from gazekit.models.gaze import guided
from gazekit.prior import (
    CentreGuide,
    Fixations,
    IttiKochSaliency,
    SaliencyGuide,
    ShotGuide,
    SuperpixelGuide,
    fixation_map,
    with_prior,
)
from gazekit.route import PriorRouter
from tests.models.tiny import make_model, make_processor, picture
from tests.scenes import layout

GUIDES = [CentreGuide(), SaliencyGuide(), ShotGuide(), SuperpixelGuide(count=4)]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda one: type(one).__name__)
def test_a_guide_writes_one_field_at_visual_tokens_alone(guide):
    lay = layout("t1 v4x4 t2 v4x4", "v4x4 t3", left=True)
    told = guide(lay, torch.rand(2, 2, 3, 32, 32) * 2 - 1)
    assert isinstance(guide, Guide)
    assert torch.equal(replace(told, segment=None, prior=None).pack(), lay.pack())
    visual = lay.place[..., 0] >= 0
    if told.prior is not None:
        assert told.segment is None
        assert (told.prior[~visual] == 0).all()
        assert told.prior[visual].amax() == 1
    else:
        assert (told.segment[~visual] == -1).all()
        assert (told.segment[visual] >= 0).all()


def test_saliency_is_that_of_each_unit():
    lay = layout("v4x4 t1 v4x4", "t1 v4x4")
    pixels = torch.rand(2, 2, 3, 64, 64)
    told = SaliencyGuide(mean=0.0, std=1.0)(lay, pixels)
    maps = IttiKochSaliency()(pixels.flatten(0, 1), (4, 4))
    expected = with_prior(lay, {(0, 0): maps[0], (0, 1): maps[1], (1, 0): maps[2]})
    assert torch.equal(told.prior, expected.prior)
    shifted = SaliencyGuide()(lay, pixels * 2 - 1)
    torch.testing.assert_close(shifted.prior, expected.prior, atol=1e-3, rtol=0)


def test_the_centre_is_looked_at_most():
    prior = CentreGuide(sigma=0.2)(layout("v3x5"), torch.rand(1, 1, 3, 9, 15)).prior[0].view(3, 5)
    assert prior.argmax() == 7
    assert (prior == prior.flip(0)).all()
    torch.testing.assert_close(prior, prior.flip(1))
    # One column of five is 0.2 of the longer side: one sigma.
    torch.testing.assert_close(prior[1, 3], torch.tensor(-0.5).exp())
    with pytest.raises(ValueError, match=r"sigma must be above 0, got 0\.0"):
        CentreGuide(sigma=0.0)


def test_a_shot_begins_where_the_picture_changes():
    lay = layout("v2x2 +2x2 +2x2 +2x2 t1 v2x2")
    pixels = torch.zeros(1, 5, 3, 8, 8)
    pixels[:, 2:] = 0.5
    pixels[:, 3] += 0.1
    segment = ShotGuide(threshold=0.3)(lay, pixels).segment[0]
    assert segment[:16].view(4, 4).tolist() == [[0] * 4, [0] * 4, [1] * 4, [1] * 4]
    assert ShotGuide(threshold=0.05)(lay, pixels).segment[0, :16:4].tolist() == [0, 0, 1, 2]
    with pytest.raises(ValueError, match=r"threshold must be at least 0, got -1\.0"):
        ShotGuide(threshold=-1.0)


def test_superpixels_follow_edges():
    lay = layout("v4x8")
    pixels = torch.zeros(1, 1, 3, 16, 32)
    pixels[..., 12:] = 1.0
    grid = SuperpixelGuide(count=2)(lay, torch.zeros_like(pixels)).segment[0].view(4, 8)
    assert grid.tolist() == [[0] * 4 + [1] * 4] * 4
    found = SuperpixelGuide(count=2)(lay, pixels).segment[0].view(4, 8)
    assert found.tolist() == [[0] * 3 + [1] * 5] * 4
    frames = SuperpixelGuide(count=1)(layout("v2x2 +2x2"), torch.zeros(1, 2, 3, 8, 8)).segment[0]
    assert frames.tolist() == [0] * 4 + [4] * 4
    for name in ("count", "steps"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            SuperpixelGuide(**{name: 0})
    with pytest.raises(ValueError, match=r"compactness must be above 0, got 0\.0"):
        SuperpixelGuide(compactness=0.0)


def composition(**more) -> Gaze:
    return Gaze(
        partition=GridPartition(size=(1, 2, 2)),
        route=PriorRouter(inner=TopKRouter(k=1), weight=50.0),
        **more,
    )


def test_a_model_asks_the_guide_of_its_composition():
    model = make_model()
    processor = make_processor(model.config)
    images = [[picture(seed)] for seed in range(2)]
    batch = dict(processor(text=["<|image_pad|> where is 7"] * 2, images=images))
    model.set_gaze(composition(guide=CentreGuide()))
    plain = model.layout(batch["input_ids"], batch["attention_mask"], batch["clip_lengths"])
    assert plain.prior is None
    told = model.layout(**batch)
    assert torch.equal(told.prior, CentreGuide()(plain, batch["pixel_values"]).prior)
    with torch.no_grad():
        by_guide = model(**batch).logits
        by_hand = model(**batch, gaze_layout=told.pack()).logits
        corner = fixation_map(
            Fixations(x=torch.zeros(1), y=torch.zeros(1), duration=torch.ones(1)), model.config.grid
        )[0]
        given = with_prior(plain, {(0, 0): corner, (1, 0): corner}).pack()
        elsewhere = model(**batch, gaze_layout=given).logits
    assert torch.equal(by_guide, by_hand)
    assert (by_guide - elsewhere).abs().max() > 1e-5
    ids = model.generate(**batch, max_new_tokens=2, do_sample=False)
    assert ids.shape[1] == batch["input_ids"].shape[1] + 2
    model.set_gaze(composition())
    with pytest.raises(ValueError, match=r"layout\.prior must hold a map"):
        model(**batch)


def test_two_guides_cannot_write_the_same():
    lay: TokenLayout = layout("v2x2 t1")
    gazes = [composition(guide=CentreGuide()), composition(guide=SaliencyGuide())]
    with pytest.raises(ValueError, match=r"guide must be one for all layers, got SaliencyGuide and another"):
        guided(lay, gazes, torch.rand(1, 1, 3, 16, 16))
    both = [
        composition(guide=CentreGuide()),
        composition(guide=ShotGuide()),
        composition(guide=CentreGuide()),
    ]
    told = guided(lay, both, torch.rand(1, 1, 3, 16, 16))
    assert told.prior is not None
    assert told.segment is not None
    text = layout("t3")
    assert guided(text, gazes, torch.rand(1, 0, 3, 16, 16)) is text


def test_branches_have_the_guide_above_them():
    with pytest.raises(ValueError, match="branches must leave the guide to the composition above them"):
        Gaze(branches=(composition(guide=CentreGuide()),), combine=SumCombine())
    assert Gaze(branches=(composition(),), combine=SumCombine(), guide=CentreGuide()).guide == CentreGuide()
