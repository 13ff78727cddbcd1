"""Keep what the question looked at, drop the rest for good (SnapKV on visual entries)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.contracts import Entries, Kind, Look, Plan, visible


@dataclass(frozen=True, kw_only=True)
class QuestionEviction:
    """Keeps the visual entries with the most attention from the question, chosen once per layer and KV head.

    The question is every text query of the prefill that follows the last visual token, or the last `window` of
    them. Text and context entries are always kept. Prefill all but the last token of a prompt with it, so that every
    answer token is written from what was kept.

    Args:
        budget: Visual entries to keep, per layer and KV head.
        window: Queries that vote, the last ones; None = the whole question.

    Raises:
        ValueError: `budget` or `window` is below 1.

    Source: Li et al. (2024), SnapKV, section 4, without its pooling along the sequence, which has no meaning on a
    grid of visual tokens.
    """

    budget: int
    window: int | None = None

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"budget must be at least 1 visual entry, got {self.budget}")
        if self.window is not None and self.window < 1:
            raise ValueError(
                f"window must be at least 1 query, got {self.window}; use None for the whole question"
            )

    def decide(self, look: Look, entries: Entries, plan: Plan) -> Int[Tensor, "batch #kv_head entry"]:
        """Entries to keep, per KV head, ascending, -1 = none."""
        mass = self.score(look, entries, plan)
        visual = (entries.tokens.kind == Kind.VISUAL).expand_as(mass)
        ranked = mass.masked_fill(~visual, -1.0).argsort(dim=-1, descending=True, stable=True)
        rank = torch.empty_like(ranked).scatter_(2, ranked, torch.arange(ranked.shape[2]).expand_as(ranked))
        stays = (entries.tokens.valid & ~visual) | (visual & (rank < self.budget))
        most = int(stays.sum(-1).max())
        order = stays.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[..., :most]
        return torch.where(stays.gather(2, order), order, -1)

    def score(self, look: Look, entries: Entries, plan: Plan) -> Float[Tensor, "batch kv_head entry"]:
        """Attention mass of each entry, summed over the question's queries and the heads of a group, fp32."""
        index = self._question(entries, plan)
        query = plan.query.take(index[:, None])
        heads, width = look.query.shape[1], look.query.shape[3]
        voting = look.query.gather(2, index.clamp_min(0)[:, None, :, None].expand(-1, heads, -1, width))
        rows = replace(plan.rows, of=torch.full_like(index, -1))
        seen = visible(replace(plan, query=query, rows=rows, selection=None), entries.tokens, heads)
        key = entries.key.repeat_interleave(look.group, dim=1)
        logits = torch.einsum("bhqd,bhkd->bhqk", voting.float(), key.float()) * plan.scale
        attention = logits.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num(0.0)
        return attention.sum(2).unflatten(1, (-1, look.group)).sum(2)

    def _question(self, entries: Entries, plan: Plan) -> Int[Tensor, "batch question"]:
        """Queries that vote, ascending, -1 = none."""
        keys, query = entries.tokens, plan.query
        visual = (keys.kind[:, :1] == Kind.VISUAL) & keys.valid[:, :1]
        latest = keys.order[:, :1].masked_fill(~visual, -1).amax(-1, keepdim=True)
        votes = ((query.kind == Kind.TEXT) & (query.order > latest))[:, 0]
        if self.window is not None:
            votes &= votes.flip(1).cumsum(1).flip(1) <= self.window
        most = int(votes.sum(1).max())
        order = votes.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
        return torch.where(votes.gather(1, order), order, -1)
