"""What is told of a model from its config is what the model does."""

import pytest
import torch

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.gaze import cost, watch
from gazekit.models import anatomy_of
from gazekit.models.gaze import section_of
from gazekit.models.retrofit import apply_gaze
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import Image

# Pixels of a picture of 4 x 4 tokens, where the size of a picture is free.
SIZES = {**dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), (32, 32)), "llava with pixtral": (8, 8)}


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_every_architecture_is_told_as_it_is(name):
    case = CASES[name]
    model = case.build()
    gaze = Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1))
    found = anatomy_of(model.config, gaze=section_of(gaze), image=SIZES.get(name))
    parts = dict(found.parameters)
    assert parts.pop("total") == sum(p.numel() for p in model.parameters()) == sum(parts.values())
    assert set(parts) == {"vision", "projector", "language"}
    told = cost(found.gazes, found.layout, found.sizes)
    apply_gaze(model, gaze)
    with watch(model) as trace:
        model(**case.write([[2, Image(*found.grid), 3]]))
    assert len(trace.layers) == found.sizes.num_layers
    least, most = told.region_size
    assert least <= told.visual <= most
    for glance in trace.glances:
        attended = glance.attended[..., -1, 0]
        assert least <= attended.min() <= attended.max() <= most


def test_an_image_without_a_cut_is_assumed_where_the_config_fixes_tiles():
    config = CASES["smolvlm"].build().config
    found = anatomy_of(config)
    assert (found.grid, found.layout.length) == ((2, 2), 4)
    assert found.notes[0].startswith("an image of one tile, 4 tokens, is assumed")
    with pytest.raises(ValueError, match="the config of a model of type 'smolvlm' fixes its images' grid"):
        anatomy_of(config, image=(8, 8))


def test_a_class_token_is_not_the_image():
    found = anatomy_of(CASES["llava with a class token"].build().config)
    assert (found.grid, found.layout.length) == ((4, 4), 17)


def test_layers_with_a_sliding_window_are_said_and_not_counted():
    found = anatomy_of(CASES["gemma3"].build().config)
    assert found.sizes.num_layers == 1
    assert "2 of 3 layers have a sliding window: they stay as they are and are not counted" in found.notes
