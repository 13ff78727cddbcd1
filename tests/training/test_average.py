"""The moving average of weights: what it is, that a stage ends with it, and that it survives an interruption."""

import pytest
import torch
from lightning.pytorch import Callback

from tests.training.standin import assert_same_weights
from tests.training.test_cambrian import stage, train
from tests.training.test_resume import InterruptAt, Interrupted

AVERAGED = {"steps": 5, "optimizer": "adamw", "ema": 0.6}


class Steps(Callback):
    """The weights after each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.append({name: p.detach().clone() for name, p in pl_module.model.named_parameters()})


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    steps = Steps()
    return train(tmp_path_factory.mktemp("whole"), chosen=stage(**AVERAGED), callbacks=[steps]), steps.seen


def test_a_stage_ends_with_the_average(averaged):
    model, seen = averaged
    mean = seen[0]
    for after in seen[1:]:
        mean = {name: 0.6 * mean[name] + 0.4 * after[name] for name in mean}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), mean[name], atol=1e-6, rtol=1e-5, msg=name)
    assert not torch.equal(model.projector.first.weight, seen[-1]["projector.first.weight"])
    places = model.tower.model.embeddings.position_ids.flatten()
    assert torch.equal(places, torch.arange(len(places))[None].flatten())


def test_training_itself_is_as_without(averaged, tmp_path):
    steps = Steps()
    train(tmp_path, chosen=stage(**{**AVERAGED, "ema": None}), callbacks=[steps])
    for one, other in zip(steps.seen, averaged[1], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_interrupted_average_goes_on(averaged, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, chosen=stage(**AVERAGED), callbacks=[InterruptAt(3)])
    assert_same_weights(train(tmp_path, seed=3, chosen=stage(**AVERAGED)), averaged[0])


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=f"ema must be between 0 and 1, for example 0.999, got {decay}"):
        stage(ema=decay)
