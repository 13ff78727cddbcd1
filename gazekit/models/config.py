"""What a Cambrian model is made of, as config.json keeps it."""

from typing import Any, ClassVar, no_type_check

from transformers import AutoConfig, PreTrainedConfig

from gazekit.models.gaze import num_context

POOLINGS = ("average", "max", "bilinear")
"""Compressors without weights, to any smaller grid, on either side of the projector."""
JOININGS = ("conv2x2", "unshuffle")
"""Compressors that make one token of 2 x 2, in front of the projector."""
PLACES = ("before", "after")
RESIZES = ("squash", "pad")
TIME_STAMPS = (None, "seconds", "clock")


@no_type_check
class CambrianConfig(PreTrainedConfig):
    """A SigLIP tower, a compressor, a projector and a Qwen decoder that may look through gaze.

    Attributes:
        text_config: Any Qwen3 or Qwen2 text config.
        vision_config: A SigLIP vision config; its pooling head is left out.
        gaze: The composition as a recipe writes it, one section or a list that cycles over the layers; None = dense.
        vision_layer: Which features of the tower: "last" = after the final norm; -1, -2, ... = the output of the
            last, penultimate, ... block without the norm (Cambrian-S takes -2).
        image_size: Height and width of what an image is resized to, in pixels, one number for a square;
            None = the tower's own size times `image_tiles`.
        image_tiles: Rows and columns of tiles that an image is cut into. The tower sees each by itself, and the
            tokens are laid back on one grid.
        resize: How an image gets that shape: "squash" changes its proportions, "pad" adds borders.
        compressor: None, or how tokens become fewer: "average", "max" and "bilinear" have no weights; "conv2x2" makes
            one of 2 x 2 (learned, starts as their mean); "unshuffle" hands 2 x 2 side by side to a wider projector.
        compressor_grid: Rows and columns of tokens that "average", "max" and "bilinear" leave, one number for a square;
            None = half of each.
        compressor_place: "before" the projector, or "after" it for those three (Cambrian-S; F-16).
        frames_per_unit: Frames of a video that the projector makes one unit of, side by side on channels (F-16: 16);
            an image is shown so many times.
        place_embedding: Whether learned row and column embeddings are added after the projector.
        row_newlines: Whether every row of a unit ends in a learned newline, one more column of visual tokens
            (Cambrian-1).
        max_tiles: Most tiles that an image of high resolution is cut into, each a unit, behind a unit of the whole
            image (anyres; Cambrian-S: 9); 0 = none.
        time_stamps: How times of frames are written in front of them: "seconds" (<1.5s>), "clock" (<00:01>) or None.
        image_token_id: Placeholder of an image's tokens.
        video_token_id: Placeholder of a video frame's tokens.
        context_token_id: Placeholder of a unit's context tokens.
        pad_token_id: What batches are padded with.
        eos_token_id: What ends an answer.

    Raises:
        ValueError: The tower's grid does not fit the image, tiles or compressor; a token is outside the vocabulary;
            a name is not known; a number is out of its range.
    """

    model_type: ClassVar[str] = "gazekit_cambrian"
    sub_configs: ClassVar[dict] = {"vision_config": AutoConfig, "text_config": AutoConfig}

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    gaze: dict | list | None = None
    vision_layer: int | str = -2
    image_size: int | list | tuple | None = None
    image_tiles: list | tuple = (1, 1)
    resize: str = "squash"
    compressor: str | None = None
    compressor_grid: int | list | tuple | None = None
    compressor_place: str = "before"
    frames_per_unit: int = 1
    place_embedding: bool = False
    row_newlines: bool = False
    max_tiles: int = 0
    time_stamps: str | None = "seconds"
    image_token_id: int = 151655
    video_token_id: int = 151656
    context_token_id: int = 151669
    pad_token_id: int | None = None
    eos_token_id: int | list | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.vision_config = _sub_config(self.vision_config, "siglip_vision_model", vision_use_head=False)
        self.text_config = _sub_config(self.text_config, "qwen3")
        super().__post_init__(**kwargs)
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        self.image_tiles = _pair("image_tiles", self.image_tiles)
        own = [self.vision_config.image_size * tiles for tiles in self.image_tiles]
        self.image_size = own if self.image_size is None else _pair("image_size", self.image_size)
        if self.compressor_grid is not None:
            self.compressor_grid = _pair("compressor_grid", self.compressor_grid)
        self._check_names()
        self._check_grid()
        self._check_compressor()
        self._check_tokens()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the tower gets of an image, in pixels."""
        height, width = _pair("image_size", self.image_size)
        return height, width

    @property
    def patches(self) -> tuple[int, int]:
        """Rows and columns of what the tower makes of a unit."""
        patch = self.vision_config.patch_size
        return self.size[0] // patch, self.size[1] // patch

    @property
    def compressed(self) -> tuple[int, int]:
        """Rows and columns of what the compressor leaves of them."""
        if self.compressor is None:
            return self.patches
        if self.compressor_grid is not None:
            rows, columns = _pair("compressor_grid", self.compressor_grid)
            return rows, columns
        return self.patches[0] // 2, self.patches[1] // 2

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of visual tokens of a unit, newlines included, as the decoder sees them."""
        return self.compressed[0], self.compressed[1] + int(self.row_newlines)

    @property
    def num_visual(self) -> int:
        """Visual tokens of a unit."""
        return self.grid[0] * self.grid[1]

    @property
    def num_context(self) -> int:
        """Context tokens of a unit, as the gaze section has them."""
        return num_context(self.gaze)

    def _check_names(self) -> None:
        for name, known in (
            ("compressor", (None, *POOLINGS, *JOININGS)),
            ("compressor_place", PLACES),
            ("resize", RESIZES),
            ("time_stamps", TIME_STAMPS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(repr, known))}, got {getattr(self, name)!r}"
                )
        for name, least in (("frames_per_unit", 1), ("max_tiles", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        layers = self.vision_config.num_hidden_layers
        fits = self.vision_layer == "last" or (
            isinstance(self.vision_layer, int) and -layers <= self.vision_layer <= -1
        )
        if not fits:
            raise ValueError(
                f'vision_layer must be "last" or between {-layers} and -1 (the tower has {layers} blocks), '
                f"got {self.vision_layer!r}"
            )

    def _check_grid(self) -> None:
        patch = self.vision_config.patch_size
        for side, pixels, tiles in zip(("height", "width"), self.size, self.image_tiles, strict=True):
            if pixels % (tiles * patch):
                raise ValueError(
                    f"image_size must divide into tiles of whole patches, got {side} {pixels} for {tiles} tiles and "
                    f"patches of {patch}; take a multiple of {tiles * patch}"
                )

    def _check_compressor(self) -> None:
        if self.compressor not in POOLINGS:
            for name, fits in (
                ("compressor_grid", self.compressor_grid is None),
                ("compressor_place", self.compressor_place == "before"),
            ):
                if not fits:
                    raise ValueError(
                        f"{name} is for the compressors {', '.join(POOLINGS)}, got {getattr(self, name)!r} for "
                        f"{self.compressor!r}; leave it out"
                    )
        if self.compressor is None:
            return
        for side, patches, left in zip(("height", "width"), self.patches, self.compressed, strict=True):
            if self.compressor_grid is None and patches % 2:
                raise ValueError(
                    f"compressor {self.compressor!r} joins 2 x 2 tokens, got {patches} of them along the {side}; use "
                    "an image_size of an even number of patches, or compressor=None"
                )
            if left > patches or (self.compressor != "bilinear" and patches % left):
                raise ValueError(
                    f"compressor_grid must divide the {patches} tokens along the {side}, got {left} for "
                    f"{self.compressor!r}; 'bilinear' takes any number up to {patches}"
                )

    def _check_tokens(self) -> None:
        size = self.text_config.vocab_size
        for name in ("image_token_id", "video_token_id", "context_token_id"):
            if not 0 <= getattr(self, name) < size:
                raise ValueError(
                    f"{name} must be in the vocabulary of {size} tokens, got {getattr(self, name)}; pass "
                    "**token_ids(tokenizer) and a text_config whose vocab_size holds the tokenizer's tokens"
                )
        if len({self.image_token_id, self.video_token_id, self.context_token_id}) < 3:
            raise ValueError(
                f"image_token_id, video_token_id and context_token_id must differ, got {self.image_token_id}, "
                f"{self.video_token_id} and {self.context_token_id}"
            )


def _sub_config(given: Any, default: str, **fixed: Any) -> PreTrainedConfig:
    """The config of a part: a copy with what is `fixed`; a mapping without `model_type` is of the default kind."""
    fields = given.to_dict() if isinstance(given, PreTrainedConfig) else dict(given or {})
    made = AutoConfig.for_model(**{"model_type": default, **fields, **fixed})
    made._attn_implementation = getattr(given, "_attn_implementation", None)
    return made


def _pair(name: str, value: Any) -> list[int]:
    """Two positive integers, from one or two."""
    pair = [value, value] if isinstance(value, int) else list(value)
    if len(pair) != 2 or not all(isinstance(item, int) and item > 0 for item in pair):
        raise ValueError(f"{name} must be one or two positive integers (rows, columns), got {value!r}")
    return pair
