"""On a CUDA device: the same bits as resident, pinned pages that it reads by itself, and nothing that waits for it."""

import pytest
import torch

from gazekit.bench import DecodeShape, OffloadShape, bench_offload
from gazekit.gaze import shape_of
from gazekit.store import HostTier, OffloadedStore
from tests.store.test_offloaded import OWNER, asked
from tests.store.test_resident import layout_of, look_of, window

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("tier", ["pinned", "memory_mapped"])
@pytest.mark.parametrize("share", ["head", "group"])
def test_the_same_bits_and_all_of_them_come_back(tier, share):
    decode = DecodeShape(
        sizes=shape_of("2,8,2,64"), visual=3000, attend=288, text=30, layers=2, share=share, device="cuda"
    )
    found = bench_offload(OffloadShape(decode=decode, tier=tier, steps=4, sweep=True))
    assert found.equal is True
    assert found.swept is True


def test_a_fetch_does_not_wait_for_the_device():
    layout, regions = layout_of(OWNER)
    tokens, look = window(layout, regions, 0, layout.length), look_of(2, layout.length)
    fields = {name: value.cuda() for name, value in vars(regions).items()}
    look = type(look)(
        query=look.query.cuda(), key=look.key.cuda(), value=look.value.cuda(), layer=0, scale=1.0
    )
    store = OffloadedStore(HostTier(), slots=1.0)
    store.add(look, tokens.to("cuda"), type(regions)(**fields))
    selection = asked([[0], [1]], [[2], [2]])
    selection = type(selection)(selection.index.cuda())
    store.fetch(selection)
    torch.cuda.set_sync_debug_mode("error")
    try:
        store.fetch(selection)
    finally:
        torch.cuda.set_sync_debug_mode("default")
