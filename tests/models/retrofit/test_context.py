"""Context tokens of other models: written by the processor, rows of the vocabulary, silent."""

import json
import pickle

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from gazekit.models import add_context_tokens, load_processor
from gazekit.models.retrofit.context import context_rows
from gazekit.models.retrofit.processors.context import behind_frames, emit_context
from tests.models.retrofit.qwen_small import make_qwen
from tests.models.retrofit.stock import ALL, image_mark, make_stock, picture, video_mark

CONTEXT = ["<|gaze_ctx_0|>", "<|gaze_ctx_1|>"]
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


def test_auto_processor_opens_what_needs_no_stand_in(tmp_path):
    emitting("Idefics3Processor").save_pretrained(tmp_path)
    assert not hasattr(AutoProcessor.from_pretrained(tmp_path), "gaze_context")
