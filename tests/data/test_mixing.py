import json
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gazekit.data import (
    DenyPaths,
    DenySources,
    DurationStrata,
    JsonSource,
    MinimumDuration,
    NotQuarantined,
    OnDisk,
    OnlyKeys,
    Stratum,
)  # fmt: skip
from gazekit.data.mixing import InOrder, Mixture, Row, mixture, shuffle
from gazekit.data.mixing.filters import digest_of
from gazekit.data.mixing.shuffle import scramble, shuffled
from gazekit.data.records import DataRoot
from gazekit.recipe import load
from tests.data.dirty import turns, write_image, write_rows


@given(st.integers(1, 150), st.integers(0, 2**64 - 1), st.sampled_from([0, 1 << 12]))
def test_a_shuffled_order_holds_everything_once(size, key, small):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "_SMALL", small)  # 0: even small ones by the network
        assert sorted(shuffled(place, size, key) for place in range(size)) == list(range(size))


@pytest.mark.parametrize("size", [50, 4500])
def test_a_shuffled_order_looks_random(size):
    """Neighbours are apart, places are unrelated to what stands there, and keys give unrelated orders."""
    one, other = (np.array([shuffled(place, size, key) for place in range(size)]) for key in (1, 2))
    for order in (one, other):
        assert abs(np.corrcoef(order, np.arange(size))[0, 1]) < 4 / size**0.5
        assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 4 / size**0.5
        halves = np.histogram(order[: size // 2], 10, (0, size))[0]
        assert halves.max() - halves.min() < 6 * (size / 20) ** 0.5
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / size**0.5


def test_scrambled_numbers_depend_on_every_one_of_theirs():
    assert len({scramble(a, b) for a in range(50) for b in range(50)}) == 2500
    assert scramble(1, 2) != scramble(2, 1)


def test_a_mixture_goes_through_every_source_before_it_comes_again():
    mixed = Mixture([7, 50], [1.0, 3.0], seed=3)
    places = [mixed.at(number) for number in range(400)]
    for source, size in ((0, 7), (1, 50)):
        rows = [place.row for place in places if place.source == source]
        for epoch in range(len(rows) // size):
            assert sorted(rows[epoch * size : (epoch + 1) * size]) == list(range(size))
        assert rows[:size] != rows[size : 2 * size] or size > len(rows) // 2
        assert [p.epoch for p in places if p.source == source] == [n // size for n in range(len(rows))]


@pytest.mark.parametrize("weights", [[1.0, 3.0], [5, 0, 5, 1e-9], [1.0] * 7, [2.0, 1.0, 1 / 3]])
def test_shares_are_those_of_the_weights(weights, monkeypatch):
    block = 512
    monkeypatch.setattr(mixture, "BLOCK", block)
    mixed = Mixture([10] * len(weights), weights, seed=0)
    for first in (0, 3 * block):
        counts = Counter(mixed.at(first + number).source for number in range(block))
        for source, weight in enumerate(weights):
            share = counts[source] / block
            assert abs(share - weight / sum(weights)) <= 1 / block + 1e-12
            assert (share > 0) == (weight > 0)


def test_a_mixture_follows_from_its_seed_and_place_alone():
    first, again, other = (Mixture([100, 30], [2.0, 1.0], seed) for seed in (1, 1, 2))
    far = 10 * mixture.BLOCK + 17
    assert again.at(far) == first.at(far)
    assert [first.at(n) for n in range(50)] == [pickle.loads(pickle.dumps(again)).at(n) for n in range(50)]
    assert [first.at(n) for n in range(50)] != [other.at(n) for n in range(50)]


@pytest.mark.parametrize(
    ("sizes", "weights", "message"),
    [
        ([], [], "weights must be given for each of the 0 sources"),
        ([1, 2], [1.0], "weights must be given for each of the 2 sources, got 1"),
        ([1, 2], [1.0, -1.0], "weights must not be negative"),
        ([1, 2], [0.0, 0.0], "and not all 0"),
        ([0, 2], [1.0, 1.0], r"sources\[0\] must have rows, got none; loosen its filters"),
    ],
)
def test_a_mixture_names_its_faults(sizes, weights, message):
    with pytest.raises(ValueError, match=message):
        Mixture(sizes, weights, 0)


def test_in_order_is_in_order():
    assert [(p.row, p.epoch) for p in map(InOrder(2).at, range(4))] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    with pytest.raises(ValueError, match="size must be at least 1"):
        InOrder(0)


def row(root=None, **values):
    return Row(0, {"conversations": turns("hi"), **values}, root)


def test_sources_and_paths_can_be_denied():
    deny = DenySources(names=["tgif", "htstep_*"])
    kept = [name for name in ("tgif", "htstep_7", "Tgif", "coco") if deny.keep(row(data_source=name))]
    assert kept == ["Tgif", "coco"]
    assert deny.keep(row())
    deny = DenyPaths(names=["*.wav", "EpicKitchens/*"])
    assert not deny.keep(row(video="a/b.wav"))
    assert not deny.keep(row(video="EpicKitchens/1/b.mp4"))
    assert not deny.keep(row(image=["a.jpg", "b.wav"]))
    assert deny.keep(row(image="a.jpg"))


def test_rows_with_other_keys_can_be_denied():
    only = OnlyKeys(keys=["id", "conversations"])
    assert only.keep(row(id=3))
    assert not only.keep(row(start=3))


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"video": "a.mp4", "video_duration": 5}, True),
        ({"video": "a.mp4", "video_duration": 4.9}, False),
        ({"video": "a.mp4", "video_duration": 60, "start": 3, "end": 7}, False),
        ({"video": "a.mp4"}, None),
        ({"video": "a.mp4", "video_duration": "long"}, None),
        ({"image": "a.jpg", "video_duration": 1}, True),
    ],
)
def test_short_videos_can_be_left_out(values, kept):
    for unknown in (True, False):
        expected = unknown if kept is None else kept
        assert MinimumDuration(seconds=5.0, unknown=unknown).keep(row(**values)) == expected


