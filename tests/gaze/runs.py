"""Runs over the whole sequence, text included, which grow while decoding."""

from dataclasses import dataclass

import torch

from gazekit.contracts import Kind, Regions, TokenLayout, regions_from_owner


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Cuts every document into runs of `size` tokens; a run that is not full may still grow."""

    size: int
    kinds: frozenset[Kind] = frozenset({Kind.TEXT, Kind.VISUAL, Kind.CONTEXT})

    def __call__(self, layout: TokenLayout) -> Regions:
        owner = torch.full_like(layout.kind, -1)
        sizes: list[list[int]] = []
        for b, (kinds, documents) in enumerate(
            zip(layout.kind.tolist(), layout.tokens.document[:, 0].tolist(), strict=True)
        ):
            runs: list[int] = []
            open_document = None
            for place, (kind, document) in enumerate(zip(kinds, documents, strict=True)):
                if kind not in self.kinds:
                    continue
                if document != open_document or runs[-1] == self.size:
                    runs.append(0)
                    open_document = document
                runs[-1] += 1
                owner[b, place] = len(runs) - 1
            sizes.append(runs)
        most = max(map(len, sizes))
        growing = torch.tensor(
            [[n < self.size for n in runs] + [False] * (most - len(runs)) for runs in sizes]
        )
        return regions_from_owner(owner, layout, growing=growing.view(len(sizes), most).bool())
