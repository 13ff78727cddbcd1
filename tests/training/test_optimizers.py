import pytest
import torch
from torch.optim import AdamW, Muon

from gazekit.training.groups import parts_of
from gazekit.training.optimizers import optimizer_of
from tests.training.standin import TinyModel, assert_same_weights, stage, train
from tests.training.test_resume import InterruptAt, Interrupted


def optimizer(model: TinyModel, **changes: object):
    chosen = stage(**changes)
    return optimizer_of(parts_of(model, chosen), chosen, fused=False)


def test_muon_takes_the_matrices_of_the_decoder_layers_alone():
    model = TinyModel()
    together = optimizer(model, optimizer="muon", learning_rates={"language": 1e-2, "projector": 1e-3})
    muon, adamw = together.optimizers
    assert isinstance(muon, Muon)
    assert isinstance(adamw, AdamW)
    assert [p for group in muon.param_groups for p in group["params"]] == [model.language_model.layers[0].weight]
    assert {group["lr"] for group in muon.param_groups} == {1e-2}
    others = [p for group in adamw.param_groups for p in group["params"]]
    assert set(others) == {*model.parameters()} - {model.language_model.layers[0].weight, *model.tower.parameters()}


def test_one_of_the_two_may_have_nothing_to_do():
    assert [type(one) for one in optimizer(TinyModel(), optimizer="muon", learning_rates={"tower": 1e-2}).optimizers] == [
        AdamW
    ]


def test_together_they_step_as_each_by_itself():
    model, twin = TinyModel(), TinyModel()
    together = optimizer(model, optimizer="muon", weight_decay=0.0)
    apart = optimizer(twin, optimizer="muon", weight_decay=0.0).optimizers
    for one in (model, twin):
        for parameter in one.parameters():
            parameter.grad = torch.ones_like(parameter)
    calls = []
    assert together.step(lambda: calls.append(1) or 3.0) == 3.0
    assert calls == [1]
    for each in apart:
        each.step()
    assert_same_weights(model, twin)


@pytest.mark.parametrize("batches", [(4,), (7, 1)])
def test_interrupted_run_ends_with_the_same_weights(batches, tmp_path):
    chosen = stage(optimizer="muon")
    whole = train(tmp_path / "whole", stage=chosen)
    for batch in batches:
        with pytest.raises(Interrupted):
            train(tmp_path / "broken", stage=chosen, callbacks=[InterruptAt(batch)])
    assert_same_weights(train(tmp_path / "broken", stage=chosen), whole)
    assert not torch.equal(whole.projector.weight, train(tmp_path / "adamw").projector.weight)
