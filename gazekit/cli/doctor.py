"""What `gazekit doctor` finds out. It reads this machine alone: no network, nothing is changed."""

from __future__ import annotations

import os
import platform
from importlib import metadata, util

import torch

import gazekit
from gazekit.cli.backends import backends
from gazekit.cli.output import DISTRIBUTIONS, EXTRAS
from gazekit.contracts.device import choose_device, missing

CORE = (
    "torch",
    "transformers",
    "lightning",
    "omegaconf",
    "torchdata",
    "torchmetrics",
    "jaxtyping",
    "safetensors",
)


def examine() -> dict[str, dict[str, str]]:
    """What there is to know, by topic: names and what to say of each."""
    return {
        "versions": versions(),
        "machine": machine(),
        "devices": devices(),
        "backends": backends(choose_device("auto")),
        "optional packages": optional_packages(),
    }


def versions() -> dict[str, str]:
    """gazekit, Python and what gazekit stands on."""
    found = {name: _version(name) or "not installed" for name in CORE}
    return {"gazekit": gazekit.__version__, "python": platform.python_version(), **found}


def machine() -> dict[str, str]:
    """Processor, threads and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS", "is not set")
    return {
        "system": platform.platform(),
        "cores": f"{cores} usable",
        "threads": f"{torch.get_num_threads()} in torch (OMP_NUM_THREADS {limit})",
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "memory": _memory(),
    }


def devices() -> dict[str, str]:
    """What can be computed on, why the rest cannot, and what `--device auto` takes."""
    found = {"cpu": "yes"}
    for kind in ("cuda", "mps"):
        found[kind] = f"no: {reason}" if (reason := missing(kind)) else "yes"
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{card.name}, compute {card.major}.{card.minor}, {_gib(card.total_memory)}"
    return {**found, "auto": choose_device("auto")}


def optional_packages() -> dict[str, str]:
    """What is there beside the core, and how to get what is not."""
    found = {}
    for module, extra in EXTRAS.items():
        name = DISTRIBUTIONS.get(module, module)
        there = _version(name) if util.find_spec(module) else None
        found[name] = there or f"no: pip install 'gazekit[{extra}]'"
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> str:
    """Physical memory, and what of it is free, where the system tells (not on Windows)."""
    known = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in known:
        return "unknown on this system"
    page = os.sysconf("SC_PAGE_SIZE")
    free = f", {_gib(page * os.sysconf('SC_AVPHYS_PAGES'))} unused" if "SC_AVPHYS_PAGES" in known else ""
    return f"{_gib(page * os.sysconf('SC_PHYS_PAGES'))}{free}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
