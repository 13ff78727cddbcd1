"""Runs a composition over queries, keys and values of our own, through what transformers calls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

from gazekit.contracts import TokenLayout
from gazekit.gaze import Gaze, GazeCache, begin_pass, install
from gazekit.gaze.attention import gaze_attention
from tests.gaze.tiny import layout
from tests.systems.naive.base import Prompt

HEADS, KV_HEADS, DIM, WIDTH, LAYERS = 4, 2, 8, 24, 3
KINDS = ("pad", "text", "visual", "context")
Naive = Callable[["Given"], Tensor]


@dataclass(frozen=True)
class Given:
    """What a naive implementation gets of one sample: tensors are `[head token dim]`, hidden states `[token width]`.

    Attributes:
        gaze: The layer's composition, whose parts hold the weights.
    """

    prompt: Prompt
    q: Tensor
    k: Tensor
    v: Tensor
    hidden: Tensor
    cos: Tensor
    sin: Tensor
    layer: int
    gaze: Gaze


@dataclass(frozen=True)
class Batch:
    """A left-padded batch with queries, keys, values and hidden states for every token."""

    layout: TokenLayout
    query: Tensor
    key: Tensor
    value: Tensor
    hidden: Tensor
    rope: tuple[Tensor, Tensor]

    @property
    def leaves(self) -> list[Tensor]:
        return [self.query, self.key, self.value, self.hidden]

    def detached(self) -> "Batch":
        """The same numbers, which ask for a gradient of their own."""
        fresh = [leaf.detach().clone().requires_grad_() for leaf in self.leaves]
        return replace(self, query=fresh[0], key=fresh[1], value=fresh[2], hidden=fresh[3])

    def prompts(self) -> list[tuple[Prompt, Tensor]]:
        """Each sample in plain lists, and where its tokens stand."""
        found = []
        for b in range(self.layout.kind.shape[0]):
            real = self.layout.tokens.valid[b, 0].nonzero()[:, 0]
            fields = {
                "kind": [KINDS[kind] for kind in self.layout.kind[b, real].tolist()],
                "unit": self.layout.tokens.unit[b, 0, real].tolist(),
                "clip": self.layout.clip[b, real].tolist(),
                "place": [tuple(place) for place in self.layout.place[b, real].tolist()],
                "segment": _or(self.layout.segment, b, real, -1),
                "prior": _or(self.layout.prior, b, real, 0.0),
            }
            found.append((Prompt(**fields), real))
        return found


def _or(field: Tensor | None, sample: int, real: Tensor, blank: float) -> list:
    return [blank] * len(real) if field is None else field[sample, real].tolist()


def decoder() -> nn.Module:
    """A stock decoder in float64, whose layers lend the parts their sizes."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=31, hidden_size=WIDTH, intermediate_size=16, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, head_dim=DIM, max_position_embeddings=256,
    )  # fmt: skip
    return Qwen3Model(config).double().eval()


