"""Packing, the schedule of K, gradient checkpointing and accumulation together against a loop that has none of them."""

from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Callback

from gazekit.data import DigitsData, EncodeConversations
from gazekit.training import attended, fit_stage, read_history
from gazekit.training.openness import openness_at, schedules_of
from tests.training.test_cambrian import MOSAIC, make, stage

STEPS = 4
CHOSEN = stage(
    steps=STEPS, batch_size=6, accumulate=2, gradient_checkpointing=True, optimizer="adamw", clip=None, warmup=0,
    decay="constant", learning_rates={"tower": 1e-4, "projector": 1e-3, "context": 1e-3, "language": 1e-3},
)  # fmt: skip


class Gradients(Callback):
    """Notes the gradient that each step is taken with."""

    def __init__(self) -> None:
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if pl_module._sums is None:
            found = pl_module.model.named_parameters()
            self.steps.append({name: p.grad.clone() for name, p in found if p.grad is not None})


def digits(processor, **change) -> DigitsData:
    settings = {"batch_size": 3, "num_steps": 2 * STEPS, "packing": 512, "batches_per_step": 2}
    return DigitsData(processor, mosaic=MOSAIC, validation_size=0, **{**settings, **change})


def plain_loop(model, processor) -> tuple[list[float], list[dict[str, torch.Tensor]]]:
    """Losses and gradients of the same steps: a sample at a time, nothing kept from one to the next."""
    parameters = {
        name: p for name, p in model.named_parameters() if name.split(".")[0] in ("tower", "projector", "context",
                                                                                  "language_model", "lm_head")
    }  # fmt: skip
    optimizer = torch.optim.AdamW(parameters.values(), betas=CHOSEN.betas, weight_decay=0.0)
    rates = {"tower": 1e-4}
    optimizer.param_groups.clear()
    for name, parameter in parameters.items():
        rate = rates.get(name.split(".")[0], 1e-3)
        optimizer.add_param_group({"params": [parameter], "lr": rate})
    samples = digits(processor, packing=None, batch_size=1, num_steps=6 * STEPS).train_dataloader().dataset
    encode, losses, gradients = EncodeConversations(processor), [], []
    model.train()
    for step in range(STEPS):
        batches = [encode([samples[6 * step + number]]) for number in range(6)]
        tokens = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
        openness = openness_at(CHOSEN, schedules_of(model), step)
        optimizer.zero_grad()
        total = 0.0
        for batch in batches:
            loss = model(**batch, num_items_in_batch=tokens, gaze_openness=openness).loss
            loss.backward()
            total += loss.item()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        optimizer.step()
        losses.append(total)
    return losses, gradients


@pytest.mark.parametrize(
    "double", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["double", "single"]
)
def test_all_of_it_together_equals_the_plain_loop(double, tmp_path):
    """In double precision gradients too; in single precision no choice among regions is close enough to turn."""
    ours, plain = make(), make()
    if double:
        ours.model.double()
        plain.model.double()
    watch = Gradients()
    fit_stage(
        ours.model, digits(ours.processor), CHOSEN, tmp_path, device="cpu", progress=False, log_every=1,
        callbacks=[watch],
    )  # fmt: skip
    history = read_history(tmp_path)
    losses, gradients = plain_loop(plain.model, plain.processor)
    assert {row["openness"] for row in history} >= {0.0, 1.0}
    assert [row["loss"] for row in history] == pytest.approx(losses, abs=1e-6)
    for mine, other in zip(watch.steps, gradients, strict=True):
        assert mine.keys() == other.keys()
        for name, gradient in mine.items():
            tolerance = 1e-9 if double else 1e-5
            torch.testing.assert_close(gradient, other[name], atol=tolerance, rtol=1e-4, msg=name)


def test_packed_batches_have_fewer_and_longer_rows():
    processor = make().processor
    packed = list(digits(processor, num_steps=4).train_dataloader())
    plain = list(digits(processor, num_steps=4, packing=None).train_dataloader())
    tokens = [sum(int(batch["attention_mask"].sum()) for batch in batches) for batches in (packed, plain)]
    cells = [sum(batch["attention_mask"].numel() for batch in batches) for batches in (packed, plain)]
    assert tokens[0] == tokens[1]
    assert sum(len(batch["input_ids"]) for batch in packed) < sum(len(batch["input_ids"]) for batch in plain)
    assert all(batch["input_ids"].shape[1] <= 512 for batch in packed)
    assert cells[0] >= tokens[0]


def test_a_step_of_other_samples_is_refused(tmp_path):
    cambrian = make()
    chosen = replace(CHOSEN, accumulate=1)
    with pytest.raises(
        ValueError, match="batch_size must be what the stage says, 6 samples a step, got 3 in the packed"
    ):
        fit_stage(cambrian.model, digits(cambrian.processor), chosen, tmp_path, device="cpu", progress=False)


@pytest.mark.parametrize("openness", [1.0, 0.0])
def test_what_packed_rows_attend_is_what_their_samples_attend(openness):
    cambrian = make()
    model, processor = cambrian.model, cambrian.processor
    samples = digits(processor, packing=None).train_dataloader().dataset.__getitems__(range(4))
    found = {}
    for packing in (None, 1000):
        batch = EncodeConversations(processor, packing)(samples)
        with attended.measure(model, batch, True) as told, torch.no_grad():
            model(**batch, gaze_openness=openness, use_cache=False)
        found[packing] = told()
    assert found[1000].regions == pytest.approx(found[None].regions, rel=1e-6)
    assert found[1000].share == pytest.approx(found[None].share, rel=1e-6)
