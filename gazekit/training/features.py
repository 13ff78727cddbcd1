"""Features of a frozen tower, kept on disk: what was encoded once is read ever after."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.utilities import rank_zero_info
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

GIBIBYTE = 2**30
# What an entry takes beside its values, at most.
_HEADER = 256


class FeatureCache:
    """Stands in front of what encodes frames, and reads from disk what it has encoded before.

    A frame's key is made of all that its features follow from: its pixels, which are what its file and the processor
    come to, the tower's weights and layer, and the type that is computed in. So a changed file, processor, tower or
    precision is encoded anew, and a frame that two samples share is encoded once. What is random in front of the
    tower (augmentation) gives other pixels, hence other keys: correct, and of no use.

    Entries are one file each, which appears under its name only when it is whole. Once the folder holds `limit` bytes
    nothing more is written; nothing is ever thrown out, since epochs come back in turn and the oldest entry is the one
    that is needed next.

    Args:
        folder: Where entries lie; runs and processes may share it.
        tower: A tower whose weights do not change.
        limit: Bytes that the folder may hold. Processes that fill it together do not see each other's entries: each
            may overrun it by what the others write meanwhile.

    Attributes:
        hits: Frames that were read.
        misses: Frames that were encoded.
    """

    def __init__(self, folder: Path, tower: nn.Module, *, limit: int) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.hits = 0
        self.misses = 0
        self._of = tower
        self._tower: str | None = None
        self._held = sum(file.stat().st_size for file in self.folder.glob("*/*.safetensors"))
        self._said = False

    @torch.no_grad()
    def __call__(
        self,
        frames: Float[Tensor, "frame 3 height width"],
        encode: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "frame row column dim"]:
        """The features of frames, of which only those that are new are encoded, each once."""
        # Only now: a run that goes on has its weights from a checkpoint.
        self._tower = self._tower or fingerprint(self._of)
        files = [self._file(frame, str(_computed_in(frames))) for frame in frames.cpu()]
        new = {file: number for number, file in enumerate(files) if not file.is_file()}
        self.misses += len(new)
        self.hits += len(files) - len(new)
        made: dict[Path, Tensor] = {}
        if new:
            features = encode(frames[list(new.values())])
            made = dict(zip(new, features, strict=True))
            for file, feature in made.items():
                self._write(file, feature)
        read = {file: load_file(file)["features"].to(frames.device) for file in {*files} - {*made}}
        return torch.stack([made[file] if file in made else read[file] for file in files])

    def _file(self, frame: Tensor, computed: str) -> Path:
        assert self._tower is not None
        key = hashlib.blake2b(self._tower.encode(), digest_size=20)
        key.update(f"{computed} {frame.dtype} {tuple(frame.shape)}".encode())
        key.update(_bytes(frame))
        name = key.hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _write(self, file: Path, feature: Tensor) -> None:
        size = feature.numel() * feature.element_size() + _HEADER
        if self._held + size > self.limit:
            if not self._said:
                rank_zero_info(
                    f"{self.folder} holds {self._held / GIBIBYTE:.1f} GiB of features, as many as it may; others are "
                    "encoded every time"
                )
            self._said = True
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=file.parent, suffix=".unfinished")
        os.close(handle)
        save_file({"features": feature.detach().cpu().contiguous()}, unfinished)
        os.replace(unfinished, file)
        self._held += file.stat().st_size


def fingerprint(tower: nn.Module) -> str:
    """What tells one tower from another: its weights, and which layer of it is taken of which tiles.

    Raises:
        ValueError: Each device has only a share of the tower.
    """
    key = hashlib.blake2b(digest_size=20)
    # Weights do not tell how many heads they are of, nor which activation stands between them.
    config = getattr(getattr(tower, "model", None), "config", None)
    key.update(repr([getattr(tower, name, None) for name in ("layer", "tiles", "stretch")]).encode())
    key.update(repr(sorted(config.to_dict().items()) if config is not None else None).encode())
    for name, value in sorted(tower.state_dict().items()):
        if hasattr(value, "full_tensor"):
            raise ValueError(
                f"feature_cache needs a whole tower on every device, and {name} is sharded; leave the tower out of the "
                "sharding, or leave feature_cache out"
            )
        key.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        key.update(_bytes(value.detach().cpu()))
    return key.hexdigest()


@contextmanager
def cached_features(model: nn.Module, folder: str | None, gibibytes: float) -> Iterator[FeatureCache | None]:
    """Lets a model's tower read features from disk meanwhile; without a folder nothing changes.

    Args:
        model: Its child `tower` is a `VisionTower` that is not trained.
        folder: Where features lie; None = they are not kept.
        gibibytes: What the folder may hold.

    Raises:
        ValueError: The model's tower cannot be told to.
    """
    if folder is None:
        yield None
        return
    tower: Any = getattr(model, "tower", None)
    if not hasattr(tower, "cache"):
        raise ValueError(
            f"feature_cache needs a Cambrian, whose tower takes one, got a {type(model).__name__}; leave it out"
        )
    cache = FeatureCache(Path(folder), tower, limit=int(gibibytes * GIBIBYTE))
    tower.cache = cache
    try:
        yield cache
    finally:
        tower.cache = None


def _computed_in(frames: Tensor) -> torch.dtype:
    kind = frames.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else frames.dtype


def _bytes(value: Tensor) -> Any:
    """What a hash takes, without a copy."""
    return value.contiguous().reshape(-1).view(torch.uint8).numpy()
