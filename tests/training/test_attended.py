"""What a step attended to, counted from its trace."""

import pytest
import torch

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.combine import SumCombine
from gazekit.contracts import Kind
from gazekit.gaze import watch
from gazekit.training.attended import Attended, attended_of
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample

LAY = layout(sample(2, Image(4, 4), 3), sample(1, Image(4, 4), 1))


def top(k: int, **more) -> Gaze:
    return Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=k), **more)


@pytest.mark.parametrize(
    ("gaze", "expected"),
    [
        (top(1), Attended(regions=1, share=4 / 16)),
        (Gaze(branches=(top(2), top(1)), combine=SumCombine()), Attended(regions=1.5, share=12 / 16)),
        (Gaze(branches=(top(4), top(1)), combine=SumCombine()), Attended(regions=2.5, share=20 / 16)),
    ],
)
@torch.no_grad()
def test_branches_add_up(gaze, expected):
    runner = Runner(decoder("qwen3"), gaze)
    with watch(runner.model) as trace:
        runner.forward(LAY, prompt(LAY))
    assert attended_of(trace, LAY.kind == Kind.VISUAL) == expected


@torch.no_grad()
def test_branches_whose_queries_route_in_other_rows_add_up_too():
    alone = []
    fine, blocks = (
        top(1, visual_scope="routed"),
        top(1, visual_scope="routed", rows=GridPartition(size=(1, 2, 2))),
    )
    for gaze in (fine, blocks, Gaze(branches=(fine, blocks), combine=SumCombine(weights=(1.0, 0.0)))):
        runner = Runner(decoder("qwen3"), gaze)
        with watch(runner.model) as trace:
            runner.forward(LAY, prompt(LAY))
        first = [glance for glance in trace.glances if glance.layer == 0]
        trace.glances[:] = first
        alone.append(attended_of(trace, LAY.kind == Kind.VISUAL).share)
    assert alone[2] == pytest.approx(alone[0] + alone[1])
