"""The folder that data may be read from, and nothing outside it."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader
from pathlib import Path

from gazekit.data.records.fault import FaultKind, RowFault

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # https:, gs:, and C: as well


@dataclass(frozen=True)
class DataRoot:
    """The folder that a data set's paths are relative to.

    A path that leads out of it is a fault, be it absolute, by "..", or through a symbolic link; so is a path to what is
    no regular file. Links that stay inside are followed.

    Attributes:
        folder: The folder.
    """

    folder: Path

    @cached_property
    def _real(self) -> str:
        return os.path.realpath(self.folder)

    def find(self, name: str) -> Path:
        """Where something lies, every link resolved.

        Raises:
            RowFault: It leads out of the root ("outside"), or is not there ("missing").
        """
        if "\0" in name or _SCHEME.match(name) or os.path.isabs(name) or name.startswith("\\"):
            raise RowFault("outside", f"{name!r} must be a path relative to the root {self.folder}")
        parts = name.replace("\\", "/").split("/") if "\\" in name else name.split("/")
        if ".." in parts:
            raise RowFault("outside", f"{name} leads out by '..'; name what lies in the root {self.folder}")
        path = self._real
        try:
            for part in name.split("/"):  # the root is resolved: only what is below it can be a link
                path = f"{path}/{part}"
                if stat.S_ISLNK(os.lstat(path).st_mode):
                    return self._follow(name)
        except (OSError, UnicodeEncodeError) as error:  # no file can be called by half a surrogate pair
            where = f"does not exist in {self.folder}{_other_case(Path(path))}"
            raise RowFault("missing", f"{_sayable(name)} {where}") from error
        return Path(path)

    def _follow(self, name: str) -> Path:
        """Where a path with links in it leads."""
        real = os.path.realpath(f"{self._real}/{name}")
        if real != self._real and not real.startswith(self._real.rstrip(os.sep) + os.sep):
            raise RowFault(
                "outside", f"{name} is a link that leads out of the root {self.folder}; copy what it shows"
            )
        if not os.path.exists(real):
            raise RowFault("missing", f"{name} is a link to what does not exist in {self.folder}")
        return Path(real)

    def open(self, name: str) -> BufferedReader:
        """Opens a regular file for reading.

        Raises:
            RowFault: It leads out of the root, is not there, is empty, or is no regular file.
        """
        path = self.find(name)
        try:
            # NOFOLLOW: what was resolved a moment ago is no link; NONBLOCK: a pipe without a writer would hang
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            kind: FaultKind = "outside" if error.errno == errno.ELOOP else "missing"
            raise RowFault(kind, f"{name} cannot be opened in {self.folder} ({error.strerror})") from error
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
            os.close(handle)
            if stat.S_ISREG(found.st_mode):
                raise RowFault("empty", f"{name} has no content; fetch it anew")
            raise RowFault("broken", f"{name} is no file; name a file")
        return os.fdopen(handle, "rb")


def _sayable(name: str) -> str:
    """A name as it can be printed and written to a file."""
    return name.encode(errors="backslashreplace").decode()


def _other_case(path: Path) -> str:
    """The file that is there under the same name in other letters, if one is."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    near = [name for name in names if name.casefold() == path.name.casefold()]
    return f"; there is {near[0]}" if near else ""
