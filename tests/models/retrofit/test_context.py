"""Context tokens of other models: written by the processor, rows of the vocabulary, silent."""

import json
import pickle

import pytest
import torch
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Gemma3Config,
    GenerationConfig,
    Idefics3Config,
    InternVLConfig,
    LlavaOnevisionConfig,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen3VLConfig,
)

from gazekit import Gaze, GridPartition, LearnedContext, TopKRouter, apply_gaze, remove_gaze
from gazekit.contracts import Kind
from gazekit.models import add_context_tokens, load_processor
from gazekit.models.retrofit.context import context_rows
from gazekit.models.retrofit.processors.context import behind_frames, emit_context
from gazekit.models.retrofit.prompt import given_media, layout_of_prompt
from tests.models.retrofit.qwen_small import make_qwen
from tests.models.retrofit.stock import ALL, QWEN, WITH_VIDEO, image_mark, make_stock, picture, video_mark

CONTEXT = ["<|gaze_ctx_0|>", "<|gaze_ctx_1|>"]
STEPS = {"total_num_frames": 4, "fps": 2.0, "frames_indices": [0, 1, 2, 3]}
TIMES = {"total_num_frames": 3, "fps": 2.0, "frames_indices": [0, 1, 2]}


def emitting(name: str):
    """A processor that writes two context tokens."""
    processor = make_stock(name)
    processor.tokenizer.add_tokens(CONTEXT, special_tokens=True)
    emit_context(processor, CONTEXT)
    return processor


def groups(processor, ids) -> list[str]:
    """The tokens, runs of the same counted as one, context tokens as C and D, visual ones as v, others as a dot."""
    marks = {**dict(zip(CONTEXT, "CD", strict=True)), **dict.fromkeys(placeholders(processor), "v")}
    found = [marks.get(token, ".") for token in processor.tokenizer.convert_ids_to_tokens(ids)]
    return "".join(
        one for one, before in zip(found, ["", *found], strict=False) if one != before or one in "CD"
    )


def placeholders(processor) -> list[str]:
    soft = getattr(processor.tokenizer, "image_token", None)
    names = [getattr(processor, "video_token", None), processor.image_token, soft]
    boundary = getattr(processor.tokenizer, "boi_token", None)
    return [name for name in names if name is not None and name != boundary]


@pytest.mark.parametrize("name", ALL)
def test_every_image_has_its_own_right_behind_it(name):
    processor, mark = emitting(name), image_mark(name)
    images = [[picture(0), picture(1, 16, 16)], [picture(2)]]
    out = processor(text=[f"read {mark} row {mark} one", f"{mark} two"], images=images, padding=True)
    first, second = (groups(processor, ids) for ids in out["input_ids"])
    assert first.count("CD") == 2
    assert second.count("CD") == 1
    between = first[first.index("C") : first.rindex("v")]
    assert between.startswith("CD.")
    types = next((out[key] for key in ("mm_token_type_ids", "token_type_ids") if key in out), None)
    if types is not None:
        own = processor.tokenizer.convert_tokens_to_ids(CONTEXT)
        assert {kind for row, line in zip(out["input_ids"], types, strict=True)
                for one, kind in zip(row, line, strict=True) if one in own} == {0}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("Qwen2VLProcessor", "vCDCD."),
        ("Qwen2_5_VLProcessor", "vCDCD."),
        ("Qwen3VLProcessor", ".vCD.vCD."),
        ("LlavaOnevisionProcessor", "vCDCDCD."),
        ("InternVLProcessor", ".vCD.vCD.vCD."),
    ],
)
def test_every_frame_that_the_decoder_sees_has_its_own(name, pattern):
    processor = emitting(name)
    out = processor(
        text=[f"{video_mark(name)} row"], videos=[[picture(n) for n in range(3)]], video_metadata=[TIMES]
    )
    assert groups(processor, out["input_ids"][0]) == pattern


def test_crops_of_gemma3_are_images_of_their_own():
    processor = emitting("Gemma3Processor")
    scan = {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 8}
    out = processor(text=["<boi> row"], images=[[picture(0, 16, 60)]], **scan)
    shown = groups(processor, out["input_ids"][0])
    assert shown.count("v") > 2
    assert shown.count("v") == shown.count("CD")


def test_a_still_video_has_one_group():
    assert behind_frames("<v><v>.", ["<i>", "<v>"], "C", 1) == "<v><v>C."
    assert behind_frames("<i>.<i><i>", ["<i>", "<v>"], "C", 5) == "<i>C.<i><i>C"


def test_it_survives_pickling():
    processor = pickle.loads(pickle.dumps(emitting("Qwen3VLProcessor")))
    assert processor.gaze_context == tuple(CONTEXT)
    assert "C" in groups(processor, processor(text=["<|image_pad|>"], images=[[picture()]])["input_ids"][0])


def test_a_processor_that_expands_nothing_is_refused():
    processor = make_stock("Qwen2VLProcessor")
    del processor.image_token
    with pytest.raises(ValueError, match="processor must be one of transformers' that expand an image token"):
        emit_context(processor, CONTEXT)


