import pytest
from transformers import AutoModelForImageTextToText

from gazekit import Gaze, GridPartition, LearnedContext, TopKRouter, apply_gaze
from gazekit.models import CambrianForConditionalGeneration, generate, load_processor
from tests.models.retrofit.qwen_small import make_qwen
from tests.models.tiny import gaze_section, make_model, make_processor, picture


@pytest.fixture
def folder(tmp_path):
    model = make_model(gaze=gaze_section(num_context=1))
    model.save_pretrained(tmp_path / "model")
    make_processor(model.config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_model_answers_about_a_file(folder, tmp_path):
    path = tmp_path / "image.png"
    picture(3, 50, 40).save(path)
    answer = generate(folder, [path], "read row 2", max_new_tokens=6, device="cpu")
    model = CambrianForConditionalGeneration.from_pretrained(folder)
    processor = make_processor(model.config)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "read row 2"}]}]
    inputs = processor(
        text=processor.apply_chat_template(chat, add_generation_prompt=True), images=[picture(3, 50, 40)]
    )
    out = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    said = out[0, inputs["input_ids"].shape[1] :]
    assert answer == processor.decode(said, skip_special_tokens=True).strip()
    assert "<|" not in answer


def test_questions_without_images_are_answered(folder):
    assert isinstance(generate(folder, [], "read row 2", max_new_tokens=2, device="cpu"), str)


def test_a_file_that_is_no_image_is_named(folder, tmp_path):
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"notes\.png cannot be decoded"):
        generate(folder, [tmp_path / "notes.png"], "read", device="cpu")


def test_a_model_of_transformers_answers_with_the_gaze_that_it_was_saved_with(tmp_path):
    gaze = Gaze(
        partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1), context=LearnedContext(num_tokens=2)
    )
    model, processor = make_qwen(sharpness=8.0)
    apply_gaze(model, gaze, processor)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    answer = generate(tmp_path, [picture(3, 32, 32)], "read row 2", max_new_tokens=8, device="cpu")
    opened, written = AutoModelForImageTextToText.from_pretrained(tmp_path), load_processor(tmp_path)
    apply_gaze(opened, processor=written)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "read row 2"}]}]
    text = written.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    inputs = written(text=[text], images=[picture(3, 32, 32)], return_tensors="pt")
    out = opened.eval().generate(**inputs, max_new_tokens=8, do_sample=False)
    assert answer == written.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert answer
    assert isinstance(generate(tmp_path, [], "read", max_new_tokens=2, device="cpu"), str)
