"""What ResidentStore promises beyond the laws of every store."""

import pytest
import torch

from gazekit.contracts import Kind, Look, Regions, TokenLayout, Tokens, regions_from_owner
from gazekit.store import ResidentStore


def layout_of(owner: list[list[int]]) -> tuple[TokenLayout, Regions]:
    """Visual tokens where a region is given, text at -1, padding at -2."""
    labels = torch.tensor(owner)
    kind = torch.where(labels >= 0, Kind.VISUAL, torch.where(labels == -1, Kind.TEXT, Kind.PAD))
    none = torch.full_like(labels, -1)
    valid = kind != Kind.PAD
    document = torch.where(valid, 0, -1)
    order = torch.where(valid, valid.long().cumsum(-1) - 1, -1)
    region = labels.clamp_min(-1)
    tokens = Tokens(*(field[:, None] for field in (kind, none, document, order, none)))
    layout = TokenLayout(tokens=tokens, clip=none, place=none[..., None].expand(-1, -1, 3))
    return layout, regions_from_owner(region, layout)


def look_of(batch: int, count: int, start: int = 0, requires_grad: bool = False) -> Look:
    """Keys that say their position, so that one sees where each went; one head more of them negated."""
    key = torch.arange(start, start + count, dtype=torch.float32).expand(batch, 1, count)[..., None]
    key = torch.cat([key, -key], dim=1).requires_grad_(requires_grad)
    return Look(query=key.detach(), key=key, value=key * 10, layer=0, scale=1.0)


def window(layout: TokenLayout, regions: Regions, start: int, stop: int) -> Tokens:
    owner = torch.nn.functional.pad(regions.owner, (0, max(0, stop - layout.length)), value=-1)
    return layout.window(start, stop).owned_by(owner[:, None, start:stop])


def test_members_lie_region_by_region_and_free_tokens_behind() -> None:
    layout, regions = layout_of([[-1, 0, 1, 0, 1, -1], [-2, -1, -1, 0, 0, 0]])
    store = ResidentStore()
    store.add(look_of(2, 6), window(layout, regions, 0, 6), regions)
    entries = store.entries()
    assert entries.position[:, 0].tolist() == [[1, 3, 2, 4, 0, 5], [3, 4, 5, -1, 1, 2]]
    assert entries.key[0, 0, :, 0].tolist() == [1, 3, 2, 4, 0, 5]
    assert (entries.begin.tolist(), entries.count.tolist()) == ([[[0, 2]], [[0, 3]]], [[[2, 2]], [[3, 0]]])
    assert entries.free == 4


def test_a_region_fed_in_pieces_fills_up_where_it_lies() -> None:
    layout, regions = layout_of([[0, 0, -1, 0, 1]])
    store = ResidentStore()
    store.add(look_of(1, 1), window(layout, regions, 0, 1), regions)
    assert store.entries().tokens.valid[0, 0].tolist() == [True, False, False, False, False]
    store.add(look_of(1, 4, start=1), window(layout, regions, 1, 5), regions)
    assert store.entries().position[0, 0, :4].tolist() == [0, 1, 3, 4]
    assert store.entries().count.tolist() == [[[3, 1]]]


def test_entries_are_views_and_decoding_copies_nothing_until_the_spare_places_are_used() -> None:
    layout, regions = layout_of([[0, 0, -1]])
    store = ResidentStore()
    store.add(look_of(1, 3), window(layout, regions, 0, 3), regions)
    before = store.entries().key
    store.add(look_of(1, 1, start=3), window(layout, regions, 3, 4), regions)
    assert store.entries().key.data_ptr() == before.data_ptr()


def test_growth_doubles() -> None:
    layout, regions = layout_of([[0, 0, -1]])
    store = ResidentStore()
    store.add(look_of(1, 3), window(layout, regions, 0, 3), regions)
    addresses = set()
    for step in range(3, 403):
        store.add(look_of(1, 1, start=step), window(layout, regions, step, step + 1), regions)
        addresses.add(store.entries().key.data_ptr())
    assert len(addresses) <= 4
    assert store.entries().position[0, 0].tolist() == list(range(403))


def test_length_counts_padding() -> None:
    layout, regions = layout_of([[-2, -2, 0], [0, 0, -1]])
    store = ResidentStore()
    store.add(look_of(2, 3), window(layout, regions, 0, 3), regions)
    assert store.length == 3
    assert store.entries().tokens.valid[0, 0].sum() == 1


