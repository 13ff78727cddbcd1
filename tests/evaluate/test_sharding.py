"""Metrics do not depend on who saw which sample, in what order, or how often."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluate.samples import METRICS, figures

ROOT = Path(__file__).parents[2]

DEALS = st.integers(1, 8).flatmap(
    lambda count: st.tuples(
        st.just(count), st.lists(st.lists(st.integers(0, count - 1), max_size=6), min_size=1, max_size=4)
    )
)
"""How many samples there are, and which of them each rank sees besides its share."""


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=15)
@given(DEALS, st.randoms(use_true_random=False))
def test_any_sharding_gives_the_whole(name, deal, random):
    make, add = METRICS[name]
    count, repeated = deal
    whole = make()
    add(whole, list(range(count)))
    shards = [list(extra) for extra in repeated]
    for sample in range(count):
        random.choice(shards).append(sample)
    merged = make()
    for shard in shards:
        random.shuffle(shard)
        rank = make()
        if shard:
            add(rank, shard)
        merged.merge_state(rank)
    assert repr(figures(merged)) == repr(figures(whole))


@pytest.mark.parametrize("name", METRICS)
def test_samples_without_names_each_count(name):
    make, add = METRICS[name]
    metric = make()
    add(metric, [3])
    before = len(metric.rows()["key"])
    add(metric, [3])
    assert len(metric.rows()["key"]) == before
    add(metric, [4])
    assert len(metric.rows()["key"]) == 2 * before


def test_as_many_names_as_samples():
    from gazekit.evaluate import AttendedEntries

    with pytest.raises(ValueError, match="ids must name every sample, got 1 for 2"):
        AttendedEntries().update(
            torch.ones(2, 1, 1, 1, 3, dtype=torch.int64),
            torch.tensor([4, 4]),
            torch.ones(2, 1) > 0,
            ids=["a"],
        )


RANK = """
import json, sys, torch, torch.distributed as dist
from tests.evaluate.samples import METRICS, figures
rank, port = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{port}", rank=rank, world_size=2)
uneven, lonely = {}, {}
for name, (make, add) in METRICS.items():
    metric = make()
    add(metric, [[0, 1, 2, 3, 4], [1, 5, 0]][rank])
    uneven[name] = figures(metric)
    alone = make()
    if rank == 0:
        add(alone, [0, 1])
    lonely[name] = figures(alone)
if rank == 1:
    print(repr({"uneven": uneven, "lonely": lonely}))
dist.destroy_process_group()
"""


def test_two_processes_equal_one_with_uneven_shards_and_with_an_empty_one(tmp_path):
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    meet = tmp_path / "meet"
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(meet)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=120) for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], said
    expected = {}
    for case, samples in (("uneven", list(range(6))), ("lonely", [0, 1])):
        expected[case] = {}
        for name, (make, add) in METRICS.items():
            metric = make()
            add(metric, samples)
            expected[case][name] = figures(metric)
    assert said[1][0].strip() == repr(expected)
