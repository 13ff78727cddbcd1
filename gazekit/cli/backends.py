"""Which attention backends can do what, asked of themselves with a small scene."""

from __future__ import annotations

import torch

from gazekit.attend import choose, refusals
from gazekit.contracts import Entries, Kind, Look, Plan, Rows, Selection, TokenLayout, Tokens
from gazekit.partition import GridPartition
from gazekit.store import ResidentStore

_SIDE, _WORDS, _HEADS, _DIM = 4, 3, 2, 8


def backends(device: str = "cpu") -> dict[str, str]:
    """What each backend says to a whole prompt and to decoding one token, both with routing.

    Args:
        device: Where the scene lies.
    """
    with torch.device(device):
        told = {"prompt": _answers(*scene(_WORDS)), "decoding": _answers(*scene(1))}
    names = told["prompt"]
    return {name: "; ".join(f"{call}: {answers[name]}" for call, answers in told.items()) for name in names}


def _answers(entries: Entries, plan: Plan) -> dict[str, str]:
    """By backend: yes, yes because auto takes it, or why not."""
    auto = choose("auto", entries, plan)
    answers = {}
    for name, reason in refusals(entries, plan).items():
        taken = reason is None and choose(name, entries, plan) is auto
        answers[name] = f"no, {reason}" if reason else "yes, auto takes it" if taken else "yes"
    return answers


def scene(queries: int) -> tuple[Entries, Plan]:
    """An image of 4 x 4 tokens in four regions, three words after it, of which the last `queries` ask.

    Args:
        queries: Words that ask; each looks at one region.
    """
    layout = _layout()
    regions = GridPartition(size=(1, 2, 2))(layout)
    tokens = layout.tokens.owned_by(regions.owner[:, None])
    length = layout.length
    key = torch.zeros(1, 1, length, _DIM)
    store = ResidentStore()
    look = Look(query=key.expand(1, _HEADS, length, _DIM), key=key, value=key, layer=0, scale=1.0)
    store.add(look, tokens, regions)
    asking = tokens.narrow(length - queries, length)
    count = torch.arange(queries)[None]
    rows = Rows(
        of=count,
        query=count,
        first=asking.order[:, 0],
        owner=asking.owner[:, 0],
        document=asking.document[:, 0],
    )
    selection = Selection(index=torch.zeros(1, _HEADS, queries, 1, dtype=torch.int32))
    plan = Plan(query=asking, rows=rows, regions=regions, selection=selection, keeps=None, scale=1.0)
    return store.entries(), plan


def _layout() -> TokenLayout:
    """The image, then the words."""
    visual, length = _SIDE**2, _SIDE**2 + _WORDS
    is_visual = torch.arange(length)[None, None] < visual
    zero = torch.zeros(1, 1, length, dtype=torch.int64)
    tokens = Tokens(
        kind=torch.where(is_visual, int(Kind.VISUAL), int(Kind.TEXT)),
        unit=torch.where(is_visual, 0, -1),
        document=zero,
        order=torch.arange(length)[None, None],
        owner=zero - 1,
    )
    place = torch.full((1, length, 3), -1)
    index = torch.arange(visual)
    place[0, :visual] = torch.stack([index * 0, index // _SIDE, index % _SIDE], dim=-1)
    return TokenLayout(tokens=tokens, clip=torch.where(is_visual[:, 0], 0, -1), place=place)