def test_what_is_not_on_disk_can_be_left_out(tmp_path):
    write_image(tmp_path / "root/a.jpg")
    write_image(tmp_path / "b.jpg")
    root = DataRoot(tmp_path / "root")
    assert OnDisk().keep(row(root, image="a.jpg"))
    assert OnDisk().keep(row(root))
    for name in ("c.jpg", "../b.jpg"):
        assert not OnDisk().keep(row(root, image=["a.jpg", name]))
    assert not OnDisk().keep(row(None, image="a.jpg"))


def test_strata_keep_their_shares_whatever_stands_around_a_row():
    strata = DurationStrata(strata=[Stratum(below=120.0, share=0.1), Stratum(share=1.0)])
    short = [row(id=n, video=f"{n}.mp4", video_duration=n % 119) for n in range(5000)]
    kept = [strata.keep(one) for one in short]
    assert abs(sum(kept) - 500) < 4 * (5000 * 0.1 * 0.9) ** 0.5
    assert [strata.keep(one) for one in reversed(short)] == kept[::-1]
    assert all(strata.keep(row(id=n, video="a.mp4", video_duration=120 + n)) for n in range(50))
    assert all(strata.keep(row(id=n, image="a.jpg")) for n in range(50))
    other = DurationStrata(strata=strata.strata, seed=1)
    assert [other.keep(one) for one in short] != kept


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stratum(share=1.5), "share must be from 0 to 1, got 1.5"),
        (lambda: DurationStrata(strata=[]), "strata must ascend"),
        (
            lambda: DurationStrata(strata=[Stratum(share=1.0), Stratum(share=0.1, below=3.0)]),
            "strata must ascend",
        ),
        (lambda: MinimumDuration(seconds=-1.0), "seconds must not be negative"),
        (lambda: NotQuarantined(file="nowhere"), "file must be a quarantine file, nowhere does not exist"),
        (lambda: JsonSource(path="a", weight=-1.0), "weight must not be negative"),
    ],
)
def test_filters_name_their_faults(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_filters_choose_rows_once_and_keep_what_they_chose(tmp_path, monkeypatch):
    rows = [{"id": n, "data_source": "ab"[n % 2], "conversations": turns("hi")} for n in range(6)]
    path = write_rows(tmp_path / "a.jsonl", [*rows, b"{cut\n"])
    source = JsonSource(path=str(path), filters=[DenySources(names=["a"])])
    opened = source.open()
    assert [opened.number(n) for n in range(len(opened))] == [
        1,
        3,
        5,
        6,
    ]  # a row that is cut is not forgotten
    assert opened.weight == 4.0
    monkeypatch.setattr("gazekit.data.mixing.keep._judge", None)
    assert len(source.open()) == 4
    monkeypatch.undo()
    assert len(JsonSource(path=str(path), filters=[DenySources(names=["b"])]).open()) == 4
    write_rows(path, rows[:2])
    assert len(source.open()) == 1
    assert len(JsonSource(path=str(path), filters=[DenySources(names=["*"])]).open()) == 0


def test_rows_of_a_quarantine_are_left_out(tmp_path):
    rows = [{"id": n, "conversations": turns("hi")} for n in range(4)]
    path = write_rows(tmp_path / "a.jsonl", rows)
    held = tmp_path / "quarantine.jsonl"
    held.write_text(json.dumps({"digest": digest_of(rows[2])}) + "\n" + '{"digest": "cu')
    opened = JsonSource(path=str(path), filters=[NotQuarantined(file=str(held))]).open()
    assert [opened.number(n) for n in range(len(opened))] == [0, 1, 3]


@pytest.mark.parametrize("change", [{"path": "nowhere.jsonl"}, {"root": "nowhere"}])
def test_a_source_that_does_not_exist_is_named(tmp_path, change):
    path = write_rows(tmp_path / "a.jsonl", [{}])
    ((name, _),) = change.items()
    with pytest.raises(ValueError, match=f"{name} nowhere.* does not exist"):
        JsonSource(**{"path": str(path), **change}).open()


def test_the_recipe_of_a_fifth_of_cambrian_s_keeps_what_its_author_kept(tmp_path, processor):
    """Rows in the proportions of the published set: sources that are denied, short clips, rows with other keys."""
    draw = np.random.default_rng(0)
    counts, rows = Counter(), []
    for number in range(600):
        sort = draw.choice(
            ["denied", "tiny", "audio", "keys", "short", "long"], p=[0.1, 0.07, 0.02, 0.06, 0.65, 0.1]
        )
        counts[sort] += 1
        seconds = {"tiny": 3.0, "long": 300.0}.get(sort, 30.0)
        one = {
            "id": number,
            "video": f"{number}.{'wav' if sort == 'audio' else 'mp4'}",
            "video_duration": seconds,
        }
        one |= {"data_source": "htstep_x" if sort == "denied" else "vsi", "conversations": turns("<image>?")}
        rows.append(one | ({"start": 1} if sort == "keys" else {}))
        if sort != "audio":
            (tmp_path / f"{number}.mp4").write_bytes(b"x")
    rows.append({"id": -1, "video": "missing.mp4", "video_duration": 300, "conversations": turns("<image>?")})
    path = write_rows(tmp_path / "cambrian-s.jsonl", rows)
    recipe = load("data/cambrian-s-3m-fifth", [f"data.path={path}", f"data.root={tmp_path}"])
    (source,) = recipe.build("data", processor=processor).open()
    kept = [rows[source.number(n)] for n in range(len(source))]
    assert sum(one["video_duration"] >= 120 for one in kept) == counts["long"]
    short = sum(one["video_duration"] < 120 for one in kept)
    assert abs(short - 0.1 * counts["short"]) < 4 * (counts["short"] * 0.09) ** 0.5
    assert all(one["data_source"] == "vsi" and "start" not in one for one in kept)
