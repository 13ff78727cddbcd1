"""Training with Lightning: stages, the module, checkpoints that a killed run goes on from.

`Stage` and `Machine` are light; every other name brings in Lightning, so names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gazekit.training.machine import Machine
from gazekit.training.stage import PARTS, Stage

if TYPE_CHECKING:
    from gazekit.training.branching import branch as branch
    from gazekit.training.checkpoints import Checkpoints as Checkpoints
    from gazekit.training.features import FeatureCache as FeatureCache
    from gazekit.training.fit import StageResult as StageResult
    from gazekit.training.fit import fit_stage as fit_stage
    from gazekit.training.fit import latest_weights as latest_weights
    from gazekit.training.history import read_history as read_history
    from gazekit.training.module import CambrianModule as CambrianModule
    from gazekit.training.openness import OpennessCallback as OpennessCallback
    from gazekit.training.openness import open_steps as open_steps
    from gazekit.training.progress import Progress as Progress
    from gazekit.training.runner import run as run
    from gazekit.training.runner import stage_folder as stage_folder
    from gazekit.training.tower import TowerResult as TowerResult
    from gazekit.training.tower import pretrain_tower as pretrain_tower

_HOMES = {
    "CambrianModule": "module",
    "Checkpoints": "checkpoints",
    "FeatureCache": "features",
    "OpennessCallback": "openness",
    "Progress": "progress",
    "StageResult": "fit",
    "TowerResult": "tower",
    "branch": "branching",
    "fit_stage": "fit",
    "latest_weights": "fit",
    "open_steps": "openness",
    "pretrain_tower": "tower",
    "read_history": "history",
    "run": "runner",
    "stage_folder": "runner",
}

__all__ = ["PARTS", "Machine", "Stage", *_HOMES]


def __getattr__(name: str) -> object:
    """Loads a name from its file at first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
