"""A few layers of a stock decoder, to be trained with gaze and without."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

from gazekit.contracts import Sizes, TokenLayout
from gazekit.gaze import Gaze, begin_pass, install

MLP_DIMS = {"qwen3-4b": 9728, "qwen2.5-7b": 18944, "tiny": 384}
"""Widths of the MLPs of the decoders in `gazekit.gaze.SHAPES`."""


class Layers(nn.Module):
    """Decoder layers between embeddings and output.

    Args:
        decoder: A stock one.
        gaze: How it looks; None = the stock attention.
    """

    def __init__(self, decoder: Qwen3Model, gaze: Gaze | None) -> None:
        super().__init__()
        self.decoder = decoder
        self.looks = gaze is not None
        if gaze is not None:
            install(decoder, gaze)

    def forward(
        self, hidden: Float[Tensor, "batch token width"], layout: TokenLayout
    ) -> Float[Tensor, "batch token width"]:
        """The last layer's hidden states; rows must be full, so that dense attention needs no mask."""
        more = {}
        if self.looks:
            more["gaze_pass"] = begin_pass(self.decoder, layout, 0, layout.length, openness=0.0)
        order = layout.tokens.order[:, 0]
        # One row of positions for all samples, as transformers takes them where nothing is padded or packed.
        return self.decoder(
            inputs_embeds=hidden, position_ids=order[:1], use_cache=False, **more
        ).last_hidden_state


def layers_of(
    sizes: Sizes, mlp_dim: int, num_layers: int, gaze: Gaze | None = None, like: Layers | None = None
) -> Layers:
    """Random layers of a decoder of these sizes, of the Qwen3 kind; the very weights of `like` where given."""
    config = Qwen3Config(
        vocab_size=8, hidden_size=sizes.hidden_dim, intermediate_size=mlp_dim, num_hidden_layers=num_layers,
        num_attention_heads=sizes.num_heads, num_key_value_heads=sizes.num_kv_heads, head_dim=sizes.head_dim,
        max_position_embeddings=2**20, pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    decoder = Qwen3Model(config).train()
    decoder.set_attn_implementation("sdpa")
    decoder.embed_tokens.requires_grad_(False)
    if like is not None:
        decoder.load_state_dict(like.decoder.state_dict(keep_vars=True), assign=True)
    return Layers(decoder, gaze)
