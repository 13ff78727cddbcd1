"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: grids in patches, 2 x 2 of them to a token, two frames to a step in time."""

import torch
from transformers import (
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from tests.models.retrofit.tiny import (
    BEGIN,
    END,
    IMAGE,
    TEXT,
    VIDEO,
    Case,
    Image,
    finished,
    padded,
    pixels,
    written,
)

IDS = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": BEGIN,
    "vision_end_token_id": END,
}
ROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0}}
TOWER = {"depth": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}
STAMP = 42


def qwen2_vl() -> PreTrainedModel:
    torch.manual_seed(0)
    vision = TOWER | {"embed_dim": 32, "hidden_size": 48, "num_heads": 2, "mlp_ratio": 2}
    config = Qwen2VLConfig(text_config=TEXT | ROPE, vision_config=vision, **IDS)
    return finished(Qwen2VLForConditionalGeneration._from_config(config, attn_implementation="sdpa"))


def qwen2_5_vl() -> PreTrainedModel:
    torch.manual_seed(0)
    vision = TOWER | {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 48}
    vision |= {"window_size": 16, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(text_config=TEXT | ROPE, vision_config=vision, **IDS)
    return finished(Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="sdpa"))


def qwen3_vl() -> PreTrainedModel:
    torch.manual_seed(0)
    vision = TOWER | {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 48}
    vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    config = Qwen3VLConfig(text_config=TEXT | ROPE | {"head_dim": 12}, vision_config=vision, **IDS)
    return finished(Qwen3VLForConditionalGeneration._from_config(config, attn_implementation="sdpa"))


def write(rows, stamps=False):
    """Inputs as the processors return them; with `stamps`, a time stands before each frame of a video."""
    grids = {IMAGE: [], VIDEO: []}

    def show(piece):
        if isinstance(piece, Image):
            grids[IMAGE].append([1, 2 * piece.rows, 2 * piece.columns])
            return [BEGIN, *[IMAGE] * (piece.rows * piece.columns), END]
        grids[VIDEO].append([piece.frames, 2 * piece.rows, 2 * piece.columns])
        frame = [VIDEO] * (piece.rows * piece.columns)
        if stamps:
            return [number for _ in range(piece.frames) for number in (STAMP, BEGIN, *frame, END)]
        return [BEGIN, *frame * piece.frames, END]

    inputs = padded(written(rows, show))
    ids = inputs["input_ids"]
    inputs["mm_token_type_ids"] = (ids == IMAGE).long() + 2 * (ids == VIDEO).long()
    for number, (values, sizes) in {
        IMAGE: ("pixel_values", "image_grid_thw"),
        VIDEO: ("pixel_values_videos", "video_grid_thw"),
    }.items():
        if grids[number]:
            inputs[sizes] = torch.tensor(grids[number])
            inputs[values] = pixels(int(inputs[sizes].prod(-1).sum()), 3 * 2 * 4 * 4, seed=number)
    return inputs


def write_stamped(rows):
    return write(rows, stamps=True)


CASES = {
    "qwen2_vl": Case(build=qwen2_vl, write=write),
    "qwen2_5_vl": Case(build=qwen2_5_vl, write=write),
    "qwen3_vl": Case(build=qwen3_vl, write=write_stamped),
}
