"""Answers are the same alone, in a batch and streamed; those of later turns as if all had been read anew."""

import pytest
import torch
from transformers import AutoModelForImageTextToText

from gazekit import Gaze, GridPartition, LearnedContext, TopKRouter, apply_gaze
from gazekit.models import (
    Answerer,
    CambrianForConditionalGeneration,
    Question,
    Sampling,
    Talk,
    generate,
    load_processor,
)
from gazekit.models.answering.prompts import CambrianPrompts, StockPrompts
from gazekit.models.answering.streaming import WordStreamer, settled
from gazekit.models.retrofit import Conversations
from tests.models.retrofit.qwen_small import make_qwen
from tests.models.retrofit.stock import TEMPLATE, image_mark, make_stock, video_mark
from tests.models.tiny import gaze_section, make_model, make_processor, picture

GAZE = Gaze(
    partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1), context=LearnedContext(num_tokens=2)
)
FILM = [picture(seed, 24, 32) for seed in range(5)]
TIMES = [0.0, 1.0, 2.5, 3.0, 4.0]


def cambrian(num_context=1):
    """A Cambrian whose output layer is its own: tied, it would say the last word again and again."""
    model = make_model(gaze=gaze_section(num_context=num_context), text={"tie_word_embeddings": False})
    with torch.no_grad():
        for name, weight in model.language_model.named_parameters():
            if weight.ndim == 2 and "proj" in name:
                weight.mul_(4)
        model.lm_head.weight.mul_(8)
    model.tie_weights()
    processor = make_processor(model.config)
    return Answerer(model, CambrianPrompts(processor), processor.decode)


def stock(name="Qwen2_5_VLProcessor"):
    """A Qwen2.5-VL whose template writes videos too."""
    processor = make_stock(name)
    shown = f"{{{{ '{video_mark(name)}' if part['type'] == 'video' else '{image_mark(name)}' }}}}"
    said = "{{ part['text'] if part['type'] == 'text' else '<IMAGE>' }}"
    processor.chat_template = TEMPLATE.replace(
        said, "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}" + shown + "{% endif %}"
    )
    model, processor = make_qwen(sharpness=8.0, processor=processor)
    apply_gaze(model, GAZE, processor)
    return Answerer(model, StockPrompts(Conversations(processor)), processor.decode)


ANSWERERS = {"cambrian": cambrian, "qwen2_5_vl": stock}


@pytest.fixture(scope="module", params=ANSWERERS)
def answerer(request):
    made = ANSWERERS[request.param]()
    # Answers of full length, and of words alone: marks are left out of texts, so that reading them anew tells.
    config, tokenizer = made.model.generation_config, getattr(made.prompts, "processor", None)
    tokenizer = (tokenizer or made.prompts.conversations).tokenizer
    config.eos_token_id, config.suppress_tokens = (
        None,
        [
            *tokenizer.all_special_ids,
            *range(len(tokenizer), made.model.lm_head.out_features),
        ],
    )
    return made


def question(text="read row 2", images=(), videos=(), times=(), name=""):
    shown = [*({"type": "image"} for _ in images), *({"type": "video"} for _ in videos)]
    messages = [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]
    return Question(messages=messages, images=images, videos=videos, timestamps=times, name=name)


QUESTIONS = {
    "text": question("read row 2 read row 3 row 1", name="a"),
    "image": question(images=[picture(3, 40, 30)], name="b"),
    "images": question("row 1", images=[picture(1), picture(2, 24, 40)], name="c"),
    "video": question(videos=[FILM], times=[TIMES], name="d"),
    "image and videos": question(
        "read", images=[picture(4)], videos=[FILM[:2], FILM[2:4]], times=[None, [0.0, 2.0]], name="e"
    ),
}
GREEDY = Sampling(max_new_tokens=5)
DRAWN = Sampling(max_new_tokens=5, temperature=1.5, top_p=0.9, seed=4)


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "sampled"])
def test_a_batch_answers_as_each_alone_and_streamed(answerer, sampling):
    alone = {name: answerer.answer([one], sampling)[0] for name, one in QUESTIONS.items()}
    assert len(set(alone.values())) >= 4, alone
    assert answerer.answer(list(QUESTIONS.values()), sampling) == list(alone.values())
    assert answerer.answer([QUESTIONS["text"], QUESTIONS["video"]], sampling) == [
        alone["text"],
        alone["video"],
    ]
    for name, one in list(QUESTIONS.items())[:: 1 if sampling is GREEDY else 3]:
        said = []
        assert answerer.stream(one, said.append, sampling) == "".join(said) == alone[name]
        assert len(said) > 1 or " " not in alone[name]


