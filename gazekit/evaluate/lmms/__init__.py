"""lmms-eval with a model of ours, and the tasks that it lacks.

lmms-eval is an extra, `gazekit[lmms-eval]`; it is imported by nothing but the classes that `manifests` names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

TASKS = Path(__file__).parent / "tasks"
"""Folder of tasks for lmms-eval's `--include_path`: CV-Bench by source, MMBench in Chinese without a judge, MathVista
and TempCompass by rules."""


def manifests() -> list[Any]:
    """What lmms-eval's entry points `lmms_eval.models` find: the model `gazekit`, by chat and by plain prompts."""
    from lmms_eval.models.registry_v2 import ModelManifest

    here = __name__
    return [
        ModelManifest(
            model_id="gazekit",
            chat_class_path=f"{here}.models.ChatModel",
            simple_class_path=f"{here}.models.PlainModel",
        )
    ]
