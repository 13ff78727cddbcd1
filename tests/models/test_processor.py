import functools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoProcessor, SiglipImageProcessorPil
from transformers.models.qwen2 import Qwen2Tokenizer

from gazekit.models import CambrianConfig, CambrianProcessor, add_tokens, token_ids
from tests.models.tiny import (
    gaze_section,
    make_config,
    make_model,
    make_processor,
    make_tokenizer,
    picture,
    text_config,
    vision_config,
)

PAD, START, END, IMAGE, FRAME, CONTEXT, UNKNOWN = range(7)
VISUAL = 16


@pytest.fixture(scope="module")
def processor():
    return make_processor(make_config(gaze=gaze_section(num_context=2)))


@pytest.fixture(scope="module")
def bare():
    return make_processor(make_config())


def unit(mark=IMAGE):
    return [mark] * VISUAL + [CONTEXT] * 2


def words(processor, text):
    return processor.tokenizer(text)["input_ids"]


def test_a_mark_becomes_placeholders(processor):
    out = processor(text="read <image> row", images=picture())
    assert out["input_ids"].tolist() == [words(processor, "read") + unit() + words(processor, "row")]
    assert out["attention_mask"].tolist() == [[1] * 20]
    assert out["pixel_values"].shape == (1, 1, 3, 32, 32)
    assert out["clip_lengths"].tolist() == [[1]]


def test_batches_are_padded_on_the_left(processor):
    texts = ["<image> read", "row", "<image> where <image> is"]
    out = processor(text=texts, images=[[picture(1)], [], [picture(2), picture(3)]])
    assert out["input_ids"].shape == (3, 38)
    assert out["attention_mask"].sum(-1).tolist() == [19, 1, 38]
    assert out["attention_mask"][0, 0] == 0
    assert out["clip_lengths"].tolist() == [[1, 0], [0, 0], [1, 1]]
    alone = processor(text=texts[2], images=[picture(2), picture(3)])
    assert torch.equal(out["pixel_values"][2], alone["pixel_values"][0])
    assert not out["pixel_values"][0, 1].any()
    right = processor(text=texts, images=[[picture(1)], [], [picture(2), picture(3)]], padding_side="right")
    assert right["attention_mask"][0, -1] == 0
    assert right["input_ids"][0, -1] == PAD


def test_text_alone_has_no_pixels(processor):
    assert set(processor(text=["read", "row 2"])) == {"input_ids", "attention_mask"}


def test_pixels_are_siglips(bare):
    out = bare(text="<image>", images=picture(0, 48, 20))["pixel_values"][0, 0]
    by_hand = np.asarray(picture(0, 48, 20).resize((32, 32), Image.Resampling.BICUBIC)) / 127.5 - 1
    torch.testing.assert_close(out, torch.tensor(by_hand).permute(2, 0, 1).float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(48, 20), (20, 48), (32, 32)])
def test_padding_keeps_proportions(height, width):
    processor = make_processor(make_config(resize="pad"))
    white = Image.new("RGB", (width, height), "white")
    out = processor(text="<image>", images=white)["pixel_values"][0, 0]
    assert out.shape == (3, 32, 32)
    side = max(height, width)
    share = float((out > 0.5).float().mean())
    assert share == pytest.approx(height * width / side**2, abs=0.07)
    middle = out[:, 16, 16]
    assert (middle > 0.9).all()
    if share < 0.9:
        assert out.amin() == pytest.approx(127 / 127.5 - 1, abs=0.2)


def test_padding_fits_other_shapes():
    processor = make_processor(make_config(resize="pad", image_tiles=(1, 3)))
    out = processor(text="<image>", images=Image.new("RGB", (48, 16), "white"))["pixel_values"][0, 0]
    assert (out > 0.9).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_images_of_every_mode(bare, mode):
    assert bare(text="<image>", images=picture().convert(mode))["pixel_values"].shape == (1, 1, 3, 32, 32)


