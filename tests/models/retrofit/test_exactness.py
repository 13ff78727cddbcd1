"""K = all is the stock model, for every architecture; decoding with few regions is the full forward."""

import copy

import pytest
import torch

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.contracts import Kind
from gazekit.gaze import watch
from gazekit.gaze.cache import cache_name
from gazekit.models.retrofit import apply_gaze, remove_gaze
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import SCENES, longer


def gaze(case, k, frames=1):
    return Gaze(partition=GridPartition(size=(frames, *case.size)), route=TopKRouter(k=k))


@pytest.fixture(scope="module", params=CASES)
def model(request):
    """One model for all tests of an architecture; each leaves it as it was."""
    built = CASES[request.param].build()
    built.case = CASES[request.param]
    return built


@pytest.fixture(params=SCENES)
def inputs(request, model):
    if request.param == "video" and not model.case.video:
        pytest.skip("takes no videos")
    return model.case.write(SCENES[request.param])


def greedy(model, inputs, steps, **kwargs):
    return model.generate(**inputs, max_new_tokens=steps, do_sample=False, **kwargs)


@torch.no_grad()
def test_all_regions_are_the_stock_model(model, inputs):
    real = inputs["attention_mask"].bool()
    logits, tokens = model(**inputs).logits, greedy(model, inputs, 4)
    apply_gaze(model, gaze(model.case, 1000, frames=2))
    try:
        torch.testing.assert_close(model(**inputs).logits[real], logits[real], atol=1e-5, rtol=1e-5)
        assert torch.equal(greedy(model, inputs, 4), tokens)
    finally:
        remove_gaze(model)
    assert torch.equal(model(**inputs).logits[real], logits[real])


@torch.no_grad()
def test_long_answers_to_all_scenes_at_once_are_those_of_the_stock_model(model):
    shown = [rows for name, rows in SCENES.items() if model.case.video or name != "video"]
    inputs = model.case.write([row for rows in shown for row in rows])
    tokens = greedy(model, inputs, 32)
    apply_gaze(model, gaze(model.case, 1000, frames=2))
    try:
        assert torch.equal(greedy(model, inputs, 32), tokens)
    finally:
        remove_gaze(model)


@torch.no_grad()
def test_beams_with_all_regions_are_those_of_the_stock_model(model):
    inputs = model.case.write(SCENES["left-padded batch"])
    beams = {"num_beams": 3, "num_return_sequences": 2}
    tokens = greedy(model, inputs, 6, **beams)
    apply_gaze(model, gaze(model.case, 1000))
    try:
        assert torch.equal(greedy(model, inputs, 6, **beams), tokens)
    finally:
        remove_gaze(model)


@torch.no_grad()
def test_decoding_with_few_regions_is_the_full_forward(model, inputs):
    apply_gaze(model, gaze(model.case, 2))
    try:
        made = greedy(model, inputs, 6, return_dict_in_generate=True, output_logits=True)
        answer = made.sequences[:, inputs["input_ids"].shape[1] :]
        whole = model(**longer(inputs, answer[:, :-1]), use_cache=False).logits[:, -6:]
        torch.testing.assert_close(torch.stack(made.logits, 1), whole, atol=1e-5, rtol=1e-5)
    finally:
        remove_gaze(model)


@torch.no_grad()
def test_few_regions_are_not_all(model):
    inputs = model.case.write(SCENES["two images"])
    logits = model(**inputs).logits
    apply_gaze(model, gaze(model.case, 1))
    try:
        visual = int((model.layout(**inputs).kind == int(Kind.VISUAL)).sum())
        with watch(model) as trace:
            few = model(**inputs).logits
    finally:
        remove_gaze(model)
    assert trace.regions.count > 3
    assert (few - logits).abs().max() > 1e-2
    for glance in trace.glances:
        # The last query has both images before it.
        attended = glance.attended[..., -1, 0]
        assert 0 < attended.min() <= attended.max() <= trace.regions.size.max() < visual


@torch.no_grad()
def test_nothing_of_a_region_that_was_not_chosen_reaches_an_answer(model):
    inputs = model.case.write(SCENES["two images"])
    apply_gaze(model, gaze(model.case, 1))
    try:
        out = model(**inputs, use_cache=True)
        kept = getattr(out, cache_name(model))
        word = {"input_ids": out.logits[:, -1:].argmax(-1)}
        if "token_type_ids" in inputs:
            word["token_type_ids"] = torch.zeros_like(word["input_ids"])
        with watch(model) as trace:
            expected = model(**word, **{cache_name(model): copy.deepcopy(kept)}).logits
        spoilt = sum(spoil(kept.layers[glance.layer].memory.store, glance) for glance in trace.glances)
        found = model(**word, **{cache_name(model): kept}).logits
    finally:
        remove_gaze(model)
    assert spoilt > 0
    assert torch.equal(found, expected)


def spoil(store, glance):
    """Puts NaN into the keys and values of every region that no head of its group has chosen; says how many."""
    entries, count = store.entries(), 0
    groups = glance.index[0, :, 0].unflatten(0, (entries.key.shape[1], -1))
    for head, chosen in enumerate(groups):
        owner = entries.tokens.owner[0, min(head, entries.tokens.owner.shape[1] - 1)]
        left = (owner >= 0) & ~torch.isin(owner, chosen)
        entries.key[0, head, left] = entries.value[0, head, left] = float("nan")
        count += int(left.sum())
    assert bool(store.entries().key.isnan().any()) == (count > 0)
    return count
