"""The Cambrian model: a vision tower, a projector and a decoder that looks where it needs to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoModel, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from gazekit.contracts import TokenLayout
from gazekit.gaze import Gaze, begin_pass, holders, prepare_cache
from gazekit.gaze.cache import take_cache
from gazekit.models.adapters import TakesLora
from gazekit.models.compressor import ConvCompressor, build_compressor
from gazekit.models.config import CambrianConfig
from gazekit.models.encode import build_projector, encode_units, seen_by_guides
from gazekit.models.gaze import compose, context_tokens, fit, guided, section_of
from gazekit.models.layout import UnitForm, hide_padding, layout_from_ids
from gazekit.models.projector import PLACE_STD
from gazekit.models.splice import check_units, splice, units_in
from gazekit.models.tower import VisionTower
from gazekit.models.weights import SavesParts

_log = logging.getLogger(__name__)


class CambrianForConditionalGeneration(TakesLora, SavesParts, PreTrainedModel, GenerationMixin):
    """A multimodal LLM of the Cambrian kind, dense or with gaze.

    Args:
        config: What it is made of; its `gaze` section is built and installed.
        imports: Modules beside gazekit that the section may name (a router of one's own).

    Attributes:
        gazes: Its compositions, which cycle over the layers; empty where attention is dense.
        tower: Pixels to features.
        compressor: Fewer features, or as many.
        projector: Features to embeddings, with their places where the config says so.
        context: The learned context tokens of a unit, or None.
        language_model: A stock decoder.
        lm_head: Its output layer.
        lora: Low-rank adapters in the decoder while they are trained, else None.
        always_encodes: Encodes an empty image, which nothing is seen of, where a batch has none. Processes among which
            the model is sharded need it: each waits for the others at every part of the model.
    """

    config: CambrianConfig
    config_class = CambrianConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ("image", "video", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["Qwen3DecoderLayer", "Qwen2DecoderLayer", "SiglipEncoderLayer"]
    _skip_keys_device_placement: ClassVar = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _keys_to_ignore_on_load_missing: ClassVar = [r"\.gaze_parts\."]
    _tied_weights_keys: ClassVar = {"lm_head.weight": "language_model.embed_tokens.weight"}

    def __init__(self, config: CambrianConfig, imports: Iterable[str] = ()):
        super().__init__(config)
        gazes = compose(config.gaze, imports)
        text = config.text_config
        self.tower = VisionTower(config)
        self.compressor = build_compressor(config)
        self.projector = build_projector(config)
        count = context_tokens(gazes)
        self.context = nn.Embedding(count, text.hidden_size) if count else None
        self.language_model = AutoModel.from_config(text)
        self.lm_head: nn.Module = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.lora: nn.ModuleList | None = None
        self.gazes = gazes
        self._said_dense = False
        self.always_encodes = False
        self.post_init()
        # Behind what transformers draws, so that learned parts begin as they say.
        fit(self.language_model, gazes)

    @property
    def num_visual_tokens(self) -> int:
        """Visual tokens of a unit."""
        return self.config.num_visual

    @property
    def gaze(self) -> Gaze | Sequence[Gaze] | None:
        """The composition, several where they cycle over the layers, None where attention is dense."""
        return self.gazes if len(self.gazes) > 1 else next(iter(self.gazes), None)

    def set_gaze(
        self,
        gaze: Gaze | Sequence[Gaze | Mapping[str, Any]] | Mapping[str, Any] | None,
        imports: Iterable[str] = (),
    ) -> None:
        """Looks another way from now on; what config.json will say changes too.

        Context tokens that the new composition adds are drawn anew, those that it has no more are dropped.

        Args:
            gaze: A composition, several that cycle over the layers, a section of a recipe, or None = dense.
            imports: Modules beside gazekit that a section may name.
        """
        section = section_of(gaze)
        self.gazes = compose(section, imports)
        self.config.gaze = section
        fit(self.language_model, self.gazes)
        count = context_tokens(self.gazes)
        if count != (0 if self.context is None else self.context.num_embeddings):
            context = nn.Embedding(count, self.config.text_config.hidden_size)
            self.context = context.to(self.projector.first.weight) if count else None
            if self.context is not None:
                self._init_weights(self.context)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Every parameter once, by the part that it belongs to: what learning rates are set for."""
        modules: dict[str, list[nn.Module]] = {
            "tower": [self.tower],
            "compressor": [self.compressor],
            "projector": [self.projector],
            "context": [] if self.context is None else [self.context],
            "language": [self.language_model, self.lm_head],
            **({} if self.lora is None else {"lora": [self.lora]}),
            "gaze": holders(self.language_model),
        }
        owner: dict[nn.Parameter, str] = {}
        # From behind: adapters and learned parts of gaze lie within the language model.
        for name, group in reversed(modules.items()):
            for module in group:
                owner |= {p: name for p in module.parameters() if p not in owner}
        return {name: [p for p, its in owner.items() if its == name] for name in modules}

    def layout(
        self,
        input_ids: Int[Tensor, "batch token"],
        attention_mask: Tensor | None = None,
        clip_lengths: Int[Tensor, "batch clip"] | None = None,
        pixel_values: Float[Tensor, "batch unit channel height width"] | None = None,
        document_ids: Int[Tensor, "batch token"] | None = None,
    ) -> TokenLayout:
        """The layout of a whole prompt; `pack()` of it is what `forward` takes as `gaze_layout`.

        Args:
            input_ids: The whole prompt.
            attention_mask: 1 = real, 0 = padding; None = all real.
            clip_lengths: As for `forward`.
            pixel_values: Every unit, for the compositions' guides to look at (at its first frame); without them the
                layout has neither segments nor a map, to be written by hand where a composition reads them.
            document_ids: As for `forward`.

        Raises:
            ValueError: Placeholders do not match the images and frames.
        """
        config = self.config
        form = UnitForm(
            rows=config.grid[0],
            columns=config.grid[1],
            num_context=context_tokens(self.gazes),
            visual_ids=(config.image_token_id, config.video_token_id),
            context_id=config.context_token_id,
        )
        found = layout_from_ids(
            input_ids,
            form,
            attention_mask=attention_mask,
            clip_lengths=clip_lengths,
            document_ids=document_ids,
        )
        if pixel_values is None:
            return found
        check_units(found, pixel_values, clip_lengths, 0)
        return guided(found, self.gazes, seen_by_guides(pixel_values, config))

    def embed_units(
        self,
        pixel_values: Float[Tensor, "batch unit channel height width"],
        needed: Bool[Tensor, "batch unit"] | None = None,
    ) -> Float[Tensor, "batch unit visual dim"]:
        """Embeddings of images and frames; those not `needed` (padding, say) are not encoded and stay zero."""
        batch, units = pixel_values.shape[:2]
        if needed is None:
            needed = torch.ones(batch, units, dtype=torch.bool, device=pixel_values.device)
        weight = self.projector.first.weight
        if not bool(needed.any()):
            return weight.new_zeros(batch, units, self.num_visual_tokens, self.config.text_config.hidden_size)
        pixels = pixel_values[needed].to(weight.dtype)
        made = encode_units(pixels, self.config, self.tower, self.compressor, self.projector)
        return made.new_zeros(batch, units, *made.shape[1:]).index_put((needed,), made)

    def _see_nothing(self) -> Float[Tensor, ""]:
        """Zero, on the way of an empty image through all that encodes: gradients of zero for a text without images."""
        config = self.config
        blank = self.projector.first.weight.new_zeros(1, 1, 3 * config.frames_per_unit, *config.size)
        zero = self.embed_units(blank).reshape(-1)[:0].sum()
        return zero if self.context is None else zero + self.context.weight.reshape(-1)[:0].sum()

    @can_return_tuple
    def forward(
        self,
        input_ids: Int[Tensor, "batch window"] | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Int[Tensor, "#batch window"] | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Float[Tensor, "batch window dim"] | None = None,
        pixel_values: Float[Tensor, "batch unit channel height width"] | None = None,
        visual_embeds: Float[Tensor, "batch unit visual dim"] | None = None,
        clip_lengths: Int[Tensor, "batch clip"] | None = None,
        labels: Int[Tensor, "batch window"] | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: int | Tensor | None = None,
        gaze_layout: Int[Tensor, "batch token field"] | None = None,
        gaze_openness: float | Sequence[float] | None = None,
        document_ids: Int[Tensor, "batch window"] | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits, and the loss where labels are given.

        Args:
            input_ids: The prompt with its placeholders expanded, or the piece of it that follows the cache.
            attention_mask: 1 = real, 0 = padding, for the prompt up to the end of this piece.
            position_ids: Positions of this piece; by default real tokens are counted from 0.
            past_key_values: What came before.
            inputs_embeds: Instead of `input_ids`; embeddings of units still go in at the placeholders of `gaze_layout`.
            pixel_values: Every unit of the whole prompt, padded to the fullest sample; only those with tokens in this
                piece are encoded.
            visual_embeds: What `embed_units` made of them, instead.
            clip_lengths: Units of each image (1, more where it is shown in tiles) or video (its frames), 0 = padding;
                by default every unit is an image.
            labels: Token ids to predict, shifted inside; -100 = not supervised.
            use_cache: Whether to return a cache; by default where nothing is trained (no training mode, no labels).
            logits_to_keep: Logits of the last so many tokens, 0 = all; or of the tokens of an index.
            num_items_in_batch: Supervised tokens of the global batch, which the summed loss is divided by; None = mean.
            gaze_layout: `layout(...).pack()` of the whole prompt; needed where a cache holds what came before. No
                guide changes what it says.
            gaze_openness: 1 = dense ... 0 = the target, one for all layers or one for each; None = where the schedule
                ends.
            document_ids: Where several samples are packed in one row: the number of each token's, from 0 upwards. They
                do not see one another, and positions begin anew with each; labels of a document's first token should be
                -100, since the token before is another's. None = one sample a row.
            **kwargs: For the decoder (`output_hidden_states` and the like).

        Raises:
            ValueError: Placeholders and images do not match, a cache came without `gaze_layout`, or packed samples are
                to be cached without gaze.
        """
        if past_key_values is not None:  # else generate may hand it over under its newer name, among kwargs
            kwargs["past_key_values"] = past_key_values
        name, past_key_values = take_cache(self.language_model, kwargs)
        start = 0 if past_key_values is None else past_key_values.get_seq_length()
        declared = self._layout_of(
            input_ids, attention_mask, clip_lengths, pixel_values, gaze_layout, start, document_ids
        )
        embeds = self.language_model.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        stop = start + embeds.shape[1]
        # transformers' own masks keep packed samples apart by their positions, where there is no mask and no cache.
        apart = not self.gazes and declared is not None and bool((declared.tokens.document > 0).any())
        if use_cache is None:
            use_cache = (
                self.config.text_config.use_cache and not self.training and labels is None and not apart
            )
        if apart and use_cache:
            raise ValueError(
                "use_cache must be False where samples are packed and the model has no gaze; leave it out"
            )
        if declared is not None:
            if start < declared.length:
                given = pixel_values if visual_embeds is None else visual_embeds
                check_units(declared, given, clip_lengths, start)
                embeds = self._splice(embeds, declared, start, pixel_values, visual_embeds)
                if self.always_encodes and not bool(units_in(declared, start, stop).any()):
                    embeds = embeds + self._see_nothing()
            tokens = declared.extended(stop).tokens
            if position_ids is None:
                position_ids = tokens.order[:, 0, start:stop].clamp_min(0)
            if apart:
                attention_mask = None
            elif attention_mask is None and not tokens.valid.all():
                attention_mask = tokens.valid[:, 0, :stop]
        if self.gazes:
            assert declared is not None, "_layout_of refuses a gaze model without a layout"
            config = self.language_model.config
            past_key_values = prepare_cache(past_key_values, config) if use_cache else None
            kwargs["gaze_pass"] = begin_pass(
                self.language_model,
                declared,
                start,
                stop,
                past_key_values=past_key_values,
                openness=gaze_openness,
            )
        outputs = self.language_model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            **{name: past_key_values},
            **kwargs,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, keep])
        loss = None
        if labels is not None:
            size = self.config.text_config.vocab_size
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=size, num_items_in_batch=num_items_in_batch
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **{name: getattr(outputs, name)},
        )

    @torch.no_grad()
    def generate(self, inputs: Int[Tensor, "batch token"] | None = None, *args: Any, **kwargs: Any) -> Any:
        """`GenerationMixin.generate`: any strategy, any padding on the left, any number of images in each sample.

        The layout is read off the whole prompt here and every image is encoded once, before beams are spread out.
        To go on with a kept cache, pass the ids, the mask and the images of the whole conversation so far.

        Raises:
            ValueError: Placeholders and images do not match, or only a piece of the prompt was given.
        """
        if not self.gazes and not self._said_dense:
            self._said_dense = True
            _log.warning("this model has no gaze section: every token attends to all that precede it (dense)")
        input_ids = kwargs.get("input_ids", inputs)
        if input_ids is not None:
            kwargs = self._prepare_prompt(input_ids, kwargs)
        return super().generate(inputs, *args, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        """The decoder's."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the decoder's."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The output layer."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replaces the output layer."""
        self.lm_head = new_embeddings

    def get_decoder(self) -> nn.Module:
        """The language model."""
        return self.language_model

    def _init_weights(self, module: nn.Module) -> None:
        if module is self.projector.first or module is self.projector.second:
            module.reset_parameters()
        elif module is self.projector.row or module is self.projector.column:
            nn.init.normal_(module.weight, std=PLACE_STD)
        elif isinstance(self.compressor, ConvCompressor) and module is self.compressor.convolution:
            self.compressor.reset_parameters()
        elif module is self.projector:
            self.projector.reset_newline()
        else:
            super()._init_weights(module)

    def _layout_of(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        clip_lengths: Tensor | None,
        pixel_values: Tensor | None,
        gaze_layout: Tensor | None,
        start: int,
        document_ids: Tensor | None,
    ) -> TokenLayout | None:
        """The declared layout, else the one that a whole prompt has; None for a dense model that goes on with text."""
        if gaze_layout is not None:
            return TokenLayout.unpack(gaze_layout)
        if start == 0 and input_ids is not None:
            return self.layout(input_ids, attention_mask, clip_lengths, pixel_values, document_ids)
        if self.gazes:
            raise ValueError(
                "gaze_layout must be given where the ids are only a piece of the prompt, got none; "
                "pass model.layout(input_ids, attention_mask, clip_lengths).pack() of the whole prompt"
            )
        return None

    def _splice(
        self,
        embeds: Tensor,
        layout: TokenLayout,
        start: int,
        pixel_values: Tensor | None,
        visual_embeds: Tensor | None,
    ) -> Tensor:
        if visual_embeds is None and pixel_values is not None:
            needed = units_in(layout, start, start + embeds.shape[1])
            visual_embeds = self.embed_units(pixel_values, needed) if bool(needed.any()) else None
        context = None if self.context is None else self.context.weight
        return splice(
            embeds, layout, start=start, columns=self.config.grid[1], visual=visual_embeds, context=context
        )

    def _prepare_prompt(self, input_ids: Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
        """What `generate` is given, with mask and layout, and with embeddings in place of pixels."""
        name, cache = take_cache(self.language_model, kwargs)
        mask, pixels = (kwargs.pop(k, None) for k in ("attention_mask", "pixel_values"))
        clips, packed, visual = (
            kwargs.pop(k, None) for k in ("clip_lengths", "gaze_layout", "visual_embeds")
        )
        start = 0 if cache is None else cache.get_seq_length()
        if mask is None:
            mask = hide_padding(input_ids, self.generation_config.pad_token_id)
        known = packed is not None
        layout = TokenLayout.unpack(packed) if known else self.layout(input_ids, mask, clips, pixels)
        check_units(layout, pixels if visual is None else visual, clips, start)
        if visual is None and pixels is not None:
            visual = self.embed_units(pixels, units_in(layout, start, layout.length))
        given = {name: cache, "clip_lengths": clips, "visual_embeds": visual}
        given = {name: value for name, value in given.items() if value is not None}
        return {**kwargs, **given, "attention_mask": mask, "gaze_layout": layout.pack()}
