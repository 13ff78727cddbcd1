"""The tokens that a prompt with images needs, in any tokenizer."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from gazekit.models.chat import TURN_END, TURN_START

IMAGE, VIDEO, CONTEXT, PADDING = "<|image_pad|>", "<|video_pad|>", "<|context|>", "<|endoftext|>"


def add_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    """Adds what a tokenizer lacks of ChatML and of the placeholders, in place.

    Returns:
        How many tokens were added. A model's `vocab_size` must hold them: `resize_token_embeddings` if it does not.
    """
    known = tokenizer.get_vocab()
    wanted = (TURN_START, TURN_END, PADDING, IMAGE, VIDEO, CONTEXT)
    missing = [token for token in wanted if token not in known]
    added = tokenizer.add_tokens(missing, special_tokens=True) if missing else 0
    if tokenizer.pad_token is None:
        tokenizer.pad_token = PADDING
    return added


def token_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids that `CambrianConfig` asks for, under its names; missing tokens are added first.

    Example:
        config = CambrianConfig(text_config=text, vision_config=vision, **token_ids(tokenizer))
    """
    add_tokens(tokenizer)
    names = {
        "image_token_id": IMAGE,
        "video_token_id": VIDEO,
        "context_token_id": CONTEXT,
        "eos_token_id": TURN_END,
    }
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    return {**ids, "pad_token_id": tokenizer.pad_token_id}
