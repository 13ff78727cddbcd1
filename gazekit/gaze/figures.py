"""The figures of what a composition costs one query."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A figure of dense attention beside that of gaze.

    Attributes:
        dense: Of the model without gaze, and so without context tokens.
        gaze: Of the composition.
    """

    dense: float
    gaze: float

    @property
    def change(self) -> float:
        """By which share gaze differs: -0.8 = four fifths less."""
        return self.gaze / self.dense - 1 if self.dense else 0.0


@dataclass(frozen=True, kw_only=True)
class KVBytes:
    """Bytes of keys and values over all layers, for one prompt.

    Attributes:
        dense: Held, and read for each token, by dense attention.
        stored: Held by gaze where nothing is offloaded: all entries, context tokens and descriptors.
        resident: Held beside the device's weights where visual entries lie elsewhere (in CPU memory) and one selection
            of regions is brought in: those regions, text, context and descriptors. Query heads of a KV head are taken
            to choose the same regions.
        read_group: Read for each token where the query heads of a KV head choose together.
        read_head: Read for each token where each query head chooses for itself and heads of a KV head choose
            independently: of `group` heads that look at a share f each, the union is 1 - (1 - f) ** group. Heads
            that agree read less, down to `read_group`.
    """

    dense: float
    stored: float
    resident: float
    read_group: float
    read_head: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one text query costs at the end of a prompt, all layers together where not said otherwise.

    Entries are those that precede the query's own, averaged over layers; all regions are looked at equally often. Of
    branches, each of which attends by itself, entries and FLOPs add up, and what they share is stored and read once.

    Attributes:
        attended: Visual and context entries that the query attends to, per layer.
        dense: Visual entries that dense attention attends to, per layer.
        share: `attended / dense`: the budget.
        visual: Visual entries attended to.
        context: Context entries attended to, summaries of regions among them.
        text: Text entries attended to.
        regions: Regions that may be chosen, in the first layer that routes; of branches, the one that looks at most.
        region_size: Members of its smallest and of its largest region.
        chosen: Regions looked at.
        attention_flops: Of the scores and the weighted sum over visual and text entries.
        context_flops: The same over context entries.
        routing_flops: One dot product for each query head and region; 0 without a pooler.
        kv_bytes: Keys and values.
    """

    attended: float
    dense: int
    share: float
    visual: float
    context: float
    text: float
    regions: int
    region_size: tuple[int, int]
    chosen: float
    attention_flops: Compared
    context_flops: float
    routing_flops: float
    kv_bytes: KVBytes
