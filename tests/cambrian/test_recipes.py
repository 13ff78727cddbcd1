"""What the recipes of the published models say, without weights or a network."""

import json

import pytest
import torch
from transformers import LlavaConfig

from gazekit.models import Projector, anatomy_of, known_text, known_vision
from gazekit.recipe import check, load
from gazekit.recipe.library import names

RECIPES = [name for name in names() if name.startswith("cambrian-")]
# Regions, K, frames or images, and about how many entries of how many the paper has.
NUMBERS = {
    "cambrian-4b/stage2_image": ([1, 6, 6], 4, 1, 144, 576),
    "cambrian-4b/stage2_video": ([1, 6, 6], 111, 128, 4_000, 18_432),
    "cambrian-7b/stage2_image": ([1, 6, 6], 4, 1, 144, 576),
    "cambrian-7b/stage2_video": ([1, 6, 6], 42, 64, 1_500, 9_216),
}


def linear(inputs: int, outputs: int, bias: bool = True) -> int:
    return inputs * outputs + bias * outputs


def siglip(width: int = 1152, inner: int = 4304, layers: int = 27, tokens: int = 576, patch: int = 16) -> int:
    """Patches, places, blocks of attention, MLP and two norms, and the norm behind them."""
    block = 4 * linear(width, width) + linear(width, inner) + linear(inner, width) + 4 * width
    return linear(3 * patch**2, width) + tokens * width + layers * block + 2 * width


def qwen3_4b() -> int:
    """Tied embeddings; no biases; norms of queries and keys."""
    width, inner, heads, kv_heads, dim = 2560, 9728, 32, 8, 128
    attention = 2 * width * heads * dim + 2 * width * kv_heads * dim + 2 * dim
    return 151936 * width + 36 * (attention + 3 * width * inner + 2 * width) + width


def qwen2_5_7b() -> int:
    """Embeddings and output layer apart; biases of queries, keys and values."""
    width, inner, kv = 3584, 18944, 4 * 128
    attention = linear(width, width) + 2 * linear(width, kv) + width * width
    return 2 * 152064 * width + 28 * (attention + 3 * width * inner + 2 * width) + width


LANGUAGE = {"4b": (2560, qwen3_4b()), "7b": (3584, qwen2_5_7b())}


def test_they_are_all_there_and_without_faults():
    stages = ("stage1", "stage2_image", "stage2_video")
    assert [f"cambrian-{size}/{stage}" for size in ("4b", "7b") for stage in stages] == RECIPES
    assert {name: check(name) for name in RECIPES} == {name: [] for name in RECIPES}


@pytest.mark.parametrize("name", ["cambrian-4b/stage1", "cambrian-7b/stage2_video"])
def test_parameters_are_exact(run, name):
    code, out, err = run("inspect", name, "--device", "cpu", "--json")
    assert code == 0, err
    width, language = LANGUAGE[name[9:11]]
    conv = linear(4 * 1152, 1152) if name.endswith("video") else 0
    expected = {
        "tower": siglip(),
        "compressor": conv,
        "projector": linear(1152, width) + linear(width, width),
        "context": 4 * width,
        "language": language,
    }
    assert json.loads(out)["parameters"] == {**expected, "total": sum(expected.values())}
    assert round(expected["projector"] / 1e6, 2) == {"4b": 9.51, "7b": 16.98}[name[9:11]]


def test_decoders_are_as_large_as_they_are_said_to_be():
    assert (qwen3_4b(), qwen2_5_7b()) == (4_022_468_096, 7_615_616_512)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_the_published_ones(run, name):
    size, k, frames, entries, dense = NUMBERS[name]
    recipe = load(name)
    assert recipe.gaze["partition"]["size"] == size
    assert recipe.gaze["route"]["k"] == k
    assert recipe.gaze["context"]["num_tokens"] == 4
    assert recipe.model["start"] == f"runs/{load(_before(name)).name}"
    code, out, err = run("cost", name, "--frames", str(frames), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["dense"], found["context"]) == (dense, 4 * frames)
    assert found["visual"] == pytest.approx(entries, rel=0.015)


@pytest.mark.parametrize(
    ("overrides", "entries"),
    [
        (["gaze.route.k=8"], 288),
        (["gaze.route.k=2"], 72),
        (["model.compressor=conv2x2", "gaze.partition.size=[1,3,3]", "gaze.route.k=6"], 54),
        (["model.compressor=conv2x2", "gaze.partition.size=[1,3,3]", "gaze.route.k=4"], 36),
    ],
)
def test_the_other_published_budgets_are_overrides(run, overrides, entries):
    code, out, err = run("cost", "cambrian-4b/stage2_image", *overrides, "--json")
    assert code == 0, err
    assert json.loads(out)["visual"] == entries


def test_stages_train_what_the_paper_trains():
    rates = {name: load(name).build("training").stages[0].rates for name in RECIPES}
    for name, found in rates.items():
        if name.endswith("stage1"):
            assert set(found) == {"projector", "compressor"}
        else:
            assert {"tower", "projector", "context", "language"} <= set(found)
            assert found["tower"] == 2e-6
    frozen = load("cambrian-4b/stage2_image", ["training.stages.0.learning_rates.tower=null"])
    assert "tower" not in frozen.build("training").stages[0].rates
    context = load("cambrian-4b/stage1", ["training.stages.0.learning_rates.context=1e-3"])
    assert context.build("training").stages[0].rates["context"] == 1e-3


def test_ids_of_known_tokenizers_lie_behind_their_own_tokens():
    for name, size in (("Qwen/Qwen3-4B", 151669), ("Qwen/Qwen2.5-7B", 151665)):
        found = known_text(name)
        assert found.ids["context_token_id"] == size < found.config.vocab_size
    assert known_text("Qwen/Qwen3-4C") is None
    assert known_vision("somebody/tower") is None


def test_a_video_is_inspected_whole(run):
    code, out, err = run("inspect", "cambrian-7b/stage2_video", "--frames", "16", "--device", "cpu", "--json")
    assert code == 0, err
    gaze = json.loads(out)["gaze"]
    assert (gaze["k"], gaze["regions"], gaze["grid"], gaze["frames"]) == (42, 64, [12, 12], 16)
    assert gaze["attended"] == 42 * 36 + 16 * 4


def test_frames_are_refused_where_they_mean_nothing():
    with pytest.raises(ValueError, match="frames must be at least 1, got 0"):
        anatomy_of(load("tiny").build("model").config(gaze=None), frames=0)
    with pytest.raises(ValueError, match="frames is for Cambrians, got 2 for a model of type 'llava'"):
        anatomy_of(LlavaConfig(), frames=2)


def test_the_projector_of_sixteen_frames_is_as_large_as_that_of_f_16():
    with torch.device("meta"):
        one = Projector(in_dim=1152, out_dim=3584, grid=(12, 12), place_embedding=False, frames=16)
    count = sum(p.numel() for p in one.parameters())
    assert count == linear(16 * 1152, 16 * 3584) + linear(16 * 3584, 3584)
    assert round(count / 1e9, 2) == 1.26


def _before(name: str) -> str:
    return name.replace("stage2_image", "stage1").replace("stage2_video", "stage2_image")
