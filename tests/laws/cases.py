"""Every public part of every room, one line each: how it is checked, and which laws do not apply and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from gazekit.attend import (
    FlexBackend,
    GatherBackend,
    MaskedBackend,
    NativeBackend,
    ReferenceBackend,
    TritonBackend,
)
from gazekit.combine import GatedCombine, SumCombine
from gazekit.context import LearnedContext, SinkContext, UnionContext, WindowContext
from gazekit.contracts import Kind, Sizes
from gazekit.loss import DistillationLoss, MapLoss
from gazekit.partition import GridPartition, RunPartition, SegmentPartition, TokenPartition
from gazekit.pool import (
    CompressionPooler,
    IndexerPooler,
    LearnedAttentionPooler,
    LinearGatePooler,
    LowRankPooler,
    MaxPooler,
    MeanPooler,
    MinMaxPooler,
    OraclePooler,
    ProbePooler,
    SummaryPooler,
    UnrotatedMeanPooler,
)
from gazekit.route import (
    AlwaysRouter,
    NucleusRouter,
    PriorRouter,
    RandomRouter,
    ReuseRouter,
    ThresholdRouter,
    TopKRouter,
    TwoLevelRouter,
)
from gazekit.schedule import ConstantSchedule, LayeredSchedule, ProgressiveSchedule
from gazekit.store import MemoryMappedStorage, OffloadedStorage, ResidentStore
from gazekit.testing import Grid, Runs, laws


@dataclass(frozen=True)
class Case:
    """A part and its check.

    Then options of the check, the laws omitted with their reasons, a fixture that it needs, and whether it is slow.
    """

    part: object
    check: Callable[..., None]
    options: Mapping[str, object] = field(default_factory=dict)
    omit: Mapping[str, str] = field(default_factory=dict)
    needs: str | None = None
    slow: bool = False

    def run(self) -> None:
        self.check(self.part, omit=self.omit, **self.options)

    def __str__(self) -> str:
        return getattr(self.part, "__name__", repr(self.part))


UNSCORED = {"ties go to the lowest id": "it reads no scores, so that none are equal"}
BETWEEN, CONSTANT = "between its members", "constant in constant out"
ORDER = "order of members is irrelevant"
MASS = "mass grows with the number of members"
BEFORE = "it pools keys before RoPE, which differ where keys after it are equal"
PART = "it scores in a part of the directions only"
OWN = "it scores by keys of its own from hidden states"
SHARES = "it scores by shares of attention instead of logits"
SMALL = {"sizes": Sizes(num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, hidden_dim=32, num_branches=3)}
RANGE = "between the branches"


def bound(part):
    """The part with weights for SMALL, the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        part.bind(SMALL["sizes"])
    return part


STANDING = {
    "starts dense": "it stands at the target from the start",
    "ends at the target": "it stands where it was set, which need not be the target",
}
FORWARD_ONLY = dict.fromkeys(
    (
        "gradients equal the rules",
        "unseen entries get no gradient",
        "nothing seen gives zeros",
        "gradcheck",
    ),
    "it decodes, nothing is trained through it, and it refuses where gradients are asked for",
)
OUTSIDE = {"outside": True}
SEQUENCE = {"clips stay apart": "runs of text and images go on from one image to the next"}
SHIFTED_IN_TIME = {"one frame is flat": "a flat cell leaves no room for a shift in time"}
NO_K = {"larger k contains smaller k": "it has no k of its own"}
TIED_IN_UNITS = {"ties go to the lowest id": "of equal scores in different units none comes first"}
FIXED = {"ties go to the lowest id": "a region that is always on is so whatever its score"}
SIZED = {"ties go to the lowest id": "regions of equal scores and different sizes hold different masses"}
NESTED = {"ties go to the lowest id": "the coarse region around it counts before a region's own score"}
REUSED = {"ties go to the lowest id": "a reused choice was made by other scores"}
PRIOR = {"ties go to the lowest id": "the map tells regions of equal scores apart"}

APART = {
    "XformersBackend": "its library is optional, and tests/attend/test_xformers.py stands in for it",
    "OffloadedStore": "the storages that make it have their lines",
    "ResidentStorage": "the store that it makes has its line",
    "FileTier": "it gives a store room, as MemoryMappedStorage has it do",
    "HostTier": "it gives a store room, as OffloadedStorage has it do",
    "Table": "it is what a store finds regions by",
    "Tier": "it is a protocol of what gives room",
    "Traffic": "it is figures of a store",
    "Turn": "it is what a table answers",
}
"""Public names that are no parts of their room, or have no line of their own, and why."""

