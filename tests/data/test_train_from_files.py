"""`gazekit train` on a JSONL of images, by a recipe."""

import pytest

from gazekit.data.quarantine import read_quarantine
from gazekit.training import read_history
from tests.data.dirty import good_rows, turns, write_rows

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]

RECIPE = """
base: tiny
model.text.hidden_size: 32
model.text.intermediate_size: 32
model.text.num_hidden_layers: 2
model.text.num_attention_heads: 2
model.text.num_key_value_heads: 1
model.text.head_dim: 16
model.vision.hidden_size: 32
model.vision.intermediate_size: 32
model.vision.num_hidden_layers: 1
model.vision.num_attention_heads: 2
data:
  _target_: gazekit.data.ConversationData
  path: {path}
  root: {root}
  max_broken: {share}
  limits: {{tokens: 200, images: 2}}
training:
  tower: null
  stages:
    - {{name: all, steps: 3, batch_size: 4, learning_rates: {{projector: 1.0e-3, language: 1.0e-3}}}}
"""


@pytest.mark.parametrize("share", [0.9, 0.0])
def test_a_recipe_trains_on_files_and_stops_where_too_much_is_broken(run, tmp_path, share):
    rows = good_rows(tmp_path / "root", 4)
    broken = [{"id": "x", "data_source": "ocr", "image": "nowhere.jpg", "conversations": turns()}] * 4
    path = write_rows(tmp_path / "rows.jsonl", [*rows, *broken])
    recipe, out = tmp_path / "mine.yaml", tmp_path / "run"
    recipe.write_text(RECIPE.format(path=path, root=tmp_path / "root", share=share))
    assert run("check", recipe)[0] == 0
    code, _, error = run("train", recipe, "--out", out, "--device", "cpu")
    held = read_quarantine(out / "quarantine.jsonl")
    assert {(row["source"], row["kind"]) for row in held} == {("ocr", "missing")}
    if share:
        assert code == 0, error
        assert (out / "model/config.json").is_file()
        assert all(row["loss"] > 0 for row in read_history(out / "1-all"))
    else:
        assert code == 2
        assert "rows read are broken" in error
        assert "missing in ocr (nowhere.jpg does not exist" in error
        assert not (out / "model").exists()
