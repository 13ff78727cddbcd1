import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gazekit.data import DigitsData, PackedBatches, balance, join, pack
from gazekit.data.digits.conversations import ManyQuestions
from gazekit.data.digits.datasets import DigitsDataset
from gazekit.models import CambrianProcessor
from tests.data.test_module import Recorder, fingerprint, fit
from tests.models.tiny import make_config, make_processor, picture
from tests.training.test_cambrian import make

# As in test_module: Lightning's own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`.*"),
]

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(lengths, st.integers(1, 60))
def test_rows_hold_every_sample_once_and_no_more_than_fits(sizes, capacity):
    rows = pack(sizes, capacity)
    assert sorted(itertools.chain(*rows)) == list(range(len(sizes)))
    for row in rows:
        assert len(row) == 1 or sum(sizes[i] for i in row) <= capacity
        assert row == sorted(row)
    filled = sorted(sum(sizes[i] for i in row) for row in rows if sizes[row[0]] <= capacity)
    assert all(a + b > capacity for a, b in itertools.pairwise(filled))


@given(lengths, st.integers(1, 6))
def test_parts_are_even(sizes, parts):
    if parts > len(sizes):
        with pytest.raises(
            ValueError, match=f"parts must be between 1 and the {len(sizes)} samples, got {parts}"
        ):
            balance(sizes, parts)
        return
    groups = balance(sizes, parts)
    assert sorted(itertools.chain(*groups)) == list(range(len(sizes)))
    sums = [sum(sizes[i] for i in group) for group in groups]
    assert len(groups) == parts
    assert min(map(len, groups)) >= 1
    assert max(sums) - min(sums) <= max(sizes)


def test_a_row_without_room_is_refused():
    with pytest.raises(ValueError, match="capacity must be at least 1 token, got 0"):
        pack([1], 0)


def chats() -> list[tuple[list[dict], list]]:
    """One image, none, two."""
    said = {"role": "assistant", "content": "3 4"}
    asked = [("<image> read row", 1), ("where is the 7", 0), ("<image> <image> read the column", 2)]
    return [([{"role": "user", "content": text}, said], [picture(i) for i in range(n)]) for text, n in asked]


def encoded(processor: CambrianProcessor) -> list[dict]:
    return [processor.encode_conversation(messages, images) for messages, images in chats()]


def test_a_row_holds_its_samples_one_after_another():
    processor = make_processor(make_config())
    samples = encoded(processor)
    row = join(samples)
    begin = 0
    for number, sample in enumerate(samples):
        span = slice(begin, begin + len(sample["input_ids"]))
        assert torch.equal(row["input_ids"][span], sample["input_ids"])
        assert torch.equal(row["labels"][span][1:], sample["labels"][1:])
        assert row["labels"][begin] == -100
        assert set(row["document_ids"][span].tolist()) == {number}
        begin = span.stop
    assert begin == len(row["input_ids"])
    assert torch.equal(row["pixel_values"], torch.cat([one["pixel_values"] for one in samples]))
    assert row["clip_lengths"].tolist() == [1, 1, 1]


def test_the_first_token_of_a_sample_is_not_predicted_and_the_samples_stay_as_they_were():
    sample = {"input_ids": torch.tensor([5, 6]), "labels": torch.tensor([5, 6])}
    row = join([sample, sample])
    assert row["labels"].tolist() == [-100, 6, -100, 6]
    assert sample["labels"].tolist() == [5, 6]


def test_padded_rows_say_whose_tokens_are_whose():
    processor = make_processor(make_config())
    one, two, three = encoded(processor)
    batch = processor.collate([join([one, two]), join([three])])
    documents = batch["document_ids"]
    assert documents.shape == batch["input_ids"].shape
    assert torch.equal(documents < 0, batch["attention_mask"] == 0)
    assert documents.amax(1).tolist() == [1, 0]


