"""Small prompts, written as words, and what the loop makes of them, for tests that look at one case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import config

from gazekit.contracts import Kind, Regions, Rows, TokenLayout, Tokens, View, complete_regions

_FIELDS = ("kind", "unit", "document", "order", "clip", "t", "y", "x")


def layout(*samples: str, left: bool = False) -> TokenLayout:
    """A batch of prompts, padded at the right or the left.

    Words: `t3` three text tokens; `v2x3` an image (a new clip) of two rows and three columns; `+2x3` a
    further frame of the last clip; `c2` two context tokens of that unit; `p2` padding; `/` a new document.
    """
    rows = [_tokens(sample) for sample in samples]
    longest = max(len(row) for row in rows)
    blank = [Kind.PAD, *[-1] * (len(_FIELDS) - 1)]
    padding = [[blank] * (longest - len(row)) for row in rows]
    table = torch.tensor([pad + row if left else row + pad for row, pad in zip(rows, padding, strict=True)])
    kind, unit, document, order = (table[..., i].unsqueeze(1) for i in range(4))
    return TokenLayout(
        tokens=Tokens(kind=kind, unit=unit, document=document, order=order, owner=torch.full_like(kind, -1)),
        clip=table[..., 4],
        place=table[..., 5:],
    )


def _tokens(sample: str) -> list[list[int]]:
    """The fields of each token of one prompt."""
    tokens: list[list[int]] = []
    unit, document, order, clip, frame = -1, 0, 0, -1, 0
    for word in sample.split():
        if word == "/":
            document, order = document + 1, 0
            continue
        sign, numbers = word[0], [int(number) for number in re.findall(r"\d+", word)]
        if sign in "v+":
            clip, frame = (clip + 1, 0) if sign == "v" else (clip, frame + 1)
            unit += 1
        for index in range(numbers[0] if sign not in "v+" else numbers[0] * numbers[1]):
            if sign == "p":
                tokens.append([Kind.PAD, -1, -1, -1, -1, -1, -1, -1])
                continue
            if sign == "t":
                tokens.append([Kind.TEXT, -1, document, order, -1, -1, -1, -1])
            elif sign == "c":
                tokens.append([Kind.CONTEXT, unit, document, order, clip, -1, -1, -1])
            else:
                row, column = divmod(index, numbers[1])
                tokens.append([Kind.VISUAL, unit, document, order, clip, frame, row, column])
            order += 1
    return tokens


def rows(
    prompt: TokenLayout, regions: Regions, start: int = 0, routing: tuple[Kind, ...] = (Kind.TEXT,)
) -> Rows:
    """A row for each query from `start` on of a kind that routes."""
    tokens = prompt.tokens.owned_by(regions.owner[:, None]).narrow(start, prompt.length)
    routes = sum(tokens.kind[:, 0] == kind for kind in routing) > 0
    count = int(routes.sum(dim=1).max())
    of = torch.where(routes, routes.cumsum(dim=1) - 1, -1)
    query = torch.full((len(of), count + 1), -1)
    position = torch.arange(of.shape[1]).expand_as(of)
    query = query.scatter(1, torch.where(routes, of, count), position)[:, :count]
    query = query.masked_fill(torch.arange(count) >= routes.sum(dim=1, keepdim=True), -1)
    taken = tokens.take(query[:, None])
    return Rows(
        of=of, query=query, first=taken.order[:, 0], owner=taken.owner[:, 0], document=taken.document[:, 0]
    )


def view(
    prompt: TokenLayout,
    regions: Regions,
    *,
    heads: int = 2,
    kv_heads: int = 1,
    openness: float = 0.0,
    start: int = 0,
    layer: int = 0,
) -> View:
    """What a router is told when the prompt's text routes."""
    chosen = rows(prompt, regions, start)
    return View(
        layout=prompt, regions=regions, rows=chosen, complete=complete_regions(chosen, regions),
        openness=openness, layer=layer, scale=1.0, num_heads=heads, num_kv_heads=kv_heads, earlier={},
    )  # fmt: skip


@contextmanager
def unchecked() -> Iterator[None]:
    """Without the tests' type checks, as users call us, so that our own message shows."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)
