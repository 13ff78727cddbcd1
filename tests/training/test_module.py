import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from gazekit.schedule import ConstantSchedule, LayeredSchedule
from gazekit.training import CambrianModule, open_steps, read_history
from gazekit.training.openness import lowest_of, mean_of, openness_at, schedules_of
from tests.training.standin import ROOT, Samples, TinyData, TinyModel, assert_same_weights, stage, train

pytestmark = pytest.mark.filterwarnings(
    "ignore:`isinstance:FutureWarning", "ignore:'set_vital' is deprecated", "ignore:.*does not have many workers",
    "ignore:You defined a `validation_step` but have no",
)  # fmt: skip


class Watch(Callback):
    """Notes what each step is like before its optimizer runs."""

    def __init__(self) -> None:
        self.openness, self.gradients, self.modes, self.rates = [], [], [], []

    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:
        self.rates.append({group["part"]: group["lr"] for group in optimizer.param_groups})

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.openness.append(pl_module.openness)
        self.modes.append({name: child.training for name, child in pl_module.model.named_children()})


def one_step(tmp_path: Path, *, batch_size: int, accumulate: int, precision: str = "32-true") -> TinyModel:
    chosen = stage(steps=1, batch_size=32, accumulate=accumulate, warmup=0, clip=None, precision=precision)
    return train(
        tmp_path / f"{batch_size}x{accumulate}", model=TinyModel(dropout=0.0), data=TinyData(batch_size=batch_size),
        stage=chosen,
    )  # fmt: skip


