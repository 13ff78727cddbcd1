"""A loader that counts what is broken and hands on the tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torchdata.stateful_dataloader import StatefulDataLoader

from gazekit.data.samples import Batch, tensors_of
from gazekit.data.tally import Tally


class CountingLoader(StatefulDataLoader):
    """A `StatefulDataLoader` of `Samples` whose batches are tensors, and whose broken rows a tally has counted.

    Counting takes place in the process that trains, batch by batch as they are handed out, so that worker processes and
    what they have read ahead make no difference.
    """

    tally: Tally

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        """Batches from where the loader stands."""
        return self._counted(super().__iter__())

    def state_dict(self) -> dict[str, Any]:
        """The place in the data, and the counts there."""
        return {"loader": super().state_dict(), "tally": self.tally.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes to a place, and takes the counts there."""
        super().load_state_dict(state_dict["loader"])
        self.tally.load_state_dict(state_dict["tally"])

    def _counted(self, batches: Iterator[Batch]) -> Iterator[Mapping[str, Tensor]]:
        for batch in batches:
            self.tally.take(batch.samples, batch.broken)
            tensors = tensors_of(batch)
            if self.tally.samples % (len(self) * batch.samples) == 0:
                self.tally.close()  # with the last batch: a trainer that has its steps does not ask for the end
            yield tensors