def test_arrays_and_paths_are_the_picture(bare, tmp_path):
    path = tmp_path / "one.png"
    picture(5).save(path)
    whole = bare(text="<image>", images=picture(5))["pixel_values"]
    for same in (path, str(path), np.asarray(picture(5))):
        assert torch.equal(bare(text="<image>", images=same)["pixel_values"], whole)
    grey = np.asarray(picture(5).convert("L"))
    flat = bare(text="<image>", images=grey)["pixel_values"]
    assert torch.equal(flat, bare(text="<image>", images=grey[..., None])["pixel_values"])
    assert torch.equal(flat[:, :, 0], flat[:, :, 2])


def test_images_that_cannot_be_had_are_named(bare, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(
        ValueError, match=r"image .*broken\.png cannot be decoded .* replace the file or leave it out"
    ):
        bare(text="<image>", images=broken)
    whole = tmp_path / "cut.png"
    picture().save(whole)
    whole.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"image .*cut\.png cannot be decoded"):
        bare(text="<image>", images=whole)
    with pytest.raises(ValueError, match=r"image .*absent\.png does not exist; check the path"):
        bare(text="<image>", images=tmp_path / "absent.png")
    with pytest.raises(
        ValueError, match=r"must hold bytes \(uint8\).* got float64 \[4, 4, 3\]; scale to 0 \.\.\. 255"
    ):
        bare(text="<image>", images=np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"got uint8 \[3, 4, 5\]; .* channels last"):
        bare(text="<image>", images=np.zeros((3, 4, 5), dtype=np.uint8))
    with pytest.raises(ValueError, match="images must be PIL images, arrays or paths, got int"):
        bare(text="<image>", images=[7])


def test_frames_with_times_between_them(processor):
    video = np.stack([np.asarray(picture(n)) for n in range(3)])
    out = processor(text="read <video> row", videos=[video], timestamps=[[0.0, 0.5, 12.25]])
    times = [words(processor, f"<{time}s>") for time in ("0.0", "0.5", "12.2")]
    expected = [x for time in times for x in time + unit(FRAME)]
    assert out["input_ids"].tolist() == [words(processor, "read") + expected + words(processor, "row")]
    assert out["clip_lengths"].tolist() == [[3]]
    assert out["pixel_values"].shape == (1, 3, 3, 32, 32)


def test_frames_without_times_lie_side_by_side(processor):
    frames = [picture(1), picture(2)]
    out = processor(text="<video>", videos=[frames])
    assert out["input_ids"].tolist() == [unit(FRAME) * 2]
    single = processor(text="<image><image>", images=frames)
    assert torch.equal(out["pixel_values"], single["pixel_values"])


def test_images_and_videos_keep_the_order_of_the_text(processor):
    out = processor(
        text="<video> read <image> row <video>",
        images=[picture(9)],
        videos=[[picture(1), picture(2)], [picture(3)]],
        timestamps=[None, [1.0]],
    )
    assert out["clip_lengths"].tolist() == [[2, 1, 1]]
    for place, seed in enumerate((1, 2, 9, 3)):
        alone = processor(text="<image>", images=picture(seed))["pixel_values"][0, 0]
        assert torch.equal(out["pixel_values"][0, place], alone)


