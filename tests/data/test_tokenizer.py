import pytest
from transformers import AutoTokenizer

from gazekit.data import ManyQuestions, MosaicSpec, SingleQuestion
from gazekit.data.digits import DigitsDataset, DigitsTokenizer
from gazekit.data.digits.tokenizer import SPECIAL

CHAT = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Read row 2!"}]},
    {"role": "assistant", "content": "5 5 5 7"},
]


@pytest.fixture(scope="module")
def tokenizer():
    return DigitsTokenizer().make()


@pytest.mark.parametrize("spec", [MosaicSpec(), MosaicSpec(rows=8, columns=8)])
def test_every_word_of_the_set_is_known_and_one_token_each(spec):
    tokenizer = DigitsTokenizer(mosaic=spec).make()
    plan = SingleQuestion(row=1.0, column=1.0, cell=1.0, where=1.0, count=1.0)
    for chosen in (plan, ManyQuestions()):
        data = DigitsDataset(split="train", plan=chosen, length=100, spec=spec)
        for sample in data.__getitems__(range(100)):
            for question in sample.questions:
                assert tokenizer.unk_token_id not in tokenizer(question.text)["input_ids"]
                answer = tokenizer(question.reply)["input_ids"]
                assert tokenizer.convert_ids_to_tokens(answer) == list(question.answer)
                assert tokenizer.decode(answer) == question.reply
                asked = tokenizer(question.text)["input_ids"]
                assert tokenizer(tokenizer.decode(asked))["input_ids"] == asked


@pytest.mark.parametrize(
    "text", ["read row 2?", "Read row 2", " READ  ROW\n2. ", "read, row 2 !", "read row ２"]
)
def test_case_and_punctuation_make_no_difference(tokenizer, text):
    assert tokenizer.tokenize(text) == ["read", "row", "2"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("How many 3s?", ["how", "many", "3", "s"]),
        ("what is at row 4,column 1?", ["what", "is", "at", "row", "4", "column", "1"]),
        ("row 12", ["row", "12"]),
        ("zebra 7", ["<unk>", "7"]),
        ("<|im_start|>user\nread<|im_end|>\n", ["<|im_start|>", "user", "read", "<|im_end|>"]),
        ("", []),
    ],
)
def test_tokens(tokenizer, text, tokens):
    assert tokenizer.tokenize(text) == tokens


def test_the_chat_is_chatml(tokenizer):
    text = tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert text == (
        "<|im_start|>user\n<|image_pad|>Read row 2!<|im_end|>\n<|im_start|>assistant\n5 5 5 7<|im_end|>\n"
    )
    asked = tokenizer.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    assert text.startswith(asked)
    assert asked.endswith("<|im_start|>assistant\n")


def test_special_tokens_have_roles_and_are_skipped(tokenizer):
    assert tokenizer.convert_ids_to_tokens(range(len(SPECIAL))) == list(SPECIAL)
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token) == (
        "<|im_end|>",
        "<|endoftext|>",
        "<unk>",
    )
    assert (tokenizer.image_token, tokenizer.video_token, tokenizer.context_token) == (
        "<|image_pad|>",
        "<|video_pad|>",
        "<|context|>",
    )
    ids = tokenizer("<|im_start|><|image_pad|><|context|>row 2<|im_end|>")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "row 2"


def test_it_saves_and_loads(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again.apply_chat_template(CHAT) == tokenizer.apply_chat_template(CHAT)
    assert set(again.all_special_tokens) == set(SPECIAL)
    assert (again.context_token, again.eos_token, again.pad_token) == (
        "<|context|>",
        "<|im_end|>",
        "<|endoftext|>",
    )