@pytest.mark.parametrize("accumulate", [2, 4, 32])
def test_accumulated_batches_equal_one_batch(accumulate, tmp_path):
    """Samples have between 1 and 6 supervised tokens: a mean of means would be off."""
    whole = one_step(tmp_path, batch_size=32, accumulate=1)
    parts = one_step(tmp_path, batch_size=32 // accumulate, accumulate=accumulate)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, atol=1e-6, rtol=0, msg=name)


def test_gradient_is_that_of_the_mean_over_all_supervised_tokens(tmp_path):
    """AdamW forgets the gradient's scale, so it is compared by itself."""
    caught = {}

    class Catch(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            caught.update(
                {name: p.grad.clone() for name, p in pl_module.model.named_parameters() if p.grad is not None}
            )

    model = TinyModel(dropout=0.0)
    before = TinyModel(dropout=0.0)
    chosen = stage(steps=1, batch_size=8, accumulate=2, clip=None, openness=1.0)
    train(tmp_path, model=model, data=TinyData(batch_size=4), stage=chosen, callbacks=[Catch()])
    batch = {name: torch.stack([Samples(8)[i][name] for i in range(8)]) for name in Samples(8)[0]}
    count = (batch["labels"][:, 1:] != -100).sum()
    before(**batch, num_items_in_batch=int(count), gaze_openness=1.0).loss.backward()
    for name, gradient in caught.items():
        torch.testing.assert_close(gradient, dict(before.named_parameters())[name].grad, atol=1e-6, rtol=1e-5)


def test_two_ranks_equal_one(tmp_path):
    script = (
        "import sys\n"
        "import torch\n"
        "from pathlib import Path\n"
        "from gazekit.training import Machine\n"
        "from tests.training.standin import TinyData, TinyModel, stage, train\n"
        "chosen = stage(steps=2, batch_size=32, warmup=0, clip=1.0, checkpoint_every=1)\n"
        f"train(Path({str(tmp_path)!r}) / 'ranks', model=TinyModel(dropout=0.0), data=TinyData(batch_size=16),\n"
        "      stage=chosen, machine=Machine(devices=2))\n"
    )
    path = tmp_path / "ranks.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(path)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    chosen = stage(steps=2, batch_size=32, warmup=0, clip=1.0, checkpoint_every=1)
    one = train(tmp_path / "one", model=TinyModel(dropout=0.0), data=TinyData(batch_size=32), stage=chosen)
    two = train(tmp_path / "ranks", model=TinyModel(seed=3), data=TinyData(batch_size=16), stage=chosen)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, atol=1e-6, rtol=0, msg=name)


def test_loss_that_is_shown_is_the_mean_over_the_step(tmp_path):
    train(tmp_path / "a", model=TinyModel(dropout=0.0), data=TinyData(batch_size=8), log_every=1,
          stage=stage(steps=1, batch_size=8))  # fmt: skip
    train(tmp_path / "b", model=TinyModel(dropout=0.0), data=TinyData(batch_size=2), log_every=1,
          stage=stage(steps=1, batch_size=8, accumulate=4))  # fmt: skip
    assert read_history(tmp_path / "a")[0]["loss"] == pytest.approx(
        read_history(tmp_path / "b")[0]["loss"], abs=1e-6
    )


def test_frozen_parts_stay_as_they_are(tmp_path):
    model, untouched, watch = TinyModel(), TinyModel(), Watch()
    train(tmp_path, model=model, stage=stage(learning_rates={"projector": 1e-2}), callbacks=[watch])
    assert_same_weights(model.tower, untouched.tower)
    assert_same_weights(model.language_model, untouched.language_model)
    assert not torch.equal(model.projector.weight, untouched.projector.weight)
    assert watch.modes[0] == {"tower": False, "projector": True, "language_model": False, "lm_head": False}
    assert not model.features_need_grad
    assert not any(parameter.requires_grad for parameter in model.tower.parameters())


def test_a_later_stage_thaws(tmp_path):
    model = train(tmp_path / "1", stage=stage(learning_rates={"projector": 1e-2}))
    before = model.tower[0].weight.clone()
    train(tmp_path / "2", model=model, stage=stage(learning_rates={"tower": 1e-2}))
    assert not torch.equal(model.tower[0].weight, before)


def test_rates_follow_the_stage(tmp_path):
    watch = Watch()
    chosen = stage(steps=4, warmup=2, decay="linear", learning_rates={"tower": 1e-3, "language": 1e-2})
    train(tmp_path, stage=chosen, callbacks=[watch])
    assert [rates["language"] for rates in watch.rates] == pytest.approx([0.005, 0.01, 0.01, 0.005])
    assert [rates["tower"] for rates in watch.rates] == pytest.approx([5e-4, 1e-3, 1e-3, 5e-4])


def test_openness_follows_the_schedule_at_the_start_of_each_step(tmp_path):
    watch, model = Watch(), TinyModel()
    train(tmp_path, model=model, data=TinyData(batch_size=2), stage=stage(accumulate=2), callbacks=[watch])
    [schedule] = schedules_of(model)
    wanted = [schedule(batch // 2 / 12) for batch in range(24)]
    assert watch.openness == wanted == model.openness_seen
    assert open_steps(model, stage()) == 4
    assert wanted[8] < 1.0 == wanted[7]


def test_stage_may_fix_openness(tmp_path):
    model = train(tmp_path, stage=stage(openness=0.25))
    assert set(model.openness_seen) == {0.25}
    assert open_steps(model, stage(openness=1.0)) == 12


def test_nothing_routes(tmp_path):
    model = TinyModel()
    del model.language_model.gaze
    train(tmp_path, model=model)
    assert set(model.openness_seen) == {None}
    assert open_steps(model, stage()) == 12


def test_layers_may_follow_different_schedules():
    model = TinyModel()
    gaze = model.language_model.gaze
    model.lm_head.gaze = replace(gaze, schedule=ConstantSchedule())
    model.dense = torch.nn.Identity()
    model.dense.gaze = replace(gaze, route=None)
    schedules = schedules_of(model)
    assert schedules == (gaze.schedule, ConstantSchedule(), None)
    half = stage(openness=None)
    assert openness_at(half, schedules, 6) == (0.5, 0.0, 1.0)
    assert openness_at(half, schedules, 11) == 0.0
    assert open_steps(model, half) == 0
    assert lowest_of((0.5, 0.0, 1.0)) == 0.0
    assert mean_of((0.5, 0.0, 1.0)) == 0.5


def test_openness_by_depth_is_shown_as_its_mean():
    model = TinyModel()
    gaze = model.language_model.gaze
    layered = LayeredSchedule(inner=gaze.schedule, lag=0.5)
    model.language_model.gaze = replace(gaze, schedule=layered)
    model.lm_head.gaze = model.language_model.gaze
    module = CambrianModule(model, stage(), verbose=False)
    module.openness = openness_at(stage(), schedules_of(model), 6)
    assert module.openness == (layered(0.5, 0.0), layered(0.5, 1.0)) == (1.0, 0.0)
    assert module.figures()["openness"] == 0.5


def test_wrong_batch_size_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="batch_size must be what the stage says, 4 samples a step or 4 in each"
    ):
        train(tmp_path, data=TinyData(batch_size=3))


def test_step_without_supervised_tokens_is_refused(tmp_path):
    class Unanswered(Samples):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {**sample, "labels": torch.full_like(sample["labels"], -100)}

    data = TinyData()
    data.samples = Unanswered(64)
    with pytest.raises(
        ValueError, match="labels must supervise at least one token of a step, got none in step 0"
    ):
        train(tmp_path, data=data)


def test_plain_trainer(tmp_path):
    """As Lightning users write it; nothing but the module says when to stop."""
    model = TinyModel()
    trainer = Trainer(accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    trainer.fit(CambrianModule(model, stage(), verbose=False), TinyData())
    assert trainer.global_step == 12
    assert_same_weights(model, train(tmp_path))
    assert {"loss", "openness", "lr_projector"} <= trainer.callback_metrics.keys()


def test_validation_loss(tmp_path):
    class Validated(TinyData):
        def val_dataloader(self):
            return self.train_dataloader()

    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False, limit_val_batches=2, val_check_interval=6, max_steps=6)  # fmt: skip
    module = CambrianModule(TinyModel(), stage(), verbose=False)
    trainer.fit(module, Validated())
    model, batches = module.model.eval(), list(zip(range(2), TinyData().train_dataloader(), strict=False))
    openness = schedules_of(model)[0](5 / 12)
    total = sum(model(**b, num_items_in_batch=1, gaze_openness=openness).loss.detach() for _, b in batches)
    count = sum((b["labels"][:, 1:] != -100).sum() for _, b in batches)
    assert float(trainer.callback_metrics["validation_loss"]) == pytest.approx(float(total / count), rel=1e-5)


def test_table_is_printed(tmp_path, capsys):
    Trainer(accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False).fit(CambrianModule(TinyModel(), stage(steps=1)), TinyData())  # fmt: skip
    out = capsys.readouterr().out
    assert all(text in out for text in ("tiny: 1 steps of 4", "projector", "frozen"))


@pytest.mark.parametrize("name", ["activation", "gradient"])
def test_activation_checkpointing_is_switched(name, tmp_path):
    """Under the name that it has in each end of the supported range of transformers."""
    calls = []
    model = TinyModel()
    setattr(model, f"{name}_checkpointing_enable", lambda **arguments: calls.append(arguments))
    train(tmp_path, model=model, stage=stage(gradient_checkpointing=True))
    assert calls == [{f"{name}_checkpointing_kwargs": {"use_reentrant": False}}]


def test_activation_checkpointing_needs_a_model_that_can(tmp_path):
    with pytest.raises(
        ValueError, match="gradient_checkpointing needs a transformers model, TinyModel is none"
    ):
        train(tmp_path, stage=stage(gradient_checkpointing=True))


def test_bf16(tmp_path):
    exact, mixed = (
        one_step(tmp_path / p, batch_size=32, accumulate=1, precision=p) for p in ("32-true", "bf16-mixed")
    )
    assert mixed.projector.weight.dtype == torch.float32
    torch.testing.assert_close(mixed.projector.weight, exact.projector.weight, atol=3e-2, rtol=0)
    assert not torch.equal(mixed.projector.weight, exact.projector.weight)