def test_videos_of_several_texts(processor):
    clips = [[[picture(1)], [picture(2), picture(3)]], []]
    out = processor(text=["<video> <video>", "read"], videos=clips)
    assert out["clip_lengths"].tolist() == [[1, 2], [0, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "<image> <image>", "images": [picture()]}, "text 0 marks 2 images with <image>, but 1 were given"),
        ({"text": "read", "images": [picture()]}, "text 0 marks 0 images with <image>, but 1 were given"),
        ({"text": ["<image>", "<image>"], "images": [[picture()], []]}, "text 1 marks 1 images .* but 0 were given"),
        ({"text": "<video>"}, "text 0 marks 1 videos with <video>, but 0 were given"),
        ({"text": ["<image>", "<image>"], "images": [picture(), picture()]}, "images must be given as one list"),
        ({"text": "<video>", "videos": [[picture()]], "timestamps": [[0.0, 1.0]]}, "got 1 frames and 2 timestamps"),
        ({"text": "<video>", "videos": [[picture()]], "timestamps": [[0.0], [1.0]]}, "each of the 1 videos .* got 2"),
        ({"text": "read <|context|>"}, r"text must not hold <\|context\|>"),
        ({"text": []}, "text must be given"),
        ({"text": "read", "return_tensors": "np"}, "does not take return_tensors='np'"),
        ({"text": "read", "max_length": 3}, "does not take max_length; it returns padded torch tensors"),
        ({"text": "read", "padding_side": "top"}, "padding_side must be 'left' or 'right', got 'top'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(processor, arguments, message):
    with pytest.raises(ValueError, match=message):
        processor(**arguments)


def conversation(image=None):
    shown = {"type": "image"} if image is None else {"type": "image", "image": image}
    return [
        {"role": "system", "content": "read the row"},
        {"role": "user", "content": [shown, {"type": "text", "text": "where is 3"}]},
        {"role": "assistant", "content": "row 2"},
        {"role": "user", "content": "read column 1"},
        {"role": "assistant", "content": [{"type": "text", "text": "7 7"}]},
    ]


def test_answers_and_their_ends_are_supervised(processor):
    out = processor.encode_conversation(conversation(), [picture()])
    kept = out["labels"] != -100
    assert torch.equal(out["labels"][kept], out["input_ids"][kept])
    assert out["labels"][kept].tolist() == [*words(processor, "row 2"), END, *words(processor, "7 7"), END]
    heads = (out["input_ids"] == START).nonzero().flatten()
    assert not kept[heads].any()
    assert not kept[heads + 1].any(), "the role is part of the header"


def test_a_conversation_is_its_template(processor):
    text = processor.apply_chat_template(conversation())
    prompt = processor(text=text, images=[picture()])
    encoded = processor.encode_conversation(conversation(), [picture()])
    assert torch.equal(encoded["input_ids"], prompt["input_ids"][0])
    assert torch.equal(encoded["pixel_values"], prompt["pixel_values"][0])
    inside = processor.encode_conversation(conversation(picture()))
    assert torch.equal(inside["pixel_values"], encoded["pixel_values"])
    marked = [{"role": "user", "content": "<image>where"}, {"role": "assistant", "content": "row"}]
    assert len(processor.encode_conversation(marked, [picture()])["clip_lengths"]) == 1


def test_a_prompt_begins_the_conversation_that_answers_it(processor):
    whole = processor.encode_conversation(conversation(), [picture()])
    first = int((whole["labels"] != -100).nonzero()[0])
    asked = conversation(picture())[:2]
    prompt = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert prompt["input_ids"][0].tolist() == whole["input_ids"][:first].tolist()
    assert torch.equal(prompt["pixel_values"][0], whole["pixel_values"])


def test_templates_of_several_conversations(processor):
    asked = [conversation(picture())[:2], [{"role": "user", "content": "read"}]]
    out = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert out["clip_lengths"].tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{"role": "user", "content": "read"}], "must have a turn of the assistant to learn from, got none"),
        ([{"role": "user"}], r"must have a role and a content each, got \['role'\] in message 0"),
        (
            [{"role": "user", "content": [{"type": "audio"}]}],
            "type must be one of image, text, video, got 'audio'",
        ),
        ([*conversation()], "the conversation marks 1 images with <image>, but 0 were given"),
    ],
)
def test_wrong_conversations_are_named(processor, messages, message):
    with pytest.raises(ValueError, match=message):
        processor.encode_conversation(messages)


def test_collating_pads_on_the_right(processor):
    samples = [
        processor.encode_conversation(conversation(), [picture()]),
        processor.encode_conversation([{"role": "assistant", "content": "row"}]),
    ]
    batch = processor.collate(samples)
    assert set(batch) == {"input_ids", "attention_mask", "labels", "pixel_values", "clip_lengths"}
    length = len(samples[1]["input_ids"])
    assert batch["attention_mask"][1].tolist() == [1] * length + [0] * (len(samples[0]["input_ids"]) - length)
    assert (batch["labels"][1, length:] == -100).all()
    assert torch.equal(batch["labels"][0], samples[0]["labels"])
    assert batch["clip_lengths"].tolist() == [[1], [0]]
    assert make_model(gaze=gaze_section(num_context=2))(**batch).loss.isfinite()


