import hashlib
import subprocess
import sys

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from gazekit.data import DigitsData, ManyQuestions, MosaicSpec, SingleQuestion

# Lightning 2.6 calls what torch 2.13 has deprecated, and would like more workers.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`.*"),
]


def fingerprint(batch):
    return hashlib.sha256(b"".join(batch[name].numpy().tobytes() for name in sorted(batch))).hexdigest()


class Recorder(LightningModule):
    """Writes down the batches that it is trained on, and stops where it is told."""

    def __init__(self, until=None, ask_length=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.until, self.ask_length = until, ask_length
        self.seen, self.validated = [], []

    def training_step(self, batch, batch_idx):
        if self.until is not None and self.global_step == self.until:
            raise KeyboardInterrupt
        self.seen.append(fingerprint(batch))
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx):
        self.validated.append(fingerprint(batch))

    def configure_optimizers(self):
        if self.ask_length:
            assert self.trainer.estimated_stepping_batches == 12
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveEachStep(Callback):
    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


def fit(module, data, keep=None, ckpt_path=None):
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[SaveEachStep(keep)] if keep else [],
        enable_checkpointing=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return module.seen


def digits(processor, **change):
    return DigitsData(
        processor, **{"batch_size": 3, "num_steps": 12, "seed": 5, "validation_size": 0, **change}
    )


@pytest.mark.parametrize("ask_length", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_run_sees_the_batches_that_it_had_still_to_see(
    tmp_path, processor, ask_length, workers
):
    whole = fit(Recorder(ask_length=ask_length), digits(processor))
    assert len(set(whole)) == 12
    with pytest.raises(SystemExit):
        fit(Recorder(until=5, ask_length=ask_length), digits(processor, num_workers=workers), keep=tmp_path)
    for step in (1, 5):
        resumed = digits(processor, num_workers=workers)
        rest = fit(Recorder(ask_length=ask_length), resumed, ckpt_path=tmp_path / f"{step}.ckpt")
        assert rest == whole[step:]


def test_a_finished_run_sees_nothing_more(tmp_path, processor):
    fit(Recorder(), digits(processor), keep=tmp_path)
    assert fit(Recorder(), digits(processor), ckpt_path=tmp_path / "12.ckpt") == []


def test_the_place_survives_without_a_trainer(processor):
    data = digits(processor)
    batches = [fingerprint(batch) for batch in data.train_dataloader()]
    stopped = digits(processor)
    source = iter(stopped.train_dataloader())
    for _ in range(7):
        next(source)
    saved = stopped.state_dict()
    resumed = digits(processor)
    resumed.load_state_dict(saved)
    assert resumed.state_dict()["place"] == saved["place"]
    assert [fingerprint(batch) for batch in resumed.train_dataloader()] == batches[7:]
    assert [fingerprint(batch) for batch in resumed.train_dataloader()] == batches


def test_a_later_stage_goes_on_with_other_samples(processor):
    first = [fingerprint(batch) for batch in digits(processor).train_dataloader()]
    later = [fingerprint(batch) for batch in digits(processor, num_steps=4, start=24).train_dataloader()]
    assert later == first[8:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 6}, r"seed must be that of the run to resume \(5\), got 6"),
        ({"batch_size": 4}, r"batch_size must be that of the run to resume \(3\), got 4"),
        ({"mosaic": MosaicSpec(rows=5)}, "mosaic must be that of the run to resume"),
        ({"questions": SingleQuestion()}, "questions must be that of the run to resume"),
    ],
)
def test_a_checkpoint_of_other_data_is_refused(processor, change, message):
    with pytest.raises(ValueError, match=message):
        digits(processor, **change).load_state_dict(digits(processor).state_dict())


def test_batches_hold_what_the_processor_makes(processor):
    batch = next(iter(digits(processor, questions=ManyQuestions(rows=0.0, columns=0.0)).train_dataloader()))
    assert set(batch) == {"input_ids", "attention_mask", "labels", "pixel_values", "clip_lengths"}
    assert batch["pixel_values"].shape == (3, 1, 3, 64, 64)
    answered = batch["labels"] != -100
    assert answered.any(dim=1).all()
    assert torch.equal(batch["labels"][answered], batch["input_ids"][answered])


def test_validation_is_the_same_in_every_run_and_of_single_questions(processor):
    runs = [digits(processor, validation_size=7, seed=seed, start=seed) for seed in (5, 6)]
    first, second = ([fingerprint(batch) for batch in data.val_dataloader()] for data in runs)
    assert first == second
    assert len(first) == 3
    samples = runs[0].val_dataloader().dataset
    assert samples.split == "validation"
    assert all(len(sample.questions) == 1 for sample in samples.__getitems__(range(7)))


@pytest.mark.parametrize("size", [0, 7])
def test_a_trainer_validates_where_there_is_what_to_validate_on(processor, size):
    module = Recorder()
    data = digits(processor, validation_size=size, num_steps=2)
    fit(module, data)
    expected = [fingerprint(batch) for batch in data.val_dataloader()] if size else []
    assert module.validated == expected


def test_evaluation_has_the_mosaics_of_training(processor):
    spec = MosaicSpec(rows=5)
    items = digits(processor, mosaic=spec).evaluation(3)
    assert len(items) == 3
    assert items.samples.split == "test"
    assert items.samples.spec == spec


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 0},
        {"num_steps": 0},
        {"seed": -1},
        {"start": -1},
        {"validation_size": -1},
        {"num_workers": -1},
    ],
)
def test_the_module_names_its_faults(processor, change):
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=f"{name} must be at least {value + 1}, got {value}"):
        digits(processor, **change)


def test_the_room_is_light_until_the_module_is_asked_for():
    code = (
        "import sys, gazekit.data, gazekit.data.digits;"
        "heavy = {'lightning', 'transformers', 'sklearn', 'matplotlib', 'torchdata'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "assert not hasattr(gazekit.data, 'Nonsense')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