def test_what_is_shown_matters(answerer):
    shown = [question(images=[picture(seed, 32, 32)]) for seed in range(6)]
    assert len(set(answerer.answer(shown, GREEDY))) > 1
    assert answerer.answer([shown[2]], GREEDY) == answerer.answer(shown, GREEDY)[2:3]


def test_draws_follow_from_seed_and_name(answerer):
    def drawn(name="x", seed=0, temperature=2.0):
        sampling = Sampling(max_new_tokens=5, temperature=temperature, seed=seed)
        return answerer.answer([question(name=name)], sampling)[0]

    assert drawn() == drawn()
    assert len({drawn(), drawn(seed=1), drawn(name="y")}) == 3
    assert drawn(temperature=1e-4) == answerer.answer([question()], GREEDY)[0]
    before = torch.random.get_rng_state()
    drawn()
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_nucleus_leaves_the_unlikely_out():
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    for top_p, expected in ((0.4, {0}), (0.75, {0, 1}), (1.0, {0, 1, 2, 3})):
        sampling = Sampling(temperature=1.0, top_p=top_p)
        drawn = [
            int(sampling.processors([str(name)])[0](torch.zeros(1, 1, dtype=torch.long), scores).argmax())
            for name in range(400)
        ]
        assert set(drawn) == expected
    assert 160 < drawn.count(0) < 240  # of 400 at a half: four standard deviations


class TestTalk:
    def test_turns_are_answered_as_if_all_was_read_anew(self, answerer):
        talk, said = Talk(answerer, system="read the row", sampling=GREEDY), []
        answers = [
            talk.ask("read row 2", images=[picture(3, 40, 30)]),
            talk.ask("row", say=said.append),
            talk.ask("read", images=[picture(5)], videos=[FILM], timestamps=[TIMES], say=said.append),
        ]
        assert talk.reused > 0
        assert "".join(said) == answers[1] + answers[2]
        asked = [n for n, one in enumerate(talk.messages) if one["role"] == "user"]
        shown = ([picture(3, 40, 30)], [], [picture(5)])
        for turn, place in enumerate(asked):
            images = [image for some in shown[: turn + 1] for image in some]
            whole = Question(
                messages=talk.messages[: place + 1],
                images=images,
                videos=[FILM] if turn >= 2 else [],
                timestamps=[TIMES] if turn >= 2 else [],
            )
            assert answerer.answer([whole], GREEDY) == [answers[turn]]

    def test_a_turn_that_fails_leaves_the_conversation_as_it_was(self, answerer, tmp_path):
        talk, other = Talk(answerer, sampling=GREEDY), Talk(answerer, sampling=GREEDY)
        for one in (talk, other):
            one.ask("read", images=[picture(3)])
        with pytest.raises(ValueError, match=r"no\.png does not exist"):
            talk.ask("row", images=[tmp_path / "no.png"])

        def stop(text):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            talk.ask("row 5", say=stop)
        assert talk.ask("row 2") == other.ask("row 2")
        assert talk.messages == other.messages

    def test_reset_forgets_all_but_the_system(self, answerer):
        talk = Talk(answerer, system="read", sampling=GREEDY)
        first = talk.ask("row 2", images=[picture(3)])
        talk.ask("row 3")
        talk.reset()
        assert [one["role"] for one in talk.messages] == ["system"]
        assert talk.ask("row 2", images=[picture(3)]) == first


