"""What offloading promises beyond the laws of every store: what is held, moves, is shared, is refused."""

import logging
import os
from collections import namedtuple
from dataclasses import replace

import pytest
import torch

from gazekit.contracts import Look, Regions, Selection, TokenLayout
from gazekit.store import (
    FileTier,
    HostTier,
    MemoryMappedStorage,
    OffloadedStorage,
    OffloadedStore,
    ResidentStore,
    storage_of,
)
from tests.store.test_resident import layout_of, look_of, window

TIERS = {"host": HostTier(), "file": FileTier()}
# Three regions of 3, 2 and 1 members in the first sample, text before, between and behind.
OWNER = [[-1, 0, 0, 1, -1, 0, 1, 2, -1], [-2, -1, 0, 0, 0, 1, -1, 2, 2]]


def filled(store, owner=OWNER) -> tuple[TokenLayout, Regions]:
    layout, regions = layout_of(owner)
    count = layout.length
    store.add(look_of(len(owner), count), window(layout, regions, 0, count), regions)
    return layout, regions


def asked(*regions: list[list[int]]) -> Selection:
    """One row for each of two heads: a list for each sample of a list for each head."""
    return Selection(torch.tensor(regions, dtype=torch.int32)[:, :, None])


def rows_of(entries, sample: int, head: int, region: int) -> list[float]:
    begin, count = (int(field[sample, head, region]) for field in (entries.begin, entries.count))
    return entries.key[sample, head, begin : begin + count, 0].tolist()


@pytest.mark.parametrize("tier", TIERS)
def test_only_misses_move_and_each_head_has_its_own_buffer(tier):
    store = OffloadedStore(TIERS[tier], slots=1.0)
    filled(store)
    first = store.fetch(asked([[0], [1]], [[2], [2]]))
    assert rows_of(first, 0, 0, 0) == [1, 2, 5]
    assert rows_of(first, 0, 1, 1) == [-3, -6]
    assert rows_of(first, 1, 0, 2) == [7, 8]
    assert first.count[0, :].tolist() == [[3, 0, 0], [0, 2, 0]]
    assert store.traffic.misses.tolist() == [[1, 1], [1, 1]]
    assert store.traffic.rows.tolist() == [[3, 2], [2, 2]]
    store.fetch(asked([[0], [2]], [[2], [0]]))
    assert store.traffic.hits.tolist() == [[1, 0], [1, 0]]
    assert store.traffic.rows.tolist() == [[3, 3], [2, 5]]


def test_the_buffer_is_a_view_while_it_will_do_and_everything_wanted_is_there_where_it_will_not():
    store = OffloadedStore(HostTier(), slots=1.0)
    filled(store)
    before = store.fetch(asked([[0], [1]], [[2], [2]])).key.data_ptr()
    assert store.fetch(asked([[1], [1]], [[2], [0]])).key.data_ptr() == before
    # Four heads over two KV heads: up to two regions each, and one slot.
    index = torch.tensor([[[0], [1], [2], [2]], [[0], [2], [1], [0]]], dtype=torch.int32)[:, :, None]
    entries = store.fetch(Selection(index))
    assert entries.key.data_ptr() != before
    assert [rows_of(entries, 0, 0, region) for region in (0, 1)] == [[1, 2, 5], [3, 6]]
    assert [rows_of(entries, 1, 1, region) for region in (0, 1)] == [[-2, -3, -4], [-5]]
    assert entries.position[0, 0, entries.free :].tolist() == [0, 4, 8]


def test_a_larger_selection_gets_a_larger_buffer():
    store = OffloadedStore(HostTier(), slots=1.0)
    filled(store)
    store.fetch(asked([[0], [0]], [[0], [0]]))
    small = store.resident_bytes()["hot"]
    entries = store.fetch(asked([[0, 2], [0, 1]], [[0, 1], [0, 2]]))
    assert store.resident_bytes()["hot"] == 2 * small
    assert rows_of(entries, 0, 0, 2) == [7]


def test_what_is_held_is_counted_from_the_tensors():
    store = OffloadedStore(HostTier(), slots=1.5)
    filled(store)
    assert store.resident_bytes()["hot"] == 0
    store.fetch(asked([[0, 1], [0, 1]], [[0, 1], [0, 1]]))
    memory = store._keeper.shelf.memory
    # Three slots of three rows, for two samples and two heads, a key and a value of one fp32 number each.
    assert store.resident_bytes()["hot"] == 3 * 3 * 2 * 2 * 2 * 4
    rows = memory.key.nbytes + memory.value.nbytes
    assert store.resident_bytes()["hot"] + store.resident_bytes()["free"] == rows


@pytest.mark.parametrize("tier", TIERS)
def test_samples_share_their_pages_until_one_is_written_to(tier):
    layout, regions = layout_of([[0, 0, -1, 1, 1]])
    store, plain = OffloadedStore(TIERS[tier]), ResidentStore()
    for one in (store, plain):
        one.add(look_of(1, 3), window(layout, regions, 0, 3), regions)
        one.reorder(torch.tensor([0, 0]))
    pages = store._keeper.shelf.memory.pages
    assert pages.key.rows.shape[0] == 1
    twice = torch.tensor([0, 0])
    layout, regions = layout.reorder(twice), layout_of([[0, 0, -1, 1, 1]] * 2)[1]
    look = look_of(2, 2, start=3)
    look = replace(look, key=look.key + torch.tensor([0.0, 0.5]).view(2, 1, 1, 1))
    for one in (store, plain):
        one.add(look, window(layout, regions, 3, 5), regions)
    assert store._keeper.shelf.memory.pages.key.rows.shape[0] == 2
    assert torch.equal(store.entries().key, plain.entries().key)


