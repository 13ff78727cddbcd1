"""Which parameters belong to which part, what is frozen, and who decays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from torch import nn

from gazekit.gaze import holders
from gazekit.training.stage import PARTS, Stage, check_parts

_ALIASES = {"language_model": "language", "lm_head": "language"}


@dataclass(frozen=True)
class Part:
    """A part of the model in one stage.

    Attributes:
        name: The part.
        modules: What it consists of.
        rate: Its peak learning rate; None = frozen.
        decayed: Trained parameters with weight decay.
        plain: Trained parameters without: norms, biases, embeddings.
        size: Number of values in all its parameters.
    """

    name: str
    modules: tuple[nn.Module, ...]
    rate: float | None
    decayed: tuple[nn.Parameter, ...]
    plain: tuple[nn.Parameter, ...]
    size: int


def parts_of(model: nn.Module, stage: Stage) -> list[Part]:
    """The parts of a model, in the order of its children; a child that is no standard part is one of its own name.

    What several children hold (an adapter lies inside its decoder) is the last one's. Learned parts of gaze are the
    part "gaze", the last of all.

    Raises:
        ValueError: The stage names a part that the model does not have, or trains none that it has.
    """
    children: dict[str, list[nn.Module]] = {}
    for name, child in model.named_children():
        if next(child.parameters(), None) is not None:
            children.setdefault(_ALIASES.get(name, name), []).append(child)
    loose = [name for name, _ in model.named_parameters(recurse=False)]
    assert not loose, f"parameters outside any part: {loose}"
    apart = [module for module in holders(model) if next(module.parameters(), None) is not None]
    if apart:
        children["gaze"] = apart
    check_parts(stage.learning_rates, children)
    if not any(part in stage.rates for part in children):
        raise ValueError(
            f"learning_rates trains only {', '.join(stage.rates)}, which this model does without; "
            f"name one of {', '.join(children)}"
        )
    seen: set[nn.Parameter] = set()
    backwards = [_part(name, modules, stage, seen) for name, modules in reversed(children.items())]
    return backwards[::-1]


def _part(name: str, modules: list[nn.Module], stage: Stage, seen: set[nn.Parameter]) -> Part:
    """One part; parameters in `seen` (tied or nested ones) belong to another already."""
    embedded = {
        parameter
        for module in modules
        for child in module.modules()
        if isinstance(child, nn.Embedding)
        for parameter in child.parameters(recurse=False)
    }
    own = [p for p in dict.fromkeys(p for module in modules for p in module.parameters()) if p not in seen]
    seen.update(own)
    idle = {p for module in modules for p in _idle(module)}
    trained = [p for p in own if p not in idle] if name in stage.rates else []
    plain = tuple(p for p in trained if p.ndim < 2 or p in embedded)
    return Part(
        name=name,
        modules=tuple(modules),
        rate=stage.rates.get(name),
        decayed=tuple(p for p in trained if not (p.ndim < 2 or p in embedded)),
        plain=plain,
        size=sum(p.numel() for p in own),
    )


def freeze(parts: list[Part]) -> None:
    """Makes what is trained require gradients, and nothing else."""
    trained = {p for part in parts for p in (*part.decayed, *part.plain)}
    for part in parts:
        for module in part.modules:
            for parameter in module.parameters():
                # What another part trains inside this one (an adapter in its decoder) is of that one.
                parameter.requires_grad_(parameter in trained)


def _idle(module: nn.Module) -> Iterable[nn.Parameter]:
    """Parameters that no loss depends on, where a module says so: processes would wait for their gradients."""
    found = getattr(module, "idle_parameters", None)
    return () if found is None else found()


def optimizer_groups(parts: list[Part], stage: Stage) -> list[dict[str, Any]]:
    """AdamW's groups: for each trained part, one with weight decay and one without."""
    return [
        {"params": list(params), "lr": part.rate, "weight_decay": decay, "part": part.name}
        for part in parts
        for params, decay in ((part.decayed, stage.weight_decay), (part.plain, 0.0))
        if params
    ]


def table(parts: list[Part], stage: Stage) -> Table:
    """What trains in a stage and how: one line a part, absent standard parts that the stage names included."""
    out = Table(title=f"{stage.name}: {stage.steps} steps of {stage.batch_size}", title_justify="left")
    out.add_column("part")
    for heading in ("parameters", "trained", "learning rate", "weight decay", "without decay"):
        out.add_column(heading, justify="right")
    for part in parts:
        if part.rate is None:
            out.add_row(part.name, f"{part.size:,}", "0", "frozen", "-", "-")
            continue
        plain = sum(p.numel() for p in part.plain)
        trained = plain + sum(p.numel() for p in part.decayed)
        out.add_row(
            part.name,
            f"{part.size:,}",
            f"{trained:,}",
            f"{part.rate:g}",
            f"{stage.weight_decay:g}",
            f"{plain:,}",
        )
    absent = [name for name in PARTS if name in stage.rates and name not in {part.name for part in parts}]
    for name in absent:
        out.add_row(name, "none in this model", "-", "-", "-", "-")
    return out
