"""Where every token of a prompt lies in text, space and time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.contracts.tokens import Kind, Tokens, concatenate

_PACKED = ("kind", "unit", "document", "order", "clip", "t", "y", "x", "segment", "prior")
_NO_MAP = torch.iinfo(torch.int64).min


@dataclass(frozen=True)
class TokenLayout:
    """The prompt's tokens and their places; the one source of embeddings, labels, positions and regions.

    It precedes the tokens: a prompt that is fed in pieces is declared whole. What comes after it is text that
    was generated (`window`).

    Attributes:
        tokens: What each token is; `owner` is -1 throughout, since regions are a partitioner's business.
        clip: The image or video that a visual or context token belongs to; an image is a clip of one unit. -1 = none.
        place: `(t, y, x)` of a visual token: frame within its clip, row, column, in tokens. -1 = none.
        segment: A segment from outside (a shot, a mask) of each token, -1 = none; None where there are none.
        prior: How much an outside map (saliency, a person's gaze) favours each token, any scale; None = no map.
    """

    tokens: Tokens
    clip: Int[Tensor, "batch token"]
    place: Int[Tensor, "batch token 3"]
    segment: Int[Tensor, "batch token"] | None = None
    prior: Float[Tensor, "batch token"] | None = None

    @property
    def length(self) -> int:
        """Tokens declared, padding included."""
        return self.tokens.length

    @property
    def kind(self) -> Int[Tensor, "batch token"]:
        """A `Kind` for each token."""
        return self.tokens.kind[:, 0]

    def window(self, start: int, stop: int) -> Tokens:
        """The tokens `[start, stop)` of the sequence; those past the layout are generated text."""
        return self.extended(stop).tokens.narrow(start, stop)

    def extended(self, length: int) -> TokenLayout:
        """The layout with generated text up to `length` tokens, continuing each sample's last document."""
        extra = length - self.length
        if extra <= 0:
            return self
        document = self.tokens.document.amax(dim=-1, keepdim=True).clamp_min(0)
        inside = (self.tokens.document == document) & self.tokens.valid
        order = self.tokens.order.masked_fill(~inside, -1).amax(dim=-1, keepdim=True)
        steps = torch.arange(1, extra + 1, device=order.device)
        none = torch.full_like(document, -1).expand(-1, -1, extra)
        grown = Tokens(
            kind=torch.full_like(none, Kind.TEXT),
            unit=none,
            document=document.expand(-1, -1, extra),
            order=order + steps,
            owner=none,
        )
        tail = none[:, 0]
        return TokenLayout(
            tokens=concatenate([self.tokens, grown]),
            clip=torch.cat([self.clip, tail], dim=1),
            place=torch.cat([self.place, tail[..., None].expand(-1, -1, 3)], dim=1),
            segment=None if self.segment is None else torch.cat([self.segment, tail], dim=1),
            prior=None if self.prior is None else torch.nn.functional.pad(self.prior, (0, extra)),
        )

    def pack(self) -> Int[Tensor, "batch token field"]:
        """All of it as one integer tensor, so that `generate()` carries it and repeats it for beams.

        Of `prior`, the bits of its fp32.
        """
        segment = torch.full_like(self.clip, -1) if self.segment is None else self.segment
        prior = torch.full_like(self.clip, _NO_MAP)
        if self.prior is not None:
            prior = self.prior.detach().float().view(torch.int32).long()
        tokens = self.tokens
        single = [tokens.kind[:, 0], tokens.unit[:, 0], tokens.document[:, 0], tokens.order[:, 0], self.clip]
        return torch.cat([torch.stack(single, -1), self.place, torch.stack([segment, prior], -1)], dim=-1)

    @staticmethod
    def unpack(packed: Int[Tensor, "batch token field"]) -> TokenLayout:
        """The layout that `pack` wrote.

        Raises:
            ValueError: `packed` does not have the fields that `pack` writes.
        """
        if packed.shape[-1] != len(_PACKED):
            raise ValueError(
                f"packed must have {len(_PACKED)} fields ({', '.join(_PACKED)}), got {packed.shape[-1]}; "
                "pass what TokenLayout.pack() returned"
            )
        kind, unit, document, order = (packed[..., i].unsqueeze(1) for i in range(4))
        segment, prior = packed[..., 8], packed[..., 9]
        return TokenLayout(
            tokens=Tokens(
                kind=kind, unit=unit, document=document, order=order, owner=torch.full_like(kind, -1)
            ),
            clip=packed[..., 4],
            place=packed[..., 5:8],
            segment=segment if bool((segment >= 0).any()) else None,
            prior=None if bool((prior == _NO_MAP).all()) else prior.int().view(torch.float32),
        )

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> TokenLayout:
        """The samples `sample`, as beam search permutes them."""
        return replace(
            self,
            tokens=self.tokens.reorder(sample),
            clip=self.clip.index_select(0, sample),
            place=self.place.index_select(0, sample),
            segment=None if self.segment is None else self.segment.index_select(0, sample),
            prior=None if self.prior is None else self.prior.index_select(0, sample),
        )
