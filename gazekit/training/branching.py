"""Starts a dense run from the steps that a run with gaze took dense."""

from __future__ import annotations

from pathlib import Path

import torch

from gazekit.training.checkpoints import RECORD, commit, saved, step_of
from gazekit.training.stage import Stage


def branch(source: Path | str, step: int, folder: Path | str, stage: Stage) -> Path:
    """Copies the checkpoint of a step into another stage's folder, which `fit_stage` then goes on with.

    As long as the routing is open, a run with gaze and a dense run are the same run, bit for bit. Sharing these steps
    saves the time of the second.

    Args:
        source: The folder of the stage with gaze, whose checkpoint of `step` was kept (`keep=` of `fit_stage`).
        step: The step to branch at, at most `open_steps(model, stage)`.
        folder: The folder of the new stage; it must not hold checkpoints.
        stage: The new stage: the source's with another openness.

    Returns:
        The new checkpoint.

    Raises:
        ValueError: No such checkpoint, a folder in use, a stage that differs in more than openness and name, or
            steps up to `step` that were not dense.
    """
    source, folder = Path(source), Path(folder)
    path = next((path for path in saved(source / "checkpoints") if step_of(path) == step), None)
    if path is None:
        steps = ", ".join(str(step_of(path)) for path in saved(source / "checkpoints")) or "none"
        raise ValueError(
            f"step must have a checkpoint in {source}, got {step}, there are: {steps}; "
            f"keep it with fit_stage(keep=[{step}])"
        )
    if saved(folder / "checkpoints"):
        raise ValueError(f"folder must not hold checkpoints, got {folder}; remove it or choose another")
    checkpoint = torch.load(path, weights_only=True, map_location="cpu")
    record = checkpoint[RECORD]
    _check(record, stage, step)
    record["run"] = {**record["run"], "stage": stage.as_dict()}
    out = folder / "checkpoints" / path.name
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_suffix(".unfinished")
    torch.save(checkpoint, unfinished)
    commit(unfinished, out)
    return out


def _check(record: dict, stage: Stage, step: int) -> None:
    if stage.openness is None or stage.openness < 1 or record["lowest_openness"] < 1:
        raise ValueError(
            f"openness must be 1 in the steps that both runs share, got {record['lowest_openness']} at the lowest "
            f"in the source up to step {step} and {stage.openness} in the new stage; branch at an earlier step, "
            "or give Stage(openness=1)"
        )
    was, now = record["run"]["stage"], stage.as_dict()
    other = [name for name in now if name not in ("name", "openness") and was.get(name) != now[name]]
    if other:
        raise ValueError(
            f"stage must be the source's but for name and openness, differs in {', '.join(other)}"
        )
