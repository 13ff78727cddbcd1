"""Branches weighed by what the query itself says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from gazekit.contracts import Look, Sizes


class GatedCombine(nn.Module):
    """Adds the answers of the branches up, each times a gate between 0 and 1 for every query and head.

    Gates are the sigmoid of a linear map of the hidden states: they need not sum to one. A layer's map is as large as
    the hidden states by heads times branches.

    Source: Yuan et al. (2025), Native Sparse Attention, equation 5.
    """

    def bind(self, sizes: Sizes) -> None:
        """Makes the gate's weights for the composition's branches; the bias begins at zero: all gates at one half."""
        self.num_branches = sizes.num_branches
        self.gate = nn.Linear(sizes.hidden_dim, sizes.num_heads * sizes.num_branches)
        nn.init.zeros_(self.gate.bias)

    def forward(
        self, look: Look, outs: Sequence[Float[Tensor, "batch head query value_dim"]]
    ) -> Float[Tensor, "batch head query value_dim"]:
        """The gated sum.

        Raises:
            ValueError: The look has no hidden states, which only a model hands on.
        """
        if look.hidden is None:
            raise ValueError(
                "GatedCombine needs look.hidden, got none; call it in a model that gaze is installed in"
            )
        gate = self.gate(look.hidden.to(self.gate.weight.dtype)).sigmoid()
        each = rearrange(
            gate, "batch query (branch head) -> branch batch head query 1", branch=self.num_branches
        )
        return torch.stack([out * weight.to(out.dtype) for out, weight in zip(outs, each, strict=True)]).sum(
            0
        )
