from io import StringIO

import pytest
from rich.console import Console

from gazekit.training.progress import Progress, describe
from tests.training.standin import stage, train
from tests.training.test_resume import InterruptAt, Interrupted


def test_figures_in_words():
    figures = {"loss": 1.23456, "openness": 0.5, "k": 5.25, "attended_share": 0.314, "lr_projector": 1e-3}
    assert describe(figures) == "loss 1.235  openness 0.50  K 5.2  attended 31%"
    rates = {"tokens_per_second": 12345.6, "samples_per_second": 7.25, "mfu": 0.416}
    assert describe(rates) == "12,346 tokens/s  7.2 samples/s  MFU 42%"
    assert describe({"loss": 1.0, "accuracy": 0.5}) == "loss 1.000  accuracy 50.0%"


def terminal() -> Console:
    return Console(file=StringIO(), force_terminal=True, width=120)


def test_bar_on_a_terminal(tmp_path):
    console = terminal()
    train(tmp_path, callbacks=[Progress(console)])
    out = console.file.getvalue()
    assert "12/12" in out
    assert all(word in out for word in ("loss", "openness", "s/step"))


def test_bar_goes_away_before_an_error(tmp_path):
    bar = Progress(terminal())
    with pytest.raises(Interrupted):
        train(tmp_path, callbacks=[bar, InterruptAt(3)])
    assert bar._bar is None
    assert "\x1b[?25h" in bar.console.file.getvalue()  # the cursor is shown again


def test_twenty_lines_a_stage_elsewhere(tmp_path):
    console = Console(file=StringIO(), force_terminal=False, width=120)
    train(tmp_path, stage=stage(steps=60), callbacks=[Progress(console)])
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 20
    assert lines[-1].startswith("tiny 60/60")


def test_disabled_shows_nothing(tmp_path):
    console = terminal()
    bar = Progress(console)
    bar.disable()
    train(tmp_path, callbacks=[bar])
    assert console.file.getvalue() == ""
