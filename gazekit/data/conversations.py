"""Conversations from files, for a Lightning Trainer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler

from gazekit.data.batches import ConversationProcessor
from gazekit.data.counting import CountingLoader
from gazekit.data.encode import EncodeConversation
from gazekit.data.mixing.filters import RowFilter
from gazekit.data.mixing.mixture import InOrder, Mixture
from gazekit.data.mixing.sources import JsonSource, OpenSource, Source
from gazekit.data.quarantine import Quarantine
from gazekit.data.records.frames import VideoReader
from gazekit.data.records.limits import Limits
from gazekit.data.records.open import RecordOpener
from gazekit.data.samples import CollateSamples, CollateTensors, Samples
from gazekit.data.tally import Tally
from gazekit.data.video import PyAVReader

QUARANTINE_FILE = "quarantine.jsonl"


class ConversationData(LightningDataModule):
    """Conversations about images and videos, in Cambrian's and LLaVA's formats, encoded for a model.

    Either `path` (with `root` and `filters`) or `sources` say what is read. Which sample comes when follows from the
    seed and its number alone (`Mixture`): a run that was interrupted goes on with the very batch that came next.

    Args:
        processor: The model's; turns conversations into tensors.
        path: A JSONL file, or one with a JSON array.
        root: Folder that its paths are relative to, and that nothing is opened outside of; None = the file's own.
        filters: Rows of `path` take part that all of them keep.
        sources: Several files or data sets, mixed by their weights, in place of `path`.
        limits: How much of a sample is read.
        labels: Which tokens are learned: "answers", or "llava_next_compat".
        system: What the system says in conversations in which it says nothing; None = nothing.
        timestamps: Whether frames of videos are preceded by their times, as text.
        video: Reads video files; None = by PyAV (`PyAVReader`), loaded where there is one. Folders of frames need none.
        max_broken: Largest share of broken rows; a run that meets more than chance explains stops (`Tally`).
        quarantine: File that broken rows are written to; None = `quarantine.jsonl` in the run's folder, if it has one.
        validation: Where validation reads, from the first row on, in order.
        validation_size: Conversations of a validation; 0 = none.
        batch_size: Conversations of a batch.
        num_steps: Training batches, all in one epoch.
        seed: Of the order.
        start: Place of the first sample, so that a later stage goes on where an earlier one stopped.
        num_workers: Processes that prepare batches; 0 = the training process.
        out: The run's folder.

    Raises:
        ValueError: Both or neither of `path` and `sources` are given, or a number is out of range.

    Example:
        >>> data = ConversationData(processor, path="train.jsonl", root="images")  # doctest: +SKIP
    """

    def __init__(
        self,
        processor: ConversationProcessor,
        *,
        path: str | None = None,
        root: str | None = None,
        filters: Sequence[RowFilter] = (),
        sources: Sequence[Source] = (),
        limits: Limits | None = None,
        labels: str = "answers",
        system: str | None = None,
        timestamps: bool = False,
        video: VideoReader | None = None,
        max_broken: float = 0.01,
        quarantine: str | None = None,
        validation: Source | None = None,
        validation_size: int = 0,
        batch_size: int = 32,
        num_steps: int = 1000,
        seed: int = 0,
        start: int = 0,
        num_workers: int = 0,
        out: Path | None = None,
    ) -> None:
        super().__init__()
        _check_counts(
            {"batch_size": batch_size, "num_steps": num_steps},
            {"seed": seed, "start": start, "num_workers": num_workers, "validation_size": validation_size},
        )
        if (path is None) == (not sources):
            raise ValueError(
                f"path must be given, or sources, got {path!r} and {len(sources)} sources; leave one out"
            )
        if sources and (root is not None or filters):
            raise ValueError("root and filters must be left out beside sources; give each source its own")
        if validation_size and validation is None:
            raise ValueError(
                f"validation must be given for validation_size {validation_size}; or set that to 0"
            )
        one = [] if path is None else [JsonSource(path=path, root=root, filters=filters)]
        self.sources: list[Source] = [*sources, *one]
        self.processor = processor
        self.limits = limits or Limits()
        self.opener = RecordOpener(limits=self.limits, video=video or PyAVReader())
        self.encode = EncodeConversation(
            processor=processor,
            max_length=self.limits.tokens,
            labels=labels,
            system=system,
            timestamps=timestamps,
        )
        file = Path(quarantine) if quarantine else out and out / QUARANTINE_FILE
        self.tally = Tally(max_broken, Quarantine(file) if file else None)
        self.validation = validation
        self.validation_size = validation_size
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.seed = seed
        self.start = start
        self.num_workers = num_workers
        if validation_size == 0:
            # Lightning warns of a loader of length 0, and validates nothing where this method is its own.
            self.val_dataloader = super().val_dataloader  # type: ignore[method-assign]
        self._open: tuple[OpenSource, ...] | None = None
        self._loader: CountingLoader | None = None
        self._place: dict[str, Any] | None = None

    def open(self) -> tuple[OpenSource, ...]:
        """The sources, opened when they are first needed: their rows found, their filters run.

        Raises:
            ValueError: One does not exist or is nothing that can be read.
        """
        if self._open is None:
            self._open = tuple(source.open() for source in self.sources)
        return self._open

    def samples(self) -> Samples:
        """All training samples of this stage, one by one."""
        sources = self.open()
        return Samples(
            sources=sources,
            order=Mixture([len(one) for one in sources], [one.weight for one in sources], self.seed),
            opener=self.opener,
            encode=self.encode,
            length=self.num_steps * self.batch_size * self._devices,
            start=self.start,
        )

    def train_dataloader(self) -> CountingLoader:
        """The training loader, at the place that a checkpoint has left it; on several devices, this one's share."""
        samples = self.samples()
        sampler = None
        if self._devices > 1:
            rank = self.trainer.global_rank
            sampler = StatefulDistributedSampler(
                samples, num_replicas=self._devices, rank=rank, shuffle=False
            )
        with warnings.catch_warnings():
            # torchdata 0.11 calls what torch 2.13 has deprecated
            warnings.filterwarnings("ignore", message=".*set_vital.*")
            self._loader = CountingLoader(
                samples,
                batch_size=self.batch_size,
                sampler=sampler,
                collate_fn=CollateSamples(self.processor),
                num_workers=self.num_workers,
            )
        self._loader.tally = self.tally
        if self._place is not None:
            self._loader.load_state_dict(self._place)
            self._place = None
        return self._loader

    def val_dataloader(self) -> DataLoader:
        """The first conversations of the validation's source; broken ones are replaced by the next, and not counted."""
        assert self.validation is not None
        source = self.validation.open()
        samples = Samples(
            sources=[source],
            order=InOrder(len(source)),
            opener=self.opener,
            encode=self.encode,
            length=min(self.validation_size, len(source)),
        )
        return DataLoader(samples, batch_size=self.batch_size, collate_fn=CollateTensors(self.processor))

    def state_dict(self) -> dict[str, Any]:
        """The place in the data, and what must be the same for it to mean the same."""
        place = self._place if self._loader is None else self._loader.state_dict()
        return {**self._identity(), "place": place}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the place from a checkpoint.

        Raises:
            ValueError: The samples of the checkpoint's run are not the ones that this module would give.
        """
        for name, value in self._identity().items():
            if state_dict[name] != value:
                raise ValueError(
                    f"{name} must be that of the run to resume ({state_dict[name]}), got {value};"
                    " start a new run to change it"
                )
        self._place = state_dict["place"]
        self._loader = None

    @property
    def _devices(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def _identity(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "start": self.start,
            "sources": [one.identity for one in self.open()],
            "limits": repr(self.limits),
            "labels": self.encode.labels,
            "system": self.encode.system,
            "timestamps": self.encode.timestamps,
        }


def _check_counts(positive: Mapping[str, int], counted: Mapping[str, int]) -> None:
    for least, values in ((1, positive), (0, counted)):
        for name, value in values.items():
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}; raise it")
