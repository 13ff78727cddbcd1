"""The command line, as a person types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import gazekit
from gazekit import Gaze, GridPartition, TopKRouter, apply_gaze
from gazekit.cli.commands import COMMANDS
from gazekit.cli.doctor import examine
from gazekit.cli.output import print_error
from gazekit.kernels import native
from gazekit.recipe import load, parse
from tests.models.retrofit.qwen_small import make_qwen

ROOT = Path(gazekit.__file__).parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A tiny Cambrian that nobody has trained."""
    from gazekit.recipe.assemble import assemble

    folder = tmp_path_factory.mktemp("saved") / "model"
    cambrian = assemble(load("tiny"))
    cambrian.model.save_pretrained(folder)
    cambrian.processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "grey.png"
    Image.new("RGB", (64, 64), "grey").save(path)
    return path


def test_help_names_every_command_and_what_it_is_for(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in COMMANDS:
        assert f"\n    {command} " in out
        code, help_of, _ = run(command, "--help")
        assert code == 0
        assert f"usage: gazekit {command}" in help_of


def test_help_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gazekit", "train", "--help"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert "gaze.route.k=8" in done.stdout
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "lightning", "omegaconf", "rich"})


def test_the_version_is_said(run):
    assert run("--version")[1] == f"gazekit {gazekit.__version__}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["chek", "tiny"],
            "there is no command chek (there are demo, train, generate, chat, evaluate, ",
        ),
        (["chek", "tiny"], "did you mean check?"),
        (["train", "tiny", "--ot", "x"], "train does not take --ot; did you mean --out?"),
        (["doctor", "seed=3"], "doctor does not take seed=3"),
        (["demo", "--resume", "--fresh"], "not allowed with argument"),
        (["inspect"], "the following arguments are required: TARGET"),
        (
            ["generate", "m", "--ask", "x", "--max-new-tokens", "0"],
            "must be a whole number of at least 1, got '0'",
        ),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_words_that_cannot_be_read_end_with_2_and_a_line(run, words, line):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert line in err


def test_check_of_a_sound_recipe(run):
    assert run("check", "tiny") == (0, "tiny: no faults\n", "")


def test_check_lists_all_faults_and_ends_with_1(run, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: tiny\ngaze.rout.k: 3\ngaze.route.k: 0\nsed: 1\ngaze.pool: {_target_: os.system}\n")
    code, out, err = run("check", path, "gaze.route.share=heads")
    assert (code, err) == (1, "")
    for part in ("where", "did you mean", "gaze.rout", "gaze.route.k", "k must be at least 1, got 0", "sed", "seed",
                 "gaze.route.share", "head or group", "gaze.pool._target_", "os.system"):  # fmt: skip
        assert part in out


def test_overrides_may_stand_among_options(run, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "gazekit.recipe.train.train",
        lambda recipe, **options: seen.update(recipe=recipe, **options) or tmp_path,
    )
    code, out, _ = run(
        "train", "tiny", "--out", tmp_path, "gaze.route.k=3", "--device", "cpu", "seed=5", "--fresh"
    )
    assert (code, out) == (0, f"saved the model in {tmp_path}\n")
    assert seen["recipe"] == load("tiny", ["gaze.route.k=3", "seed=5"])
    assert (seen["out"], seen["device"], seen["resume"]) == (tmp_path, "cpu", False)
    run("train", "tiny")
    assert (seen["out"], seen["resume"]) == (Path("runs/tiny"), True)


def test_show_prints_a_recipe_that_loads_again(run):
    code, out, _ = run("show", "tiny", "gaze.route.k=5")
    assert code == 0
    assert parse(out) == load("tiny", ["gaze.route.k=5"])


def test_several_faults_on_the_way_to_another_command_are_a_table_on_stderr(run):
    code, out, err = run("show", "tiny", "gaze.route.k=0", "gaze.rote=1")
    assert (code, out) == (2, "")
    assert err.startswith("error: 2 faults\n")
    assert "gaze.rote" in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["show", "tinny"], "error: there is no recipe named tinny"),
        (["show", "tiny", "sed=1"], "error: sed: is unknown; known here: name, seed,"),
        (["generate", "nowhere", "--ask", "x"], "error: nowhere is no saved model: it has no config.json"),
        (["evaluate", "nowhere"], "error: nowhere is no saved model: it has no config.json"),
        (
            ["demo", "--device", "abacus"],
            "error: device must be auto, cpu, mps, cuda or cuda:<number>, got 'abacus'",
        ),
    ],
)
def test_an_error_is_one_line(run, words, line):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_debug_shows_where_an_error_comes_from(run):
    with pytest.raises(ValueError, match="there is no recipe named tinny"):
        run("--debug", "show", "tinny")


