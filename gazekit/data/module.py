"""The digits set for a Lightning Trainer, with a place in the epoch that survives an interruption."""

from __future__ import annotations

import warnings
from dataclasses import is_dataclass
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from gazekit.data.batches import ConversationProcessor, EncodeConversations, PackedBatches
from gazekit.data.digits.conversations import ManyQuestions, SingleQuestion
from gazekit.data.digits.datasets import DigitsDataset, DigitsEvaluation, QuestionPlan
from gazekit.data.digits.mosaics import MosaicSpec
from gazekit.data.digits.scans import Split
from gazekit.data.windows import DigitsWindows

_VALIDATION_SEED = 0


class DigitsData(LightningDataModule):
    """Conversations about mosaics of digits, encoded for a model.

    Training draws from the training scans, several questions a mosaic; validation asks single questions about
    mosaics of the validation scans, the same in every run. Batches hold what the processor makes: input_ids,
    attention_mask, labels, pixel_values and clip_lengths; and document_ids where samples are packed.

    An interrupted epoch resumes with the very batch that came next. The place is saved with the data module
    and handed to the loader as it is built, that is, before anything can ask for its length, which makes
    Lightning forget the place that it saves by itself (`trainer.estimated_stepping_batches`, Lightning issue
    20550).

    Args:
        processor: Turns conversations into tensors.
        mosaic: How mosaics look.
        questions: Which questions training asks.
        batch_size: Conversations of a batch.
        num_steps: Training batches of each device, all in one epoch.
        seed: Seed of the training samples.
        start: Index of the first training sample, so that a second stage goes on where the first has stopped.
        validation_size: Validation conversations; 0 = no validation.
        num_workers: Processes that prepare batches; 0 = the training process.
        packing: Tokens of a row that training samples are packed into, documents apart; None = a row for each
            sample. A step has the same samples either way, and the same loss.
        batches_per_step: Batches whose gradients make one step, over all devices; packed samples of a step are
            divided among them by their tokens.

    Raises:
        ValueError: If a count is out of range.

    Example:
        >>> data = DigitsData(processor, batch_size=32, num_steps=700)  # doctest: +SKIP
        >>> Trainer(max_steps=700).fit(CambrianModule(model, stage), data)  # doctest: +SKIP
    """

    def __init__(
        self,
        processor: ConversationProcessor,
        *,
        mosaic: MosaicSpec | None = None,
        questions: QuestionPlan | None = None,
        batch_size: int = 32,
        num_steps: int = 1000,
        seed: int = 0,
        start: int = 0,
        validation_size: int = 256,
        num_workers: int = 0,
        packing: int | None = None,
        batches_per_step: int = 1,
    ) -> None:
        super().__init__()
        least = {
            "batch_size": 1,
            "num_steps": 1,
            "seed": 0,
            "start": 0,
            "validation_size": 0,
            "num_workers": 0,
            "packing": 1,
            "batches_per_step": 1,
        }
        row = 1 if packing is None else packing
        given = (
            batch_size, num_steps, seed, start, validation_size, num_workers, row, batches_per_step,
        )  # fmt: skip
        for (name, bound), value in zip(least.items(), given, strict=True):
            if value < bound:
                raise ValueError(f"{name} must be at least {bound}, got {value}; raise it")
        self.processor = processor
        self.mosaic = mosaic or MosaicSpec()
        self.questions = questions or ManyQuestions()
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.seed = seed
        self.start = start
        self.validation_size = validation_size
        self.num_workers = num_workers
        self.packing = packing
        self.batches_per_step = batches_per_step
        if validation_size == 0:
            # Lightning warns of a loader of length 0, and validates nothing where this method is its own.
            self.val_dataloader = super().val_dataloader  # type: ignore[method-assign]
        self._loader: StatefulDataLoader | None = None
        self._place: dict[str, Any] | None = None

    def train_dataloader(self) -> StatefulDataLoader:
        """The training loader, at the place that a checkpoint has left it.

        It goes through the samples in order; shuffling would add nothing, since every index is a draw of its
        own.
        """
        dataset = DigitsDataset(
            split="train",
            plan=self.questions,
            length=self.num_steps * self.batch_size * self._devices,
            seed=self.seed,
            start=self.start,
            spec=self.mosaic,
        )
        with warnings.catch_warnings():
            # torchdata 0.11 calls what torch 2.13 has deprecated
            warnings.filterwarnings("ignore", message=".*set_vital.*")
            if self.packing is None:
                self._loader = StatefulDataLoader(
                    dataset,
                    batch_size=self.batch_size,
                    collate_fn=EncodeConversations(self.processor),
                    num_workers=self.num_workers,
                    sampler=self._share(dataset),
                )
            else:
                batches = PackedBatches(
                    dataset, self.processor, packing=self.packing, parts=self.batches_per_step,
                    step_size=self.batch_size * self.batches_per_step,
                )  # fmt: skip
                self._loader = StatefulDataLoader(
                    batches, batch_size=None, num_workers=self.num_workers, sampler=self._share(batches)
                )
        if self._place is not None:
            self._loader.load_state_dict(self._place)
            self._place = None
        return self._loader

    def _share(self, dataset: Any) -> DistributedSampler | None:
        """What is this process's of several, in order, so that a step of them all is one stretch of the data."""
        if self._devices == 1:
            return None
        rank = self.trainer.global_rank
        return DistributedSampler(dataset, num_replicas=self._devices, rank=rank, shuffle=False)

    @property
    def _devices(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def val_dataloader(self) -> DataLoader:
        """Single questions about mosaics of validation scans."""
        dataset = DigitsDataset(
            split="validation",
            plan=SingleQuestion(),
            length=self.validation_size,
            seed=_VALIDATION_SEED,
            spec=self.mosaic,
        )
        return DataLoader(dataset, batch_size=self.batch_size, collate_fn=EncodeConversations(self.processor))

    def evaluation(self, length: int, *, split: Split = "test", seed: int = 0) -> DigitsEvaluation:
        """Single questions with their ground truth, about mosaics of held-out scans."""
        return DigitsEvaluation(length=length, split=split, seed=seed, spec=self.mosaic)

    def windows(self, batch_size: int = 256, *, split: Split = "train") -> DigitsWindows:
        """Single cells of such mosaics, to pretrain a tower on."""
        return DigitsWindows(
            self.processor.image_processor,
            mosaic=self.mosaic,
            batch_size=batch_size,
            seed=self.seed,
            split=split,
        )

    def state_dict(self) -> dict[str, Any]:
        """The place in the epoch, and what must be the same for it to mean the same."""
        place = self._place if self._loader is None else self._loader.state_dict()
        return {**self._identity(), "place": place}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the place from a checkpoint.

        Raises:
            ValueError: If the batches of the checkpoint's run are not the ones that this module would give.
        """
        for name, value in self._identity().items():
            if state_dict[name] != value:
                raise ValueError(
                    f"{name} must be that of the run to resume ({state_dict[name]}), got {value};"
                    " start a new run to change it"
                )
        self._place = state_dict["place"]
        self._loader = None

    def _identity(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "packing": self.packing,
            "batches_per_step": self.batches_per_step,
            "seed": self.seed,
            "start": self.start,
            "mosaic": repr(self.mosaic),
            "questions": repr(self.questions)
            if is_dataclass(self.questions)
            else type(self.questions).__name__,
        }
