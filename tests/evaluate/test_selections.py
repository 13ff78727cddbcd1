"""Entropy, overlap and covered mass by hand, and against a model that was watched."""

import math

import pytest
import torch

from gazekit.data.digits import DigitsEvaluation
from gazekit.evaluate.glances import looked
from gazekit.evaluate.metrics import (
    MassCoverage,
    SelectionStatistics,
    best_mass,
    head_overlap,
    mass_of,
    selection_entropy,
    step_overlap,
)
from gazekit.gaze import watch
from gazekit.recipe import load
from gazekit.recipe.assemble import assemble


def steps(*rows):
    """`[step 1 head slot]`."""
    return torch.tensor(rows, dtype=torch.int32)[:, None]


def test_entropy_by_hand():
    assert selection_entropy(steps([[0]], [[0]]), 4).tolist() == [[0.0]]
    assert selection_entropy(steps([[0, 1]], [[2, 3]]), 4).item() == pytest.approx(1.0)
    half = selection_entropy(steps([[0, 1]], [[0, 1]], [[-1, -1]]), 4)
    assert half.item() == pytest.approx(math.log(2) / math.log(4))
    assert selection_entropy(steps([[0]], [[0]]), 1).item() == 0.0


def test_overlaps_by_hand():
    index = steps([[0, 1], [0, 1]], [[1, 2], [3, 4]])
    assert step_overlap(index, 5)[0].tolist() == pytest.approx([1 / 3, 0.0])
    assert head_overlap(index, 5).tolist() == pytest.approx([0.5])
    assert step_overlap(index[:1], 5).isnan().all()
    assert head_overlap(index, 5, group=1).isnan().all()
    with pytest.raises(ValueError, match="group must divide the 2 heads, got 3"):
        head_overlap(index, 5, group=3)


def test_steps_not_taken_change_nothing():
    index = torch.tensor([[[[[0, 1]]], [[[1, 2]]]], [[[[0, 1]]], [[[-1, -1]]]]], dtype=torch.int32)
    metric = SelectionStatistics(1, 1)
    metric.update(index, [4, 4])
    assert metric.compute()["step_overlap"].item() == pytest.approx(1 / 3)


def test_covered_mass_by_hand():
    mass = torch.tensor([[0.1, 0.4, 0.3, 0.0]])
    assert mass_of(mass, torch.tensor([[1, -1]])).tolist() == pytest.approx([0.4])
    assert best_mass(mass, torch.tensor([2])).tolist() == pytest.approx([0.7])
    metric = MassCoverage(1, 1)
    metric.update(mass[None, None, None], torch.tensor([[[[[0, 1]]]]]), torch.tensor([4]))
    found = {name: value.item() for name, value in metric.compute().items()}
    assert found == pytest.approx({"share": 5 / 8, "best": 7 / 8, "random": 0.5, "of_best": 5 / 7})


def test_the_mass_of_a_watched_model_is_that_of_dense_attention():
    """In the first layer, whose queries and keys no routing has touched, against the weights of eager attention."""
    made, plain = assemble(load("tiny")), assemble(load("tiny"))
    made.model.eval()
    plain.model.set_gaze(None)
    plain.model.eval().language_model.set_attn_implementation("eager")
    items = DigitsEvaluation(length=3)
    prompts = [
        made.processor.apply_chat_template(item.prompt.as_chat(), add_generation_prompt=True)
        for item in (items[0], items[1], items[2])
    ]
    inputs = made.processor(text=prompts, images=[[items[one].image] for one in range(3)])
    with torch.no_grad(), watch(made.model, weigh=True) as trace:
        made.model.generate(**inputs, max_new_tokens=2, min_new_tokens=2, do_sample=False)
    with torch.no_grad():
        weights = plain.model(**inputs, output_attentions=True).attentions[0][:, :, -1]
    found = looked(trace, inputs["input_ids"].shape[1] - 1)
    owner = trace.regions.owner[:, : weights.shape[2]]
    for region in range(trace.regions.count):
        expected = (weights * (owner == region)[:, None]).sum(-1)
        assert torch.allclose(found.mass[:, 0, 0, :, region], expected, atol=1e-6)
    assert found.mass[:, 0, 0].sum(-1).min() > 0.01
    covered = MassCoverage(len(found.routing), found.attended.shape[3])
    covered.update(found.mass, found.index, (trace.regions.size > 0).sum(1))
    result = covered.compute()
    assert (result["share"] <= result["best"] + 1e-12).all()
    assert (result["best"] < 1).all()