@pytest.mark.parametrize("tied", [True, False])
def test_only_rows_are_added(tied):
    model, processor = make_qwen(tied=tied)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    rows = len(processor.tokenizer)
    torch.manual_seed(3)
    ids = add_context_tokens(model, processor, 3)
    assert ids == [rows, rows + 1, rows + 2]
    assert model.config.gaze_context_ids == ids
    for name, weight in model.state_dict().items():
        assert torch.equal(weight[: len(before[name])], before[name]), name
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert embedding.shape[0] == rows + 3
    assert (head is embedding) == tied
    if not tied:
        assert not head[ids].any()
    drawn = context_rows(model)
    mean, spread = embedding[:rows].mean(0), embedding[:rows].std()
    assert len(drawn.unique(dim=0)) == 3
    assert (drawn - mean).std() < 0.2 * spread


def test_the_seed_decides_the_rows():
    rows = []
    for seed in (1, 1, 2):
        model, processor = make_qwen()
        torch.manual_seed(seed)
        add_context_tokens(model, processor, 2)
        rows.append(context_rows(model))
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


def test_rows_that_a_padded_vocabulary_has_already_are_used():
    model, processor = make_qwen(tied=False, spare=8)
    size = model.get_input_embeddings().num_embeddings
    ids = add_context_tokens(model, processor, 2)
    assert model.get_input_embeddings().num_embeddings == size
    assert not model.get_output_embeddings().weight[ids].any()
    assert context_rows(model).std() < model.get_input_embeddings().weight.std()


def test_again_changes_nothing():
    model, processor = make_qwen()
    ids = add_context_tokens(model, processor, 2)
    with torch.no_grad():
        model.get_input_embeddings().weight[ids] += 1
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    assert add_context_tokens(model, processor, 2) == ids
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    more = add_context_tokens(model, processor, 3)
    assert more[:2] == ids
    assert torch.equal(context_rows(model)[:2], before["model.language_model.embed_tokens.weight"][ids])


def test_fewer_are_the_first_ones():
    model, processor = make_qwen()
    ids = add_context_tokens(model, processor, 3)
    assert add_context_tokens(model, processor, 2) == ids[:2]
    assert model.config.gaze_context_ids == ids[:2]
    assert processor.gaze_context == tuple(CONTEXT)
    assert set(ids) <= set(model.generation_config.suppress_tokens)


def test_rows_outlive_gaze_being_taken_out():
    model, processor = make_qwen()
    add_context_tokens(model, processor, 2)
    before = context_rows(model)
    del model.config.gaze_context_ids
    add_context_tokens(model, processor, 2)
    assert torch.equal(context_rows(model), before)


def test_generation_never_says_one():
    model, processor = make_qwen(tied=True)
    model.generation_config = GenerationConfig(suppress_tokens=[5])
    ids = add_context_tokens(model, processor, 2)
    assert model.generation_config.suppress_tokens == [5, *ids]
    with torch.no_grad():
        model.get_input_embeddings().weight[ids] = 40 * model.get_input_embeddings().weight[7]
        model.get_input_embeddings().weight[ids[1]] *= -1
    batch = processor(text=["read <|image_pad|> row"], images=[[picture()]], return_tensors="pt")
    said = model.generate(**batch, max_new_tokens=4, do_sample=False, pad_token_id=0)
    new = said[0, batch["input_ids"].shape[1] :]
    assert not torch.isin(new, torch.tensor(ids)).any()
    assert torch.isin(model(**batch).logits[0, -1].argmax(), torch.tensor(ids))


def test_both_open_elsewhere_as_stock_ones(tmp_path):
    model, processor = make_qwen()
    ids = add_context_tokens(model, processor, 2)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["gaze_context_ids"] == ids
    assert json.loads((tmp_path / "generation_config.json").read_text())["suppress_tokens"] == ids
    stock, plain = AutoModelForImageTextToText.from_pretrained(tmp_path), load_processor(tmp_path)
    assert type(plain).__mro__[1:] != type(processor).__mro__[1:]
    text = {"text": ["read <|image_pad|> row"], "images": [[picture()]]}
    assert not set(plain(**text)["input_ids"][0]) & set(ids)
    assert torch.equal(context_rows(stock), context_rows(model))
    assert add_context_tokens(stock, plain, 2) == ids
    assert plain(**text)["input_ids"] == processor(**text)["input_ids"]
    assert len(plain.tokenizer) == len(processor.tokenizer)
    assert type(plain).__name__ == "Qwen2_5_VLProcessor"


def test_wrong_use_is_named():
    model, processor = make_qwen()
    with pytest.raises(ValueError, match="num must be at least 1, got 0"):
        add_context_tokens(model, processor, 0)
    with pytest.raises(ValueError, match="model must have context tokens, has none"):
        context_rows(model)
    add_context_tokens(model, processor, 2)
    _, other = make_qwen()
    with pytest.raises(
        ValueError, match=r"must be the one that was saved with the model, whose context tokens are \["
    ):
        add_context_tokens(model, other, 2)
    other.tokenizer.add_tokens(["more", *CONTEXT], special_tokens=True)
    with pytest.raises(
        ValueError, match=r"context tokens must have the ids \[.*\] that the model was saved with"
    ):
        add_context_tokens(model, other, 2)


