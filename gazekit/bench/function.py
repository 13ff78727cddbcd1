"""The same as a layer made of parts, written as one function over plain tensors.

What it leaves out, since it knows what it will be given: samples of a batch and their padding, regions of several
sizes or that come in pieces, documents, what a training step needs, and a view of what was looked at.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from gazekit.attend import choose
from gazekit.bench.composed import REGION, DecodedParts, PrefilledParts, Prompt
from gazekit.contracts import Entries, Plan, Selection, Tokens
from gazekit.gaze.forward import Division
from gazekit.kernels import native

_MEMBERS = REGION * REGION


class _Function:
    """What both phases know beforehand: where tokens go, and of each forward what its layers share."""

    def __init__(self, prompt: Prompt, room: int) -> None:
        self.prompt = prompt
        length, visual = prompt.layout.length, prompt.visual
        regions = prompt.gaze.partition(prompt.layout) if prompt.gaze.partition is not None else None
        assert regions is not None, "it divides"
        self.order = torch.cat(
            [regions.owner[0, :visual].argsort(stable=True), torch.arange(visual, length + room)]
        )
        owned = prompt.layout.extended(length + room).tokens
        owned = owned.owned_by(pad(regions.owner, (0, room), value=-1)[:, None])
        self.tokens, self.position = owned.take(self.order[None, None]), self.order[None, None]
        self.begin = torch.arange(0, visual, _MEMBERS)[None, None]
        self.count = torch.full_like(self.begin, _MEMBERS)
        self.taken = [0] * prompt.layers

    def entries(self, key: Tensor, value: Tensor, tokens: Tokens, position: Tensor) -> Entries:
        """What lies there, as backends take it."""
        return Entries(
            key=key, value=value, tokens=tokens, position=position, begin=self.begin, count=self.count,
            free=self.prompt.visual,
        )  # fmt: skip

    def chosen(
        self,
        query: Float[Tensor, "1 head row dim"],
        means: Float[Tensor, "1 kv_head region dim"],
        complete: Tensor,
    ) -> Int[Tensor, "1 head row slot"]:
        """Scores and routes."""
        if query.shape[2] == 1 and native.serves(query):
            scores = native.scores(query[:, :, 0], means)[:, :, None]
        else:
            asked = query.float().reshape(1, means.shape[1], -1, means.shape[3])
            scores = (asked @ means.transpose(2, 3)).view(1, query.shape[1], query.shape[2], -1)
        if native.serves(scores):
            return native.select(scores, complete, self.prompt.k)
        bits = (scores + 0.0).view(torch.int32)
        rank = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() << 32
        rank |= torch.arange(rank.shape[-1] - 1, -1, -1)
        return rank.topk(min(self.prompt.k, rank.shape[-1]), dim=-1).indices.int().sort(dim=-1).values

    def plan(self, division: Division, selection: Selection | None) -> Plan:
        """How the queries look."""
        return Plan(
            query=division.tokens, rows=division.rows, regions=division.regions, selection=selection, keeps=None,
            scale=self.prompt.sizes.head_dim**-0.5,
        )  # fmt: skip


class DecodedFunction(_Function):
    """One token after another behind the prompt.

    It reads and writes the very memory that the parts keep keys and values in, after them, and so the same again:
    where memory lies makes one of two like buffers up to a fifth slower to read.
    """

    def __init__(self, parts: DecodedParts) -> None:
        prompt = parts.prompt
        super().__init__(prompt, prompt.steps)
        length, steps, visual = prompt.layout.length, prompt.steps, prompt.visual
        passes = prompt.passes([*range(length, length + steps)], [1] * steps)
        self.divisions = [one.division(prompt.gaze) for one in passes]
        self.shared = [
            (self.tokens.narrow(0, length + step + 1), self.position[..., : length + step + 1])
            for step in range(steps)
        ]
        self.parts = parts
        self.key: dict[int, Tensor] = {}
        self.value: dict[int, Tensor] = {}
        for layer in range(prompt.layers):
            self._hold(layer)
        self.means = [
            key[:, :, :visual].float().unflatten(2, (-1, _MEMBERS)).mean(dim=3) for key in self.key.values()
        ]
        kept = min(prompt.k, self.begin.shape[2])
        blank = Selection(torch.zeros(1, prompt.sizes.num_heads, 1, kept, dtype=torch.int32))
        first = self.entries(
            self.key[0][:, :, : length + 1], self.value[0][:, :, : length + 1], *self.shared[0]
        )
        self.backend = choose(prompt.gaze.backend, first, self.plan(self.divisions[0], blank))
        self.backend_name = type(self.backend).__name__

    def __call__(self, layer: int) -> Float[Tensor, "1 head 1 dim"]:
        """The answer of a layer to its next token."""
        step = self.taken[layer]
        self.taken[layer] += 1
        look, division, place = (
            self.prompt.asked[layer],
            self.divisions[step],
            self.prompt.layout.length + step,
        )
        if place >= self.key[layer].shape[2]:
            self._hold(layer)
        key, value = self.key[layer], self.value[layer]
        key[:, :, place] = look.key[:, :, 0]
        value[:, :, place] = look.value[:, :, 0]
        index = self.chosen(look.query, self.means[layer], division.complete)
        entries = self.entries(key[:, :, : place + 1], value[:, :, : place + 1], *self.shared[step])
        return self.backend.attend(look.query, entries, self.plan(division, Selection(index)))

    def _hold(self, layer: int) -> None:
        """Takes the memory of the parts' store, which moves when it grows."""
        entries = self.parts.memory[layer].store.entries()
        self.key[layer], self.value[layer] = _buffer(entries.key), _buffer(entries.value)