def test_a_missing_package_is_named_with_its_extra(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_error(ModuleNotFoundError("No module named 'sklearn'", name="sklearn.datasets"))
    print_error(ModuleNotFoundError("No module named 'nothing'", name="nothing"))
    assert capsys.readouterr().err == (
        "error: this needs scikit-learn: pip install 'gazekit[demo]'\n"
        "error: this needs nothing: pip install nothing\n"
    )


def test_square_brackets_of_a_user_are_no_markup(capsys):
    print_error("got [red]")
    assert capsys.readouterr().err == "error: got [red]\n"


def test_the_demo_is_called_as_typed(run, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("gazekit.demo.run", lambda **options: seen.update(options))
    assert run("demo", "--out", tmp_path, "--seed", 3, "--quick", "--fresh", "--device", "cpu")[0] == 0
    assert seen == {"out": tmp_path, "seed": 3, "quick": True, "device": "cpu", "resume": False}
    assert run("demo", "--device", "cpu")[0] == 0
    assert seen == {"out": Path("demo"), "seed": 0, "quick": False, "device": "cpu", "resume": True}


def test_the_keyboard_stops_it(run, monkeypatch):
    def stop(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gazekit.demo.run", stop)
    code, _, err = run("demo", "--device", "cpu")
    assert (code, err) == (130, "error: stopped\n")


def test_generate_answers_about_an_image(run, model, picture):
    code, out, _ = run(
        "generate", model, "--image", picture, "--ask", "read row 2", "--max-new-tokens", 4, "--device", "cpu"
    )
    assert code == 0
    assert len(out.split()) <= 4
    assert out.endswith("\n")


def test_generate_refuses_what_is_no_image(run, model, tmp_path):
    code, _, err = run("generate", model, "--image", tmp_path / "no.png", "--ask", "x")
    assert (code, err) == (2, f"error: there is no image {tmp_path / 'no.png'}\n")
    (tmp_path / "text.png").write_text("not an image")
    code, _, err = run("generate", model, "--image", tmp_path / "text.png", "--ask", "x", "--device", "cpu")
    assert code == 2
    assert "cannot be decoded" in err
    assert "Traceback" not in err


def test_a_model_of_transformers_answers_but_is_not_measured_on_digits(run, picture, tmp_path):
    model, processor = make_qwen()
    apply_gaze(model, Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1)))
    for one in (model, processor):
        one.save_pretrained(tmp_path)
    words = ("--image", picture, "--ask", "read row 2", "--max-new-tokens", 3, "--device", "cpu")
    code, out, err = run("generate", tmp_path, *words)
    assert code == 0, err
    assert out.endswith("\n")
    code, out, err = run("evaluate", tmp_path)
    assert (code, out) == (2, "")
    assert "must hold a Cambrian to be measured on digits, got a model of type 'qwen2_5_vl'" in " ".join(
        err.split()
    )


def test_evaluate_compares_ways_to_look(run, model):
    code, out, _ = run("evaluate", model, "--limit", 3, "--systems", "gaze", "dense", "random", "eviction")
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["digits"] == ["accuracy", "visual", "share", "routing", "routing", "random"]
    assert rows["gaze"][1:3] == rows["random"][1:3] == ["8", "0.125"]
    assert rows["dense"][1:] == ["64", "1"]
    assert rows["eviction"][1] == "8"
    assert all(0 <= float(row[0]) <= 1 for name, row in rows.items() if name != "digits")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--systems", "gase"],
            "systems must be of gaze, dense, random, eviction, got gase; did you mean gaze?",
        ),
        (["--benchmarks", "digit"], "got digit; did you mean digits?"),
        (["--budget", "0.5"], "--budget is for the benchmarks of images and videos; leave it out for digits"),
    ],
)
def test_evaluate_names_what_it_knows(run, model, options, line):
    code, _, err = run("evaluate", model, *options)
    assert code == 2
    assert err.startswith("error: ")
    assert err.endswith(f"{line}\n")


def test_evaluate_leaves_the_model_as_it_was(model):
    from gazekit.cli.evaluate import Asked, evaluate_all
    from gazekit.evaluate.harness import Plan

    before, plan = (model / "config.json").read_text(), Plan(limit=2)
    first = evaluate_all(model, Asked(systems=["random", "gaze"], plan=plan))
    assert evaluate_all(model, Asked(plan=plan))["digits"]["gaze"] == first["digits"]["gaze"]
    assert (model / "config.json").read_text() == before


def test_a_dense_checkpoint_is_measured_dense_only(run, model, tmp_path):
    dense = tmp_path / "dense"
    dense.mkdir()
    for file in model.iterdir():
        (dense / file.name).write_bytes(file.read_bytes())
    config = json.loads((dense / "config.json").read_text())
    (dense / "config.json").write_text(json.dumps({**config, "gaze": None}))
    code, _, err = run("evaluate", dense, "--limit", 2, "--device", "cpu")
    assert code == 2
    assert "has no gaze that routes, so it can only be measured with --systems dense" in err


def test_doctor_builds_the_native_kernel(run, native_kernel):
    code, out, _ = run("doctor", "--build")
    assert code == 0
    assert ("(AVX-512)" if native.is_vectorised() else "(portable code)") in out.splitlines()[0]
    assert "decoding: yes, auto takes it" in " ".join(out.split())


def test_doctor_says_what_is_here_and_why_the_rest_is_not(run):
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    for topic in ("versions", "machine", "devices", "backends", "optional packages"):
        assert f"\n{topic}\n" in f"\n{out}"
    found = examine()
    assert found["versions"]["gazekit"] == gazekit.__version__
    assert found["devices"]["cpu"] == "yes"
    assert found["devices"]["auto"] in ("cpu", "cuda", "mps")
    assert found["backends"]["gather"] == (
        "prompt: no, it decodes one query per sample, and there are 3; decoding: yes, auto takes it"
    )
    assert found["backends"]["masked"] == "prompt: yes, auto takes it; decoding: yes"
    assert found["backends"]["reference"] == "prompt: yes; decoding: yes"
    assert found["backends"]["triton"].endswith(
        "decoding: no, it runs on a CUDA GPU, and the keys lie on cpu"
    )
    assert "GiB" in found["machine"]["memory"]