@given(
    st.lists(
        st.lists(st.sampled_from(["read", "<image>", "row", "7"]), min_size=1, max_size=6),
        min_size=1,
        max_size=3,
    )
)
def test_the_model_counts_as_the_processor_does(texts):
    config = make_config(gaze=gaze_section(num_context=1), image_tiles=(1, 1))
    processor = make_processor(config)
    images = [[picture(n) for n in range(text.count("<image>"))] for text in texts]
    out = processor(text=[" ".join(text) for text in texts], images=images)
    model = _counter()
    layout = model.layout(out["input_ids"], out["attention_mask"], out.get("clip_lengths"))
    assert [int(row.max()) + 1 for row in layout.tokens.unit[:, 0]] == [len(shown) for shown in images]


@functools.cache
def _counter():
    return make_model(gaze=gaze_section(num_context=1), image_tiles=(1, 1))


@pytest.mark.parametrize("load", [CambrianProcessor, AutoProcessor])
def test_saving_keeps_everything(tmp_path, load):
    config = make_config(gaze=gaze_section(num_context=2), resize="pad")
    processor = make_processor(config)
    config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = load.from_pretrained(tmp_path)
    assert type(again) is CambrianProcessor
    text = processor.apply_chat_template(conversation(), add_generation_prompt=True)
    assert again.apply_chat_template(conversation(), add_generation_prompt=True) == text
    for key, value in processor(text=text, images=[picture(1, 20, 40)]).items():
        assert torch.equal(again(text=text, images=[picture(1, 20, 40)])[key], value), key
    assert again.decode([7, 8], skip_special_tokens=True) == processor.decode(
        [7, 8], skip_special_tokens=True
    )


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="resize must be one of 'squash', 'pad', got 'crop'"):
        CambrianProcessor(SiglipImageProcessorPil(), make_tokenizer(), resize="crop")
    with pytest.raises(ValueError, match=r"grid must be \(rows, columns\) of at least 1, got \(0, 3\)"):
        CambrianProcessor(SiglipImageProcessorPil(), make_tokenizer(), grid=(0, 3))
    with pytest.raises(ValueError, match="image_token_id of the config must be the tokenizer's 3, got 20"):
        CambrianProcessor.from_config(make_config(image_token_id=20), make_tokenizer())


def byte_level_tokenizer():
    """A tokenizer of Qwen's kind, with a few merges and with Qwen's own special tokens but not ours."""
    letters = [chr(code) for code in [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)]]
    merges = [("Ġ", "r"), ("o", "w"), ("Ġr", "ow"), ("Ċ", "Ċ")]
    vocabulary = {
        token: number for number, token in enumerate([*letters, *("".join(pair) for pair in merges)])
    }
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    return tokenizer


def test_a_tokenizer_of_qwens_kind_gets_the_missing_tokens(tmp_path):
    tokenizer = byte_level_tokenizer()
    before = len(tokenizer)
    assert add_tokens(tokenizer) == len(tokenizer) - before > 0
    assert add_tokens(tokenizer) == 0
    ids = token_ids(tokenizer)
    config = CambrianConfig(
        text_config=text_config(vocab_size=len(tokenizer)),
        vision_config=vision_config(),
        vision_layer="last",
        **ids,
    )
    processor = CambrianProcessor.from_config(config, tokenizer)
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "read  row"}]},
        {"role": "assistant", "content": "\n\nrow row"},
    ]
    encoded = processor.encode_conversation(messages, [picture()])
    kept = encoded["labels"] != -100
    assert tokenizer.decode(encoded["labels"][kept]) == "\n\nrow row<|im_end|>"
    prompt = processor.apply_chat_template(messages[:1], add_generation_prompt=True)
    start = processor(text=prompt, images=[picture()])["input_ids"][0].tolist()
    assert encoded["input_ids"][: len(start)].tolist() == start
    processor.save_pretrained(tmp_path)
    again = CambrianProcessor.from_pretrained(tmp_path)
    assert torch.equal(again.encode_conversation(messages, [picture()])["labels"], encoded["labels"])
