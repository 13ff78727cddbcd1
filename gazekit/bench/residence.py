"""How much memory of the machine the process holds."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Residence:
    """Resident bytes of the process; where the system does not tell them apart, all count as anonymous.

    Attributes:
        anonymous: Its own.
        mapped: Of files that are mapped (and of memory shared with others), as far as their pages are in its tables.
        peak: The most of both together since `restart_peak`, or since the process began where that cannot be reset.
    """

    anonymous: int
    mapped: int
    peak: int

    @property
    def total(self) -> int:
        """Both."""
        return self.anonymous + self.mapped


def residence() -> Residence:
    """What is held now."""
    try:
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        held = {
            name: 1024 * int(lines[name].split()[0]) for name in ("RssAnon", "RssFile", "RssShmem", "VmHWM")
        }
    except (OSError, KeyError):
        unit = 1 if sys.platform == "darwin" else 1024
        most = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Residence(anonymous=most, mapped=0, peak=most)
    return Residence(anonymous=held["RssAnon"], mapped=held["RssFile"] + held["RssShmem"], peak=held["VmHWM"])


def restart_peak() -> None:
    """Counts the peak from now on, where the system lets us."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
