"""Has every trained parameter take part in a backward, whether this process's batch reached it or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class _Anchored(torch.autograd.Function):
    """The identity of a loss; its backward ends at every parameter too, with no gradient of its own."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *parameters: Tensor) -> Tensor:
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (gradients[0], *(None for _ in ctx.needs_input_grad[1:]))


def anchored(loss: Float[Tensor, ""], parameters: Sequence[nn.Parameter]) -> Float[Tensor, ""]:
    """A loss whose backward comes past every parameter once, so that no process waits for one that the others skip.

    DDP counts a parameter as ready when its turn in the backward comes, and takes no gradient for zero. Nothing is
    allocated and no graph is searched, which `find_unused_parameters` does after every forward.
    """
    return _Anchored.apply(loss, *parameters)


class Reached:
    """Notes which parameters got a gradient of their own.

    Args:
        parameters: What is watched until `stop`.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._flags = [False] * len(parameters)
        self._handles = [self._watch(number, parameter) for number, parameter in enumerate(parameters)]

    def take(self) -> list[bool]:
        """True = it got one since the last call."""
        found, self._flags = self._flags, [False] * len(self._flags)
        return found

    def stop(self) -> None:
        """Watches no more."""
        for handle in self._handles:
            handle.remove()

    def _watch(self, number: int, parameter: nn.Parameter) -> RemovableHandle:
        def note(gradient: Tensor | None) -> None:
            # Called where the backward only comes past, too.
            self._flags[number] |= gradient is not None

        return parameter.register_hook(note)
