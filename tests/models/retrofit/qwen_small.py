"""A tiny random Qwen2.5-VL with a processor whose tokenizer fits it."""

import torch
from transformers import ProcessorMixin, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tests.models.retrofit.stock import make_stock


def make_qwen(
    *,
    tied: bool = True,
    spare: int = 0,
    seed: int = 0,
    sharpness: float = 1.0,
    processor: ProcessorMixin | None = None,
) -> tuple[Qwen2_5_VLForConditionalGeneration, ProcessorMixin]:
    """Two layers each; patches of 4 pixels, 2 x 2 to a token.

    Args:
        tied: Whether the output layer is the embedding.
        spare: Rows of the vocabulary beyond the tokenizer's.
        seed: Of the weights.
        sharpness: Factor on the matrices.
        processor: Another than `make_stock`'s.
    """
    processor = processor or make_stock("Qwen2_5_VLProcessor")
    tokenizer = processor.tokenizer
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + spare, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0},
            "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32,
            "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        image_token_id=processor.image_token_id, video_token_id=processor.video_token_id,
        tie_word_embeddings=tied,
    )  # fmt: skip
    config.text_config.tie_word_embeddings = tied
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(sharpness)
    return model, processor
