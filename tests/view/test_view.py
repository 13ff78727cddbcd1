"""Pages and pictures hold what they were given, and nothing that would run or load anything else."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from gazekit.view import Example, Picture, Table, save_curves, save_glances, write_page


def example(seed=0, question="read row 2"):
    rng = np.random.default_rng(seed)
    box = np.array([[[0, 1], [y, y + 2], [x, x + 2]] for y in range(0, 8, 2) for x in range(0, 8, 2)])
    glances = np.sort(rng.permuted(np.tile(np.arange(16), (3, 2, 4, 1)), axis=-1)[..., :2], axis=-1)
    return Example(
        image=Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)),
        question=question,
        expected=("1", "2", "3"),
        said=("1", "7", ""),
        glances=glances,
        box=box,
        masks=np.zeros((3, 64, 64), dtype=bool),
    )


def test_share_of_heads_that_chose_a_region():
    one = example()
    share = one.chosen_share(1)
    assert share.sum() == pytest.approx(2)
    assert share[one.glances[1, 0, 0, 0]] >= 1 / 8
    assert one.grid == (8, 8)


def test_a_page_is_self_contained_and_holds_its_data(tmp_path):
    picture = tmp_path / "curves.png"
    save_curves(picture, {"gaze": [(0, 3.0), (1, 2.0)], "dense": [(0, 3.0)]}, title="loss", ylabel="nats")
    page = tmp_path / "report.html"
    write_page(
        page,
        title="A <title>",
        lead="Lead & more",
        tables=[Table("Results", ["model", "accuracy"], [["gaze", "94.1 %"]], note="a note")],
        pictures=[Picture(picture, "curves")],
        examples=[example(question="</script><b>read</b>")],
        head=(1, 2),
    )
    text = page.read_text()
    assert "{{" not in text
    assert "A &lt;title&gt;" in text
    assert "<td>94.1 %</td>" in text
    assert "http" not in re.sub(r"http://www\.w3\.org/2000/svg|http-equiv", "", text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))
    assert data["head"] == [1, 2]
    assert data["examples"][0]["question"] == "</script><b>read</b>"
    assert np.array(data["examples"][0]["glances"]).shape == (3, 2, 4, 2)
    assert data["examples"][0]["image"].startswith("data:image/png;base64,")


def test_glances_are_drawn_one_row_an_example(tmp_path):
    path = tmp_path / "glances.png"
    save_glances(path, [example(0), example(1)], head=(1, 0), title="where it looked")
    one_row = tmp_path / "one.png"
    save_glances(one_row, [example(0)], head=(1, 0), title="where it looked")
    with Image.open(path) as both, Image.open(one_row) as one:
        assert one.size == (both.width, pytest.approx(both.height / 2, abs=2))
        assert np.asarray(both.convert("RGB")).std() > 10
