"""What a step is measured against besides dense attention: the reference, and the speed of the memory."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gazekit.attend import ReferenceBackend
from gazekit.bench.scene import Scene
from gazekit.contracts import Entries, Plan, Selection


def distance_to_reference(scene: Scene, backend: str) -> float:
    """Relative root-mean-square distance of a backend to the reference, in the first layer."""
    found = scene.step(backend, 0).float()
    plan, entries = scene.plan(scene.select(0)), scene.entries(0)
    # One KV head at a time: the reference widens all keys.
    heads = [_reference(scene, entries, plan, kv_head) for kv_head in range(scene.kv_heads)]
    expected = torch.cat(heads, dim=1).float()
    return float((found - expected).norm() / expected.norm())


def bytes_read(scene: Scene) -> tuple[float, int]:
    """Visual entries of a query, averaged; and bytes that a step must read, averaged over the layers."""
    attended, read = 0.0, 0.0
    size = scene.regions.size[:, None]
    for number, layer in enumerate(scene.layers):
        selection, entries = scene.select(number), scene.entries(number)
        assert selection is not None, "the bench routes at openness 0"
        chosen = selection.chosen(scene.regions.count)[:, :, 0]
        attended += float((chosen * size).sum(-1).double().mean())
        kv_heads, dim = entries.key.shape[1], entries.key.shape[3]
        union = chosen if chosen.shape[1] <= kv_heads else chosen.unflatten(1, (kv_heads, -1)).any(2)
        rows = (union * size).sum() * (kv_heads // union.shape[1])
        free = entries.key[:, :, entries.free :].shape[2] * entries.key.shape[0] * kv_heads
        read += 2 * dim * entries.key.element_size() * (float(rows) + free)
        read += sum(t.numel() * t.element_size() for t in layer.described.tensors.values())
    return attended / len(scene.layers), int(read / len(scene.layers))


def read_through(scene: Scene, number: int) -> object:
    """Reads a layer's keys and values one after another, the fastest that plain torch can: on CUDA it copies them."""
    layer = scene.layers[number]
    if layer.key.is_cuda:
        return [field.clone() for field in (layer.key, layer.value)]
    # As numbers that a processor adds up faster than it reads them.
    return [field.view(torch.float32).sum() for field in (layer.key, layer.value)]


def _reference(scene: Scene, entries: Entries, plan: Plan, kv_head: int) -> Tensor:
    group = scene.layers[0].query.shape[1] // scene.kv_heads
    own = slice(kv_head * group, (kv_head + 1) * group)
    assert plan.selection is not None, "the bench routes at openness 0"
    heads = own if plan.selection.index.shape[1] > scene.kv_heads else slice(kv_head, kv_head + 1)
    alone = replace(entries, key=entries.key[:, kv_head, None], value=entries.value[:, kv_head, None])
    seen = replace(plan, selection=Selection(plan.selection.index[:, heads]))
    return ReferenceBackend().attend(scene.layers[0].query[:, own], alone, seen)
