"""One Hugging Face folder out of a run, wherever the run stands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gazekit.recipe.assemble import assemble
from gazekit.recipe.load import load
from gazekit.recipe.schema import Recipe
from gazekit.recipe.train import MODEL_FOLDER, RECIPE_FILE

if TYPE_CHECKING:
    from gazekit.models import Cambrian


def export(
    run: Path,
    out: Path,
    *,
    dtype: str | None = None,
    max_shard_size: str = "5GB",
    language: bool = False,
    imports: Iterable[str] = (),
) -> Path:
    """Writes a run's model and processor into one folder that `from_pretrained` reads.

    The model is the one that the run has saved at its end, else what its latest stage has come to: the weights of a
    finished stage, or the latest checkpoint of one that still runs (its moving average, where the stage keeps one).

    Args:
        run: Folder of a run, or of a saved Cambrian.
        out: The new folder.
        dtype: Type of the weights, by torch's name; None = as they are.
        max_shard_size: Of each file of weights.
        language: Writes the decoder alone, a stock language model with its tokenizer.
        imports: Modules of one's own that the composition of a saved Cambrian names; a run knows its own.

    Returns:
        The new folder.

    Raises:
        ValueError: `out` holds something, or `run` holds no Cambrian that has trained.
    """
    import torch

    run, out = Path(run), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} must be a new folder, and holds something; name another")
    kind = None if dtype is None else getattr(torch, dtype, None)
    if dtype is not None and not (isinstance(kind, torch.dtype) and kind.is_floating_point):
        raise ValueError(f"dtype must be a floating-point type of torch, got {dtype!r}; for example bfloat16")
    cambrian = trained(run, imports)
    model: Any = cambrian.model
    model.fold()
    model.to(dtype=kind)
    if language:
        from gazekit.models import stock_language

        stock_language(model).save_pretrained(out, max_shard_size=max_shard_size)
        cambrian.processor.tokenizer.save_pretrained(out)
    else:
        model.save_pretrained(out, max_shard_size=max_shard_size)
        cambrian.processor.save_pretrained(out)
    return out


def trained(run: Path, imports: Iterable[str] = ()) -> Cambrian:
    """The model of a run, and its processor.

    Args:
        run: Folder of a run, or of a saved Cambrian.
        imports: As for `export`.

    Raises:
        ValueError: The folder holds no Cambrian that has trained.
    """
    from gazekit.models import CambrianConfig, config_at

    recipe = load(run / RECIPE_FILE) if (run / RECIPE_FILE).is_file() else None
    saved = next((one for one in (run / MODEL_FOLDER, run) if (one / "config.json").is_file()), None)
    if saved is not None:
        kind = config_at(saved).model_type
        if kind != CambrianConfig.model_type:
            raise ValueError(
                f"{saved} must hold a Cambrian, got a model of type {kind!r}, which from_pretrained reads as it is"
            )
        return _saved(saved, (*imports, *(recipe.imports if recipe else ())))
    if recipe is None:
        raise ValueError(f"{run} holds neither a run ({RECIPE_FILE}) nor a saved model (config.json)")
    return _from_stages(recipe, run)


def _saved(folder: Path, imports: tuple[str, ...]) -> Cambrian:
    from gazekit.models import Cambrian, CambrianForConditionalGeneration, CambrianProcessor
    from gazekit.models.readable import readable

    with readable(folder):
        model = CambrianForConditionalGeneration.from_pretrained(folder, imports=imports, dtype="auto")
    return Cambrian(model, CambrianProcessor.from_pretrained(folder))


def _from_stages(recipe: Recipe, run: Path) -> Cambrian:
    """The model with the weights of the latest stage that has any."""
    from gazekit.training import latest_weights, stage_folder

    stages = recipe.build("training").stages
    folders = [stage_folder(run, number, stage.name) for number, stage in enumerate(stages, start=1)]
    found = next((state for folder in reversed(folders) if (state := latest_weights(folder))), None)
    if found is None:
        raise ValueError(f"{run} holds no weights yet: no stage has reached a checkpoint")
    cambrian = assemble(recipe)
    if not hasattr(cambrian.model, "fold") or not hasattr(cambrian.model, "tower"):
        raise ValueError(f"{run} must be the run of a Cambrian, got {type(cambrian.model).__name__}")
    # Adapters are in it twice, as a part of their own and within the decoder; a file of weights keeps one of them.
    missing, unexpected = cambrian.model.load_state_dict(found, strict=False)
    own = dict(cambrian.model.named_parameters(remove_duplicate=False))
    given = {id(own[name]) for name in found if name in own}
    lacking = [name for name in missing if name in own and id(own[name]) not in given]
    if lacking or unexpected:
        raise ValueError(
            f"the weights in {run} are not those of its recipe: {(lacking or unexpected)[0]} is "
            f"{'missing' if lacking else 'not one of the model'}"
        )
    return cambrian
