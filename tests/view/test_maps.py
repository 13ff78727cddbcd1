"""Pictures over an image show what they were given: counted in pixels of the colours that stand for it."""

import numpy as np
import pytest
import torch
from PIL import Image

from gazekit import GridPartition, ProgressiveSchedule
from gazekit.gaze import prompt_layout
from gazekit.view import Field, save_maps, save_regions, save_schedule, save_selection

GREEN = (0, 180, 60)


@pytest.fixture
def field():
    layout = prompt_layout([(1, 4, 6)])
    return Field.of(Image.new("RGB", (120, 80), GREEN), layout, GridPartition(size=(1, 2, 2))(layout))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


def count(path, colour, tolerance=12):
    """Pixels of about a colour."""
    return int((np.abs(pixels(path) - colour).max(axis=-1) <= tolerance).sum())


def regions(*chosen):
    return torch.tensor([region in chosen for region in range(6)])


def test_regions_are_outlined_and_numbered(tmp_path, field):
    save_regions(tmp_path / "plain.png", field, numbers=False)
    whole = Field(field.image, np.zeros_like(field.owner))
    save_regions(tmp_path / "whole.png", whole, numbers=False)
    save_regions(tmp_path / "numbered.png", field, title="six regions")
    assert 0 < count(tmp_path / "plain.png", GREEN) < count(tmp_path / "whole.png", GREEN)
    assert count(tmp_path / "numbered.png", GREEN) < count(tmp_path / "plain.png", GREEN)


def test_what_is_chosen_is_bright(tmp_path, field):
    for number, chosen in enumerate([regions(), regions(4), regions(0, 4, 5)]):
        save_selection(tmp_path / f"{number}.png", field, {"a word": chosen}, columns=1)
    bright = [count(tmp_path / f"{number}.png", GREEN) for number in range(3)]
    assert bright[0] == 0
    assert bright[2] == pytest.approx(3 * bright[1], rel=0.1)


def test_panels_stand_in_rows(tmp_path, field):
    chosen = {str(number): regions(number) for number in range(4)}
    save_selection(tmp_path / "four.png", field, chosen, columns=3)
    save_selection(tmp_path / "three.png", field, dict(list(chosen.items())[:3]), columns=3)
    assert pixels(tmp_path / "four.png").shape[0] == pytest.approx(
        2 * pixels(tmp_path / "three.png").shape[0], abs=2
    )


def test_maps_share_a_scale_and_leave_gaps_grey(tmp_path, field):
    low, high = (field.spread(torch.full((6,), value)) for value in (1.0, 3.0))
    save_maps(tmp_path / "both.png", field, {"low": low, "high": high}, label="score")
    shown = pixels(tmp_path / "both.png")
    left, right = shown[shown.shape[0] // 2, 100], shown[shown.shape[0] // 2, 500]
    assert left[2] > left[0]  # the scale begins in violet and ends in yellow
    assert left[2] > right[2]
    assert right[0] > 2 * left[0]
    low[1:, :] = np.nan
    save_maps(tmp_path / "gap.png", field, {"low": low, "high": high}, label="score")
    red, green, blue = pixels(tmp_path / "gap.png")[shown.shape[0] // 2, 100]
    assert max(red, green, blue) - min(red, green, blue) < 8


def test_a_schedule_is_drawn_with_what_is_looked_at_on_the_way(tmp_path, field):
    schedule = ProgressiveSchedule(shape="linear", end=0.5)
    for number, last in enumerate([regions(0), regions(0, 1, 2)]):
        stages = {0.0: regions(), 0.5: last}
        save_schedule(tmp_path / f"{number}.png", field, schedule, stages, title="closing")
    bright = [count(tmp_path / f"{number}.png", GREEN) for number in range(2)]
    assert bright[1] == pytest.approx(3 * bright[0], rel=0.15)


def test_a_picture_of_nothing_is_refused(tmp_path, field):
    with pytest.raises(ValueError, match="at least one panel, got none"):
        save_selection(tmp_path / "none.png", field, {})
    with pytest.raises(ValueError, match="at least one panel, got none"):
        save_maps(tmp_path / "none.png", field, {}, label="score")
    with pytest.raises(ValueError, match="columns must be at least 1, got 0"):
        save_selection(tmp_path / "none.png", field, {"a": regions(0)}, columns=0)
    with pytest.raises(ValueError, match="chosen must hold at least one point of training, got none"):
        save_schedule(tmp_path / "none.png", field, ProgressiveSchedule(), {})
