"""Tiny random decoders and layouts for the tests of the loop."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.cache_utils import DynamicCache

from gazekit.contracts import Kind, TokenLayout, Tokens
from gazekit.gaze import Gaze, begin_pass, install, prepare_cache

SIZES = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
}


def decoder(family: str, seed: int = 0) -> nn.Module:
    """A stock decoder whose attention is sharp enough for routing to matter."""
    torch.manual_seed(seed)
    sizes = dict(SIZES)
    if family == "qwen2":
        sizes.pop("head_dim")
    config, model = {"qwen3": (Qwen3Config, Qwen3ForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[
        family
    ]
    built = model._from_config(config(**sizes), attn_implementation="sdpa").eval()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if parameter.ndim == 2:
                parameter.mul_(3.0)
            elif "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return built


def checkpointed(model: nn.Module) -> nn.Module:
    """The model with activations computed again in the backward, whatever transformers calls that."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    return model


@dataclass(frozen=True)
class Image:
    """An image, or one frame of a clip."""

    rows: int
    columns: int
    context: int = 0
    frame: int = 0


def sample(*pieces: int | Image) -> dict[str, list]:
    """One prompt: a number stands for so many text tokens; frames above 0 belong to the clip before them."""
    fields: dict[str, list] = {name: [] for name in ("kind", "unit", "document", "order", "clip", "place")}
    unit, clip = -1, -1
    for piece in pieces:
        if isinstance(piece, int):
            rows = [(Kind.TEXT, -1, -1, (-1, -1, -1))] * piece
        else:
            unit += 1
            clip += piece.frame == 0
            places = [(piece.frame, y, x) for y in range(piece.rows) for x in range(piece.columns)]
            rows = [(Kind.VISUAL, unit, clip, place) for place in places]
            rows += [(Kind.CONTEXT, unit, clip, (-1, -1, -1))] * piece.context
        for kind, its_unit, its_clip, place in rows:
            order = len(fields["kind"])
            for name, value in zip(fields, (int(kind), its_unit, 0, order, its_clip, place), strict=True):
                fields[name].append(value)
    return fields


def layout(*samples: dict[str, list]) -> TokenLayout:
    """Left-padded layout of several prompts."""
    longest = max(len(one["kind"]) for one in samples)
    blank = {"kind": 0, "unit": -1, "document": -1, "order": -1, "clip": -1, "place": (-1, -1, -1)}
    padded = {
        name: torch.tensor([[value] * (longest - len(one[name])) + one[name] for one in samples])
        for name, value in blank.items()
    }
    single = {name: padded[name][:, None] for name in ("kind", "unit", "document", "order")}
    tokens = Tokens(owner=torch.full_like(single["kind"], -1), **single)
    return TokenLayout(tokens=tokens, clip=padded["clip"], place=padded["place"])


def prompt(lay: TokenLayout, seed: int = 1) -> torch.Tensor:
    """Random embeddings for a layout, `[batch token width]`, alike for alike samples whatever their padding."""
    generator = torch.Generator().manual_seed(seed)
    bank = torch.randn(lay.length, SIZES["hidden_size"], generator=generator)
    order = lay.tokens.order[:, 0]
    return bank[order.clamp_min(0)] * (order >= 0)[..., None]


class Runner:
    """Drives a decoder with gaze as a multimodal model would."""

    def __init__(self, model: nn.Module, gaze: Gaze | list[Gaze]) -> None:
        self.model = model
        install(model, gaze)

    def forward(self, lay, embeddings, start=0, cache=None, openness=None, **kwargs):
        stop = start + embeddings.shape[1]
        full = lay.extended(stop)
        gaze_pass = begin_pass(self.model, lay, start, stop, past_key_values=cache, openness=openness)
        return self.model(
            inputs_embeds=embeddings,
            attention_mask=full.tokens.valid[:, 0, :stop].long(),
            position_ids=full.tokens.order[:, 0, start:stop].clamp_min(0),
            past_key_values=cache,
            use_cache=cache is not None,
            gaze_pass=gaze_pass,
            **kwargs,
        ).logits

    def greedy(self, lay, embeddings, steps, cache="gaze"):
        """Greedy tokens and each step's logits, decoding with a cache."""
        kept = prepare_cache(None, self.model.config) if cache == "gaze" else DynamicCache()
        logits = [self.forward(lay, embeddings, cache=kept)[:, -1]]
        tokens = [logits[-1].argmax(-1)]
        for step in range(steps - 1):
            latest = self.model.get_input_embeddings()(tokens[-1])[:, None]
            logits.append(self.forward(lay, latest, start=lay.length + step, cache=kept)[:, -1])
            tokens.append(logits[-1].argmax(-1))
        return torch.stack(tokens, 1), torch.stack(logits, 1)

    def recompute(self, lay, embeddings, tokens):
        """Logits of the same steps by one full forward without a cache."""
        more = self.model.get_input_embeddings()(tokens[:, :-1])
        logits = self.forward(lay, torch.cat([embeddings, more], dim=1))
        return logits[:, lay.length - 1 :]


def stock_greedy(model, lay, embeddings, steps):
    """Greedy tokens and logits of the stock decoder, without a cache."""
    tokens, logits = [], []
    for step in range(steps):
        full = lay.extended(lay.length + step)
        out = model(
            inputs_embeds=embeddings,
            attention_mask=full.tokens.valid[:, 0].long(),
            position_ids=full.tokens.order[:, 0].clamp_min(0),
            use_cache=False,
        ).logits
        logits.append(out[:, -1])
        tokens.append(logits[-1].argmax(-1))
        embeddings = torch.cat([embeddings, model.get_input_embeddings()(tokens[-1])[:, None]], dim=1)
    return torch.stack(tokens, 1), torch.stack(logits, 1), out
