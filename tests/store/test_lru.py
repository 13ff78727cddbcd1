"""The table of what is at hand equals a least-recently-used cache in plain Python."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from gazekit.contracts import Selection
from gazekit.store import Table, union


class PlainLru:
    """Regions with the step in which each was last wanted."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.step, self.last = capacity, 0, {}
        self.hits = self.misses = 0

    def touch(self, wanted: list[int]) -> list[int]:
        """Takes them in and returns those that were missing."""
        self.step += 1
        missing = [region for region in wanted if region not in self.last]
        self.hits += len(wanted) - len(missing)
        self.misses += len(missing)
        self.last |= {region: self.step for region in wanted if region in self.last}
        for region in missing:
            if len(self.last) == self.capacity:
                idle = [(step, other) for other, step in self.last.items() if step < self.step]
                if not idle:
                    break
                del self.last[min(idle)[1]]
            self.last[region] = self.step
        return missing


REGIONS = 9


@given(
    capacity=st.integers(1, 6),
    steps=st.lists(
        st.lists(st.sets(st.integers(0, REGIONS - 1)), min_size=4, max_size=4), min_size=1, max_size=12
    ),
)
def test_the_table_is_an_lru(capacity, steps):
    table = Table.empty(2, 2, REGIONS, capacity, torch.device("cpu"))
    plain = [PlainLru(capacity) for _ in range(4)]
    for step in steps:
        lists = [sorted(one) for one in step]
        wanted = torch.tensor([one + [-1] * (REGIONS - len(one)) for one in lists]).view(2, 2, -1)
        turn = table.touch(wanted)
        for lane, (want, lru) in enumerate(zip(lists, plain, strict=True)):
            at = divmod(lane, 2)
            assert wanted[at][turn.missed[at]].tolist() == lru.touch(want)
            slots = turn.slot[at][: len(want)].tolist()
            assert len(set(slots)) == len(slots)
            # What lies in the buffer is what the plain one holds, each region in the slot that the table says.
            held = table.region_of[at][:-1]
            assert sorted(held[held >= 0].tolist()) == sorted(lru.last)
            for region in range(REGIONS):
                slot = int(table.slot_of[at][region])
                assert (slot >= 0) == (region in lru.last)
                assert slot < 0 or int(held[slot]) == region
            for region, slot in zip(want, slots, strict=True):
                inside = region in lru.last
                assert (slot < capacity) == inside
                assert not inside or int(held[slot]) == region


@given(data=st.data(), heads=st.sampled_from([1, 2, 4]), rows=st.integers(1, 3))
def test_the_union_is_what_any_row_of_any_head_of_the_group_chose(data, heads, rows):
    slots = 3
    sets = st.lists(
        st.sets(st.integers(0, REGIONS - 1), max_size=slots), min_size=heads * rows, max_size=heads * rows
    )
    chosen = data.draw(sets)
    index = torch.tensor([sorted(one) + [-1] * (slots - len(one)) for one in chosen], dtype=torch.int32)
    found = union(Selection(index.view(1, heads, rows, slots)), 2, REGIONS)
    assert found.shape[2] == min(REGIONS, max(1, heads // 2) * rows * slots)
    for kv_head in range(2):
        of = [head for head in range(heads) if heads == 1 or head * 2 // heads == kv_head]
        expected = sorted(set().union(*(chosen[head * rows + row] for head in of for row in range(rows))))
        got = found[0, kv_head].tolist()
        assert got == expected + [-1] * (len(got) - len(expected))
