"""The digits set for a Lightning Trainer, with a place in the epoch that survives an interruption."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from einops import rearrange
from lightning.pytorch import LightningDataModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from gazekit.data.digits.conversations import ManyQuestions, SingleQuestion
from gazekit.data.digits.datasets import DigitsDataset, DigitsEvaluation, DigitsSample, QuestionPlan
from gazekit.data.digits.mosaics import MosaicSpec
from gazekit.data.digits.scans import Split

_VALIDATION_SEED = 0


class ConversationProcessor(Protocol):
    """What turns conversations into a batch: `CambrianProcessor`, or another model's."""

    def encode_conversation(
        self, messages: list[dict[str, object]], images: list[Image.Image]
    ) -> Mapping[str, Any]:
        """Encodes one conversation: input_ids, labels, pixel_values, clip_lengths."""
        ...

    def collate(self, encoded: list[Mapping[str, Any]]) -> Mapping[str, Tensor]:
        """Pads encoded conversations to one batch."""
        ...


class ResumableData(LightningDataModule):
    """Base of the data modules below: one epoch of `num_steps` batches that resumes where it was interrupted.

    The place is saved with the data module and handed to the loader as it is built. That is before anything
    can ask for its length, which makes Lightning forget the place that it saves by itself
    (`trainer.estimated_stepping_batches`, Lightning issue 20550).

    Args:
        batch_size: Items of a batch.
        num_steps: Batches of the epoch.
        seed: Seed of the samples.
        start: Index of the first sample, so that a later stage sees others.
        num_workers: Processes that prepare batches; 0 = the training process.

    Raises:
        ValueError: If `batch_size` or `num_steps` is below 1, or another argument negative.
    """

    def __init__(self, *, batch_size: int, num_steps: int, seed: int, start: int, num_workers: int) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_steps", num_steps, 1),
            ("seed", seed, 0),
            ("start", start, 0),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}; raise it")
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.seed = seed
        self.start = start
        self.num_workers = num_workers
        self._loader: StatefulDataLoader | None = None
        self._place: dict[str, Any] | None = None

    @abstractmethod
    def build_train_loader(self) -> StatefulDataLoader:
        """Builds the training loader at the beginning of its epoch."""

    def train_dataloader(self) -> StatefulDataLoader:
        """The training loader, at the place that a checkpoint left it."""
        self._loader = self.build_train_loader()
        if self._place is not None:
            self._loader.load_state_dict(self._place)
            self._place = None
        return self._loader

    def state_dict(self) -> dict[str, Any]:
        """The place in the epoch, and what must be the same for it to mean the same."""
        place = self._place if self._loader is None else self._loader.state_dict()
        return {**self._identity(), "place": place}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the place from a checkpoint.

        Raises:
            ValueError: If the checkpoint's batches are not the ones that this module would give.
        """
        for name, value in self._identity().items():
            if state_dict[name] != value:
                raise ValueError(
                    f"{name} must be that of the run to resume ({state_dict[name]}), got {value};"
                    " start a new run to change it"
                )
        self._place = state_dict["place"]
        self._loader = None

    def _identity(self) -> dict[str, int]:
        return {"batch_size": self.batch_size, "seed": self.seed, "start": self.start}


class DigitsData(ResumableData):
    """Conversations about mosaics of digits, encoded for a model.

    Training draws from the training scans, several questions a mosaic; validation asks single questions about
    mosaics of the validation scans, the same in every run. Batches hold what the processor makes: input_ids,
    attention_mask, labels, pixel_values and clip_lengths.

    Args:
        processor: Turns conversations into tensors.
        mosaic: How mosaics look.
        questions: Which questions training asks.
        batch_size: Conversations of a batch.
        num_steps: Training batches.
        seed: Seed of the training samples.
        start: Index of the first training sample; a second stage starts where the first has stopped.
        validation_size: Validation conversations.
        num_workers: Processes that prepare batches; 0 = the training process.

    Raises:
        ValueError: If a count is out of range.

    Example:
        >>> data = DigitsData(processor, batch_size=32, num_steps=700)
        >>> Trainer(max_steps=700).fit(CambrianModule(model, stage), data)
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
    ) -> None:
        super().__init__(
            batch_size=batch_size, num_steps=num_steps, seed=seed, start=start, num_workers=num_workers
        )
        if validation_size < 0:
            raise ValueError(
                f"validation_size must not be negative, got {validation_size}; 0 leaves validation out"
            )
        self.processor = processor
        self.mosaic = mosaic or MosaicSpec()
        self.questions = questions or ManyQuestions()
        self.validation_size = validation_size

    def build_train_loader(self) -> StatefulDataLoader:
        """Builds the loader of encoded training conversations."""
        dataset = DigitsDataset(
            split="train",
            plan=self.questions,
            length=self.num_steps * self.batch_size,
            seed=self.seed,
            start=self.start,
            spec=self.mosaic,
        )
        return _stateful(dataset, self.batch_size, EncodeConversations(self.processor), self.num_workers)

    def val_dataloader(self) -> DataLoader | list:
        """The loader of encoded validation conversations; none where `validation_size` is 0."""
        if self.validation_size == 0:
            return []
        dataset = DigitsDataset(
            split="validation",
            plan=SingleQuestion(),
            length=self.validation_size,
            seed=_VALIDATION_SEED,
            spec=self.mosaic,
        )
        return DataLoader(dataset, batch_size=self.batch_size, collate_fn=EncodeConversations(self.processor))

    def evaluation(self, length: int, *, split: Split = "test", seed: int = 0) -> DigitsEvaluation:
        """Single questions with their ground truth, about mosaics like those of training but of held-out scans."""
        return DigitsEvaluation(length=length, split=split, seed=seed, spec=self.mosaic)


