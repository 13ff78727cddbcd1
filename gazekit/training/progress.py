"""What one sees while a stage trains."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LINES = 20


class Progress(ProgressBar):
    """A bar with loss, openness, K, attended share, throughput and seconds a step.

    Where the output is no terminal (a log file, a CI job), about twenty plain lines a stage instead.

    Args:
        console: Where to print; standard output by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = console or Console()
        self._enabled = True
        self._bar: Bar | None = None
        self._begun = (0, 0.0)
        self._printed = 0

    def disable(self) -> None:
        """Shows nothing (Lightning calls this on all ranks but the first)."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the bar."""
        self._begun = (trainer.global_step, time.perf_counter())
        self._printed = trainer.global_step
        if not self._enabled or not self.console.is_terminal:
            return
        self._bar = Bar(
            TextColumn("[bold]{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"), TimeRemainingColumn(),
            console=self.console,
        )  # fmt: skip
        self._bar.add_task(
            pl_module.stage.name, total=pl_module.stage.steps, completed=trainer.global_step, figures=""
        )
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Updates the bar, or prints a line where it is time for one."""
        step, steps = trainer.global_step, pl_module.stage.steps
        first, since = self._begun
        pace = (time.perf_counter() - since) / max(1, step - first)
        if self._bar is not None:
            text = f"{describe(pl_module.figures())}  {pace:.2f} s/step"
            self._bar.update(self._bar.task_ids[0], completed=step, figures=text)
        elif (
            self._enabled
            and step > self._printed
            and (step * _LINES // steps > self._printed * _LINES // steps)
        ):
            self._printed = step
            left = time.strftime("%H:%M:%S", time.gmtime((steps - step) * pace))
            text = f"{pl_module.stage.name} {step}/{steps}  {describe(pl_module.figures())}"
            self.console.print(f"{text}  {pace:.2f} s/step  {left} left", highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the finished bar on the screen."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Frees the terminal for the error."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def describe(figures: dict[str, float]) -> str:
    """A step's figures in one line; those that do not apply are left out."""
    forms = {
        "loss": lambda value: f"loss {value:.3f}",
        "accuracy": lambda value: f"accuracy {value:.1%}",
        "openness": lambda value: f"openness {value:.2f}",
        "k": lambda value: f"K {value:.1f}",
        "attended_share": lambda value: f"attended {value:.0%}",
        "tokens_per_second": lambda value: f"{value:,.0f} tokens/s",
        "samples_per_second": lambda value: f"{value:,.1f} samples/s",
        "mfu": lambda value: f"MFU {value:.0%}",
    }
    return "  ".join(form(figures[name]) for name, form in forms.items() if name in figures)