def test_tokens_are_counted_without_opening_an_image():
    processor = make_processor(make_config())
    processor.num_context = 3
    for (messages, images), sample in zip(chats(), encoded(processor), strict=True):
        assert processor.count_tokens(messages) == len(sample["input_ids"])
        assert len(images) == messages[0]["content"].count("<image>")
    video = [{"role": "user", "content": "<video> where"}, {"role": "assistant", "content": "3"}]
    frames = [picture(i) for i in range(3)]
    for times in (None, [[0.0, 1.5, 12.0]]):
        found = processor.encode_conversation(video, videos=[frames], timestamps=times)
        assert processor.count_tokens(video, frames=[3], timestamps=times) == len(found["input_ids"])
    with pytest.raises(ValueError, match="marks 1 videos with <video>, but 0 were given"):
        processor.count_tokens(video)


def digits(processor, **change):
    settings = {"batch_size": 3, "num_steps": 8, "seed": 5, "validation_size": 0, "packing": 400}
    return DigitsData(processor, **{**settings, **change})


@pytest.fixture(scope="module")
def counting() -> CambrianProcessor:
    """A model's own processor, for digits."""
    return make().processor


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_step_has_its_samples_whatever_it_is_divided_into(parts, counting):
    samples = DigitsDataset(split="train", plan=ManyQuestions(turns=3), length=12, seed=3)
    batches = PackedBatches(samples, counting, packing=300, step_size=4, parts=parts)
    assert len(batches) == 3 * parts
    for step in range(3):
        found = [batches[step * parts + part] for part in range(parts)]
        drawn = samples.__getitems__(range(4 * step, 4 * step + 4))
        talks = [sample.conversation for sample in drawn]
        wanted = [counting.encode_conversation(talk.as_chat(), list(talk.images)) for talk in talks]
        assert sum(int((batch["document_ids"].amax(1) + 1).sum()) for batch in found) == 4
        assert sorted(_documents(found)) == sorted(one["input_ids"].tolist() for one in wanted)
        pixels = [unit for batch in found for unit in batch["pixel_values"].flatten(0, 1) if unit.any()]
        assert sorted(x.sum().item() for x in pixels) == sorted(
            one["pixel_values"].sum().item() for one in wanted
        )
        tokens = [int(batch["attention_mask"].sum()) for batch in found]
        assert max(tokens) - min(tokens) <= max(len(one["input_ids"]) for one in wanted)


def _documents(batches: list[dict]) -> list[list[int]]:
    """The ids of each packed sample of the batches."""
    return [
        ids[documents == number].tolist()
        for batch in batches
        for ids, documents in zip(batch["input_ids"], batch["document_ids"], strict=True)
        for number in range(int(documents.max()) + 1)
    ]


def test_a_batch_follows_from_its_number(counting):
    loader = digits(counting, batches_per_step=2).train_dataloader()
    in_order = [fingerprint(batch) for batch in loader]
    dataset = loader.dataset
    assert [fingerprint(dataset[number]) for number in reversed(range(8))] == in_order[::-1]
    assert len(set(in_order)) == 8
    with pytest.raises(IndexError, match="batch 8 is outside a set of 8 batches"):
        dataset[8]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_run_sees_the_packed_batches_that_it_had_still_to_see(tmp_path, counting, workers):
    settings = {"num_steps": 12, "batches_per_step": 2}
    whole = fit(Recorder(), digits(counting, **settings))
    assert len(set(whole)) == 12
    with pytest.raises(SystemExit):
        fit(Recorder(until=5), digits(counting, num_workers=workers, **settings), keep=tmp_path)
    assert (
        fit(Recorder(), digits(counting, num_workers=workers, **settings), ckpt_path=tmp_path / "5.ckpt")
        == whole[5:]
    )


def test_a_run_may_not_be_packed_otherwise(counting):
    saved = digits(counting).state_dict()
    with pytest.raises(ValueError, match=r"packing must be that of the run to resume \(400\), got None"):
        digits(counting, packing=None).load_state_dict(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"packing": 0}, "packing must be at least 1 token a row, got 0; null turns it off"),
        ({"parts": 9}, "parts must be between 1 and the 4 samples of a step, got 9"),
        ({"parts": 2}, "processor must have count_tokens to divide a step by tokens"),
    ],
)
def test_what_cannot_be_packed_is_refused(change, message, processor):
    with pytest.raises(ValueError, match=message):
        PackedBatches([], processor, **{"packing": 9, "step_size": 4, **change})
