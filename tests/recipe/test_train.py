"""A recipe trained end to end, and a router of one's own in it by four lines."""

import json

import pytest

from gazekit.cli import main
from gazekit.models import CambrianForConditionalGeneration
from gazekit.recipe import load
from gazekit.recipe.train import train
from gazekit.testing import laws

OWN_ROUTER = '''
"""Always looks at the last complete region, and at the best of the others."""

from dataclasses import dataclass

import torch

from gazekit.contracts import Selection


@dataclass(frozen=True, kw_only=True)
class BestRouter:
    k: int = 1

    def __call__(self, scores, view):
        if view.openness >= 1:
            return None
        complete = view.complete[:, None].expand_as(scores)
        count = scores.shape[-1]
        whole = complete.sum(-1, keepdim=True)
        keep = self.k + (view.openness * (whole - self.k).clamp_min(0)).ceil()
        ranked = scores.masked_fill(~complete, float("-inf")).sort(dim=-1, descending=True, stable=True).indices
        chosen = complete.gather(-1, ranked) & (torch.arange(count) < keep)
        ranked = torch.where(chosen, ranked, count).sort(-1).values
        return Selection(ranked.masked_fill(ranked == count, -1).int())
'''

OWN_RECIPE = """
base: tiny
imports: [own_router.py]
gaze.route:
  _target_: own_router.BestRouter
"""

SHORT = [
    "training.tower.steps=2",
    "training.stages.0.steps=1",
    "training.stages.1.steps=3",
    "training.stages.1.checkpoint_every=1",
]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_router.py").write_text(OWN_ROUTER)
    (folder / "mine.yaml").write_text(OWN_RECIPE)
    return folder / "mine.yaml"


def test_a_router_of_ones_own_trains_saves_and_loads(recipe, tmp_path):
    out = tmp_path / "run"
    assert main(["train", str(recipe), *SHORT, "--out", str(out), "--device", "cpu"]) == 0
    model = out / "model"
    assert "own_router" in json.dumps(json.loads((model / "config.json").read_text())["gaze"])
    with pytest.raises(ValueError, match="own_router"):
        CambrianForConditionalGeneration.from_pretrained(model)
    again = CambrianForConditionalGeneration.from_pretrained(
        model, imports=[str(recipe.parent / "own_router.py")]
    )
    assert type(again.gaze.route).__name__ == "BestRouter"
    assert again.gaze.route.k == 1
    assert again.gaze.context is None


def test_it_keeps_the_laws(recipe):
    laws.check_router(load(recipe).build("gaze").route)


def test_a_run_is_not_mixed_with_another_recipes(tmp_path):
    recipe = load("tiny", SHORT)
    out = tmp_path / "run"
    out.mkdir()
    (out / "recipe.yaml").write_text("name: other\n")
    with pytest.raises(ValueError, match="holds the run of another recipe"):
        train(recipe, out=out, device="cpu")
    assert (out / "recipe.yaml").read_text() == "name: other\n"


def test_what_a_recipe_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match="data must be in the recipe tiny to train it"):
        train(load("tiny", ["data=null"]), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_other_things_is_neither_written_to_nor_taken_for_a_run(run, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for more in ([], ["--fresh"]):
        code, _, err = run("train", "tiny", *SHORT, "--out", tmp_path, *more)
        assert code == 2
        assert "no run of gazekit" in err
        assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]