class DigitsWindows(ResumableData):
    """Single cells cut from training mosaics, to pretrain a vision tower; the label is the cell's digit.

    Each window is what the tower will see of a mosaic through `image_tiles`: processed by the same image
    processor, with whatever reaches in from the cells beside. Batches hold pixel_values `[window 3 height
    width]` and labels `[window]`.

    Args:
        processor: Its `image_processor` turns mosaics into pixel values.
        mosaic: How mosaics look.
        batch_size: Windows of a batch, a multiple of the cells of a mosaic.
        num_steps: Training batches.
        seed: Seed of the mosaics.
        start: Index of the first mosaic.
        validation_size: Validation windows, a multiple of the cells of a mosaic.
        num_workers: Processes that prepare batches; 0 = the training process.

    Raises:
        ValueError: If a count is out of range, or no multiple of the cells.
    """

    def __init__(
        self,
        processor: Any,
        *,
        mosaic: MosaicSpec | None = None,
        batch_size: int = 256,
        num_steps: int = 600,
        seed: int = 0,
        start: int = 0,
        validation_size: int = 1024,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size, num_steps=num_steps, seed=seed, start=start, num_workers=num_workers
        )
        self.processor = processor
        self.mosaic = mosaic or MosaicSpec()
        self.validation_size = validation_size
        for name, value in (("batch_size", batch_size), ("validation_size", validation_size)):
            if value % self.mosaic.cells:
                raise ValueError(
                    f"{name} must be a multiple of the {self.mosaic.cells} cells of a mosaic, got {value};"
                    f" use {max(value // self.mosaic.cells, 1) * self.mosaic.cells}"
                )

    def build_train_loader(self) -> StatefulDataLoader:
        """Builds the loader of training windows."""
        mosaics = self.batch_size // self.mosaic.cells
        dataset = DigitsDataset(
            split="train",
            plan=None,
            length=self.num_steps * mosaics,
            seed=self.seed,
            start=self.start,
            spec=self.mosaic,
        )
        return _stateful(dataset, mosaics, CutWindows(self.processor, self.mosaic), self.num_workers)

    def val_dataloader(self) -> DataLoader | list:
        """The loader of windows of validation scans; none where `validation_size` is 0."""
        length = self.validation_size // self.mosaic.cells
        if length == 0:
            return []
        dataset = DigitsDataset(
            split="validation", plan=None, length=length, seed=_VALIDATION_SEED, spec=self.mosaic
        )
        cut = CutWindows(self.processor, self.mosaic)
        return DataLoader(dataset, batch_size=self.batch_size // self.mosaic.cells, collate_fn=cut)


@dataclass(frozen=True)
class EncodeConversations:
    """Turns samples into a batch through a model's processor."""

    processor: ConversationProcessor

    def __call__(self, samples: Sequence[DigitsSample]) -> Mapping[str, Tensor]:
        """Encodes each sample's conversation and pads them together."""
        conversations = [sample.conversation for sample in samples]
        return self.processor.collate(
            [self.processor.encode_conversation(talk.as_chat(), list(talk.images)) for talk in conversations]
        )


@dataclass(frozen=True)
class CutWindows:
    """Cuts processed mosaics into their cells."""

    processor: Any
    mosaic: MosaicSpec

    def __call__(self, samples: Sequence[DigitsSample]) -> dict[str, Tensor]:
        """Processes the mosaics and cuts them, cells in reading order.

        Raises:
            ValueError: If the processed image does not divide into the mosaic's cells.
        """
        pictures = [sample.mosaic.picture for sample in samples]
        pixels = self.processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
        rows, columns = self.mosaic.rows, self.mosaic.columns
        if pixels.shape[-2] % rows or pixels.shape[-1] % columns:
            raise ValueError(
                f"image size must divide into {rows} x {columns} cells, got {pixels.shape[-2]} x {pixels.shape[-1]}"
                f" px from the image processor; {self.mosaic.height} x {self.mosaic.width} would do"
            )
        windows = rearrange(
            pixels, "b c (row h) (column w) -> (b row column) c h w", row=rows, column=columns
        )
        labels = torch.cat([torch.from_numpy(sample.mosaic.labels.reshape(-1)) for sample in samples])
        return {"pixel_values": windows, "labels": labels}


def _stateful(dataset: Dataset, batch_size: int, collate: Any, num_workers: int) -> StatefulDataLoader:
    """A loader that goes through the set in order: each index draws its sample by itself, so order is no pattern."""
    return StatefulDataLoader(dataset, batch_size=batch_size, collate_fn=collate, num_workers=num_workers)
