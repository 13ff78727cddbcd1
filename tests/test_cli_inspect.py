"""`gazekit cost` and `gazekit inspect`, as a person types them."""

import json
from dataclasses import dataclass

import pytest
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Qwen2_5_VLConfig,
    Qwen3Config,
    SiglipImageProcessorPil,
    SiglipVisionModel,
    VipLlavaConfig,
)

from gazekit.cli.inspect import config_of
from gazekit.models import CambrianForConditionalGeneration, FromPretrained, anatomy_of
from gazekit.recipe import Recipe, load
from gazekit.recipe.assemble import assemble
from tests.models.tiny import (
    gaze_section,
    make_config,
    make_model,
    make_tokenizer,
    text_config,
    vision_config,
)

EXAMPLE = "--units 8 --grid 24x24 --size 1,6,6 --k 20 --context 4 --shape qwen3-4b"
VIDEO = "--frames 64 --grid 12x12 --k 40 --context 4 --text 52 --softmax-flops 5 --descriptor-bytes 2"
PARTS = ["tower", "compressor", "projector", "context", "language"]


def test_the_papers_worked_example_in_json(run):
    code, out, err = run("cost", *EXAMPLE.split(), "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["attended"], found["dense"], round(found["share"], 3)) == (752, 4608, 0.163)
    assert found["attention_flops"] == {"dense": 2717908992, "gaze": 424673280, "change": -0.84375}
    assert (found["routing_flops"], found["context_flops"]) == (128 * 256 * 32 * 36, 32 * 512 * 32 * 36)
    assert found["kv_bytes"]["dense"] == 4608 * 147456
    assert found["setting"]["shape"]["name"] == "qwen3-4b"


def test_a_table_for_people(run):
    code, out, err = run("cost", *VIDEO.split())
    assert (code, err) == (0, "")
    for line in ("regions  256 of 36 tokens, 40 looked at", "64 of 12 x 12 visual and 4 context tokens"):
        assert line in out
    rows = [line.split() for line in out.splitlines()]
    assert ["attention", "5.52", "GFLOPs", "889", "MFLOPs", "-83.9%"] in rows
    assert ["KV,", "one", "selection", "resident", "1.37", "GB", "277", "MB", "-79.8%"] in rows


@pytest.mark.parametrize("words", [("tiny", "--frames", 64), ("--frames", 64, "tiny")])
def test_the_cost_of_a_recipe(run, words):
    found = json.loads(run("cost", *words, "gaze.route.k=5", "--json")[1])
    assert (found["dense"], found["regions"], found["chosen"], found["attended"]) == (4096, 1024, 5, 20)
    assert found["setting"]["shape"] == {
        "name": "tiny", "num_layers": 3, "num_heads": 4, "num_kv_heads": 2, "head_dim": 32, "hidden_dim": 128,
    }  # fmt: skip


def test_a_recipe_of_gaze_alone_needs_a_shape_and_a_grid(run, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "gaze:\n  - {partition: {_target_: gazekit.partition.GridPartition, size: [1, 2, 2]}, "
        "route: {_target_: gazekit.route.TopKRouter, k: 1}}\n  - {route: null}\n"
    )
    code, _, err = run("cost", path)
    assert code == 2
    assert "describes no model, so --shape and --grid must be given" in err
    found = json.loads(run("cost", path, "--shape", "2,4,2,8", "--grid", "3x5", "--units", 2, "--json")[1])
    assert (found["regions"], found["attended"]) == (12, (30 / 12 + 30) / 2)
    path.write_text("seed: 1\n")
    assert "has no gaze section to count" in run("cost", path, "--shape", "tiny", "--grid", "2x2")[2]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("cost --k 2 --grid 24", "grid must be rowsxcolumns of visual tokens, as in 24x24, got '24'"),
        ("cost --k 2 --grid 0x24", "got '0x24'"),
        ("cost --k 2 --size 6,6", "size must be frames,rows,columns of a region in tokens, as in 1,6,6, got '6,6'"),
        ("cost --k 0", "must be a whole number of at least 1, got '0'"),
        ("cost --k 2 --context -1", "must be a whole number of at least 0, got '-1'"),
        ("cost --k 2 --text x", "must be a whole number of at least 0, got 'x'"),
        ("cost --k 2 --units 2 --frames 2", "not allowed with argument"),
        ("cost", "k must be given where no recipe is"),
        ("cost --k 2 gaze.route.k=3", "gaze.route.k=3 changes a recipe, and none is named"),
        ("cost --k 2 --shape qwen3-4", "did you mean qwen3-4b?"),
        ("cost tiny --k 2", "--k cannot stand beside a recipe, which says it; write gaze.route.k=20 instead"),
        ("cost tinny", "there is no recipe named tinny"),
        ("inspect tiny --image 448", "image must be heightxwidth in pixels, as in 448x448, got '448'"),
        ("inspect tiny --image 448x448", "this model resizes every image to 64 x 64 pixels; leave it out"),
        ("inspect tiny gaze.backend=gathr --device cpu", "got 'gathr'; did you mean 'gather'?"),
        ("inspect tinny", "did you mean `tiny`?; nor is tinny the folder of a model or a name on the hub"),
        ("inspect /", "/ is no saved model: it has no config.json"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(run, words, line):
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert line in err


def test_a_recipe_is_inspected(run):
    code, out, err = run("inspect", "tiny-context", "gaze.route.k=3", "--device", "cpu", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert set(found) == {"parameters", "gaze"}
    model = assemble(load("tiny-context")).model
    counts = {name: sum(p.numel() for p in parts) for name, parts in model.parts().items()}
    assert counts.pop("gaze") == 0
    assert found["parameters"] == {**counts, "total": sum(p.numel() for p in model.parameters())}
    assert list(found["parameters"]) == [*PARTS, "total"]
    gaze = found["gaze"]
    expected = {
        "layers": 3, "heads": 4, "kv_heads": 2, "head_dim": 32, "group": 2, "grid": [8, 8], "regions": 16,
        "region_size": [4, 4], "k": 3, "attended": 14, "attended_share": 14 / 64, "context_tokens": 2,
        "routing_flops": 3 * 16 * 4 * 64, "device": "cpu", "notes": [],
    }  # fmt: skip
    assert {name: gaze[name] for name in expected} == expected
    assert gaze["attention_flops"] == {
        "dense": 3 * 64 * 4 * 128,
        "gaze": 3 * 12 * 4 * 128,
        "change": 12 / 64 - 1,
    }
    assert gaze["backend"]["decoding"]["used"] == "gather"
    assert gaze["backend"]["prompt"]["others"]["gather"] == "it decodes one query per sample, and there are 3"
    assert set(gaze["backend"]["prompt"]["others"]) >= {"reference"}


def test_a_backend_that_was_named(run):
    found = json.loads(run("inspect", "tiny", "gaze.backend=gather", "--device", "cpu", "--json")[1])["gaze"]
    assert (found["backend"]["decoding"]["used"], found["backend"]["prompt"]["used"]) == ("gather", None)
    assert found["backend"]["decoding"]["others"]["masked"] == "it could be, but the composition names gather"


def test_people_read_a_table(run):
    code, out, _ = run("inspect", "tiny", "--device", "cpu")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["total", "796,960"] in rows
    assert ["looked", "at", "2", "of", "16", "regions"] in rows
    assert ["backend", "for", "decoding", "on", "cpu:", "gather"] in rows


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders that hold a config alone: no weights are read."""
    folder = tmp_path_factory.mktemp("configs")
    make_config(gaze=gaze_section(2, num_context=1), compressor="conv2x2").save_pretrained(
        folder / "cambrian"
    )
    make_config().save_pretrained(folder / "dense")
    qwen_config().save_pretrained(folder / "qwen")
    text = {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    VipLlavaConfig(text_config=text).save_pretrained(folder / "vipllava")
    Qwen3Config(num_hidden_layers=1).save_pretrained(folder / "text")
    return folder


def qwen_config(**fields) -> Qwen2_5_VLConfig:
    """A tiny Qwen2.5-VL."""
    text = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 120, "bos_token_id": 1, "eos_token_id": 2,
        "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32, "patch_size": 14,
        "spatial_merge_size": 2, "fullatt_block_indexes": [1],
    }  # fmt: skip
    ids = {
        "image_token_id": 110,
        "video_token_id": 111,
        "vision_start_token_id": 112,
        "vision_end_token_id": 113,
    }
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids, **fields)


def inspected(run, *words):
    code, out, err = run("inspect", *words, "--device", "cpu", "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_saved_cambrian_is_inspected(run, saved):
    found = inspected(run, saved / "cambrian")
    model = make_model(gaze=gaze_section(2, num_context=1), compressor="conv2x2")
    assert found["parameters"]["total"] == sum(p.numel() for p in model.parameters())
    assert found["parameters"]["total"] == sum(found["parameters"][part] for part in PARTS)
    assert found["parameters"]["context"] == 32
    assert (found["gaze"]["grid"], found["gaze"]["regions"], found["gaze"]["context_tokens"]) == (
        [2, 2],
        1,
        1,
    )


def test_without_gaze_what_is_possible_is_said(run, saved):
    found = inspected(run, saved / "dense")["gaze"]
    assert (found["k"], found["regions"], found["attended_share"], found["routing_flops"]) == (None, 0, 1, 0)
    assert "--gaze RECIPE shows what gaze would do" in found["notes"][0]
    assert found["backend"]["decoding"]["used"] == "masked"
    given = inspected(run, saved / "dense", "--gaze", "tiny-context", "gaze.route.k=1")
    assert (given["gaze"]["k"], given["gaze"]["attended"], given["gaze"]["notes"]) == (1, 6, [])
    assert given["parameters"]["context"] == 2 * 32


def test_a_model_of_transformers_is_inspected(run, saved):
    found = inspected(run, saved / "qwen", "--gaze", "tiny-context", "--image", "224x448")
    model = AutoModelForImageTextToText.from_config(qwen_config())
    inner = model.model
    counts = {
        "projector": sum(p.numel() for p in inner.visual.merger.parameters()),
        "language": sum(p.numel() for p in [*inner.language_model.parameters(), *model.lm_head.parameters()]),
        "total": sum(p.numel() for p in model.parameters()),
    }
    counts["vision"] = sum(p.numel() for p in inner.visual.parameters()) - counts["projector"]
    assert found["parameters"] == counts
    gaze = found["gaze"]
    assert (gaze["grid"], gaze["dense"], gaze["regions"], gaze["attended"]) == ([8, 16], 128, 32, 8 + 2)
    assert (gaze["layers"], gaze["heads"], gaze["kv_heads"], gaze["head_dim"], gaze["group"]) == (
        2,
        4,
        2,
        8,
        2,
    )
    assert gaze["notes"] == [
        "2 context tokens add as many rows to the vocabulary; they are not counted above"
    ]
    dense = inspected(run, saved / "qwen")["gaze"]
    assert (dense["grid"], dense["k"]) == ([16, 16], None)
    assert dense["notes"][0] == "an image of 448 x 448 pixels is assumed (--image HxW names another)"


def test_a_recipe_that_trains_a_model_of_transformers_is_inspected(run, saved):
    words = ("retrofit/context_only", f"model.pretrained={saved / 'qwen'}")
    found = inspected(run, *words)
    assert found["parameters"] == inspected(run, saved / "qwen")["parameters"]
    gaze = found["gaze"]
    assert (gaze["grid"], gaze["k"], gaze["context_tokens"], gaze["attended"]) == ([16, 16], 4, 4, 16 + 4)
    code, out, err = run("cost", *words, "--json")
    assert code == 0, err
    cost = json.loads(out)
    assert (cost["attended"], cost["kv_bytes"]) == (gaze["attended"], gaze["kv_bytes"])


def test_a_dense_model_and_one_with_gaze_are_told_in_the_same_words(run, saved):
    dense, gaze = inspected(run, saved / "dense"), inspected(run, saved / "cambrian")
    assert dense["gaze"].keys() == gaze["gaze"].keys()


def test_a_composition_saved_in_a_config_is_found():
    config = qwen_config(gaze=gaze_section(3))
    found = anatomy_of(config, image=(112, 112))
    assert found.gazes[0].route.k == 3
    assert found.grid == (4, 4)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["vipllava"], "model_type 'vipllava' has no layout adapter; there are"),
        (["text"], "the model must be a vision-language model, got one of type 'qwen3'"),
        (["qwen", "gaze.route.k=2"], "gaze.route.k=2 changes a recipe"),
    ],
)
def test_models_that_cannot_be_inspected(run, saved, words, line):
    code, out, err = run("inspect", saved / words[0], *words[1:])
    assert (code, out) == (2, "")
    assert line in err


def test_a_pretrained_model_tells_its_config_without_its_weights(tmp_path):
    tokenizer = make_tokenizer()
    text = text_config(vocab_size=len(tokenizer) - 1)
    for name, config in (("text", text), ("vision", vision_config())):
        config.save_pretrained(tmp_path / name)
    tokenizer.save_pretrained(tmp_path / "text")
    source = FromPretrained(text=str(tmp_path / "text"), vision=str(tmp_path / "vision"), image_tiles=(2, 2))
    told = source.config(gaze=gaze_section(num_context=1))
    AutoModelForCausalLM.from_config(text).save_pretrained(tmp_path / "text")
    SiglipVisionModel(vision_config()).save_pretrained(tmp_path / "vision")
    SiglipImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "vision")
    made = source.make(gaze=gaze_section(num_context=1)).model
    assert anatomy_of(told).parameters["total"] == sum(p.numel() for p in made.parameters())


@dataclass(frozen=True)
class Silent:
    """Makes a model and tells nothing of it before."""

    def make(self, **given):
        return CambrianForConditionalGeneration(make_config())


def test_a_model_of_ones_own_must_tell_its_config(monkeypatch):
    with pytest.raises(ValueError, match="model must be described in the recipe mine"):
        config_of(Recipe(name="mine"))
    monkeypatch.setattr(Recipe, "build", lambda self, section: Silent())
    with pytest.raises(ValueError, match=r"model Silent does not tell its config; give it a method config"):
        config_of(Recipe(name="mine", model={}))
