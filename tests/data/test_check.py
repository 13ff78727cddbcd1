import json

import pytest

from gazekit.cli.main import main
from gazekit.data import JsonSource, Limits
from gazekit.data.check import RowCheck, check_rows
from gazekit.data.quarantine import Quarantine, read_quarantine
from gazekit.data.records import RecordOpener
from gazekit.data.records.fault import COLUMNS, column_of
from gazekit.data.video import PyAVReader
from tests.data.dirty import dirty_rows, good_rows, turns, write_image, write_rows
from tests.models.tiny import make_config, make_processor


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dirty")
    good = good_rows(folder / "root", 3)
    bad = dirty_rows(folder / "root")
    again = {**good[1], "id": "again", "data_source": "copy"}
    write_rows(folder / "dirty.jsonl", [*good, *(row for row, _ in bad.values()), again])
    write_rows(folder / "good.jsonl", good)
    return folder, {name: kind for name, (_, kind) in bad.items()}


def check(folder, name="dirty", **change):
    source = JsonSource(path=str(folder / f"{name}.jsonl"), root=str(folder / "root")).open()
    options = {key: change.pop(key) for key in ("header_only", "length") if key in change}
    limits = change.pop("limits", Limits())
    opener = RecordOpener(limits=limits, video=PyAVReader())
    return check_rows(RowCheck(source=source, opener=opener, **options), **change)


def test_every_fault_is_found_and_named(dirty):
    folder, kinds = dirty
    report = check(folder, examples=100)
    found = {one.row: one.kind for one in report.examples}
    assert found == {number + 3: kind for number, kind in enumerate(kinds.values())} | {
        3 + len(kinds): "duplicate"
    }
    assert report.num_faulty == len(kinds) + 1
    assert report.columns("good") == {"rows": 3, "good": 3, **dict.fromkeys(COLUMNS, 0)}
    assert report.columns("copy")["duplicated"] == 1
    assert report.examples[-1].message.startswith("the row says what row 1 says")
    columns = report.columns("bad")
    expected = [kind for kind in kinds.values() if kind != "json"]
    assert {name: columns[name] for name in COLUMNS} == {
        name: sum(column_of(kind) == name for kind in expected) - (1 if name == "malformed" else 0)
        for name in COLUMNS
    }  # the row that is no object does not say where it is from


def test_a_quick_look_reads_headers_only(dirty):
    folder, _ = dirty
    quick = {one.row for one in check(folder, examples=100, header_only=True).examples}
    missed = {one.row: one.message for one in check(folder, examples=100).examples if one.row not in quick}
    cut, film = missed.values()
    assert "cut.jpg cannot be decoded" in cut
    assert "film.mp4 cannot be decoded" in film


def test_a_whole_set_has_no_fault_and_progress_is_told(dirty):
    told = []
    report = check(dirty[0], "good", progress=lambda *done: told.append(done))
    assert (report.num_faulty, report.examples) == (0, [])
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
def test_worker_processes_find_the_same(dirty):
    assert check(dirty[0], workers=2).as_dict() == check(dirty[0]).as_dict()


class TestCommand:
    def test_prints_a_table_and_answers_1(self, dirty, run):
        folder, kinds = dirty
        code, out, _ = run(
            "data", "check", folder / "dirty.jsonl", "--root", folder / "root", "--examples", 1
        )
        assert code == 1
        header, *rows = [line.split() for line in out.splitlines()[:5]]
        columns = "source rows good missing broken malformed outside too long duplicated"
        assert header == columns.split()
        assert rows[0][0] == "bad"
        assert ["good", "3", "3"] in rows
        assert out.splitlines()[-1] == f"{len(kinds) + 1} of {len(kinds) + 4} rows have faults"
        assert "bomb: bad/bomb.png is too large" in out

    def test_prints_json(self, dirty, run, tmp_path):
        folder, kinds = dirty
        held = tmp_path / "q.jsonl"
        words = (
            "data",
            "check",
            folder / "dirty.jsonl",
            "--root",
            folder / "root",
            "--json",
            "--quarantine",
            held,
        )
        code, out, _ = run(*words)
        found = json.loads(out)
        assert code == 1
        assert found["rows"] == len(kinds) + 4
        assert found["faulty"] == len(kinds) + 1 == len(read_quarantine(held))
        assert found["sources"]["bad"]["kinds"]["bomb"] == 1
        assert {"row", "id", "source", "kind", "message"} == set(found["examples"][0])

    def test_answers_0_where_all_is_well(self, dirty, run):
        folder, _ = dirty
        code, out, _ = run("data", "check", folder / "good.jsonl", "--root", folder / "root", "--quick")
        assert (code, out.splitlines()[-1]) == (0, "no faults")

    def test_counts_tokens_with_a_processor(self, run, tmp_path):
        write_image(tmp_path / "a.jpg")
        make_processor(make_config()).save_pretrained(tmp_path / "model")
        rows = [
            {"id": n, "image": "a.jpg", "conversations": turns("<image>" + "read " * n, "row")}
            for n in (1, 50)
        ]
        path = write_rows(tmp_path / "a.jsonl", rows)
        words = ("data", "check", path, "--processor", tmp_path / "model", "--max-tokens", 40, "--json")
        code, out, _ = run(*words)
        (fault,) = json.loads(out)["examples"]
        assert (code, fault["id"], fault["kind"]) == (1, "50", "long")
        assert "tokens, images included, more than 40" in fault["message"]

    @pytest.mark.parametrize(
        "words",
        [("--max-tokens", 9), ("--processor", "x"), ("--processor", "x", "--max-tokens", 9, "--quick")],
    )
    def test_refuses_what_does_not_go_together(self, dirty, run, words):
        code, _, err = run("data", "check", dirty[0] / "good.jsonl", *words)
        assert code == 2
        assert "--processor and --max-tokens must be given together, and not with --quick" in err

    def test_names_a_file_that_does_not_exist(self, run):
        code, _, err = run("data", "check", "nowhere.jsonl")
        assert code == 2
        assert "path nowhere.jsonl does not exist" in err


