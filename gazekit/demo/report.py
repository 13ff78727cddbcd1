"""What the demo leaves behind: results.json, a table in the terminal, pictures and a page."""

from __future__ import annotations

import json
import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from gazekit import __version__
from gazekit.demo.judging import Verdict
from gazekit.demo.models import Contestants
from gazekit.evaluate.reading import Outcome
from gazekit.view import Example, Picture, Table, save_curves, save_glances, write_page

EXAMPLES = 6
_PACKAGES = ("torch", "transformers", "lightning")
_LABELS = {
    "dense": "dense",
    "gaze": "gaze",
    "gaze_context": "gaze + context",
    "random": "random regions",
    "eviction": "eviction",
    "eviction_2x": "eviction x 2",
    "eviction_4x": "eviction x 4",
}


def results_of(
    contestants: Contestants, verdict: Verdict, *, seed: int, seconds: dict[str, float]
) -> dict[str, Any]:
    """The figures as `results.json` holds them; accuracies are shares of answer words, 0 to 1."""
    out = verdict.outcomes
    layer, head = verdict.head
    assert out["gaze"].routing is not None
    routing = out["gaze"].routing.compute()
    attended = {name: _attended(out[name]) for name in ("dense", "gaze", "gaze_context")}
    return {
        "dense": _answers(out["dense"]) | {"attended_visual": attended["dense"]["visual"]},
        "gaze": _answers(out["gaze"])
        | {"attended_visual": attended["gaze"]["visual"], "attended_share": attended["gaze"]["share"]},
        "gaze_context": _answers(out["gaze_context"])
        | {
            "num_context": contestants.context.model.config.num_context,
            "attended_visual": attended["gaze_context"]["visual"],
            "attended_share": attended["gaze_context"]["share"],
            "attended_share_with_context": attended["gaze_context"]["share_with_context"],
        },
        "random": _answers(out["random"]),
        "eviction": _answers(out["eviction"])
        | {
            "accuracy_2x": out["eviction_2x"].accuracy,
            "accuracy_4x": out["eviction_4x"].accuracy,
        },
        "routing": {
            "accuracy": float(routing["per_head"][layer, head]),
            "random": float(routing["per_head_random"][layer, head]),
            "layer": layer,
            "head": head,
            "mean": float(routing["mean"]),
            "mean_random": float(routing["mean_random"]),
            "union": float(routing["union"]),
            "union_random": float(routing["union_random"]),
        },
        "tower": {"accuracy": contestants.tower_accuracy},
        "questions": len(out["gaze"].answers),
        "seconds": seconds,
        "seed": seed,
        "versions": {"gazekit": __version__, "python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    }


def print_results(results: dict[str, Any], console: Console) -> None:
    """The table of the page, in the terminal."""
    for table in tables_of(results):
        shown = RichTable(
            title=table.title,
            caption=table.note,
            caption_justify="left",
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for number, column in enumerate(table.columns):
            shown.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def tables_of(results: dict[str, Any]) -> list[Table]:
    """Accuracy and entries of every system; where gaze looked."""
    kinds = sorted(results["gaze"]["by_kind"])
    rows = []
    for name, label in _LABELS.items():
        key, _, times = name.partition("_") if name.startswith("eviction") else (name, "", "")
        figures = results[key]
        accuracy = figures[f"accuracy_{times}"] if times else figures["accuracy"]
        by_kind = figures["by_kind"] if not times else {}
        rows.append(
            [
                label,
                _percent(accuracy),
                *_entries(results, name),
                *(_percent(by_kind.get(kind)) for kind in kinds),
            ]
        )
    routing = results["routing"]
    best = f"head {routing['head']} of layer {routing['layer']}"
    looks = [
        [label, _percent(routing[name]), _percent(routing[chance])]
        for label, name, chance in (
            (best, "accuracy", "random"),
            ("mean over heads", "mean", "mean_random"),
            ("union of all heads", "union", "union_random"),
        )
    ]
    return [
        Table(
            "Answers about held-out scans",
            ["system", "right", "entries", "share", *kinds],
            rows,
            f"{results['questions']} questions, each about a mosaic of its own, answered by generate(). "
            "Entries are the visual entries that a query attends, means over layers, heads and answer words; eviction "
            "keeps its own for each layer and KV head. Right: words that are right in their place, in all and by kind "
            "of question; words that only repeat the question do not count.",
        ),
        Table(
            "Does it look where the answer is?",
            ["regions of", "routing accuracy", "if drawn at random"],
            looks,
            "Share of answer words for which a chosen region holds at least a quarter of the digit's ink. "
            "The head was chosen on validation scans.",
        ),
    ]


def draw(contestants: Contestants, verdict: Verdict, results: dict[str, Any], out: Path) -> None:
    """Writes `loss.png`, `openness.png`, `glances.png` and `report.html`."""
    from gazekit.training.history import read_history

    history = {name: read_history(contestants.folders[name]) for name in ("gaze", "dense")}
    shared = contestants.shared_steps
    before = [row for row in history["gaze"] if row["step"] < shared]
    loss = {
        "gaze": _curve(history["gaze"], "loss"),
        "dense": _curve(before, "loss") + _curve(history["dense"], "loss"),
    }
    marks = {"routing begins to close": shared}
    save_curves(
        out / "loss.png", loss, title="Training loss", ylabel="cross-entropy, nats a token", marks=marks
    )
    opened = {"gaze": _curve(history["gaze"], "k")}
    save_curves(out / "openness.png", opened, title="Regions a query looks at", ylabel="K", marks=marks)
    examples = examples_of(verdict)
    save_glances(
        out / "glances.png",
        examples,
        head=verdict.head,
        title="What the model looked at when it wrote each word (framed: the head that routes best)",
    )
    gaze = results["gaze"]
    write_page(
        out / "report.html",
        title="A small multimodal LLM learns to look where it needs to",
        lead=(
            f"Gaze attends {gaze['attended_visual']:.1f} of {results['dense']['attended_visual']:.0f} visual entries "
            f"a query ({_percent(gaze['attended_share'])}) and gets {_percent(gaze['accuracy'])} of answer words "
            f"right; dense attention gets {_percent(results['dense']['accuracy'])}. Seed {results['seed']}."
        ),
        tables=tables_of(results),
        pictures=[
            Picture(
                out / "loss.png", "Loss of gaze and of dense attention; the steps before the mark are shared."
            ),
            Picture(out / "openness.png", "From dense to the target: K over training."),
        ],
        examples=examples,
        head=verdict.head,
    )


def examples_of(verdict: Verdict) -> list[Example]:
    """The first held-out questions of several words, rows and columns in turn."""
    outcome = verdict.outcomes["gaze"]
    several = [
        n
        for n, answer in enumerate(outcome.answers)
        if answer.glances is not None and len(answer.expected) > 1
    ]
    chosen = several[:EXAMPLES]
    return [
        Example(
            image=verdict.items[n].image,
            question=outcome.answers[n].question,
            expected=outcome.answers[n].expected,
            said=outcome.answers[n].said,
            glances=np.asarray(outcome.answers[n].glances),
            box=np.asarray(outcome.boxes[n]),
            masks=verdict.items[n].masks,
        )
        for n in chosen
    ]


def save_results(results: dict[str, Any], out: Path) -> None:
    """Writes `results.json`; a figure that there is none of is null."""
    (out / "results.json").write_text(
        json.dumps(_plain(results), indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _answers(outcome: Outcome) -> dict[str, Any]:
    return {"accuracy": outcome.accuracy, "by_kind": outcome.accuracy_by_kind}


def _attended(outcome: Outcome) -> dict[str, float]:
    assert outcome.attended is not None, "the contestant was watched"
    return outcome.attended.compute()


def _entries(results: dict[str, Any], name: str) -> tuple[str, str]:
    """Visual entries and their share, context tokens named apart."""
    gaze, dense = results["gaze"]["attended_visual"], results["dense"]["attended_visual"]
    count = {"dense": dense, "eviction_2x": 2 * gaze, "eviction_4x": 4 * gaze}.get(name, gaze)
    if name == "gaze_context":
        extra = results["gaze_context"]["num_context"]
        return f"{count:.1f}+{extra}", _percent(results["gaze_context"]["attended_share_with_context"])
    return f"{count:.1f}", _percent(count / dense)


def _curve(history: list[dict[str, float]], name: str) -> list[tuple[int, float]]:
    return [(int(row["step"]), row[name]) for row in history if name in row]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}%"