def test_a_model_without_gaze_reads_the_conversation_anew():
    answerer = cambrian(num_context=0)
    answerer.model.set_gaze(None)
    talk = Talk(answerer, sampling=GREEDY)
    answers = [talk.ask("read", images=[picture(seed)]) for seed in range(3)]
    assert talk.reused == 0
    whole = Question(messages=talk.messages[:-1], images=[picture(seed) for seed in range(3)])
    assert answerer.answer([whole], GREEDY) == answers[2:]


def test_times_of_frames_reach_the_processor_of_another_model():
    processor = Conversations(make_stock("Qwen3VLProcessor"))
    processor.processor.tokenizer.add_tokens(["<0.5 seconds>", "<2.8 seconds>"])
    messages = [{"role": "user", "content": [{"type": "text", "text": "<|video_pad|> read"}]}]
    out = processor.encode_question(messages, videos=[FILM[:4]], timestamps=[[0.0, 1.0, 2.5, 3.0]])
    text = processor.tokenizer.decode(out["input_ids"][0])
    assert text.index("<0.5 seconds>") < text.index("<2.8 seconds>")
    processor = Conversations(make_stock("Qwen2_5_VLProcessor"))
    out = processor.encode_question(messages, videos=[FILM[:3]], timestamps=[[1.0, 1.5, 2.0]])
    assert out["second_per_grid_ts"].tolist() == [1.0]
    assert processor.encode_question(messages, videos=[FILM[:3]])["second_per_grid_ts"].tolist() == [2.0]


def test_what_does_not_go_together_is_named():
    messages = [{"role": "user", "content": []}]
    with pytest.raises(ValueError, match=r"messages must end with the user's, got \['user', 'assistant'\]"):
        Question(messages=[*messages, {"role": "assistant", "content": []}])
    with pytest.raises(ValueError, match="timestamps must be given for each of the 0 videos, got 1"):
        Question(messages=messages, timestamps=[[1.0]])
    qwen, gemma = (Conversations(make_stock(f"{name}Processor")) for name in ("Qwen2VL", "Gemma3"))
    with pytest.raises(
        ValueError, match="one for each frame, of at least one, got 1 for 2 frames of video 0"
    ):
        qwen.encode_question(messages, videos=[FILM[:2]], timestamps=[[1.0]])
    with pytest.raises(ValueError, match="videos must be left out, got 1: Gemma3Processor takes none"):
        gemma.encode_question(messages, videos=[FILM])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"temperature": -1.0}, "temperature must be at least 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0"),
    ],
)
def test_sampling_names_its_faults(change, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**change)


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["a", " .", " b"], ["a.", " b"]),
        (["one", "two", "  ", "three "], ["onetwo", "  three"]),
        (["  ", "\n one", "\n", "two", " \n"], ["one", "\ntwo"]),
        (["日", "本", "\ufffd"], ["日", "本", "\ufffd"]),
        ([], []),
    ],
)
def test_words_are_said_when_nothing_can_change_them(pieces, said):
    heard = []

    def decode(tokens):
        return "".join(pieces[token] for token in tokens).replace(" .", ".")

    streamer = WordStreamer(decode, heard.append)
    streamer.put(torch.zeros(1, 3, dtype=torch.long))
    for number in range(len(pieces)):
        streamer.put(torch.tensor([number]))
    streamer.end()
    assert heard == said
    assert settled("one two\n") == "one two"


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
    answer = generate(tmp_path, [picture(3, 32, 32)], "read row 2", max_new_tokens=5, device="cpu")
    opened, written = AutoModelForImageTextToText.from_pretrained(tmp_path), load_processor(tmp_path)
    apply_gaze(opened, processor=written)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "read row 2"}]}]
    text = written.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    inputs = written(text=[text], images=[picture(3, 32, 32)], return_tensors="pt")
    out = opened.eval().generate(**inputs, max_new_tokens=5, do_sample=False)
    assert answer == written.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert answer
    assert isinstance(generate(tmp_path, [], "read", max_new_tokens=2, device="cpu"), str)
