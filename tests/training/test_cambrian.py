"""The real model on the real data, tiny: what the stand-ins cannot show."""

import functools

import pytest
import torch
from lightning.pytorch import Callback

from gazekit.data import DigitsData, DigitsTokenizer, DigitsWindows, MosaicSpec
from gazekit.models import FromScratch
from gazekit.training import Stage, branch, fit_stage, open_steps, pretrain_tower, read_history
from gazekit.training.activations import checkpoint_activations
from tests.training.standin import assert_same_weights
from tests.training.test_resume import InterruptAt, Interrupted

MOSAIC = MosaicSpec()
RATES = {"projector": 2e-3, "context": 2e-3, "language": 2e-3}
GAZE = {
    "partition": {"_target_": "gazekit.partition.GridPartition", "size": [1, 2, 2]},
    "route": {"_target_": "gazekit.route.TopKRouter", "k": 1},
    "schedule": {
        "_target_": "gazekit.schedule.ProgressiveSchedule",
        "shape": "linear",
        "start": 0.5,
        "end": 0.75,
    },
    "context": {"_target_": "gazekit.context.LearnedContext", "num_tokens": 1},
}
SOURCE = FromScratch(
    tokenizer=DigitsTokenizer(),
    text={
        "model_type": "qwen3", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    },
    vision={
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
        "patch_size": 8,
    },
    vision_layer="last",
    image_tiles=(4, 4),
    place_embedding=True,
)  # fmt: skip


def make(seed: int = 0):
    return SOURCE.make(gaze=GAZE, seed=seed)


def stage(**changes: object) -> Stage:
    fields = {
        "name": "tiny", "steps": 8, "batch_size": 2, "learning_rates": RATES, "optimizer": "muon",
        "checkpoint_every": 2,
    }  # fmt: skip
    return Stage(**{**fields, **changes})


def train(
    folder,
    *,
    seed: int = 0,
    chosen: Stage | None = None,
    num_steps: int = 8,
    log_every: int = 1,
    **arguments: object,
):
    cambrian, chosen = make(seed), chosen or stage()
    data = DigitsData(
        cambrian.processor, mosaic=MOSAIC, batch_size=chosen.local_batch_size(),
        num_steps=num_steps * chosen.accumulate, validation_size=0,
    )  # fmt: skip
    fit_stage(
        cambrian.model, data, chosen, folder, device="cpu", progress=False, log_every=log_every, **arguments
    )
    return cambrian.model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("whole")
    return train(folder, keep=[4]), folder


def test_figures_of_every_step(whole):
    rows = read_history(whole[1])
    assert [row["openness"] for row in rows] == [1, 1, 1, 1, 1, 0.5, 0, 0]
    assert [row["k"] for row in rows] == [16, 16, 16, 16, 16, 9, 1, 1]
    assert [row["attended_share"] for row in rows] == [1, 1, 1, 1, 1, 9 / 16, 1 / 16, 1 / 16]
    assert all(row["loss"] > 0 for row in rows)


def test_k_that_is_shown_is_not_older_than_the_end_of_the_schedule(tmp_path):
    shown = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            shown.append(pl_module.figures()["k"])

    train(tmp_path, log_every=100, callbacks=[Watch()])
    assert shown == [16, 16, 16, 16, 16, 16, 1, 1]


@pytest.mark.parametrize("batch", [2, 5, 6])
def test_interrupted_run_ends_with_the_same_weights(batch, whole, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[InterruptAt(batch)])
    assert_same_weights(train(tmp_path, seed=3), whole[0])


@pytest.mark.parametrize("batch", [3, 5])
def test_data_that_ends_within_the_stage(batch, tmp_path):
    """Three steps an epoch, checkpoints every two: the next epoch repeats the samples, after a restart as before."""
    first = train(tmp_path / "whole", num_steps=3)
    with pytest.raises(Interrupted):
        train(tmp_path / "broken", num_steps=3, callbacks=[InterruptAt(batch)])
    assert_same_weights(train(tmp_path / "broken", num_steps=3), first)


def test_branch_equals_dense_from_the_start(whole, tmp_path):
    dense = stage(name="dense", openness=1.0)
    assert open_steps(make().model, stage()) == 5
    branch(whole[1], 4, tmp_path / "branch", dense)
    assert_same_weights(
        train(tmp_path / "branch", seed=5, chosen=dense), train(tmp_path / "dense", chosen=dense)
    )


def test_gradient_checkpointing_changes_nothing(whole, tmp_path):
    model = train(tmp_path, chosen=stage(gradient_checkpointing=True))
    assert_same_weights(model, whole[0])
    assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    checkpoint_activations(model, wanted=False)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def test_accumulated_batches_equal_one_batch(tmp_path):
    """Questions differ in their numbers of answer tokens."""
    one = train(tmp_path / "one", chosen=stage(steps=2, batch_size=8, clip=None, optimizer="adamw"))
    four = train(
        tmp_path / "four", chosen=stage(steps=2, batch_size=8, accumulate=4, clip=None, optimizer="adamw")
    )
    for name, value in one.state_dict().items():
        torch.testing.assert_close(four.state_dict()[name], value, atol=2e-5, rtol=0, msg=name)


def test_frozen_tower_is_encoded_without_a_graph(tmp_path):
    seen = []

    class Watch(Callback):
        def on_fit_start(self, trainer, pl_module) -> None:
            pl_module.model.tower.register_forward_hook(
                lambda module, args, out: seen.append((module.training, out))
            )

    before = make().model
    model = train(tmp_path, chosen=stage(steps=1, learning_rates={"projector": 1e-3}), callbacks=[Watch()])
    ((training, features),) = seen
    assert not training
    assert not features.requires_grad
    assert_same_weights(model.tower, before.tower)
    assert_same_weights(model.language_model, before.language_model)
    assert not torch.equal(model.projector.first.weight, before.projector.first.weight)


def test_tower_of_a_cambrian_is_pretrained_in_place(tmp_path):
    cambrian = make()
    windows = functools.partial(
        DigitsWindows, cambrian.processor.image_processor, mosaic=MOSAIC, batch_size=64
    )
    chosen = Stage(name="tower", steps=20, batch_size=64, learning_rates={"tower": 1e-3}, checkpoint_every=10)
    before = cambrian.model.tower.model.embeddings.patch_embedding.weight.clone()
    result = pretrain_tower(
        cambrian.model.tower.model, windows(split="train"), windows(split="validation").batches(4), chosen, tmp_path,
        device="cpu", progress=False,
    )  # fmt: skip
    assert 0 < result.accuracy < 1
    assert result.stage.loss < 2.32  # log 10 by chance
    assert not torch.equal(cambrian.model.tower.model.embeddings.patch_embedding.weight, before)
