"""A benchmark put to a model: the same file whoever answers and however often it was cut short."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gazekit.evaluate import AttendedEntries, Plan, Responder, Result, evaluate, looked
from gazekit.evaluate.benchmarks import TASKS
from gazekit.evaluate.journal import Journal
from gazekit.evaluate.results import Record
from gazekit.gaze import watch
from tests.evaluate.asking import ROWS, cambrian, qwen
from tests.models.tiny import picture

ROOT = Path(__file__).parents[2]
SHORT = Plan(batch_size=2, max_new_tokens=3)


def ask(out=None, *, task="mme", model=cambrian, plan=SHORT, **options) -> Result:
    return evaluate(TASKS[task], ROWS[task](), Responder(*model()), plan, model="tiny", out=out, **options)


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


def cut(after: int):
    """Interrupts once so many samples are done."""

    def progress(done: int, total: int) -> None:
        if done >= after:
            raise Interrupted

    return progress


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    ask(out)
    return (out / "mme-gaze.json").read_bytes()


@pytest.mark.parametrize("model", [cambrian, qwen])
@pytest.mark.parametrize("task", ROWS)
def test_answers_are_scored_and_what_was_looked_at_is_counted(task, model):
    result = ask(task=task, model=model)
    assert len(result.records) == len(ROWS[task]())
    share = {"cambrian": 0.5, "qwen": 0.25}[model.__name__]
    assert result.scores["attended_share"] == pytest.approx(share)
    assert result.scores["attended_visual"] == 16 * share
    assert result.scores["attended_context"] == (1 if model is cambrian else 0)
    for record in result.records:
        assert record.attended["queries"] in (1, 2, 3)
        assert record.attended["visual_tokens"] == 16
    assert result.settings["generation"]["max_new_tokens"] == 3
    assert result.settings["backends"]
    json.dumps([record.doc for record in result.records])


def test_the_figures_follow_from_the_answers():
    """Answers that are right are rows whose truth was set to what the model says."""
    said = [record.prediction for record in ask(task="chartqa").records]
    assert len(set(said)) > 1, "the model says the same of everything"
    rows = ROWS["chartqa"]()
    for place in (0, 1, 4):
        rows[place]["answer"] = said[place]
    result = evaluate(TASKS["chartqa"], rows, Responder(*cambrian()), SHORT)
    assert [record.score for record in result.records] == [1, 1, 0, 0, 1, 0, 0]
    assert result.scores["relaxed_overall"] == pytest.approx(3 / 7)
    assert result.scores["relaxed_human_split"] == pytest.approx(2 / 4)


@pytest.mark.parametrize("model", [cambrian, qwen])
def test_a_batch_answers_as_its_samples_do(model):
    one, several = (ask(plan=Plan(batch_size=size, max_new_tokens=3), model=model) for size in (1, 6))
    for alone, beside in zip(one.records, several.records, strict=True):
        assert (alone.prediction, alone.score) == (beside.prediction, beside.score)
        assert alone.attended == beside.attended


def test_attended_entries_are_those_of_the_metric():
    model, processor = cambrian()
    result = ask(task="gqa")
    metric = AttendedEntries()
    for start in range(0, len(result.records), 2):
        some = result.records[start : start + 2]
        texts = [
            processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": one.prompt}]}],
                add_generation_prompt=True,
            )
            for one in some
        ]
        rows = ROWS["gqa"]()[start : start + 2]
        inputs = processor(text=texts, images=[[row["image"]] for row in rows])
        with watch(model) as trace:
            model.generate(**inputs, max_new_tokens=3, do_sample=False)
        found = looked(trace, inputs["input_ids"].shape[1] - 1)
        steps = torch.arange(found.attended.shape[1])
        counts = torch.stack([steps < one.attended["queries"] for one in some])
        metric.update(found.attended.permute(0, 2, 3, 1, 4), torch.full((len(some),), 16), counts)
    computed = metric.compute()
    assert result.scores["attended_share"] == pytest.approx(computed["share"])
    for kind in ("visual", "context", "text"):
        assert result.scores[f"attended_{kind}"] == pytest.approx(computed[kind])


def test_the_blind_see_nothing():
    seeing, blind = ask(), ask(plan=Plan(batch_size=2, max_new_tokens=3, blind=True))
    assert "attended_share" not in blind.scores
    assert {record.attended["visual"] for record in blind.records} == {0.0}
    assert [one.prompt for one in seeing.records] == [one.prompt for one in blind.records]
    assert [one.prediction for one in seeing.records] != [one.prediction for one in blind.records]


def test_what_ends_an_answer_is_cut_off():
    model, processor = cambrian()
    question = json.loads(json.dumps([{"role": "user", "content": [{"type": "text", "text": "read row 2"}]}]))
    from gazekit.evaluate import Question

    responder = Responder(model, processor)
    asked = [Question(messages=question)]
    whole = responder.respond(asked, max_new_tokens=4)[0]
    words = whole.text.split()
    assert len(words) > 1
    short = responder.respond(asked, max_new_tokens=4, until=["nowhere", words[1]])[0]
    assert short.text == whole.text.split(words[1])[0]
    assert short.output_tokens == whole.output_tokens


@pytest.mark.parametrize("after", [2, 4])
def test_an_interrupted_run_ends_in_the_identical_file(after, whole, tmp_path):
    with pytest.raises(Interrupted):
        ask(tmp_path, progress=cut(after))
    assert not (tmp_path / "mme-gaze.json").exists()
    asked = []
    ask(tmp_path, progress=lambda done, total: asked.append(done))
    assert asked == list(range(after + 2, 7, 2)), "what had been answered is not asked again"
    assert (tmp_path / "mme-gaze.json").read_bytes() == whole
    assert [one.name for one in tmp_path.iterdir()] == ["mme-gaze.json"]


def test_a_line_that_was_cut_short_is_asked_again(whole, tmp_path):
    with pytest.raises(Interrupted):
        ask(tmp_path, progress=cut(4))
    (partial,) = tmp_path.glob("*.partial-0.jsonl")
    partial.write_bytes(partial.read_bytes()[:-20])
    asked = []
    ask(tmp_path, progress=lambda done, total: asked.append((done, total)))
    assert asked == [(4, 6), (6, 6)]
    assert (tmp_path / "mme-gaze.json").read_bytes() == whole


def test_processes_that_were_more_or_fewer_before_go_on(whole, tmp_path):
    """What another process had answered counts."""
    ask(tmp_path / "a", progress=None)
    with pytest.raises(Interrupted):
        ask(tmp_path, progress=cut(2))
    (partial,) = tmp_path.glob("*.jsonl")
    partial.rename(partial.with_name(partial.name.replace("partial-0", "partial-5")))
    asked = []
    ask(tmp_path, progress=lambda done, total: asked.append(done))
    assert asked == [4, 6]
    assert (tmp_path / "mme-gaze.json").read_bytes() == whole
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_result_that_is_there_is_taken(whole, tmp_path):
    (tmp_path / "mme-gaze.json").write_bytes(whole)
    again = ask(tmp_path, progress=cut(0))
    assert again == Result.load(tmp_path / "mme-gaze.json")
    with pytest.raises(Interrupted):
        ask(tmp_path, resume=False, progress=cut(0))
    assert not (tmp_path / "mme-gaze.json").exists()


def test_other_settings_are_refused(tmp_path):
    with pytest.raises(Interrupted):
        ask(tmp_path, progress=cut(2))
    other = Plan(batch_size=2, max_new_tokens=4)
    with pytest.raises(
        ValueError, match=r"partial-0\.jsonl is of .* \(max_new_tokens: 3 there, 4 here; .*--fresh"
    ):
        ask(tmp_path, plan=other)
    ask(tmp_path)
    with pytest.raises(ValueError, match=r"mme-gaze\.json is of an evaluation with other settings .*--fresh"):
        ask(tmp_path, plan=other)
    with pytest.raises(ValueError, match=r"\(weights: None there, x here\)"):
        ask(tmp_path, settings={"weights": "x"})


def test_limits_and_empty_benchmarks():
    for limit, count in ((2, 2), (3, 4), (100, 6)):
        assert len(ask(plan=Plan(batch_size=4, max_new_tokens=2, limit=limit)).records) == count, (
            "MME's pairs"
        )
    with pytest.raises(ValueError, match="docs of gqa must not be empty"):
        evaluate(TASKS["gqa"], [], Responder(*cambrian()))


def test_a_journal_keeps_every_field(tmp_path):
    from gazekit.evaluate.journal import Answered

    record = Record(
        id="1", prompt="π\n\u2028", prediction="\x85 x", score=0.3, doc={"n": 1.5, "l": ["a"]}, group="g"
    )
    Journal(tmp_path, "x", 1, {"a": (1, 2)}).add(4, Answered([record], ["B"]))
    again = Journal(tmp_path, "x", 0, {"a": [1, 2]})
    assert again.done == {4: Answered([record], ["B"])}


@pytest.mark.parametrize("model", [cambrian, qwen])
def test_videos_are_shown(model, tmp_path):
    from gazekit.evaluate.benchmarks import Docs

    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        for frame in range(5):
            picture(frame + 10 * (name == "two")).save(folder / f"{frame:03}.png")
    rows = [
        {"video": name, "question": "where is row", **{f"a{n}": f"{n}" for n in range(5)}, "answer": 0}
        for name in ("one", "two")
    ]
    docs = Docs([(rows, None)], videos={name: tmp_path / name for name in ("one", "two")})
    plan = Plan(batch_size=2, max_new_tokens=2, frames=4)
    result = evaluate(TASKS["nextqa_mc_test"], docs, Responder(*model()), plan)
    # Qwen2.5-VL makes one step in time of two frames.
    assert {record.attended["visual_tokens"] for record in result.records} == {
        64 if model is cambrian else 32
    }
    with pytest.raises(FileNotFoundError, match=r"there is no video three\.mp4 below the data set's folder"):
        evaluate(
            TASKS["nextqa_mc_test"],
            Docs([([{**rows[0], "video": "three"}], None)]),
            Responder(*model()),
            plan,
        )


SCRIPT = """
import sys, torch.distributed as dist
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.evaluate.test_harness import ask, cut, Interrupted
out = Path({out!r})
dist.init_process_group("gloo", init_method=f"file://{{out}}.met", rank=int(sys.argv[1]), world_size=2)
result = ask(out, task="mme")
assert len(result.records) == 6
dist.destroy_process_group()
"""


def test_two_processes_write_the_identical_file(whole, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(root=str(ROOT), out=str(tmp_path / "out")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, str(script), str(rank)], env=environment, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for process in started:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()
    assert (tmp_path / "out" / "mme-gaze.json").read_bytes() == whole
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["mme-gaze.json"]


def test_frames_are_spread_evenly(tmp_path):
    from gazekit.evaluate.benchmarks import read_frames

    for frame in range(9):
        picture(frame).save(tmp_path / f"{frame}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    assert [path.stem for path in read_frames(tmp_path, 3)] == ["0", "4", "8"]
    assert len(read_frames(tmp_path, 20)) == 9
    for frame in (9, 10, 11):
        picture(frame).save(tmp_path / f"{frame}.PNG")
    assert [path.stem for path in read_frames(tmp_path, 20)] == [str(frame) for frame in range(12)]
    with pytest.raises(ValueError, match="count must be at least 1 frame, got 0"):
        read_frames(tmp_path, 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no frames"):
        read_frames(tmp_path / "empty", 3)


def test_a_video_file_is_decoded(tmp_path):
    av = pytest.importorskip("av", reason="needs PyAV")
    from gazekit.evaluate.benchmarks import read_frames

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for grey in range(0, 200, 20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, dtype=np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    frames = read_frames(path, 4, fps=10.0)
    assert [frame.size for frame in frames] == [(64, 48)] * 4
    greys = [round(float(np.asarray(frame).mean()) / 20) for frame in frames]
    assert greys == sorted(set(greys)), "spread over the film, in its order"
    assert greys[-1] - greys[0] >= 6
    path.write_bytes(b"no film")
    with pytest.raises(ValueError, match=r"film\.mp4 cannot be decoded"):
        read_frames(path, 4)
