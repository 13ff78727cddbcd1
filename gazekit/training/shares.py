"""A checkpoint in shares: a folder into which every process has written its own (torch's distributed checkpoint)."""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

REST = "meta.pt"
"""What is in no shares, as Lightning names it."""

_SEAL = "files.json"
_PIECE = 2**24
_WEIGHTS = "state_dict."


def checked_shares(folder: Path) -> dict[str, int]:
    """Checksums of all the shares of a folder; each process reads its own, and gets all of them."""
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    own = {path.name: _checksum(path) for path in folder.glob(f"__{rank}_*.distcp")}
    found: list[dict[str, int]] = [{} for _ in range(ranks)]
    torch.distributed.all_gather_object(found, own)
    return {name: checksum for one in found for name, checksum in one.items()}


def seal(folder: Path, known: Mapping[str, int]) -> None:
    """Writes down which files a folder holds, their sizes and checksums, once all of them are on the disk.

    Args:
        folder: Of one checkpoint.
        known: Checksums that are known already, by the names of their files.
    """
    seen = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        seen[path.name] = [path.stat().st_size, known.get(path.name) or _checksum(path)]
    with (folder / _SEAL).open("w") as file:
        json.dump(seen, file)
        file.flush()
        os.fsync(file.fileno())


def broken_seal(folder: Path) -> str | None:
    """Why a folder is not what `seal` has seen: a file that is missing, of another size or content; None = it is."""
    try:
        seen = json.loads((folder / _SEAL).read_text())
    except (OSError, ValueError) as error:
        return str(error)
    for name, (size, checksum) in seen.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
        if _checksum(path) != checksum:
            return f"{name} does not match its checksum"
    return None


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found = zlib.crc32(piece, found)
    return found


def read_shares(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint in shares, whole and by the names of the LightningModule, in one process."""
    reader = FileSystemReader(folder)
    found = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in reader.read_metadata().state_dict_metadata.items()
        if name.startswith(_WEIGHTS) and isinstance(entry, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="torch.distributed is disabled, unavailable or uninitialized"
        )
        load(found, storage_reader=reader, no_dist=True)
    return {name.removeprefix(_WEIGHTS): value for name, value in found.items()}