def test_a_quarantine_of_a_check_is_one_for_training(dirty, tmp_path):
    from gazekit.data import NotQuarantined

    folder, kinds = dirty
    check(folder, quarantine=Quarantine(tmp_path / "q.jsonl"))
    kept = JsonSource(
        path=str(folder / "dirty.jsonl"),
        root=str(folder / "root"),
        filters=[NotQuarantined(file=str(tmp_path / "q.jsonl"))],
    ).open()
    unreadable = sum(kind == "json" for kind in kinds.values()) + 1  # and the row that is no object
    assert len(kept) == 3 + unreadable


def test_another_part_of_the_same_video_is_no_duplicate(tmp_path):
    (tmp_path / "root/clip").mkdir(parents=True)
    for number in range(4):
        write_image(tmp_path / f"root/clip/{number}.png")
    row = {"video": "clip", "conversations": turns("<image>what?")}
    parts = [{"start": 0, "end": 1}, {"start": 2, "end": 3}, {"current_observation_frame": 2}]
    write_rows(tmp_path / "parts.jsonl", [*({**row, **part} for part in parts), {**row, **parts[1]}])
    assert [(one.row, one.kind) for one in check(tmp_path, "parts").examples] == [(3, "duplicate")]


def test_what_no_file_can_be_called_is_missing_and_ends_no_report(tmp_path, capfdbinary):
    (tmp_path / "root").mkdir()
    row = {"id": "\ud800", "source": "\udfff", "conversations": turns()}
    write_rows(tmp_path / "odd.jsonl", [{**row, "image": "\ud800.png"}, {**row, "video": "\ud800"}])
    command = ("data", "check", str(tmp_path / "odd.jsonl"), "--root", str(tmp_path / "root"))
    assert main(command) == 1
    shown = capfdbinary.readouterr().out.decode()
    assert "row 0 (\\ud800): missing: \\ud800.png does not exist in" in shown
    assert "2 of 2 rows have faults" in shown


def test_a_folder_that_may_not_be_read_is_a_fault(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "root/clip").mkdir(parents=True)
    write_rows(tmp_path / "one.jsonl", [{"video": "clip", "conversations": turns("<image>what?")}])
    monkeypatch.setattr("gazekit.data.records.frames.list_pictures", refuse)
    assert check(tmp_path, "one").examples[0].message.startswith("clip cannot be listed in")


def test_a_quarantine_is_no_other_file(tmp_path, capsys):
    (tmp_path / "root").mkdir()
    rows = [{"conversations": []}]
    write_rows(tmp_path / "one.jsonl", rows)
    write_rows(tmp_path / "two.jsonl", rows)
    before = (tmp_path / "one.jsonl").read_text()
    command = ("data", "check", str(tmp_path / "one.jsonl"), "--quarantine")
    for name, message in (
        ("one.jsonl", "--quarantine must be another file than the data"),
        ("two.jsonl", "two.jsonl must hold rows that were found broken"),
    ):
        assert main((*command, str(tmp_path / name))) == 2
        assert message in capsys.readouterr().err
        assert (tmp_path / name).read_text() == before