def test_gaze_comes_and_goes_with_its_tokens():
    model, processor = make_qwen()
    text = {"text": ["read <|image_pad|> row"], "images": [[picture()]], "return_tensors": "pt"}
    division = GridPartition(size=(1, 2, 2))
    torch.manual_seed(0)
    apply_gaze(
        model,
        Gaze(partition=division, route=TopKRouter(k=1), context=LearnedContext(num_tokens=2)),
        processor,
    )
    rows, ids = context_rows(model), model.config.gaze_context_ids
    inputs = processor(**text)
    kinds = model.layout(**inputs).kind[0]
    assert torch.equal(kinds == Kind.CONTEXT, torch.isin(inputs["input_ids"][0], torch.tensor(ids)))
    assert (kinds == Kind.CONTEXT).sum() == 2
    assert model(**inputs).logits.isfinite().all()
    remove_gaze(model)
    apply_gaze(model, Gaze(partition=division, route=TopKRouter(k=1)), processor)
    assert not torch.isin(processor(**text)["input_ids"], torch.tensor(ids)).any()
    model.generate(**processor(**text), max_new_tokens=2)
    remove_gaze(model)
    apply_gaze(model, Gaze(partition=division, context=LearnedContext(num_tokens=2)), processor)
    assert torch.equal(context_rows(model), rows)
    assert torch.equal(processor(**text)["input_ids"], inputs["input_ids"])
    remove_gaze(model)
    with pytest.raises(ValueError, match="processor must be given for a composition with 2 context tokens"):
        apply_gaze(model, Gaze(context=LearnedContext(num_tokens=2)))


@pytest.mark.parametrize(
    ("name", "videos"), [*((name, False) for name in ALL), *((name, True) for name in WITH_VIDEO)]
)
def test_layouts_give_each_image_and_frame_its_own(name, videos):
    """What the processor writes is what the layout of the architecture expects, tiles, crops and frames included."""
    processor, config = emitting(name), config_of(name)
    own = processor.tokenizer.convert_tokens_to_ids(CONTEXT)
    config.gaze_context_ids = own
    if videos:
        given = {
            "text": [f"{video_mark(name)} row"],
            "videos": [[picture(n) for n in range(4)]],
            "video_metadata": [STEPS],
        }
    else:
        mark = image_mark(name)
        given = {"text": [f"{mark} one {mark} row"], "images": [[picture(0, 24, 48), picture(1, 16, 16)]]}
    inputs = processor(**given, return_tensors="pt")
    layout = layout_of_prompt(config, inputs["input_ids"], None, given_media(config, inputs))
    unit, kind = layout.tokens.unit[0, 0], layout.kind[0]
    context = kind == Kind.CONTEXT
    assert torch.equal(context, torch.isin(inputs["input_ids"][0], torch.tensor(own)))
    for one in range(int(unit.max()) + 1):
        seen = ((unit == one) & (kind == Kind.VISUAL)).nonzero().flatten()
        after = ((unit == one) & context).nonzero().flatten()
        assert len(seen) > 0
        assert len(after) == 2
        assert after.min() > seen.max()
    assert int(unit.max()) + 1 == {True: 2 if name in QWEN else 4, False: 2}[videos]


def config_of(name: str):
    """A config whose images have as many tokens as the small processor writes."""
    stock = make_stock(name)
    number = stock.tokenizer.convert_tokens_to_ids
    small = {"image_size": 16, "patch_size": 4}
    if name in QWEN:
        kind = {"Qwen2VLProcessor": Qwen2VLConfig, "Qwen2_5_VLProcessor": Qwen2_5_VLConfig}.get(
            name, Qwen3VLConfig
        )
        return kind(image_token_id=stock.image_token_id, video_token_id=stock.video_token_id)
    if name == "LlavaOnevisionProcessor":
        pinpoints = stock.image_processor.image_grid_pinpoints
        return LlavaOnevisionConfig(
            vision_config={"model_type": "siglip_vision_model", **small}, image_grid_pinpoints=pinpoints,
            image_token_index=number("<image>"), video_token_index=number("<video>"),
        )  # fmt: skip
    if name == "InternVLProcessor":
        vision = {"image_size": [16, 16], "patch_size": [4, 4]}
        return InternVLConfig(
            vision_config=vision, image_token_id=number("<IMG_CONTEXT>"), downsample_ratio=0.5
        )
    if name == "Gemma3Processor":
        return Gemma3Config(vision_config=small, mm_tokens_per_image=4, image_token_index=number("<soft>"))
    return Idefics3Config(vision_config=small, scale_factor=2, image_token_id=number("<image>"))


def test_auto_processor_opens_what_needs_no_stand_in(tmp_path):
    emitting("Idefics3Processor").save_pretrained(tmp_path)
    assert not hasattr(AutoProcessor.from_pretrained(tmp_path), "gaze_context")