def test_what_was_taken_back_is_not_found_in_the_buffer():
    layout, regions = layout_of([[0, 0, -1, -1]])
    store = OffloadedStore(HostTier())
    store.mark()
    store.add(look_of(1, 3), window(layout, regions, 0, 3), regions)
    store.mark()
    store.rollback()
    assert rows_of(store.fetch(asked([[0], [0]])), 0, 0, 0) == [0, 1]
    store.rollback()
    store.add(look_of(1, 3, start=7), window(layout, regions, 0, 3), regions)
    assert rows_of(store.fetch(asked([[0], [0]])), 0, 0, 0) == [7, 8]


def test_without_regions_all_is_on_the_device():
    store = OffloadedStore(FileTier())
    filled(store, [[-1, -1, -1]])
    assert store.fetch(Selection(torch.empty(1, 2, 1, 0, dtype=torch.int32))).key[0, 0, :, 0].tolist() == [
        0,
        1,
        2,
    ]


def test_the_file_has_no_name_and_goes_with_the_store(tmp_path):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    store = MemoryMappedStorage(folder=str(tmp_path))()
    filled(store)
    assert list(tmp_path.iterdir()) == []
    assert store.entries().key[0, 0, 0, 0] == 1
    del store
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(100, 100, 10))
    with pytest.raises(
        OSError, match=r"disk of .* must have .* GB for keys and values, and has 0\.00 GB free"
    ):
        filled(MemoryMappedStorage(folder=str(tmp_path))())


def test_a_disk_that_fills_up_meanwhile_is_said_too(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="name a folder on another disk"):
        filled(MemoryMappedStorage(folder=str(tmp_path))())


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .*nowhere must be there"):
        filled(MemoryMappedStorage(folder=str(tmp_path / "nowhere"))())


@pytest.mark.parametrize("storage", [OffloadedStorage, MemoryMappedStorage])
@pytest.mark.parametrize("slots", [0.5, float("nan")])
def test_a_buffer_holds_what_a_head_looks_at(storage, slots):
    with pytest.raises(ValueError, match="slots must be at least 1"):
        storage(slots=slots)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        ValueError, match=r"store must be one of resident, offloaded, .*did you mean 'offloaded'"
    ):
        storage_of("ofloaded")
    assert storage_of("memory_mapped") == MemoryMappedStorage()


def test_hits_are_logged(caplog):
    store = OffloadedStore(HostTier())
    filled(store)
    with caplog.at_level(logging.DEBUG, "gazekit.store"):
        for _ in range(2):
            store.fetch(asked([[0], [0]], [[0], [0]]))
    assert "keeps 2 of 3 regions of each KV head at hand" in caplog.text
    assert "hit rate 0.500 so far, 4 regions brought in" in caplog.text


def test_keys_that_are_elsewhere_read_as_nan():
    store = OffloadedStore(HostTier())
    filled(store)
    assert store.outline().key.isnan().all()
    assert store.outline().free == store.entries().free == 6


def test_rows_of_any_dtype_come_back_as_they_were():
    layout, regions = layout_of([[0, 0, -1]])
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        store = OffloadedStore(FileTier())
        look = look_of(1, 3)
        look = Look(query=look.query, key=look.key.to(dtype), value=look.value.to(dtype), layer=0, scale=1.0)
        store.add(look, window(layout, regions, 0, 3), regions)
        entries = store.fetch(asked([[0], [0]]))
        assert entries.key.dtype == entries.value.dtype == dtype
        assert rows_of(entries, 0, 0, 0) == [0, 1]


def test_a_device_that_is_not_waited_for_copies_the_same(monkeypatch):
    """What runs where a CUDA device reads the host's memory by itself, run here over a device named otherwise."""

    class NotTheHost:
        """A CPU tensor's device under another name."""

        type = "elsewhere"

    found = []
    for elsewhere in (False, True):
        store = OffloadedStore(HostTier(), slots=1.0)
        filled(store)
        memory = store._keeper.shelf.memory
        key = torch.full((2, 2, 9, 1), -9.0)
        value = key.clone()
        pages = memory.pages
        if elsewhere:
            rows = pages.key.rows
            stand_in = torch.Tensor._make_subclass(
                type("Rows", (torch.Tensor,), {"device": NotTheHost}), rows
            )
            pages = replace(pages, key=replace(pages.key, rows=stand_in))
        source, target = (
            torch.tensor([[[0, 3], [3, 0]], [[0, 4], [4, 0]]]),
            torch.tensor([[[0, 3], [-1, 3]]] * 2),
        )
        pages.bring(key, value, source, target, torch.tensor([[[3, 2], [2, 3]]] * 2), 3)
        found.append((key[:, :, :-1], value[:, :, :-1]))
    assert found[0][0].unique().numel() > 5
    assert torch.equal(found[0][0], found[1][0].as_subclass(torch.Tensor))
    assert torch.equal(found[0][1], found[1][1].as_subclass(torch.Tensor))