def batch(samples: Sequence[dict[str, list]], seed: int = 0, outside: bool = False) -> Batch:
    """Random numbers for prompts of `tests.gaze.tiny`; `outside`: with shots and a map."""
    lay = layout(*samples)
    if outside:
        lay = replace(lay, segment=_shots(lay), prior=_map(lay))
    size, length = lay.kind.shape
    chance = torch.Generator().manual_seed(seed)
    query, key, value = (
        torch.randn(size, heads, length, DIM, generator=chance, dtype=torch.float64)
        for heads in (HEADS, KV_HEADS, KV_HEADS)
    )
    hidden = torch.randn(size, length, WIDTH, generator=chance, dtype=torch.float64)
    order = lay.tokens.order[:, 0].clamp_min(0).double()
    angle = order[..., None] * 100 ** -(torch.arange(DIM // 2, dtype=torch.float64) / (DIM // 2))
    angle = torch.cat([angle, angle], dim=-1)
    return Batch(lay, 1.5 * query, key, value, hidden, (angle.cos(), angle.sin()))


def _shots(lay: TokenLayout) -> Tensor:
    """Two frames of a clip make a shot; images are shots of their own."""
    shot = lay.clip * 10 + lay.place[..., 0] // 2
    return shot.masked_fill(lay.place[..., 0] < 0, -1)


def _map(lay: TokenLayout) -> Tensor:
    at = (lay.place * torch.tensor([2.0, 3.0, 7.0])).sum(-1)
    return at.sin().masked_fill(lay.place[..., 0] < 0, 0.0)


class Layer:
    """One layer of a decoder under a composition."""

    def __init__(self, gaze: Gaze | list[Gaze], layer: int = 0) -> None:
        self.model, self.layer = decoder(), layer
        install(self.model, gaze)
        self.model.double()
        self.attention = self.model.layers[layer].self_attn

    def weights(self) -> dict[str, nn.Parameter]:
        """What the composition learns."""
        parts = getattr(self.attention, "gaze_parts", None)
        return {} if parts is None else dict(parts.named_parameters())

    def whole(self, given: Batch, openness: float | None = None) -> Tensor:
        """The answers of one forward over everything, `[batch head token dim]`."""
        return self._call(given, given.layout, 0, given.layout.length, None, openness)

    @torch.no_grad()
    def pieces(self, given: Batch, declared: int, cuts: Sequence[int]) -> Tensor:
        """The same, fed piece by piece with a cache; what lies behind `declared` was generated."""
        cache = GazeCache(LAYERS)
        lay = replace(
            given.layout,
            tokens=given.layout.tokens.narrow(0, declared),
            clip=given.layout.clip[:, :declared],
            place=given.layout.place[:, :declared],
            segment=None if given.layout.segment is None else given.layout.segment[:, :declared],
            prior=None if given.layout.prior is None else given.layout.prior[:, :declared],
        )
        stops = [*cuts, given.layout.length]
        outs = [
            self._call(given, lay, start, stop, cache, None)
            for start, stop in zip([0, *stops], stops, strict=False)
            if stop > start
        ]
        return torch.cat(outs, dim=2)

    def _call(
        self,
        given: Batch,
        lay: TokenLayout,
        start: int,
        stop: int,
        cache: GazeCache | None,
        openness: float | None,
    ) -> Tensor:
        gaze_pass = begin_pass(self.model, lay, start, stop, past_key_values=cache, openness=openness)
        query, key, value = (leaf[:, :, start:stop] for leaf in (given.query, given.key, given.value))
        if cache is not None:
            key, value = cache.update(key, value, self.layer)
        out, _ = gaze_attention(
            self.attention,
            query,
            key,
            value,
            None,
            gaze_pass=gaze_pass,
            gaze_hidden=given.hidden[:, start:stop],
            gaze_rope=tuple(field[:, start:stop] for field in given.rope),
        )
        return out.transpose(1, 2)


def by_hand(naive: Naive, given: Batch, layer: Layer) -> Tensor:
    """What the naive implementation says, sample by sample; zeros for padding."""
    out = torch.zeros_like(given.query)
    for b, (one, real) in enumerate(samples(given, layer)):
        place = torch.zeros_like(out[b]).index_put((torch.arange(HEADS)[:, None], real), naive(one))
        out = out + place[None] * (torch.arange(len(out)) == b)[:, None, None, None]
    return out


def samples(given: Batch, layer: Layer) -> list[tuple[Given, Tensor]]:
    """Each sample as naive implementations take it, and where its tokens stand."""
    return [
        (
            Given(
                prompt=prompt,
                q=given.query[b][:, real],
                k=given.key[b][:, real],
                v=given.value[b][:, real],
                hidden=given.hidden[b, real],
                cos=given.rope[0][b, real],
                sin=given.rope[1][b, real],
                layer=layer.layer,
                gaze=layer.attention.gaze,
            ),
            real,
        )
        for b, (prompt, real) in enumerate(given.prompts())
    ]
