"""What we rely on in transformers, each by itself, so that a version that changes it is named by the test that fails.

Run under the lowest and the highest supported version as well (`.ci/run`).
"""

import inspect

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer
from transformers.conversion_mapping import get_model_conversion_mapping

from gazekit import Gaze, GridPartition, TopKRouter, apply_gaze
from gazekit.gaze import GazeCacheLayer, prepare_cache
from gazekit.gaze.cache import cache_name
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import SCENES, checkpointed

GAZE = Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=2))
NAMES = ("qwen2_5_vl", "qwen3_vl")


@pytest.fixture(params=NAMES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def inputs(case):
    return case.write(SCENES["two images"])


@pytest.fixture
def spied(case):
    """A stock model under an attention of ours, which notes what it is called with."""
    calls, masks = [], []

    def attend(module, query, key, value, attention_mask, **kwargs):
        calls.append({"module": module, "mask": attention_mask, "query": query, "key": key} | kwargs)
        return torch.zeros_like(query).transpose(1, 2), None

    def mask(**kwargs):
        masks.append(kwargs)
        return "a mask"

    AttentionInterface.register("gaze_spy", attend)
    AttentionMaskInterface.register("gaze_spy", mask)
    model = case.build()
    model.get_decoder().set_attn_implementation("gaze_spy")
    return model, calls, masks


@torch.no_grad()
def test_extra_arguments_of_forward_reach_the_attention_of_the_language_model_alone(spied, inputs):
    model, calls, _ = spied
    sentinel = object()
    model(**inputs, gaze_pass=sentinel)
    assert [call["module"].layer_idx for call in calls] == [0, 1, 2]
    assert all(call["gaze_pass"] is sentinel for call in calls)
    assert all(call["key"].shape[1] == 2 and call["query"].shape[1] == 4 for call in calls)


@torch.no_grad()
def test_the_mask_function_is_called_and_what_it_returns_is_handed_on(spied, inputs):
    model, calls, masks = spied
    model(**inputs)
    assert {"attention_mask", "q_length", "kv_length", "mask_function"} <= set(masks[0])
    assert all(call["mask"] == "a mask" for call in calls)


@torch.no_grad()
def test_a_checkpointed_layer_hands_them_on_again(spied, inputs):
    model, calls, _ = spied
    checkpointed(model)
    with torch.enable_grad():
        model(**inputs, use_cache=False, gaze_pass="shared").logits.sum().backward()
    assert [call["gaze_pass"] for call in calls] == ["shared"] * 6


def test_generate_takes_arguments_by_the_signature_of_forward_and_no_others(case, inputs):
    model = case.build()
    packed = torch.zeros(1, 1, dtype=torch.long)
    with pytest.raises(ValueError, match="gaze_layout"):
        model._validate_model_kwargs({"gaze_layout": packed})
    apply_gaze(model, GAZE)._validate_model_kwargs({"gaze_layout": packed, "gaze_openness": 0.5})
    parameters = inspect.signature(model.forward).parameters
    assert {"gaze_layout", "gaze_openness", "input_ids", "pixel_values"} <= set(parameters)
    with pytest.raises(ValueError, match="gaze_layuot"):
        model.generate(**inputs, gaze_layuot=packed, max_new_tokens=1)


def test_generate_carries_our_tensors_through_every_step_and_over_beams(case, inputs, monkeypatch):
    model = apply_gaze(case.build(), GAZE)
    seen = []
    prepare = type(model).prepare_inputs_for_generation

    def spy(self, *args, **kwargs):
        prepared = prepare(self, *args, **kwargs)
        seen.append((prepared["gaze_layout"].shape[0], prepared.get("image_grid_thw") is not None))
        return prepared

    monkeypatch.setattr(type(model), "prepare_inputs_for_generation", spy)
    model.generate(**inputs, max_new_tokens=3, do_sample=False, num_beams=3)
    assert [rows for rows, _ in seen] == [3, 3, 3]
    # What makes a layout before generate necessary: its first forward sees the sizes of images no more.
    assert any(grids for _, grids in seen) == (Version(transformers.__version__) < Version("5.18"))


def test_the_layers_of_a_cache_can_be_exchanged(case):
    config = case.build().get_decoder().config
    cache = DynamicCache(config=config)
    assert [type(layer) for layer in cache.layers] == [DynamicLayer] * 3
    assert cache.offloading is False
    prepared = prepare_cache(cache, config)
    assert prepared is cache
    assert {type(layer) for layer in cache.layers} == {GazeCacheLayer}
    assert cache.get_seq_length() == 0
    bare = prepare_cache(DynamicCache(), config)
    assert [type(layer) for layer in bare.layers] == [GazeCacheLayer] * 3


def test_layers_with_a_sliding_window_keep_their_own_cache(case):
    config = case.build().get_decoder().config
    config.layer_types = ["sliding_attention", "full_attention", "sliding_attention"]
    config.sliding_window, config.use_sliding_window = 8, True
    kinds = [type(layer) for layer in prepare_cache(None, config).layers]
    assert kinds == [DynamicSlidingWindowLayer, GazeCacheLayer, DynamicSlidingWindowLayer]


def test_a_layer_of_a_cache_is_asked_nothing_that_ours_does_not_answer():
    asked = {name for name, _ in inspect.getmembers(CacheLayerMixin) if not name.startswith("_")}
    assert {"update", "get_mask_sizes", "get_seq_length", "reorder_cache", "reset"} <= asked
    assert not inspect.isabstract(GazeCacheLayer)


@torch.no_grad()
def test_the_cache_comes_back_and_counts_tokens(case, inputs):
    model = apply_gaze(case.build(), GAZE)
    out = model(**inputs, use_cache=True)
    cache = getattr(out, cache_name(model))
    assert cache.get_seq_length() == inputs["input_ids"].shape[1]
    assert isinstance(cache.layers[0], GazeCacheLayer)


@pytest.mark.parametrize("name", CASES)
def test_the_subclass_has_the_key_conversion_of_its_class(name):
    model = CASES[name].build()

    def written():
        return [
            (type(one).__name__, str(one.source_patterns), str(one.target_patterns))
            for one in get_model_conversion_mapping(model)
        ]

    stock = written()
    apply_gaze(model, GAZE)
    assert written() == stock


def test_the_decoder_is_found_and_its_attention_is_its_own(case):
    model = case.build()
    decoder = model.get_decoder()
    assert decoder is model.model.language_model
    assert decoder.config is model.config.get_text_config()
    decoder.set_attn_implementation("eager")
    assert model.config.vision_config._attn_implementation == "sdpa"
    assert [layer.self_attn.layer_idx for layer in decoder.layers] == [0, 1, 2]
