"""Where files go that were derived from a data file: beside it, else into a folder of our own."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO


def derived(path: Path, what: str) -> Iterator[Path]:
    """Where a file derived from another may lie, best place first.

    Args:
        path: The data file.
        what: The ending that tells derived files apart.
    """
    yield path.with_name(f"{path.name}.gazekit-{what}")
    root = os.environ.get("GAZEKIT_CACHE") or (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gazekit"
    )
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    yield Path(root) / "data" / f"{name}-{path.name}.gazekit-{what}"


def keep(path: Path, what: str, write: Callable[[BinaryIO], None]) -> Path:
    """Writes a derived file to the first place that can be written; it appears there whole or not at all.

    Raises:
        OSError: No place can be written.
    """
    problem: OSError | None = None
    for place in derived(path, what):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{place.name[-40:]}-", dir=place.parent)
        except OSError as error:  # a read-only folder, a full one, or a name that is too long
            problem = error
            continue
        try:
            with os.fdopen(handle, "w+b") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return place
    raise OSError(
        f"neither the folder of {path} nor the cache can be written ({problem}); set GAZEKIT_CACHE to a folder that can"
    )
