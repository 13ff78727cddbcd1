"""Every recipe of `recipes/systems` equals an independent implementation of what its paper defines."""

import pytest
import torch

from gazekit.recipe import load
from gazekit.recipe.library import names
from tests.gaze.tiny import Image, sample
from tests.systems.harness import Layer, batch, by_hand, samples
from tests.systems.systems import SYSTEMS

EXACT = 1e-9
RECIPES = [name for name in names() if name.startswith("systems/")]


def prompts(context):
    """Images one of which is ragged; a video with time stamps; left-padded to one batch."""
    images = sample(2, Image(3, 4, context), 1, Image(2, 3, context), 6)
    video = [piece for t in range(3) for piece in (1, Image(2, 4, context, frame=t))]
    return [images, sample(2, *video, 7)]


def composed(name):
    recipe = load(name, SYSTEMS[name].overrides)
    return recipe.build("gaze")


def given(name):
    return batch(prompts(SYSTEMS[name].context), outside=SYSTEMS[name].outside).detached()


def test_every_recipe_is_held_against_its_definition():
    assert sorted(SYSTEMS) == RECIPES


CASES = [(name, layer) for name in SYSTEMS for layer in SYSTEMS[name].layers]


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_outputs_and_gradients_equal_the_definition(name, layer):
    system, composition = SYSTEMS[name], Layer(composed(name), layer)
    ours, theirs = given(name), given(name)
    out, expected = composition.whole(ours), by_hand(system.naive, theirs, composition)
    torch.testing.assert_close(out, expected, atol=EXACT, rtol=0)
    assert out.abs().sum() > 0
    weights = composition.weights()
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    objective = (expected * cotangent).sum() + lesson(system, theirs, composition)
    wanted = torch.autograd.grad(objective, [*theirs.leaves, *weights.values()], allow_unused=True)
    found = torch.autograd.grad((out * cotangent).sum(), [*ours.leaves, *weights.values()], allow_unused=True)
    for label, one, other in zip(["q", "k", "v", "hidden", *weights], found, wanted, strict=True):
        one, other = (torch.zeros(()).double() if grad is None else grad for grad in (one, other))
        torch.testing.assert_close(
            one, other.expand_as(one), atol=EXACT, rtol=0, msg=lambda m, at=label: f"d{at}: {m}"
        )
        assert label == "hidden" or one.abs().sum() > 0, f"{label} gets no gradient"


def lesson(system, case, composition):
    """The mean over all rows of what the learned parts are taught by."""
    if system.loss is None:
        return 0.0
    sums, counts = zip(*(system.loss(one) for one, _ in samples(case, composition)), strict=True)
    return sum(sums) / sum(counts)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if SYSTEMS[name].decodes])
def test_prefill_in_pieces_and_decoding_equal_the_definition(name):
    composition = Layer(composed(name), SYSTEMS[name].layers[0])
    case = given(name)
    length = case.layout.length
    out = composition.pieces(case, declared=length - 3, cuts=[9, length - 5, *range(length - 4, length)])
    with torch.no_grad():
        expected = by_hand(SYSTEMS[name].naive, case, composition)
    torch.testing.assert_close(out, expected, atol=EXACT, rtol=0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_system_looks_at_less_than_everything(name):
    """Else equality would say nothing of what is chosen."""
    composition, case = Layer(composed(name), SYSTEMS[name].layers[0]), given(name)
    with torch.no_grad():
        assert (composition.whole(case) - composition.whole(case, openness=1.0)).abs().max() > 1e-3
