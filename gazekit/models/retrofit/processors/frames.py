"""Frames of a video to what a model takes, by Pillow and NumPy, where torchvision is missing."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import BatchFeature
from transformers.utils import PushToHubMixin
from transformers.video_utils import VideoMetadata, make_batched_metadata

from gazekit.models.pictures import open_picture

_CLIP = {"image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711)}
_QWEN = {"temporal_patch_size": 2, "merge_size": 2}

# What each stock video processor assumes where a checkpoint says nothing.
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "Qwen2VLVideoProcessor": {
        **_QWEN, **_CLIP, "patch_size": 14, "size": {"shortest_edge": 128 * 28**2, "longest_edge": 768 * 28**2},
    },
    "Qwen3VLVideoProcessor": {
        **_QWEN, "patch_size": 16, "size": {"shortest_edge": 128 * 32**2, "longest_edge": 768 * 32**2},
        "image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5),
    },
    "LlavaOnevisionVideoProcessor": {**_CLIP, "size": {"height": 384, "width": 384}},
    "InternVLVideoProcessor": {**_CLIP, "size": {"height": 384, "width": 384}},
}  # fmt: skip
# Limits on pixels count those of all frames together here, of each frame elsewhere.
_WHOLE_VIDEO = "Qwen3VLVideoProcessor"
_DEFAULTS = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "resample": 3,
    "rescale_factor": 1 / 255,
}
_MAX_ASPECT = 200


class FrameProcessor(PushToHubMixin):
    """Stands in for the video processor of a stock processor, which needs torchvision.

    It takes decoded frames and never samples: the frames that it is given are the frames that the model sees. An odd
    one out is repeated to fill its step in time. It resizes as Pillow does, so that a frame comes out as the same
    picture does as an image.

    Args:
        family: Class name of the stock video processor.
        settings: What the checkpoint says of its video processor; saved again as it is.

    Attributes:
        family: The same.
        settings: The same.

    Raises:
        ValueError: There is no stand-in for the family, or settings ask for what only the stock one does.
    """

    _auto_class: ClassVar[str | None] = None

    def __init__(self, family: str, settings: Mapping[str, Any] | None = None) -> None:
        self.settings = dict(settings or {})
        if family not in FAMILIES:
            raise ValueError(
                f"family must be one of {', '.join(FAMILIES)}, got {family!r}: for others there is no stand-in; "
                "install torchvision, or show frames as images"
            )
        if self.settings.get("cap_pixels_per_frame"):
            raise ValueError(
                "cap_pixels_per_frame must be false without torchvision, got true; install it, or set a smaller size"
            )
        self.family = family

    def __getattr__(self, name: str) -> Any:
        """What the settings, else the family, say: `merge_size`, `temporal_patch_size` and the like."""
        if name in ("settings", "family") or name.startswith("__"):
            raise AttributeError(name)
        given = {**_DEFAULTS, **FAMILIES[self.family], "fps": None, "num_frames": None, **self.settings}
        if name not in given:
            raise AttributeError(f"{self.family} has no setting {name!r}")
        return given[name]

    @property
    def model_input_names(self) -> list[str]:
        """What comes out."""
        return ["pixel_values_videos", *(["video_grid_thw"] if self._patches else [])]

    def to_dict(self) -> dict[str, Any]:
        """The settings under the name of the stock class, as that would write them."""
        return {**copy.deepcopy(self.settings), "video_processor_type": self.family}

    def __call__(
        self,
        videos: Any,
        *,
        video_metadata: Any = None,
        fps: float | None = None,
        return_metadata: bool = False,
        return_tensors: str | None = "pt",
        do_sample_frames: bool | None = None,
    ) -> BatchFeature:
        """Prepares videos.

        Args:
            videos: One video or several (lists may nest): an array `[frame height width channel]`, or a list of
                images.
            video_metadata: As the stock processor takes it: `fps` of the file and `frames_indices` of the frames.
            fps: Frames given per second, where there is no metadata.
            return_metadata: Returns `video_metadata` too, one a video.
            return_tensors: Torch tensors, whatever it says.
            do_sample_frames: Must not be true.

        Raises:
            ValueError: A video is a file's name, has no frames, or differs in length from its neighbours where a
                model takes all videos in one tensor; or frames are to be sampled.
        """
        if do_sample_frames:
            raise ValueError("do_sample_frames must be false without torchvision; sample the frames before")
        clips = [[open_picture(frame) for frame in clip] for clip in clips_of(videos)]
        if video_metadata is None:
            noted = [
                VideoMetadata(total_num_frames=len(clip), fps=fps, frames_indices=list(range(len(clip))))
                for clip in clips
            ]
        else:
            noted = make_batched_metadata([np.empty((len(clip), 1, 1, 3)) for clip in clips], video_metadata)
        data: dict[str, Any] = self._patched(clips) if self._patches else self._framed(clips)
        if return_metadata:
            data["video_metadata"] = noted
        return BatchFeature(data)

    @property
    def _patches(self) -> bool:
        return "patch_size" in FAMILIES[self.family]

    def _patched(self, clips: Sequence[Sequence[Image.Image]]) -> dict[str, Tensor]:
        """Rows of patches in groups of `merge_size` x `merge_size`, as the Qwen family takes them."""
        parts, grids = [], []
        for clip in clips:
            size, steps = self._fitted(clip), self.temporal_patch_size
            frames = self._frames([*clip, *[clip[-1]] * (-len(clip) % steps)], size)
            grid = (len(frames) // steps, size[0] // self.patch_size, size[1] // self.patch_size)
            parts.append(patchify(frames, steps, self.patch_size, self.merge_size))
            grids.append(grid)
        return {"pixel_values_videos": torch.cat(parts), "video_grid_thw": torch.tensor(grids)}

    def _framed(self, clips: Sequence[Sequence[Image.Image]]) -> dict[str, Tensor]:
        """Whole frames, `[video frame 3 height width]`."""
        size = (self.size["height"], self.size["width"])
        lengths = sorted({len(clip) for clip in clips})
        if len(lengths) > 1:
            raise ValueError(
                f"videos must have equally many frames, got {lengths}: {self.family} puts them into one tensor; "
                "give them one by one, or repeat frames"
            )
        return {"pixel_values_videos": torch.stack([self._frames(clip, size) for clip in clips])}

    def _fitted(self, clip: Sequence[Image.Image]) -> tuple[int, int]:
        """Height and width that a clip is resized to."""
        width, height = clip[0].size
        if not self.do_resize:
            return height, width
        least = self.settings.get("min_pixels") or self.size["shortest_edge"]
        most = self.settings.get("max_pixels") or self.size["longest_edge"]
        frames = len(clip) if self.family == _WHOLE_VIDEO else 1
        factor = self.patch_size * self.merge_size
        return fit(height, width, factor, least, most, frames=frames, steps=self.temporal_patch_size)

    def _frames(
        self, clip: Sequence[Image.Image], size: tuple[int, int]
    ) -> Float[Tensor, "frame 3 height width"]:
        """Resized and normalised."""
        if self.do_resize:
            clip = [frame.resize((size[1], size[0]), resample=self.resample) for frame in clip]
        pixels = torch.from_numpy(np.stack([np.asarray(frame) for frame in clip])).permute(0, 3, 1, 2).float()
        if self.do_rescale:
            pixels = pixels * self.rescale_factor
        if self.do_normalize:
            mean, std = (
                torch.tensor(getattr(self, name))[:, None, None] for name in ("image_mean", "image_std")
            )
            pixels = (pixels - mean) / std
        return pixels


def fit(
    height: int, width: int, factor: int, least: int, most: int, *, frames: int = 1, steps: int = 1
) -> tuple[int, int]:
    """Height and width in multiples of `factor`, near the given ones, whose pixels lie within limits.

    Args:
        height: In pixels.
        width: In pixels.
        factor: Pixels along the side of a visual token.
        least: Pixels of all frames at least.
        most: Pixels of all frames at most.
        frames: Frames whose pixels count together.
        steps: Frames of a step in time, which their number is rounded to.

    Raises:
        ValueError: One side is more than 200 times the other.
    """
    if max(height, width) > _MAX_ASPECT * min(height, width):
        raise ValueError(
            f"a frame's sides must differ by a factor of {_MAX_ASPECT} at most, got {height} x {width}; crop or pad it"
        )
    if frames > 1 and min(height, width) < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    counted = frames if frames == 1 else round(frames / steps) * steps
    rows, columns = round(height / factor), round(width / factor)
    if counted * rows * columns * factor**2 > most:
        shrink = math.sqrt(frames * height * width / most)
        rows = max(1, math.floor(height / shrink / factor))
        columns = max(1, math.floor(width / shrink / factor))
    elif counted * rows * columns * factor**2 < least:
        grow = math.sqrt(least / (frames * height * width))
        rows, columns = math.ceil(height * grow / factor), math.ceil(width * grow / factor)
    return rows * factor, columns * factor


def patchify(
    frames: Float[Tensor, "frame channel height width"], steps: int, patch: int, merge: int
) -> Float[Tensor, "patch value"]:
    """Patches of `steps` frames each; the `merge` x `merge` patches of a visual token follow each other.

    Args:
        frames: A multiple of `steps`; sides are multiples of `patch` times `merge`.
        steps: Frames of a patch.
        patch: Side of a patch, in pixels.
        merge: Patches along the side of a visual token.
    """
    count, channels, height, width = frames.shape
    split = frames.reshape(
        count // steps, steps, channels, height // (patch * merge), merge, patch, width // (patch * merge), merge, patch
    )  # fmt: skip
    return split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).flatten(5).flatten(0, 4)


def clips_of(videos: Any) -> list[list[Any]]:
    """One list of frames for each video, however deep they are nested.

    Raises:
        ValueError: A video is a file's name or has no frames.
    """
    if isinstance(videos, Tensor):
        videos = videos.numpy(force=True)
    if isinstance(videos, np.ndarray) and videos.ndim == 4:
        return [list(_channels_last(videos))]
    if isinstance(videos, str):
        raise ValueError(
            f"videos must be decoded frames without torchvision, got the file {videos!r}; read it with PyAV before"
        )
    inside = list(videos)
    if not inside:
        raise ValueError("videos must have frames, got none; leave the video out")
    if all(_is_frame(one) for one in inside):
        return [[one.numpy(force=True) if isinstance(one, Tensor) else one for one in inside]]
    return [clip for one in inside for clip in clips_of(one)]


def _is_frame(one: Any) -> bool:
    return isinstance(one, Image.Image) or (isinstance(one, (np.ndarray, Tensor)) and one.ndim == 3)


def _channels_last(video: np.ndarray) -> np.ndarray:
    return video.transpose(0, 2, 3, 1) if video.shape[1] == 3 and video.shape[-1] not in (1, 3, 4) else video
