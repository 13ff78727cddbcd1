import builtins
import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gazekit.data.digits import load_scans, scans
from tests.scenes import unchecked

SPLITS = ("train", "validation", "test")


def fingerprints(split):
    return {hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in load_scans(split).pixels}


def test_no_scan_is_in_two_splits_and_none_is_lost():
    prints = {split: fingerprints(split) for split in SPLITS}
    assert {split: len(found) for split, found in prints.items()} == {
        split: len(load_scans(split).pixels) for split in SPLITS
    }
    assert len(set.union(*prints.values())) == sum(map(len, prints.values())) == 1797


def test_scans_are_those_of_the_collection():
    whole = load_digits()
    for split in SPLITS:
        found = load_scans(split)
        np.testing.assert_array_equal(found.pixels * 16, whole.images[found.source])
        np.testing.assert_array_equal(found.labels, whole.target[found.source])


@pytest.mark.parametrize(("split", "share"), [("train", 0.7), ("validation", 0.1), ("test", 0.2)])
def test_every_digit_is_split_alike(split, share):
    whole = np.bincount(load_digits().target)
    found = load_scans(split)
    assert np.abs(found.count - share * whole).max() <= 1
    for digit in range(10):
        own = found.labels[found.first[digit] : found.first[digit] + found.count[digit]]
        assert (own == digit).all()


def test_the_split_never_moves():
    print_of_sources = hashlib.sha256(load_scans("test").source.astype("<i8").tobytes()).hexdigest()
    assert print_of_sources == "f9d3bca4557362b4872234c5e86ed11e9ab109a9695087cef9cd518553cf567a"


def test_an_unknown_split_is_refused():
    with (
        unchecked(),
        pytest.raises(ValueError, match="split must be one of train, validation, test, got 'dev'"),
    ):
        load_scans("dev")


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'gazekit\[demo\]'"):
        scans._collection.__wrapped__()
