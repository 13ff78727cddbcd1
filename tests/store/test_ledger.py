"""Layers that take in the same tokens share one ledger, and whoever goes another way is not disturbed."""

import copy
import pickle

import torch

from gazekit.contracts import Regions
from gazekit.store import ResidentStore
from tests.store.test_resident import layout_of, look_of, window

OWNERS = [[0, -1, 1, 0, -1]]


def two_layers() -> tuple[ResidentStore, ResidentStore, Regions]:
    """Two stores that took in the first three tokens of `OWNERS`; a member of region 0 is still to come."""
    layout, regions = layout_of(OWNERS)
    stores, tokens = (ResidentStore(), ResidentStore()), window(layout, regions, 0, 3)
    for store in stores:
        store.add(look_of(1, 3), tokens, regions)
    return *stores, regions


def positions(store: ResidentStore) -> list[int]:
    """Of what lies at each place; a member that came alone leaves a place behind the regions empty."""
    found = store.entries().position[0, 0].tolist()
    return found[: -1 if found[-1] == -1 else None]


def test_layers_that_take_in_the_same_tokens_share_what_says_where_they_lie() -> None:
    one, other, regions = two_layers()
    layout, _ = layout_of(OWNERS)
    for start in (3, 4):
        tokens = window(layout, regions, start, start + 1)
        one.add(look_of(1, 1, start=start), tokens, regions)
        other.add(look_of(1, 1, start=10 * start), tokens, regions)
    assert one.entries().tokens is other.entries().tokens
    assert positions(one) == positions(other) == [0, 3, 2, 1, 4]
    assert one.entries().key[0, 0, :5, 0].tolist() == [0, 3, 2, 1, 4]
    assert other.entries().key[0, 0, :5, 0].tolist() == [0, 30, 2, 1, 40]


def test_entries_are_the_same_object_until_the_next_change() -> None:
    store, _, regions = two_layers()
    before = store.entries()
    assert store.outline() is store.fetch(None) is before
    layout, _ = layout_of(OWNERS)
    store.add(look_of(1, 1, start=3), window(layout, regions, 3, 4), regions)
    assert store.entries() is not before


def test_a_layer_left_behind_reads_as_before() -> None:
    ahead, behind, regions = two_layers()
    layout, _ = layout_of(OWNERS)
    ahead.add(look_of(1, 1, start=3), window(layout, regions, 3, 4), regions)
    assert positions(ahead) == [0, 3, 2, 1]
    assert positions(behind) == [0, -1, 2, 1]
    assert behind.entries().tokens.valid[0, 0].tolist() == [True, False, True, True]


def test_a_layer_that_goes_another_way_does_not_disturb_the_first() -> None:
    first, second, regions = two_layers()
    layout, _ = layout_of(OWNERS)
    first.add(look_of(1, 1, start=3), window(layout, regions, 3, 4), regions)
    text = layout.extended(6).tokens.narrow(5, 6)
    second.add(look_of(1, 1, start=3), text, regions)
    assert positions(first) == [0, 3, 2, 1]
    assert positions(second) == [0, -1, 2, 1, 3]
    assert second.length == first.length == 4


def test_a_copy_goes_its_own_way() -> None:
    store, other, regions = two_layers()
    layout, _ = layout_of(OWNERS)
    tokens = window(layout, regions, 3, 4)
    store.add(look_of(1, 1, start=3), tokens, regions)
    for copied in (copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        copied.add(look_of(1, 1, start=7), tokens, regions)
        assert positions(copied) == [0, 3, 2, 1]
        assert copied.entries().key[0, 0, :4, 0].tolist() == [0, 7, 2, 1]
    assert positions(other) == [0, -1, 2, 1]
    assert other.entries().key[0, 0, 1, 0] == 0


def test_inference_mode_does_not_reach_stores_outside_it() -> None:
    layout, regions = layout_of(OWNERS)
    tokens = window(layout, regions, 0, 3)
    with torch.inference_mode():
        inside = ResidentStore()
        inside.add(look_of(1, 3), tokens, regions)
    outside = ResidentStore()
    outside.add(look_of(1, 3), tokens, regions)
    outside.add(look_of(1, 1, start=3), window(layout, regions, 3, 4), regions)
    assert positions(outside) == [0, 3, 2, 1]
    assert positions(inside) == [0, -1, 2, 1]
