"""A checkpoint in shares: a folder into which every process has written its own (torch's distributed checkpoint)."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed import checkpoint
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

REST = "meta.pt"
"""What is in no shares, as Lightning names it."""

_SEAL = "files.json"
_WEIGHTS = "state_dict."


def seal(folder: Path) -> None:
    """Writes down which files a folder holds and how large they are, once all of them are on the disk."""
    sizes = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sizes[path.name] = path.stat().st_size
    with (folder / _SEAL).open("w") as file:
        json.dump(sizes, file)
        file.flush()
        os.fsync(file.fileno())


def broken_seal(folder: Path) -> str | None:
    """Why a folder is not what `seal` has seen: a file that is missing or of another size; None = it is."""
    try:
        sizes = json.loads((folder / _SEAL).read_text())
    except (OSError, ValueError) as error:
        return str(error)
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
    # The one file that is an archive of its own, and in which a changed byte would go unnoticed until it is used.
    with zipfile.ZipFile(folder / REST) as archive:
        broken = archive.testzip()
    return None if broken is None else f"{broken} in {REST} does not match its checksum"


def read_shares(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint in shares, whole and by the names of the LightningModule, in one process."""
    reader = FileSystemReader(folder)
    found = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in reader.read_metadata().state_dict_metadata.items()
        if name.startswith(_WEIGHTS) and isinstance(entry, TensorStorageMetadata)
    }
    checkpoint.load(found, storage_reader=reader, no_dist=True)
    return {name.removeprefix(_WEIGHTS): value for name, value in found.items()}
