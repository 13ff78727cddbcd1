"""Every public part of every room, one line each: how it is checked, and which laws do not apply and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gazekit.attend import GatherBackend, MaskedBackend, NativeBackend, ReferenceBackend
from gazekit.context import LearnedContext
from gazekit.partition import GridPartition
from gazekit.pool import MeanPooler
from gazekit.route import RandomRouter, TopKRouter
from gazekit.schedule import ConstantSchedule, ProgressiveSchedule
from gazekit.store import ResidentStore
from gazekit.testing import laws


@dataclass(frozen=True)
class Case:
    """A part, its check, options of the check, the laws omitted with their reasons, and a fixture that it needs."""

    part: object
    check: Callable[..., None]
    options: Mapping[str, object] = field(default_factory=dict)
    omit: Mapping[str, str] = field(default_factory=dict)
    needs: str | None = None

    def run(self) -> None:
        self.check(self.part, omit=self.omit, **self.options)

    def __str__(self) -> str:
        return getattr(self.part, "__name__", repr(self.part))


UNSCORED = {"ties go to the lowest id": "it reads no scores, so that none are equal"}
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

CASES = [
    Case(GridPartition(size=(1, 1, 1)), laws.check_grid),
    Case(GridPartition(size=(1, 2, 2)), laws.check_grid),
    Case(GridPartition(size=(2, 3, 2)), laws.check_grid),
    Case(MeanPooler(), laws.check_pooler),
    Case(TopKRouter(k=2), laws.check_router),
    Case(TopKRouter(k=1, share="group"), laws.check_router),
    Case(RandomRouter(k=2, seed=3), laws.check_router, omit=UNSCORED),
    Case(RandomRouter(k=1, seed=0, share="group"), laws.check_router, omit=UNSCORED),
    Case(ConstantSchedule(openness=0.5), laws.check_schedule, omit=STANDING),
    Case(ConstantSchedule(), laws.check_schedule, omit={"starts dense": STANDING["starts dense"]}),
    Case(ProgressiveSchedule(shape="linear", start=0.1, end=0.9), laws.check_schedule),
    Case(ProgressiveSchedule(shape="cosine"), laws.check_schedule),
    Case(ProgressiveSchedule(shape="exponential"), laws.check_schedule),
    Case(ProgressiveSchedule(shape="steps", end=1.0), laws.check_schedule),
    Case(LearnedContext(num_tokens=4), laws.check_context),
    Case(ReferenceBackend(), laws.check_backend),
    Case(MaskedBackend(), laws.check_backend),
    Case(MaskedBackend(chunk_bytes=200), laws.check_backend),
    Case(GatherBackend(), laws.check_backend, options={"decoding": True}),
    Case(
        NativeBackend(),
        laws.check_backend,
        options={"decoding": True},
        omit=FORWARD_ONLY,
        needs="native_kernel",
    ),
    Case(ResidentStore, laws.check_store),
]
