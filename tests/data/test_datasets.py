import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gazekit.data import ManyQuestions, SingleQuestion
from gazekit.data.digits import DigitsDataset, DigitsEvaluation, MosaicSpec, load_scans
from tests.scenes import unchecked

SPLITS = st.sampled_from(["train", "validation", "test"])


def identity(sample):
    return (
        hashlib.sha256(sample.mosaic.image.tobytes()).hexdigest(),
        tuple((question.text, question.answer, question.cells) for question in sample.questions),
    )


def dataset(**change):
    return DigitsDataset(**{"split": "train", "plan": ManyQuestions(), "length": 50, **change})


@given(seed=st.integers(0, 2**40), split=SPLITS, indices=st.lists(st.integers(0, 49), min_size=1, max_size=9))
def test_a_sample_is_a_function_of_seed_split_and_index(seed, split, indices):
    together = dataset(seed=seed, split=split).__getitems__(indices)
    alone = [dataset(seed=seed, split=split)[index] for index in reversed(indices)]
    assert [identity(sample) for sample in together] == [identity(sample) for sample in reversed(alone)]


def test_no_two_samples_are_the_same():
    sets = [dataset(), dataset(seed=1), dataset(start=50), dataset(split="test"), dataset(split="validation")]
    prints = [identity(sample) for one in sets for sample in one.__getitems__(range(50))]
    assert len(set(prints)) == len(prints)


def test_a_later_start_goes_on_where_the_first_stopped():
    assert identity(dataset(start=20)[5]) == identity(dataset()[25])
    assert identity(dataset()[-1]) == identity(dataset()[49])


def test_global_generators_play_no_part():
    np.random.seed(0)
    before = identity(dataset()[0])
    np.random.seed(1)
    assert identity(dataset()[0]) == before


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_mosaics_hold_scans_of_their_split_alone(split):
    """By content: the pixels of every scan used are looked up among those of the other splits."""
    others = {
        pixels.tobytes()
        for other in {"train", "validation", "test"} - {split}
        for pixels in load_scans(other).pixels
    }
    own = load_scans(split)
    place = {int(source): number for number, source in enumerate(own.source)}
    used = set()
    for sample in dataset(split=split, length=400).__getitems__(range(400)):
        used.update(sample.mosaic.source.tolist())
    assert len(used) > 0.98 * len(own.source)
    assert not others & {own.pixels[place[source]].tobytes() for source in used}


def test_evaluation_items_carry_their_ground_truth():
    items = DigitsEvaluation(
        length=60, plan=SingleQuestion(row=1.0, column=1.0, cell=1.0, where=1.0, count=1.0)
    )
    samples = items.samples.__getitems__(range(60))
    kinds = set()
    for item, sample in zip(items.__getitems__(range(60)), samples, strict=True):
        assert len(sample.questions) == 1
        assert item.masks.shape == (len(item.question.answer), 64, 64)
        for mask, cell in zip(item.masks, item.question.cells, strict=True):
            expected = np.zeros((64, 64), dtype=bool) if cell is None else sample.mosaic.masks[cell]
            np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(np.asarray(item.image)[..., 1], sample.mosaic.image)
        assert [message.role for message in item.prompt.messages] == ["user"]
        assert item.prompt.messages[0].text == item.question.text
        kinds.add(item.question.kind)
    assert kinds == {"row", "column", "cell", "where", "count"}
    assert len(items) == 60
    assert items[7].question == items.__getitems__([7])[0].question


def test_larger_mosaics_and_other_shapes():
    spec = MosaicSpec(rows=8, columns=6, cell=20, scan=16.0, jitter=4.0)
    for item in DigitsEvaluation(length=20, spec=spec).__getitems__(range(20)):
        assert item.image.size == (120, 160)
        assert item.masks.shape[1:] == (160, 120)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "dev"}, "split must be one of train, validation, test, got 'dev'"),
        ({"length": -1}, "length must not be negative, got -1"),
        ({"seed": -2}, "seed must not be negative, got -2"),
        ({"start": -3}, "start must not be negative, got -3"),
    ],
)
def test_a_set_names_its_faults(change, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        dataset(**change)


@pytest.mark.parametrize("index", [50, -51])
def test_an_index_outside_is_an_index_error(index):
    with pytest.raises(IndexError, match=f"index {index} is outside a set of 50 samples"):
        dataset()[index]
