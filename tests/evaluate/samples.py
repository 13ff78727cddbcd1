"""Random samples for every metric that knows samples by name."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gazekit.evaluate.human import MapAgreement
from gazekit.evaluate.metrics import AttendedEntries, MassCoverage, RoutingAccuracy, SelectionStatistics

LAYERS, HEADS, STEPS, REGIONS, SLOTS = 2, 4, 3, 6, 2


def numbers(sample: int) -> torch.Generator:
    return torch.Generator().manual_seed(sample)


def index_of(sample: int) -> Tensor:
    """Two of six regions for each step, layer and head."""
    return torch.rand(STEPS, LAYERS, HEADS, REGIONS, generator=numbers(sample)).argsort(-1)[..., :SLOTS].int()


def add_attended(metric: AttendedEntries, samples: Sequence[int]) -> None:
    shape = (LAYERS, HEADS, STEPS, 3)
    attended = [torch.randint(0, 40, shape, generator=numbers(one)) for one in samples]
    visual = torch.tensor([40 + one % 7 for one in samples])
    counts = torch.tensor([[True, one % 2 == 0, one % 3 == 0] for one in samples])
    metric.update(torch.stack(attended), visual, counts, ids=samples)


def add_routing(metric: RoutingAccuracy, samples: Sequence[int]) -> None:
    index = torch.cat([index_of(one) for one in samples])
    overlaps = torch.cat([torch.rand(STEPS, REGIONS, generator=numbers(one)) < 0.4 for one in samples])
    ids = [f"{one}/{step}" for one in samples for step in range(STEPS)]
    metric.update(index, overlaps, torch.full((len(ids),), REGIONS), ids=ids)


def add_selections(metric: SelectionStatistics, samples: Sequence[int]) -> None:
    metric.update(torch.stack([index_of(one) for one in samples]), [REGIONS] * len(samples), ids=samples)


def add_mass(metric: MassCoverage, samples: Sequence[int]) -> None:
    shape = (STEPS, LAYERS, HEADS, REGIONS)
    mass = torch.stack([torch.rand(shape, generator=numbers(one)) for one in samples])
    regions = torch.full((len(samples),), REGIONS)
    metric.update(mass, torch.stack([index_of(one) for one in samples]), regions, ids=samples)


def add_maps(metric: MapAgreement, samples: Sequence[int]) -> None:
    for one in samples:
        maps = torch.rand(3, 4, 5, generator=numbers(one))
        metric.update(maps[0], fixated=maps[1] > 0.7, human=maps[2], id=one)


METRICS: dict[str, tuple[Callable, Callable]] = {
    "attended": (lambda: AttendedEntries(LAYERS, HEADS), add_attended),
    "routing": (lambda: RoutingAccuracy(LAYERS, HEADS), add_routing),
    "selections": (lambda: SelectionStatistics(LAYERS, HEADS, group=2), add_selections),
    "mass": (lambda: MassCoverage(LAYERS, HEADS), add_mass),
    "maps": (MapAgreement, add_maps),
}
"""How each metric is made, and how samples are added to it."""


def figures(metric) -> dict[str, list]:
    """What a metric says, as nested lists."""
    return {name: torch.as_tensor(value).tolist() for name, value in metric.compute().items()}