CASES = [
    Case(GridPartition(size=(1, 1, 1)), laws.check_grid),
    Case(GridPartition(size=(1, 2, 2)), laws.check_grid),
    Case(GridPartition(size=(2, 3, 2)), laws.check_grid),
    Case(GridPartition(size=(1, 3, 2), shift=(0, 2, 1)), laws.check_grid),
    Case(GridPartition(size=(2, 2, 2), shift=(1, 0, 1)), laws.check_grid, omit=SHIFTED_IN_TIME),
    Case(RunPartition(length=3), laws.check_partitioner, omit=SEQUENCE),
    Case(RunPartition(length=2, kinds=frozenset({Kind.TEXT})), laws.check_partitioner),
    Case(RunPartition(length=4, kinds=frozenset({Kind.VISUAL, Kind.CONTEXT})), laws.check_partitioner),
    Case(TokenPartition(), laws.check_partitioner),
    Case(TokenPartition(kinds=frozenset({Kind.VISUAL})), laws.check_partitioner),
    Case(SegmentPartition(), laws.check_partitioner, options=OUTSIDE),
    Case(MeanPooler(), laws.check_pooler),
    Case(SummaryPooler(), laws.check_pooler),
    Case(MaxPooler(), laws.check_pooler, omit={BETWEEN: "no member need be largest in every channel"}),
    Case(MinMaxPooler(), laws.check_pooler, omit={BETWEEN: "it is an upper bound of what members score"}),
    Case(OraclePooler(), laws.check_pooler, omit={BETWEEN: MASS, CONSTANT: MASS}),
    Case(UnrotatedMeanPooler(), laws.check_pooler, SMALL, omit={BETWEEN: BEFORE, CONSTANT: BEFORE}),
    Case(bound(LearnedAttentionPooler()), laws.check_pooler, SMALL),
    Case(bound(LowRankPooler(rank=8)), laws.check_pooler, SMALL),
    Case(bound(LowRankPooler(rank=3)), laws.check_pooler, SMALL, omit={BETWEEN: PART, CONSTANT: PART}),
    Case(
        bound(LinearGatePooler()),
        laws.check_pooler,
        SMALL,
        omit={
            BETWEEN: BEFORE,
            CONSTANT: BEFORE,
            ORDER: "the first member listed lends the region its position",
        },
    ),
    Case(
        bound(IndexerPooler(num_heads=2, dim=4)), laws.check_pooler, SMALL, omit={BETWEEN: OWN, CONSTANT: OWN}
    ),
    Case(
        bound(CompressionPooler(length=4, stride=2)),
        laws.check_pooler,
        SMALL,
        omit={
            BETWEEN: SHARES,
            CONSTANT: SHARES,
            ORDER: "a block has places, which its embedding tells apart",
            "reads only members": "blocks overlap regions, and share one softmax",
        },
    ),
    Case(
        ProbePooler(num_probe=3),
        laws.check_pooler,
        omit={BETWEEN: SHARES, CONSTANT: SHARES, "reads only members": "regions share the probes' attention"},
    ),
    Case(TopKRouter(k=2), laws.check_router),
    Case(TopKRouter(k=1, share="group"), laws.check_router),
    Case(RandomRouter(k=2, seed=3), laws.check_router, omit=UNSCORED),
    Case(RandomRouter(k=1, seed=0, share="group"), laws.check_router, omit=UNSCORED),
    Case(RandomRouter(k=1, share="layer"), laws.check_router, omit=UNSCORED),
    Case(TopKRouter(k=2, share="layer", pool="max"), laws.check_router),
    Case(TopKRouter(k=1, share="group", pool="max", per="unit"), laws.check_router, omit=TIED_IN_UNITS),
    Case(TopKRouter(k=2, per="unit"), laws.check_router, omit=TIED_IN_UNITS),
    Case(AlwaysRouter(first=1, latest=1), laws.check_router, omit=NO_K | UNSCORED),
    Case(AlwaysRouter(own=True), laws.check_router, omit=NO_K | UNSCORED),
    Case(AlwaysRouter(inner=TopKRouter(k=1), own=True, latest=1), laws.check_router, omit=NO_K | FIXED),
    Case(AlwaysRouter(inner=TopKRouter(k=1)), laws.check_router, omit=NO_K | FIXED),
    Case(AlwaysRouter(inner=RandomRouter(k=1), first=2), laws.check_router, omit=NO_K | UNSCORED),
    Case(
        AlwaysRouter(inner=NucleusRouter(mass=0.6), own=False, latest=2), laws.check_router, omit=NO_K | FIXED
    ),
    Case(NucleusRouter(mass=0.5), laws.check_nucleus, omit=NO_K),
    Case(NucleusRouter(mass=1), laws.check_nucleus, omit=NO_K),
    Case(NucleusRouter(mass=0.4, weigh="range"), laws.check_nucleus, omit=NO_K),
    Case(NucleusRouter(mass=0.9, max_k=3, min_k=2, share="group"), laws.check_nucleus, omit=NO_K),
    Case(
        NucleusRouter(mass=0.7, share="layer", pool="max", by_size=True),
        laws.check_nucleus,
        omit=NO_K | SIZED,
    ),
    Case(ThresholdRouter(threshold=0.2), laws.check_router, omit=NO_K),
    Case(ThresholdRouter(threshold=0.4, min_k=0, share="group"), laws.check_router, omit=NO_K),
    Case(ThresholdRouter(threshold=0.1, by_size=True), laws.check_router, omit=NO_K | SIZED),
    Case(
        TwoLevelRouter(coarse=GridPartition(size=(1, 2, 2)), coarse_k=1, inner=TopKRouter(k=2)),
        laws.check_router,
        options={"division": Grid(size=(1, 1, 1))},
        omit=NO_K | NESTED,
    ),
    Case(
        TwoLevelRouter(
            coarse=GridPartition(size=(2, 2, 2)),
            coarse_k=2,
            inner=NucleusRouter(mass=0.8, share="group"),
            summary="max",
            share="group",
        ),
        laws.check_router,
        options={"division": Grid(size=(1, 1, 2))},
        omit=NO_K | NESTED,
    ),
    Case(
        TwoLevelRouter(
            coarse=RunPartition(length=4), coarse_k=1, inner=TopKRouter(k=1, share="layer"), share="layer"
        ),
        laws.check_router,
        options={"division": Runs(length=2)},
        omit=NO_K | NESTED,
    ),
    Case(ReuseRouter(inner=TopKRouter(k=2), every=2), laws.check_router, omit=NO_K | REUSED),
    Case(
        PriorRouter(inner=TopKRouter(k=2), weight=2.0), laws.check_router, options=OUTSIDE, omit=NO_K | PRIOR
    ),
    Case(
        PriorRouter(inner=AlwaysRouter(inner=NucleusRouter(mass=0.5), first=1), weight=-1.0),
        laws.check_router,
        options=OUTSIDE,
        omit=NO_K | PRIOR,
    ),
    Case(ConstantSchedule(openness=0.5), laws.check_schedule, omit=STANDING),
    Case(ConstantSchedule(), laws.check_schedule, omit={"starts dense": STANDING["starts dense"]}),
    Case(ProgressiveSchedule(shape="linear", start=0.1, end=0.9), laws.check_schedule),
    Case(ProgressiveSchedule(shape="cosine"), laws.check_schedule),
    Case(ProgressiveSchedule(shape="exponential"), laws.check_schedule),
    Case(ProgressiveSchedule(shape="steps", end=1.0), laws.check_schedule),
    Case(LayeredSchedule(inner=ProgressiveSchedule(shape="cosine", end=1.0), lag=0.3), laws.check_schedule),
    Case(LayeredSchedule(inner=ProgressiveSchedule(), lag=0.7, first="shallow"), laws.check_schedule),
    Case(LearnedContext(num_tokens=4), laws.check_context),
    Case(SinkContext(num=2), laws.check_context),
    Case(WindowContext(size=3), laws.check_context),
    Case(
        UnionContext(parts=(LearnedContext(num_tokens=2), SinkContext(num=1), WindowContext(size=2))),
        laws.check_context,
    ),
    Case(ReferenceBackend(), laws.check_backend),
    Case(MaskedBackend(), laws.check_backend),
    Case(MaskedBackend(chunk_bytes=200), laws.check_backend),
    Case(GatherBackend(), laws.check_backend, options={"decoding": True}),
    Case(
        FlexBackend(compiled=False),
        laws.check_backend,
        omit=dict.fromkeys(
            FORWARD_ONLY, "on a CPU it runs forward only, and refuses where gradients are asked for"
        ),
        needs="unfused_flex",
    ),
    Case(
        NativeBackend(),
        laws.check_backend,
        options={"decoding": True},
        omit=FORWARD_ONLY,
        needs="native_kernel",
    ),
    Case(
        TritonBackend(interpreted=True),
        laws.check_backend,
        options={"decoding": True, "device": "cuda" if torch.cuda.is_available() else "cpu"},
        omit=FORWARD_ONLY,
        needs="triton_kernels",
        slow=not torch.cuda.is_available(),
    ),
    Case(ResidentStore, laws.check_store),
    Case(OffloadedStorage(slots=1.0), laws.check_store),
    Case(MemoryMappedStorage(), laws.check_store),
    Case(SumCombine(), laws.check_combine),
    Case(
        SumCombine(weights=(0.5, 1.0, -2.0)),
        laws.check_combine,
        SMALL,
        omit={RANGE: "weights of one's own need not add up to one"},
    ),
    Case(bound(GatedCombine()), laws.check_combine, SMALL, omit={RANGE: "gates need not add up to one"}),
    Case(DistillationLoss(), laws.check_loss),
    Case(DistillationLoss(pool="max", weight=0.5), laws.check_loss),
    Case(MapLoss(), laws.check_loss, options=OUTSIDE),
]
