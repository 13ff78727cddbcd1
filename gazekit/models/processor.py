"""Text and images to what the model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, no_type_check

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin, SiglipImageProcessorPil

from gazekit.models.chat import CHATML, IMAGE_MARK, TURN_END, TURN_START, VIDEO_MARK, media, pieces
from gazekit.models.config import RESIZES, TIME_STAMPS, CambrianConfig
from gazekit.models.nesting import per_text
from gazekit.models.pictures import ImageLike, open_picture
from gazekit.models.pixels import fill_of, pixels_of
from gazekit.models.tiles import views
from gazekit.models.tokens import CONTEXT, IMAGE, VIDEO, token_ids
from gazekit.models.truncate import truncate

Clip = Sequence[ImageLike] | np.ndarray
IGNORED = -100


@dataclass
class _Sample:
    """What one text still has to show, and what it has shown."""

    images: list[Any]
    videos: list[Any]
    timestamps: list[Any]
    name: str
    units: list[list[Any]] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)


class CambrianProcessor(ProcessorMixin):
    """Expands `<image>` and `<video>` into placeholders, and prepares pixels.

    Args:
        image_processor: Resizes to `size` and normalises; SigLIP's.
        tokenizer: Any; the tokens that it lacks are added to it.
        grid: Rows and columns of visual tokens of an image or frame.
        num_context: Context tokens behind each of them.
        resize: "squash" changes an image's proportions, "pad" adds borders of the mean colour.
        frames_per_unit: Frames of a video that make one unit; its last frame fills up the last one.
        max_tiles: Most tiles of an image of high resolution, behind the whole of it; 0 = none.
        time_stamps: How times that are given are written: "seconds" (<1.5s>), "clock" (<00:01>), or None = not at all.
        chat_template: Template of `apply_chat_template`; ChatML by default.

    Raises:
        ValueError: `resize` or `time_stamps` is not known, or the grid is empty.
    """

    grid: list[int]
    num_context: int
    resize: str
    frames_per_unit: int
    max_tiles: int
    time_stamps: str | None
    ids: dict[str, int]

    @no_type_check
    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        grid=(1, 1),
        num_context=0,
        resize="squash",
        chat_template=None,
        frames_per_unit=1,
        max_tiles=0,
        time_stamps="seconds",
    ):
        for name, value, known in (
            ("resize", resize, RESIZES),
            ("time_stamps", time_stamps, TIME_STAMPS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
        if len(grid) != 2 or min(grid) < 1:
            raise ValueError(
                f"grid must be (rows, columns) of at least 1, got {tuple(grid)}; use config.grid"
            )
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHATML)
        self.grid = list(grid)
        self.num_context = num_context
        self.resize = resize
        self.frames_per_unit = frames_per_unit
        self.max_tiles = max_tiles
        self.time_stamps = time_stamps
        self.ids = token_ids(tokenizer)

    @classmethod
    def from_config(
        cls,
        config: CambrianConfig,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: SiglipImageProcessorPil | None = None,
    ) -> CambrianProcessor:
        """The processor that fits a model.

        Args:
            config: The model's.
            tokenizer: The decoder's.
            image_processor: The tower's, for its normalisation and resampling; SigLIP's by default (bicubic).

        Raises:
            ValueError: The tokenizer's placeholder ids are not those of the config.
        """
        size = dict(zip(("height", "width"), config.size, strict=True))
        if image_processor is None:
            image_processor = SiglipImageProcessorPil(size=size)
        image_processor.size = size
        processor = cls(
            image_processor,
            tokenizer,
            grid=config.grid,
            num_context=config.num_context,
            resize=config.resize,
            frames_per_unit=config.frames_per_unit,
            max_tiles=config.max_tiles,
            time_stamps=config.time_stamps,
        )
        for name in ("image_token_id", "video_token_id", "context_token_id"):
            if processor.ids[name] != getattr(config, name):
                raise ValueError(
                    f"{name} of the config must be the tokenizer's {processor.ids[name]}, got {getattr(config, name)}; "
                    "make the config with **token_ids(tokenizer)"
                )
        return processor

    @property
    def num_visual(self) -> int:
        """Visual tokens of an image or frame."""
        return self.grid[0] * self.grid[1]

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        *,
        timestamps: Any = None,
        padding_side: str = "left",
        return_tensors: str | None = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """A batch of prompts, ready for `generate`.

        Args:
            images: The images of one text in order, or such a list for each text.
            text: One text or several; each `<image>` and `<video>` in it stands for the next image or video.
            videos: The videos of one text, each an array `[frame height width channel]` or a list of images; or such
                a list for each text.
            timestamps: In seconds, one for each frame of each video, nested as `videos`; units of a video that has
                them are each preceded by the time of their first frame, as `time_stamps` says. None = no times.
            padding_side: "left" to generate, "right" to train.
            return_tensors: Torch tensors, whatever it says.
            **kwargs: What transformers passes along; anything that asks for something else is refused.

        Raises:
            ValueError: Marks and images differ in number, in some text; an image cannot be decoded; or an argument is
                not supported.
        """
        self._refuse(return_tensors, kwargs)
        single = isinstance(text, str)
        texts = [text] if isinstance(text, str) else list(text or [])
        if not texts:
            raise ValueError("text must be given: one string or several, with <image> where an image stands")
        several = {"images": images, "videos": videos, "timestamps": timestamps}
        nested = {name: per_text(name, value, len(texts), single) for name, value in several.items()}
        encoded = []
        for number, one in enumerate(texts):
            sample = self._sample(f"text {number}", *(nested[name][number] for name in several))
            encoded.append(self._encode([(one, False)], sample, labelled=False))
        return self.collate(encoded, padding_side=padding_side)

    def encode_conversation(
        self,
        messages: Sequence[Mapping[str, Any]],
        images: Sequence[ImageLike] | None = None,
        videos: Sequence[Clip] | None = None,
        timestamps: Sequence[Sequence[float] | None] | None = None,
        *,
        max_length: int | None = None,
        labels: str = "answers",
    ) -> dict[str, Tensor]:
        """One conversation to learn from; labels are on what the assistant says and on the end of its turns.

        Args:
            messages: `{"role": ..., "content": ...}`, a content being text with marks, or typed parts.
            images: Images in order; None = those inside the messages.
            videos: Videos in order, likewise.
            timestamps: In seconds, one for each frame of each video.
            max_length: Most tokens. What is longer is cut, never inside an image or frame; None = nothing is cut.
            labels: "answers", or "llava_next_compat" for what LLaVA-NeXT's loader supervises: the assistant's turns
                with their headers, and every newline and turn mark.

        Returns:
            `input_ids` and `labels` [token], `pixel_values` [unit channel height width], `clip_lengths` [clip].

        Raises:
            ValueError: Marks and images differ in number, an image cannot be decoded, or nothing is the assistant's.
            TooLongError: Cut to `max_length`, nothing that is supervised is left.
        """
        said = [(piece.text, piece.supervised) for piece in pieces(messages, labels)]
        sample = self._sample(
            "the conversation",
            media(messages, "image") if images is None else images,
            media(messages, "video") if videos is None else videos,
            timestamps,
        )
        encoded = self._encode(said, sample, labelled=True)
        if labels == "llava_next_compat":
            marks = torch.tensor([t for text in (TURN_START, TURN_END, "\n") for t in self._tokenize(text)])
            found = torch.isin(encoded["input_ids"], marks)
            encoded["labels"] = torch.where(found, encoded["input_ids"], encoded["labels"])
        if max_length is None:
            return encoded
        return truncate(
            encoded, max_length, num_visual=self.num_visual, num_context=self.num_context, ids=self.ids
        )

    def count_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        frames: Sequence[int] = (),
        timestamps: Sequence[Sequence[float] | None] | None = None,
    ) -> int:
        """Tokens that `encode_conversation` makes of a conversation, without opening an image.

        `frames` counts those of each video; for the rest see there.

        Raises:
            ValueError: Marks and videos differ in number.
        """
        said = [self._tokenize(piece.text) for piece in pieces(messages)]
        images = sum(tokens.count(self.ids["image_token_id"]) for tokens in said)
        sample = self._sample("the conversation", [None] * images, [[None] * n for n in frames], timestamps)
        self._check_counts([token for tokens in said for token in tokens], sample)
        return sum(len(self._expand(tokens, sample)) for tokens in said)

    def collate(self, samples: Sequence[Mapping[str, Tensor]], padding_side: str = "right") -> BatchFeature:
        """Pads encoded samples to a batch; pixels are padded with images of zeros, clips with lengths of 0.

        A row of several packed samples says which of its tokens are whose by `document_ids`.
        """
        if padding_side not in ("left", "right"):
            raise ValueError(f"padding_side must be 'left' or 'right', got {padding_side!r}")
        longest = max(len(sample["input_ids"]) for sample in samples)

        def stack(values: list[Tensor], fill: int) -> Tensor:
            extra = [longest - len(value) for value in values]
            sides = [(more, 0) if padding_side == "left" else (0, more) for more in extra]
            return torch.stack(
                [pad(value, side, value=fill) for value, side in zip(values, sides, strict=True)]
            )

        ids = [sample["input_ids"] for sample in samples]
        batch = {"input_ids": stack(ids, self.ids["pad_token_id"])}
        batch["attention_mask"] = stack([torch.ones_like(one) for one in ids], 0)
        if all("labels" in sample for sample in samples):
            batch["labels"] = stack([sample["labels"] for sample in samples], IGNORED)
        if all("document_ids" in sample for sample in samples):
            batch["document_ids"] = stack([sample["document_ids"] for sample in samples], -1)
        for name in ("pixel_values", "clip_lengths"):
            most = max(len(sample[name]) for sample in samples)
            if most:
                batch[name] = torch.stack([_lengthen(sample[name], most) for sample in samples])
        return BatchFeature(batch)

    def _refuse(self, return_tensors: str | None, kwargs: Mapping[str, Any]) -> None:
        harmless = {"padding": True, "add_special_tokens": False}
        other = [
            name
            for name, value in kwargs.items()
            if value is not None and harmless.get(name, ...) is not value
        ]
        if other or return_tensors not in (None, "pt"):
            asked = ", ".join(other) or f"return_tensors={return_tensors!r}"
            raise ValueError(f"CambrianProcessor does not take {asked}; it returns padded torch tensors")

    def _sample(self, name: str, images: Any, videos: Any, timestamps: Any) -> _Sample:
        images, videos = list(images or []), list(videos or [])
        times = list(timestamps or [None] * len(videos))
        if len(times) != len(videos):
            raise ValueError(
                f"timestamps must be given for each of the {len(videos)} videos of {name}, got {len(times)}"
            )
        return _Sample(images=images, videos=videos, timestamps=times, name=name)

    def _encode(
        self, texts: Sequence[tuple[str, bool]], sample: _Sample, *, labelled: bool
    ) -> dict[str, Tensor]:
        """Tokens piece by piece, so that a piece's tokens never depend on its neighbours."""
        tokenized = [(self._tokenize(text), supervised) for text, supervised in texts]
        self._check_counts([token for ids, _ in tokenized for token in ids], sample)
        ids: list[int] = []
        labels: list[int] = []
        for tokens, supervised in tokenized:
            expanded = self._expand(tokens, sample)
            ids += expanded
            labels += expanded if supervised else [IGNORED] * len(expanded)
        out = {
            "input_ids": torch.tensor(ids, dtype=torch.long),
            "pixel_values": pixels_of(
                sample.units, self.image_processor, frames_per_unit=self.frames_per_unit, resize=self.resize
            ),
            "clip_lengths": torch.tensor(sample.clips, dtype=torch.long),
        }
        if labelled:
            label = torch.tensor(labels, dtype=torch.long)
            shown = torch.isin(
                out["input_ids"], torch.tensor([self.ids[f"{k}_token_id"] for k in _PLACEHOLDERS])
            )
            out["labels"] = label.masked_fill(shown, IGNORED)
        return out

    def _tokenize(self, text: str) -> list[int]:
        if CONTEXT in text:
            raise ValueError(
                f"text must not hold {CONTEXT}: it is put behind every image by itself; leave it out"
            )
        marked = text.replace(IMAGE_MARK, IMAGE).replace(VIDEO_MARK, VIDEO)
        return list(_tokens(self.tokenizer, len(self.tokenizer), marked)) if marked else []

    def _check_counts(self, tokens: Sequence[int], sample: _Sample) -> None:
        for mark, kind, given in ((IMAGE_MARK, "image", sample.images), (VIDEO_MARK, "video", sample.videos)):
            marks = tokens.count(self.ids[f"{kind}_token_id"])
            if marks != len(given):
                raise ValueError(
                    f"{sample.name} marks {marks} {kind}s with {mark}, but {len(given)} were given; "
                    f"put one {mark} where each {kind} stands"
                )

    def _expand(self, tokens: Sequence[int], sample: _Sample) -> list[int]:
        """Placeholders in place of marks; images move from what is to be shown to what was."""
        out: list[int] = []
        for token in tokens:
            if token == self.ids["image_token_id"]:
                shown = self._views(sample.images.pop(0))
                sample.units += [[view] * self.frames_per_unit for view in shown]
                sample.clips.append(len(shown))
                out += self._unit(token) * len(shown)
            elif token == self.ids["video_token_id"]:
                frames, times = list(sample.videos.pop(0)), sample.timestamps.pop(0)
                if not frames or (times is not None and len(times) != len(frames)):
                    raise ValueError(
                        f"a video must have frames and as many timestamps, got {len(frames)} frames and "
                        f"{len(times) if times is not None else 'no'} timestamps in {sample.name}"
                    )
                starts = range(0, len(frames), self.frames_per_unit)
                for start in starts:
                    unit = frames[start : start + self.frames_per_unit]
                    sample.units.append(unit + unit[-1:] * (self.frames_per_unit - len(unit)))
                    out += self._time(None if times is None else times[start]) + self._unit(token)
                sample.clips.append(len(starts))
            else:
                out.append(token)
        return out

    def _unit(self, token: int) -> list[int]:
        return [token] * self.num_visual + [self.ids["context_token_id"]] * self.num_context

    def _time(self, seconds: float | None) -> list[int]:
        if seconds is None or self.time_stamps is None:
            return []
        minutes, rest = divmod(int(seconds), 60)
        clock = self.time_stamps == "clock"
        return self._tokenize(f"<{minutes:02d}:{rest:02d}>" if clock else f"<{seconds:.1f}s>")

    def _views(self, image: Any) -> list[Any]:
        """What is shown of an image: itself, or itself and its tiles."""
        if not self.max_tiles:
            return [image]
        size = self.image_processor.size
        fill = fill_of(self.image_processor)
        return views(open_picture(image), (size["height"], size["width"]), self.max_tiles, fill)


@lru_cache(maxsize=4096)
def _tokens(tokenizer: PreTrainedTokenizerBase, size: int, text: str) -> tuple[int, ...]:
    """The tokens of a text, kept: turns share their headers and ends. A tokenizer that grows is asked anew."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


_PLACEHOLDERS = ("image", "video", "context")


def _lengthen(value: Tensor, length: int) -> Tensor:
    """The tensor with zeros behind it, along its first axis."""
    return torch.cat([value, value.new_zeros(length - len(value), *value.shape[1:])])