def test_more_regions_may_be_declared_later() -> None:
    store = ResidentStore()
    layout, regions = layout_of([[0, 0, -1], [-1, -1, -1]])
    store.add(look_of(2, 3), window(layout, regions, 0, 3), regions)
    layout, regions = layout_of([[0, 0, -1, 1, 1, 2], [-1, -1, -1, 0, 0, 0]])
    store.add(look_of(2, 3, start=3), window(layout, regions, 3, 6), regions)
    entries = store.entries()
    assert entries.position[:, 0].tolist() == [[0, 1, 3, 4, 5, 2, -1, -1], [3, 4, 5, -1, -1, 0, 1, 2]]
    assert entries.free == 5


def test_eviction_per_head_closes_the_gaps_and_keeps_room_for_members_to_come() -> None:
    layout, regions = layout_of([[0, 0, 1, -1, -1, 1]])
    store = ResidentStore()
    store.add(look_of(1, 5), window(layout, regions, 0, 5), regions)
    entries = store.entries()
    assert entries.position[0, 0].tolist() == [0, 1, 2, -1, 3, 4]
    store.keep(torch.tensor([[[0, 2, 4, -1], [1, 0, 5, 4]]]))
    entries = store.entries()
    assert entries.count.tolist() == [[[1, 1], [2, 0]]]
    store.add(look_of(1, 1, start=5), window(layout, regions, 5, 6), regions)
    entries = store.entries()
    assert entries.position[0].tolist() == [[0, 2, 5, 3, -1, -1], [0, 1, 5, 3, 4, -1]]
    assert entries.key[0, 1, :5, 0].tolist() == [0, -1, -5, -3, -4]
    assert entries.free == 3


def test_gradients_reach_everything_that_was_added() -> None:
    layout, regions = layout_of([[0, 0, -1, -1]])
    store = ResidentStore()
    first, second = look_of(1, 3, requires_grad=True), look_of(1, 1, start=3, requires_grad=True)
    store.add(first, window(layout, regions, 0, 3), regions)
    early = store.entries().key.square().sum()
    store.add(second, window(layout, regions, 3, 4), regions)
    (early + store.entries().key.square().sum()).backward()
    torch.testing.assert_close(first.key.grad, 4 * first.key.detach())
    torch.testing.assert_close(second.key.grad, 2 * second.key.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_is_the_keys(dtype: torch.dtype) -> None:
    layout, regions = layout_of([[0, -1]])
    store = ResidentStore()
    look = look_of(1, 2)
    look = Look(query=look.query, key=look.key.to(dtype), value=look.value.to(dtype), layer=0, scale=1.0)
    store.add(look, window(layout, regions, 0, 2), regions)
    assert store.entries().key.dtype == store.entries().value.dtype == dtype


def test_rollback_to_before_the_first_add_empties_the_store() -> None:
    layout, regions = layout_of([[0, -1]])
    store = ResidentStore()
    store.mark()
    store.add(look_of(1, 2), window(layout, regions, 0, 2), regions)
    store.rollback()
    assert store.length == 0
    with pytest.raises(ValueError, match="the store is empty"):
        store.entries()


def test_rollback_needs_a_mark() -> None:
    with pytest.raises(ValueError, match=r"rollback needs a mark, got none; call mark\(\)"):
        ResidentStore().rollback()


def test_regions_never_shrink() -> None:
    layout, regions = layout_of([[0, 0, 1]])
    store = ResidentStore()
    store.add(look_of(1, 3), window(layout, regions, 0, 3), regions)
    layout, fewer = layout_of([[0, 0, -1, -1]])
    with pytest.raises(ValueError, match="regions must hold every region declared before"):
        store.add(look_of(1, 1, start=3), window(layout, fewer, 3, 4), fewer)


def test_more_members_than_declared_are_refused() -> None:
    layout, regions = layout_of([[0, 0, -1, -1]])
    tokens = window(layout, regions, 0, 4).owned_by(torch.zeros(1, 1, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"region 0 of sample 0 4 members, but regions\.size declares 2"):
        ResidentStore().add(look_of(1, 4), tokens, regions)


def test_tokens_must_align_with_the_keys() -> None:
    layout, regions = layout_of([[0, 0, -1, -1]])
    with pytest.raises(ValueError, match="tokens must describe each of the 3 keys of the look, got 2"):
        ResidentStore().add(look_of(1, 3), window(layout, regions, 0, 2), regions)
