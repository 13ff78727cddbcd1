"""One rank of two: a retrofitted model, sharded by FSDP2, against the same model whole; run by test_training."""

import os
import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from gazekit import Gaze, GridPartition, TopKRouter, apply_gaze
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import SCENES, checkpointed

CASE = CASES["qwen2_5_vl"]


def gradients(model, inputs) -> tuple[float, dict]:
    loss = model(**inputs).loss
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss.item(), {name: g.full_tensor() if isinstance(g, DTensor) else g for name, g in found.items()}


def main(rank: int, address: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    gaze = Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1))
    inputs = CASE.write(SCENES["left-padded batch"])
    inputs["labels"] = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    expected = gradients(checkpointed(apply_gaze(CASE.build(), gaze)), inputs)
    model = checkpointed(apply_gaze(CASE.build(), gaze))
    mesh = init_device_mesh("cpu", (2,))
    for layer in (*model.model.visual.blocks, *model.model.language_model.layers):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    found = gradients(model, inputs)
    assert found[0] == expected[0], (found[0], expected[0])
    assert found[1].keys() == expected[1].keys()
    for name, gradient in found[1].items():
        torch.testing.assert_close(gradient, expected[1][name], atol=1e-6, rtol=1e-5, msg=name)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
    # Threads of gloo outlive the group, and would be waited for.
    sys.stdout.flush()
    os._exit(0)
