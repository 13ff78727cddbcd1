import pytest

from gazekit.models import CambrianForConditionalGeneration, generate
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