def _buffer(front: Float[Tensor, "1 kv_head entry dim"]) -> Float[Tensor, "1 kv_head place dim"]:
    """All places of the buffer whose front a store hands out, those to spare too."""
    _, heads, _, dim = front.shape
    return front.as_strided((1, heads, front.stride(1) // dim, dim), front.stride())


class PrefilledFunction(_Function):
    """The prompt in one forward; visual queries see all that precedes them, text chooses."""

    def __init__(self, parts: PrefilledParts) -> None:
        prompt = parts.prompt
        super().__init__(prompt, 0)
        (one,) = prompt.passes([0], [prompt.layout.length])
        self.division = one.division(prompt.gaze)
        whole = self.plan(self.division, None)
        of = whole.rows.of[:, prompt.visual :]
        self.dense = replace(
            whole,
            query=self.division.dense_tokens,
            rows=replace(whole.rows, of=torch.full_like(self.division.dense, -1)),
        )
        self.routed = replace(whole, query=self.division.routing_tokens, rows=replace(whole.rows, of=of))
        look = prompt.given[0]
        first = self.entries(look.key, look.value, self.tokens, self.position)
        self.backends = [choose(prompt.gaze.backend, first, plan) for plan in (self.dense, self.routed)]
        self.backend_name = type(self.backends[0]).__name__

    def __call__(self, layer: int) -> Float[Tensor, "1 head query dim"]:
        """The answers of a layer."""
        look, visual = self.prompt.given[layer], self.prompt.visual
        key, value = look.key.index_select(2, self.order), look.value.index_select(2, self.order)
        means = key[:, :, :visual].float().unflatten(2, (-1, _MEMBERS)).mean(dim=3)
        index = self.chosen(look.query[:, :, visual:], means, self.division.complete)
        entries = self.entries(key, value, self.tokens, self.position)
        seen = self.backends[0].attend(look.query[:, :, :visual], entries, self.dense)
        routed = replace(self.routed, selection=Selection(index))
        told = self.backends[1].attend(look.query[:, :, visual:], entries, routed)
        return torch.cat([seen, told], dim=2)
