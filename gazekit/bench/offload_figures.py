"""What is measured of decoding with the visual cache off the device, and the figures that come of it."""

from __future__ import annotations

from dataclasses import dataclass

from gazekit.bench.decode import DecodeShape
from gazekit.contracts import Storage
from gazekit.gaze.locality import Locality
from gazekit.store import MemoryMappedStorage, OffloadedStorage

TIERS = ("pinned", "memory_mapped")


@dataclass(frozen=True, kw_only=True)
class OffloadShape:
    """What is decoded, and where its regions lie.

    Attributes:
        decode: Sizes and numbers; its text follows the visual entries.
        tier: "pinned": the host's memory. "memory_mapped": a file.
        slots: Regions in the hot buffer of each KV head, as a multiple of those that one head looks at.
        folder: Where the file lies; None = the system's folder for temporary files.
        steps: Decoding steps.
        drift: Share of each query's variance that is new in each step: 0 = always the same, 1 = by lot each time.
        compare: Whether a resident store does the same beside it; it needs memory for everything.
        sweep: Whether all regions are brought in once at the end, and compared with what was written.

    Raises:
        ValueError: An unknown tier, a number below 1, or a drift that is no share.
    """

    decode: DecodeShape
    tier: str = "pinned"
    slots: float = 1.25
    folder: str | None = None
    steps: int = 32
    drift: float = 0.1
    compare: bool = True
    sweep: bool = False

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise ValueError(f"tier must be one of {', '.join(TIERS)}, got {self.tier!r}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 <= self.drift <= 1:
            raise ValueError(f"drift must be in [0, 1], got {self.drift}; 0 = queries stay the same")

    @property
    def storage(self) -> Storage:
        """Makes the store of each layer."""
        if self.tier == "pinned":
            return OffloadedStorage(slots=self.slots)
        return MemoryMappedStorage(slots=self.slots, folder=self.folder)


@dataclass(frozen=True, kw_only=True)
class OffloadResult:
    """What was measured.

    Attributes:
        tier: Where the regions lay.
        slots: Of the hot buffer, as a multiple of what one head looks at.
        share: Who chooses: heads or groups.
        visual: Visual entries held.
        k: Regions that a head looks at.
        layers: Layers.
        steps: Decoding steps.
        backend: What attended.
        ms: Milliseconds of a step of one layer, scoring, routing, fetching and attending; the median.
        resident_ms: The same with everything at hand; None = not compared.
        equal: Whether every answer was that of the resident store, bit for bit; None = not compared.
        hit_rate: Share of the wanted regions that were at hand.
        moved_bytes: Keys and values brought in, per step and layer.
        dense_bytes: Keys and values of the visual entries, all layers.
        resident_bytes: What stays on the device, all layers: `hot` buffers, `integers`, `descriptors`, `free` entries.
        transient_bytes: What a fetch makes beside, of one layer at a time.
        hot_share: The hot buffers over `dense_bytes`.
        resident_share: Hot buffers, integers and descriptors over `dense_bytes`.
        growth: Resident memory of the process beyond where the run began: `peak`, `anonymous` and `mapped` at its end.
        swept: Whether all that was written came back as it was; None = not asked.
        seconds: `fill`, `decode`, `sweep`.
        locality: Of each layer's selections.
    """

    tier: str
    slots: float
    share: str
    visual: int
    k: int
    layers: int
    steps: int
    backend: str
    ms: float
    resident_ms: float | None
    equal: bool | None
    hit_rate: float
    moved_bytes: float
    dense_bytes: int
    resident_bytes: dict[str, int]
    transient_bytes: int
    hot_share: float
    resident_share: float
    growth: dict[str, int]
    swept: bool | None
    seconds: dict[str, float]
    locality: list[Locality]
