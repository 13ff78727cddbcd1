"""Whole models generate the same wherever their keys and values are kept; recipes say where."""

import pytest
import torch

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.contracts.section import to_section
from gazekit.models.retrofit import apply_gaze, remove_gaze
from gazekit.recipe import check, load, show
from gazekit.store import MemoryMappedStorage, OffloadedStore
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import SCENES
from tests.models.test_model import mixed
from tests.models.tiny import gaze_section, make_model

WAYS = {"greedy": {}, "beams": {"num_beams": 3, "num_return_sequences": 2}}
MAPPED = {"_target_": "gazekit.store.MemoryMappedStorage", "slots": 1.0}


def asked(way: str) -> dict:
    return {**WAYS[way], "max_new_tokens": 5, "do_sample": False, "eos_token_id": None}


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_a_cambrian_generates_the_same(way):
    batch, answers = mixed(num_context=2), []
    for store in ("resident", "offloaded", MAPPED):
        model = make_model(gaze=gaze_section(num_context=2, store=store))
        out = model.generate(**batch, **asked(way), return_dict_in_generate=True)
        kept = [type(layer.memory.store) is OffloadedStore for layer in out.past_key_values.layers]
        assert all(kept) if store != "resident" else not any(kept)
        answers.append(out.sequences)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava_onevision", "gemma3"])
def test_other_models_generate_the_same(name):
    case = CASES[name]
    model, inputs = case.build(), case.write(SCENES["left-padded batch"])
    for way in WAYS:
        answers = []
        for store in ("resident", "offloaded", MemoryMappedStorage()):
            partition = GridPartition(size=(1, *case.size))
            apply_gaze(model, Gaze(partition=partition, route=TopKRouter(k=2), store=store))
            answers.append(model.generate(**inputs, **asked(way)))
            remove_gaze(model)
        assert torch.equal(answers[0], answers[1])
        assert torch.equal(answers[0], answers[2])


def test_a_recipe_says_where():
    assert load("tiny", ["gaze.store=offloaded"]).build("gaze").store == "offloaded"
    words = [f"gaze.store._target_={MAPPED['_target_']}", "gaze.store.slots=2", "gaze.store.folder=/tmp"]
    recipe = load("tiny", words)
    gaze = recipe.build("gaze")
    assert gaze.store == MemoryMappedStorage(slots=2.0, folder="/tmp")
    assert "MemoryMappedStorage" in show(recipe)
    assert to_section(gaze)["store"] == {**MAPPED, "slots": 2.0, "folder": "/tmp"}


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["gaze.store=ofloaded"], "gaze.store"),
        ([f"gaze.store._target_={MAPPED['_target_']}", "gaze.store.slot=2"], ""),
    ],
)
def test_a_recipe_that_says_it_wrongly_is_at_fault(words, path):
    (fault,) = check("tiny", words)
    assert fault.path.startswith(path)
    assert fault.nearest in ("offloaded", "slots")
