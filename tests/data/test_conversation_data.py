"""Conversations from files, whole and dirty, through the processor of a Cambrian."""

import json
import logging

import pytest
import torch
from PIL import Image

from gazekit.data import ConversationData, JsonSource, Limits
from gazekit.data.conversation import Conversation, Frames, Message, Slot
from gazekit.data.encode import EncodeConversation, thin
from gazekit.data.quarantine import BrokenRow, Quarantine, read_quarantine
from gazekit.data.tally import BrokenDataError, Tally
from tests.data.dirty import dirty_rows, good_rows, turns, write_image, write_rows
from tests.data.films import make_film
from tests.data.test_module import Recorder, fingerprint, fit
from tests.models.tiny import make_config, make_processor

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`.*"),
]


@pytest.fixture(scope="module")
def cambrian():
    return make_processor(make_config())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Twenty whole rows, and the same with every sort of broken one among them."""
    folder = tmp_path_factory.mktemp("files")
    root = folder / "root"
    good = good_rows(root, 20)
    bad = [row for row, _ in dirty_rows(root).values()]
    write_rows(folder / "good.jsonl", good)
    write_rows(folder / "dirty.jsonl", [*good[:7], *bad, *good[7:]])
    return folder


def data(processor, files, name="good", **change):
    given = {"path": str(files / f"{name}.jsonl"), "root": str(files / "root"), "seed": 3}
    return ConversationData(processor, **{**given, "batch_size": 2, "num_steps": 10, **change})


def test_batches_are_what_a_cambrian_takes(cambrian, files):
    batch = next(iter(data(cambrian, files).train_dataloader()))
    assert set(batch) == {"input_ids", "attention_mask", "labels", "pixel_values", "clip_lengths"}
    assert batch["pixel_values"].shape[:2] == (2, 1)
    assert ((batch["labels"] != -100).sum(-1) > 0).all()


def test_every_row_is_seen_once_before_any_comes_again(cambrian, files):
    samples = data(cambrian, files, num_steps=20).samples()
    pixels = [samples[n].encoded["pixel_values"] for n in range(40)]
    names = [hash(one.numpy().tobytes()) for one in pixels]
    assert len(set(names[:20])) == len(set(names[20:])) == 20
    assert names[:20] != names[20:]


def test_a_later_stage_goes_on_where_an_earlier_one_stopped(cambrian, files):
    whole = [fingerprint(batch) for batch in data(cambrian, files).train_dataloader()]
    later = data(cambrian, files, num_steps=4, start=12).train_dataloader()
    assert [fingerprint(batch) for batch in later] == whole[6:]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupted_run_sees_the_batches_that_it_had_still_to_see(cambrian, files, tmp_path, workers):
    made = lambda: data(cambrian, files, "dirty", max_broken=1.0, num_workers=workers)  # noqa: E731
    whole = fit(Recorder(), data(cambrian, files, "dirty", max_broken=1.0))
    assert len(set(whole)) > 5
    with pytest.raises(SystemExit):
        fit(Recorder(until=5), made(), keep=tmp_path)
    for step in (1, 5):
        resumed = made()
        assert fit(Recorder(), resumed, ckpt_path=tmp_path / f"{step}.ckpt") == whole[step:]
    complete = data(cambrian, files, "dirty", max_broken=1.0)
    fit(Recorder(), complete)
    assert resumed.tally.state_dict() == complete.tally.state_dict()


def test_broken_rows_are_replaced_by_the_next_whole_one(cambrian, files):
    good, dirty = data(cambrian, files).open()[0].rows, data(cambrian, files, "dirty", max_broken=1.0)
    samples = dirty.samples()
    rows = samples.sources[0].rows
    for index in range(20):
        sample, first = samples[index], samples.order.at(index).row
        after = (first + len(sample.broken)) % len(rows)
        assert rows[after] in [good[n] for n in range(20)]
        assert [one.row for one in sample.broken] == [
            (first + n) % len(rows) for n in range(len(sample.broken))
        ]
        assert torch.equal(samples[index].encoded["pixel_values"], sample.encoded["pixel_values"])


def test_every_sort_of_dirt_is_passed_over_counted_and_written_down(cambrian, files, tmp_path, caplog):
    held = tmp_path / "run/quarantine.jsonl"
    dirty = data(cambrian, files, "dirty", max_broken=1.0, num_steps=30, out=tmp_path / "run")
    with caplog.at_level(logging.WARNING, "gazekit.data"):
        batches = list(dirty.train_dataloader())
    assert len(batches) == 30
    expected = {number + 7: kind for number, (_, kind) in enumerate(dirty_kinds())}
    written = read_quarantine(held)
    assert {row["row"]: row["kind"] for row in written} == expected
    assert len(written) == len(expected)
    assert {row["source"] for row in written} == {"bad", "dirty"}
    assert dirty.tally.samples == 60
    assert dirty.tally.num_broken >= len(expected)
    first = [record for record in caplog.records if "is passed over" in record.getMessage()]
    assert len(first) == len(dirty.tally.broken)
    assert caplog.records[-1].getMessage().startswith(f"{dirty.tally.num_broken} rows were passed over: ")
    list(
        data(cambrian, files, "dirty", max_broken=1.0, num_steps=30, out=tmp_path / "run").train_dataloader()
    )
    assert read_quarantine(held) == written


def test_films_are_read_unless_told_otherwise(cambrian, tmp_path):
    make_film(tmp_path / "film.mp4", [n / 30 for n in range(90)])
    row = {"id": 1, "video": "film.mp4", "conversations": turns("<video> where", "row 2")}
    path = write_rows(tmp_path / "a.jsonl", [row])
    (batch,) = ConversationData(cambrian, path=str(path), num_steps=1, batch_size=1).train_dataloader()
    assert batch["clip_lengths"].tolist() == [[3]]
    assert batch["pixel_values"][0, 0].mean() < batch["pixel_values"][0, 2].mean()


def dirty_kinds():
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        return list(dirty_rows(Path(folder) / "root").values())


def test_a_run_survives_below_the_share_and_stops_above_it(cambrian, tmp_path):
    rows = [{"id": n, "data_source": "ocr", "conversations": turns("read")} for n in range(300)]
    for number in range(5, 300, 25):
        rows[number]["conversations"] = turns("read")[:1]
    path = write_rows(tmp_path / "a.jsonl", rows)

    def made(share):
        return ConversationData(
            cambrian, path=str(path), num_steps=30, batch_size=10, max_broken=share, out=tmp_path
        )

    assert len(fit(Recorder(), made(0.03))) == 30
    stops = r"\d+ of 1\d\d rows read are broken \(.*\), more than max_broken 0\.5%: \d+ answer in ocr \(.*has no answer"
    with pytest.raises(BrokenDataError, match=stops) as stop:
        fit(Recorder(), made(0.005))
    assert f"they are listed in {tmp_path}/quarantine.jsonl" in str(stop.value)
    assert "gazekit data check" in str(stop.value)


def test_a_run_does_not_read_on_far_above_the_share(cambrian, files):
    dirty = data(cambrian, files, "dirty", num_steps=200)
    with pytest.raises(BrokenDataError, match=r"more than max_broken 1\.0%: .* in bad"):
        fit(Recorder(), dirty)
    assert dirty.tally.samples < 100


def test_a_short_run_is_judged_with_its_last_batch(cambrian, tmp_path):
    rows = [{"id": n, "conversations": turns("read")[: 2 - n % 2]} for n in range(10)]
    path = write_rows(tmp_path / "a.jsonl", rows)
    loader = ConversationData(cambrian, path=str(path), num_steps=3, batch_size=4).train_dataloader()
    source = iter(loader)
    for _ in range(2):
        next(source)
    with pytest.raises(BrokenDataError, match="rows read are broken"):
        next(source)


def test_a_source_without_a_whole_row_stops_at_once(cambrian, tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"id": n, "conversations": turns("hi")[:1]} for n in range(3)])
    loader = ConversationData(
        cambrian, path=str(path), num_steps=2, batch_size=2, max_broken=1.0
    ).train_dataloader()
    stops = r"no whole row was found up to row \d of .*a\.jsonl \(answer: the conversation"
    with pytest.raises(BrokenDataError, match=stops):
        next(iter(loader))


def test_sources_are_mixed_by_their_weights(cambrian, files, tmp_path):
    other = write_rows(tmp_path / "b.jsonl", [{"id": "b", "conversations": turns("read", "row 2")}])
    sources = [
        JsonSource(path=str(files / "good.jsonl"), root=str(files / "root"), weight=1.0),
        JsonSource(path=str(other), weight=3.0),
    ]
    mixed = ConversationData(cambrian, sources=sources, num_steps=50, batch_size=2)
    batches = list(mixed.train_dataloader())
    shown = sum(int(batch["clip_lengths"].sum()) for batch in batches if "clip_lengths" in batch)
    assert abs(shown - 25) < 15


def test_a_checkpoint_of_other_data_is_refused(cambrian, files):
    state = data(cambrian, files).state_dict()
    data(cambrian, files).load_state_dict(state)
    for change, message in (
        ({"seed": 4}, r"seed must be that of the run to resume \(3\), got 4"),
        ({"name": "dirty"}, "sources must be that of the run to resume"),
        ({"limits": Limits(tokens=99)}, "limits must be that of the run to resume"),
        ({"system": "be brief"}, "system must be that of the run to resume"),
    ):
        with pytest.raises(ValueError, match=message):
            data(cambrian, files, **change).load_state_dict(state)


def test_validation_reads_the_first_rows_in_order(cambrian, files):
    source = JsonSource(path=str(files / "good.jsonl"), root=str(files / "root"))
    module, made = Recorder(), data(cambrian, files, validation=source, validation_size=5, num_steps=1)
    fit(module, made)
    assert module.validated == [fingerprint(batch) for batch in made.val_dataloader()]
    assert len(module.validated) == 3


def test_devices_share_the_samples_of_a_step(cambrian, files):
    class Trainer:
        world_size = 2
        global_rank = 0

    alone = [batch["input_ids"].shape[0] for batch in data(cambrian, files, batch_size=4).train_dataloader()]
    seen = []
    for rank in range(2):
        made = data(cambrian, files)
        made.trainer = Trainer()
        made.trainer.global_rank = rank
        seen.append(list(made.train_dataloader()))
    assert len(seen[0]) == len(seen[1]) == len(alone) == 10
    whole = data(cambrian, files, batch_size=4).samples()
    pixels = torch.cat([whole[n].encoded["pixel_values"] for n in range(4)])
    both = [one[0]["pixel_values"][k, 0] for k in range(2) for one in seen]
    assert torch.equal(torch.stack(both), pixels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": None}, "path must be given, or sources, got None and 0 sources"),
        ({"sources": [JsonSource(path="a")]}, "path must be given, or sources"),
        (
            {"path": None, "sources": [JsonSource(path="a")]},
            "root and filters must be left out beside sources",
        ),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"num_workers": -1}, "num_workers must be at least 0, got -1"),
        ({"validation_size": 3}, "validation must be given for validation_size 3"),
        ({"max_broken": 1.5}, r"max_broken must be from 0 to 1, got 1\.5"),
    ],
)
def test_the_module_names_its_faults(cambrian, files, change, message):
    with pytest.raises(ValueError, match=message):
        data(cambrian, files, **change)


def test_what_a_processor_does_not_know_is_refused(processor, files):
    with pytest.raises(
        ValueError, match="max_length must be left out, got 9: PlainProcessor does not know it"
    ):
        data(processor, files, limits=Limits(tokens=9))
    with pytest.raises(ValueError, match="labels must be left out, got 'llava_next_compat'"):
        data(processor, files, labels="llava_next_compat")


class TestEncoding:
    def talk(self, frames=8, ask="read"):
        pictures = tuple(Image.new("RGB", (8, 8), (n, n, n)) for n in range(frames))
        messages = (Message("user", (Slot.VIDEO, ask)), Message("assistant", ("row 2",)))
        return Conversation(messages, videos=(Frames(pictures, tuple(map(float, range(frames)))),))

    def test_a_video_that_does_not_fit_is_shown_in_fewer_frames_and_keeps_its_answer(self, cambrian):
        whole = EncodeConversation(processor=cambrian)(self.talk())
        tight = EncodeConversation(processor=cambrian, max_length=60)(self.talk())
        assert [whole["clip_lengths"].item(), tight["clip_lengths"].item()] == [8, 2]
        learned = tight["labels"] != -100
        assert tight["labels"][learned].tolist() == whole["labels"][whole["labels"] != -100].tolist()

    def test_thinned_frames_are_spread_over_the_video(self):
        video = self.talk().videos[0]
        assert thin(video, 2).timestamps == (2.0, 6.0)
        assert thin(video, 1).timestamps == (4.0,)
        assert thin(video, 9) is video

    def test_what_does_not_fit_at_all_is_a_broken_row(self, cambrian, tmp_path):
        write_image(tmp_path / "a.jpg")
        row = {"id": 1, "image": "a.jpg", "conversations": turns("<image>")}
        path = write_rows(tmp_path / "a.jsonl", [row, {"id": 2, "conversations": turns("read")}])
        made = ConversationData(cambrian, path=str(path), limits=Limits(tokens=12), num_steps=1, batch_size=2)
        samples = made.samples()
        broken = [one for n in range(2) for one in samples[n].broken]
        assert [(one.row, one.kind) for one in broken] == [(0, "long")]

    def test_placeholders_in_a_text_are_a_fault_and_not_an_image(self, cambrian, tmp_path):
        marks = ("<|image_pad|>", "<|context|>", "")
        rows = [{"id": n, "conversations": turns(f"look {mark}")} for n, mark in enumerate(marks)]
        path = write_rows(tmp_path / "a.jsonl", rows)
        samples = ConversationData(cambrian, path=str(path), num_steps=1, batch_size=3).samples()
        broken = {one.row: one.kind for n in range(3) for one in samples[n].broken}
        assert broken == {0: "type", 1: "type"}

    def test_a_system_message_is_put_where_there_is_none(self, cambrian):
        asked = Conversation((Message("user", ("read",)), Message("assistant", ("row 2",))))
        own = Conversation((Message("system", ("where",)), *asked.messages))
        encode = EncodeConversation(processor=cambrian, system="where")
        assert torch.equal(encode(asked)["input_ids"], encode(own)["input_ids"])
        assert len(encode(asked)["input_ids"]) > len(
            EncodeConversation(processor=cambrian)(asked)["input_ids"]
        )

    def test_times_stand_before_frames_where_they_are_wanted(self, cambrian):
        plain, timed = (
            EncodeConversation(processor=cambrian, timestamps=on)(self.talk(2)) for on in (False, True)
        )
        assert len(timed["input_ids"]) > len(plain["input_ids"])


class TestTally:
    def broken(self, row, source="ocr", kind="missing"):
        return BrokenRow(
            source=source, file="a", row=row, name="", kind=kind, message="gone", digest=f"{row}"
        )

    def test_judges_from_the_hundredth_row_on(self):
        tally = Tally(0.01)
        tally.take(10, [self.broken(n) for n in range(20)])
        stops = r"20 of 101 rows read are broken \(19\.8%\), more than max_broken 1\.0%: 20 missing in ocr \(gone\)"
        with pytest.raises(BrokenDataError, match=stops):
            tally.take(71, [])

    @pytest.mark.parametrize(("read", "most"), [(100, 4), (10_000, 130), (1_000_000, 10_300)])
    def test_leaves_room_for_chance_and_the_less_the_more_was_read(self, read, most):
        tally = Tally(0.01)
        tally.samples = read - most
        tally.take(0, [self.broken(n) for n in range(most)])
        tally.close()
        tally.samples -= 1
        with pytest.raises(BrokenDataError):
            tally.take(0, [self.broken(most)])

    def test_allows_nothing_where_nothing_is_allowed(self):
        tally = Tally(0.0)
        tally.take(500, [])
        with pytest.raises(BrokenDataError, match=r"1 of 501 rows read are broken"):
            tally.take(0, [self.broken(1)])

    def test_sums_up_by_source_and_sort(self):
        tally = Tally(1.0)
        twice = [self.broken(1), self.broken(2)]
        tally.take(1, [*twice, self.broken(3, "sbu"), self.broken(4, kind="bomb"), self.broken(5, "x")])
        most = "2 missing in ocr (gone); 1 missing in sbu (gone); 1 bomb in ocr (gone)"
        assert tally.summary() == f"{most}; 1 other sorts"

    def test_goes_on_from_a_checkpoint(self):
        tally, again = Tally(1.0), Tally(1.0)
        tally.take(5, [self.broken(1), self.broken(2, "sbu")])
        again.load_state_dict(json.loads(json.dumps(tally.state_dict())))
        assert again.state_dict() == tally.state_dict()
        assert again.summary() == tally.summary()

    def test_a_quarantine_survives_a_kill_in_the_middle_of_a_line(self, tmp_path):
        path = tmp_path / "q.jsonl"
        Quarantine(path).add([self.broken(1), self.broken(2), self.broken(1)])
        path.write_bytes(path.read_bytes()[:-20])
        Quarantine(path).add([self.broken(1), self.broken(2), self.broken(3)])
        assert [row["row"] for row in read_quarantine(path)] == [1, 2, 3]
        assert read_quarantine(tmp_path / "none") == []
