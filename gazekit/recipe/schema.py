"""The root of a recipe: which sections there are, and what each is written as."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

from gazekit.contracts.section import Fault, Implied, Node, SectionError, Written, build
from gazekit.training import Machine
from gazekit.training.machine import Strategy
from gazekit.training.stage import Precision

Composition = Annotated[object, Implied("gazekit.gaze.Gaze")]
"""How one layer looks; no `_target_` needed."""

Model = Annotated[object, Implied(None)]
Data = Annotated[
    object,
    Implied(
        None, offers=("processor", "batch_size", "num_steps", "seed", "start", "batches_per_step", "out")
    ),
]
Evaluation = Annotated[object, Implied(None, offers=("model", "processor", "out"))]
Logger = Annotated[object, Implied(None, offers=("save_dir",))]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What `training:` holds when it names no target of its own.

    Attributes:
        stages: In the order in which they run.
        tower: Pretrains the vision tower on single cells before all stages, in one process; None = the tower is ready.
        strategy: How processes share the work: "ddp", "fsdp2" (which shards the model), or "auto" (`Machine`).
        devices: Processes on each node, one a device; "auto" takes what was started there, or is there.
        num_nodes: Nodes.
        timeout: Seconds that processes wait for one another before the run is given up.
        compile: Compiles each layer of tower and decoder.
        peak_tflops: What a device can do, to measure utilisation against; None = what is known of it.
        precision: Of all stages, whatever they say; None = each stage's own.

    Raises:
        ValueError: A field out of its range, or a stage that cannot be divided among so many devices.
    """

    stages: list[Annotated[object, Implied("gazekit.training.Stage")]]
    tower: Annotated[object, Implied("gazekit.training.Stage")] | None = None
    strategy: Strategy = "auto"
    devices: int | Literal["auto"] = 1
    num_nodes: int = 1
    timeout: float | int = 1800
    compile: bool = False
    peak_tflops: float | int | None = None
    precision: Precision | None = None

    def __post_init__(self) -> None:
        machine = self.machine
        if machine.devices == "auto":
            return
        total = machine.devices * machine.num_nodes
        for stage in self.trained:
            if stage.batch_size % (stage.accumulate * total):
                raise ValueError(
                    f"devices times num_nodes must divide the batch of every stage, got {machine.devices} x "
                    f"{machine.num_nodes} for {stage.name!r}, whose batch_size is {stage.batch_size} in "
                    f"{stage.accumulate} accumulated batches; change that stage's batch_size or accumulate"
                )
            if machine.strategy == "fsdp2" and stage.optimizer != "adamw":
                raise ValueError(
                    f"strategy must be ddp for {stage.name!r}, whose optimizer {stage.optimizer} needs whole matrices, "
                    "got fsdp2; or set that stage's optimizer to adamw"
                )
            if machine.strategy == "fsdp2" and stage.ema is not None:
                raise ValueError(
                    f"strategy must be ddp for {stage.name!r}, which keeps a moving average of whole weights, got "
                    "fsdp2; or set that stage's ema to null"
                )
            if machine.strategy == "fsdp2" and stage.precision == "16-mixed":
                raise ValueError(
                    f"strategy must be ddp for {stage.name!r}, whose precision is 16-mixed, got fsdp2; or set "
                    "precision to bf16-mixed"
                )

    @property
    def machine(self) -> Machine:
        """The processes that it runs in.

        Raises:
            ValueError: A field out of its range.
        """
        return Machine(
            strategy=self.strategy,
            devices=self.devices,
            num_nodes=self.num_nodes,
            timeout=self.timeout,
            compile=self.compile,
            peak_tflops=self.peak_tflops,
        )

    @property
    def trained(self) -> list[Any]:
        """The stages as they are trained."""
        if self.precision is None:
            return list(self.stages)
        return [replace(cast(Any, stage), precision=self.precision) for stage in self.stages]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe as it was resolved: bases merged, overrides applied, interpolations filled in, nothing built.

    Sections are plain values. Two recipes are equal if they come to the same.

    Attributes:
        name: What runs and reports call it; the file's name unless it says otherwise.
        seed: Of everything random.
        imports: Modules trusted beside gazekit: names, or files (absolute).
        model: A part that is the model, or describes it.
        gaze: One composition for all layers, a list that cycles over them, or None for dense attention.
        data: A part that gives the data, or one for each stage, by the stage's name.
        training: `stages:`, a list of parts; or a part of its own.
        evaluate: A part, or a list of them.
        logging: A part, or a list of them.
    """

    name: str
    seed: int = 0
    imports: tuple[str, ...] = ()
    model: Annotated[Any, Written(Model | None)] = None
    gaze: Annotated[Any, Written(Composition | list[Composition] | None)] = None
    data: Annotated[Any, Written(Data | dict[str, Data] | None)] = None
    training: Annotated[Any, Written(Training | Node | None)] = None
    evaluate: Annotated[Any, Written(Evaluation | list[Evaluation] | None)] = None
    logging: Annotated[Any, Written(Logger | list[Logger] | None)] = None

    def build(self, section: str, **offered: object) -> Any:
        """Builds one section: a part, a list of parts, or None where the recipe has no such section.

        Args:
            section: For example `gaze`.
            offered: What the program has at hand for the section's parts, by the names in the schema: `data`
                may need the `processor`. A part takes what it has arguments for and the recipe does not give.

        Raises:
            SectionError: A part refuses what it is given.
            ValueError: There is no such section.
        """
        hints = typing.get_type_hints(Recipe, include_extras=True)
        if section not in hints:
            raise ValueError(f"section must be one of {', '.join(hints)}, got {section!r}")
        return build(getattr(self, section), hints[section], self.imports, offered)


@dataclass(frozen=True, kw_only=True)
class RecipeFile(Recipe):
    """What a file may hold: a recipe, and what it starts from.

    Attributes:
        base: The recipe that this one is laid over: a name, or a path relative to the file.
    """

    base: str | None = None


class RecipeError(SectionError):
    """A recipe that cannot be used, with every fault that was found in it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(faults, "recipe")
