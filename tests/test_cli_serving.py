"""`gazekit generate` and `gazekit chat`: the same answers on every way, and faults that stay where they are."""

import io
import json
import shutil

import pytest
import torch

from gazekit.cli.answers import Answers
from gazekit.cli.showing import watch
from gazekit.data import Limits
from gazekit.data.records import RecordOpener
from gazekit.data.video import PyAVReader
from gazekit.models import Answerer, Question, Sampling, Talk
from tests.data.films import make_film
from tests.models.tiny import gaze_section, make_model, make_processor, picture

FEW = ("--max-new-tokens", 4, "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A Cambrian that answers in words, images, a film, and prompts about them, some of them unusable."""
    folder = tmp_path_factory.mktemp("serving")
    model = make_model(gaze=gaze_section(num_context=1), text={"tie_word_embeddings": False})
    with torch.no_grad():
        model.lm_head.weight.mul_(8)
    model.generation_config.eos_token_id = None
    model.generation_config.suppress_tokens = [*range(7), *range(30, 48)]
    for one in (model, make_processor(model.config)):
        one.save_pretrained(folder / "model")
    (folder / "pictures").mkdir()
    for number in range(3):
        picture(number, 24, 32).save(folder / f"pictures/{number}.png")
    (folder / "pictures/notes.txt").write_text("no image")
    (folder / "broken.png").write_text("no image")
    make_film(folder / "film.mp4", [n / 30 for n in range(90)])
    rows = [
        {"id": "a", "ask": "read row 2", "image": "pictures/0.png"},
        {"id": "b", "ask": "row <image> is <image>", "images": ["pictures/1.png", "pictures/2.png"]},
        {"id": "c", "ask": "where", "video": "film.mp4", "end": 2},
        {"id": "d", "ask": "read", "image": "broken.png"},
        {"id": "e", "ask": "read row 3"},
        {"id": "f", "ask": "read", "image": "../secret.png"},
        {"id": "g"},
        {"id": "a", "ask": "again"},
        {"ask": "where is row 1"},
    ]
    lines = [json.dumps(row) for row in rows]
    (folder / "prompts.jsonl").write_text("\n".join([*lines[:4], "{cut", *lines[4:]]) + "\n")
    return folder


@pytest.fixture(scope="module")
def answerer(place):
    return Answerer.load(place / "model", device="cpu")


def alone(answerer, text, images=(), videos=(), times=(), sampling=None):
    shown = [*({"type": "image"} for _ in images), *({"type": "video"} for _ in videos)]
    content = [*shown, {"type": "text", "text": text}]
    one = Question(
        messages=[{"role": "user", "content": content}], images=images, videos=videos, timestamps=times
    )
    return answerer.answer([one], sampling or Sampling(max_new_tokens=4))[0]


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_single_question_is_answered_word_by_word_or_at_once(run, place, answerer):
    paths = [place / f"pictures/{n}.png" for n in (2, 0)]
    words = ("generate", place / "model", "--image", paths[0], "--image", paths[1], "--ask", "row 2", *FEW)
    expected = alone(answerer, "row 2", paths)
    assert len(expected.split()) == 4
    assert run(*words)[:2] == run(*words, "--no-stream")[:2] == (0, f"{expected}\n")
    _, drawn, _ = run(*words, "--temperature", 2.0, "--top-p", 0.9, "--seed", 3)
    drawing = Sampling(max_new_tokens=4, temperature=2.0, top_p=0.9, seed=3)
    assert drawn == f"{alone(answerer, 'row 2', paths, sampling=drawing)}\n" != f"{expected}\n"


def test_a_video_is_shown_with_its_times(run, place, answerer, monkeypatch):
    words = ("generate", place / "model", "--video", place / "film.mp4", "--ask", "where", *FEW, "--fps", 2)
    frames = watch(place / "film.mp4", RecordOpener(limits=Limits(fps=2), video=PyAVReader()))
    assert len(frames.images) == 6
    expected = alone(answerer, "where", videos=[list(frames.images)], times=[frames.timestamps])
    assert run(*words)[:2] == (0, f"{expected}\n")
    asked = []
    monkeypatch.setattr(Answerer, "stream", lambda self, question, *rest: asked.append(question))
    run(*words, "--max-frames", 2)
    assert len(asked[0].videos[0]) == 2
    assert list(asked[0].timestamps[0]) == pytest.approx([0.75, 2.25], abs=1 / 30)


def test_prompts_are_answered_or_their_faults_said_one_by_one(run, place, answerer, tmp_path):
    out = tmp_path / "deep/answers.jsonl"
    words = ("generate", place / "model", "--prompts", place / "prompts.jsonl", *FEW)
    code, said, err = run(*words, "--batch-size", 4, "--out", out)
    assert (code, said) == (1, "")
    assert "5 answered, 5 failed" in err
    rows = lines(out.read_text())
    assert [row["id"] for row in rows] == ["a", "b", "c", "d", "4", "e", "f", "g", "a", "9"]
    answers = {row["id"]: row["answer"] for row in rows if "answer" in row}
    assert answers["a"] == alone(answerer, "read row 2", [place / "pictures/0.png"])
    assert answers["e"] == alone(answerer, "read row 3")
    errors = [row["error"] for row in rows if "error" in row]
    for error, part in zip(
        errors,
        ("broken.png is no image", "JSON", "leads out", "ask must be the question", "is there twice"),
        strict=True,
    ):
        assert part in error
    assert lines(run(*words, "--batch-size", 1)[1]) == rows


def test_what_is_answered_is_skipped_and_what_is_cut_is_asked_again(run, place, tmp_path):
    out = tmp_path / "answers.jsonl"
    words = ("generate", place / "model", "--folder", place / "pictures", "--ask", "read", *FEW, "--out", out)
    code, _, err = run(*words)
    assert code == 0
    assert "3 answered" in err
    whole = out.read_text()
    assert [row["id"] for row in lines(whole)] == ["0.png", "1.png", "2.png"]
    first, second, _ = whole.splitlines(keepends=True)
    failed = json.dumps({"id": "1.png", "ask": "read", "error": "no memory"}) + "\n"
    out.write_text(first + failed + second[:20])
    assert "2 answered, 1 skipped" in run(*words)[2]
    assert out.read_text() == whole
    assert "3 skipped" in run(*words)[2]
    assert out.read_text() == whole
    other = [*words[:5], "read row 2", *words[6:]]
    code, _, err = run(*other)
    assert code == 2
    assert "answers another question under the id 0.png: 'read'; name another file" in err
    assert "3 answered" in run(*other, "--fresh")[2]


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text('{"note": 1}\nhello\n')
    with pytest.raises(
        ValueError, match=r"must hold answers of gazekit generate, got '\{\"note\": 1\}' in line 1"
    ):
        Answers(path)
    assert path.read_text() == '{"note": 1}\nhello\n'


def test_answers_are_never_written_over_their_prompts(run, place, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "a", "ask": "read"}\n')
    link = tmp_path / "link.jsonl"
    link.symlink_to(prompts)
    for out, line in (
        (prompts, "--out must be another file than --prompts"),
        (link, "--out must be another file than --prompts"),
        (tmp_path, "--out must be a file, "),
    ):
        for more in ((), ("--fresh",)):
            words = ("generate", place / "model", "--prompts", prompts, "--out", out, *more, *FEW)
            code, _, err = run(*words)
            assert code == 2
            assert line in err
    assert prompts.read_text() == '{"id": "a", "ask": "read"}\n'


def test_an_id_that_is_no_unicode_is_written_too(tmp_path, capsys):
    row = {"id": "\udcff.png", "ask": "é", "answer": "x"}
    for path in (tmp_path / "answers.jsonl", None):
        Answers(path).write(row)
    assert lines(capsys.readouterr().out) == lines((tmp_path / "answers.jsonl").read_text()) == [row]
    assert Answers(tmp_path / "answers.jsonl").has("\udcff.png", "é")


def test_weights_that_are_cut_are_one_line(run, place, tmp_path):
    shutil.copytree(place / "model", tmp_path / "model")
    weights = tmp_path / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, out, err = run("generate", tmp_path / "model", "--ask", "read", *FEW)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "model are cut or garbled" in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "--ask must be given, or --prompts"),
        (("--ask", "x", "--prompts", "p"), "--ask must be given, or --prompts"),
        (("--prompts", "p", "--image", "i"), "--image and --video must be left out"),
        (("--ask", "x", "--out", "o"), "--out must be left out for a single question"),
        (("--ask", "x", "--root", "r"), "--root must be left out without --prompts"),
        (("--ask", "x", "--folder", "nowhere"), "there is no folder nowhere"),
        (("--ask", "x", "--video", "no.mp4"), "there is no video no.mp4"),
        (("--prompts", "no.jsonl"), "there is no file no.jsonl"),
        (("--ask", "x", "--top-p", 3), "top_p must be above 0 and at most 1, got 3"),
        (("--ask", "x", "--fps", 0), "fps must be above 0"),
    ],
)
def test_what_does_not_go_together_is_one_line(run, place, words, line):
    code, out, err = run("generate", place / "model", *words, "--device", "cpu")
    assert (code, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


class TestChat:
    def said(self, run, monkeypatch, place, *typed, options=()):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(typed) + "\n"))
        return run("chat", place / "model", *FEW, *options)

    def test_a_pipe_gets_answers_alone(self, run, monkeypatch, place, answerer):
        film, images = place / "film.mp4", [place / f"pictures/{n}.png" for n in range(2)]
        code, out, _ = self.said(
            run, monkeypatch, place, f"/image {images[0]}", "read row 2", "", f"/image '{images[1]}'",
            f"/video {film}", "row 3", "/system read", "read row 2", "/quit", "never",
        )  # fmt: skip
        assert code == 0
        talk = Talk(answerer, sampling=Sampling(max_new_tokens=4))
        expected = [talk.ask("read row 2", images=images[:1])]
        frames = watch(film, RecordOpener(limits=Limits(), video=PyAVReader()))
        expected.append(
            talk.ask("row 3", images=images[1:], videos=[list(frames.images)], timestamps=[frames.timestamps])
        )
        expected.append(Talk(answerer, system="read", sampling=Sampling(max_new_tokens=4)).ask("read row 2"))
        assert out.splitlines() == expected

    def test_lines_that_fail_are_said_and_the_rest_goes_on(self, run, monkeypatch, place, answerer):
        code, out, err = self.said(
            run, monkeypatch, place, "/imag x", "/image", "/image no.png", f"/image {place / 'broken.png'}",
            f"/video {place / 'broken.png'}", "read row 3", "/reset", "/help",
        )  # fmt: skip
        assert code == 1
        for part in ("there is no /imag", "did you mean /image?", "/image must name a file",
                     "there is no image no.png", "broken.png cannot be decoded"):  # fmt: skip
            assert part in err
        assert err.count("error: ") == 5
        assert out.splitlines()[0] == alone(answerer, "read row 3")
        assert "/video FILE: shows a video" in out

    def test_a_tilde_of_nobody_is_a_letter(self, run, monkeypatch, place, answerer):
        code, out, err = self.said(run, monkeypatch, place, "/system ~read", "row 2", "/image ~no-one/x.png")
        assert code == 1
        assert err.count("error: ") == 1
        assert "there is no image ~no-one/x.png" in err
        talk = Talk(answerer, system="~read", sampling=Sampling(max_new_tokens=4))
        assert out.splitlines() == [talk.ask("row 2")]

    def test_a_terminal_is_decorated(self, run, monkeypatch, place, answerer, capsys):
        from gazekit.cli.chat import Session

        session = Session(Talk(answerer, sampling=Sampling(max_new_tokens=4)), None, decorated=True)
        assert session.take(f"/image {place / 'pictures/0.png'}")
        assert "0.png: 32 x 24 pixels, with the next question" in capsys.readouterr().out

        def stop(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(session.talk, "ask", stop)
        assert session.take("read")
        assert "stopped; the question and what it showed are forgotten" in capsys.readouterr().out
        assert not session.take("/quit")
