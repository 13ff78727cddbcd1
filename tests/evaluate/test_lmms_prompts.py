"""Prompts and limits of the `lmms` profile are those of lmms-eval's own files and functions."""

import functools
import os
import tempfile
from pathlib import Path

import pytest

from gazekit.evaluate.benchmarks import TASKS
from gazekit.evaluate.harness import Plan, contents, question_of
from tests.evaluate import upstream
from tests.evaluate.prompts import SAMPLES, UPSTREAM
from tests.evaluate.test_benchmarks import SAME, sample

pytestmark = [pytest.mark.lmms_eval, pytest.mark.filterwarnings("ignore")]


@functools.cache
def files() -> dict[str, Path]:
    """lmms-eval's task files by the name of the task."""
    root = Path(upstream.module("tasks").__file__).parent
    found = {}
    for path in root.rglob("*.yaml"):
        for line in path.read_text(encoding="utf-8", errors="ignore").splitlines():
            if line.startswith("task:"):
                found.setdefault(line.partition(":")[2].strip().strip("\"'"), path)
    return found


def config(name: str) -> dict:
    """A task of lmms-eval, its functions loaded."""
    os.environ.setdefault("OPENAI_API_KEY", "none")
    os.environ.setdefault("HF_HOME", tempfile.mkdtemp())
    load = upstream.module("utils").load_yaml_config
    try:
        return upstream.quiet(lambda: load(yaml_path=str(files()[UPSTREAM.get(name, name)])))
    except ModuleNotFoundError as error:
        pytest.skip(f"lmms-eval's {name} needs {error.name}")


def variants(name: str):
    """The sample, and what its fields may be besides."""
    doc = sample(name)
    yield doc
    more = {
        "mmbench_en_dev_static": [{"hint": None}, {"hint": "nan"}, {"hint": float("nan")}, {"B": float("nan")}],
        "mmbench_cn_dev_static": [{"hint": None}, {"hint": "看"}, {"D": "下"}],
        "scienceqa_img": [{"hint": ""}],
        "mmvp": [{"Options": "(a) Yes (b) No, it is not"}],
        "mathvista_rule": [
            {"precision": 2.0}, {"answer_type": "integer"}, {"answer_type": "list", "unit": ""},
            {"question_type": "multi_choice", "answer_type": "text", "choices": ["1", "2", "3"]},
        ],
        "mmmu_val": [
            {"question": "<image 1> what?"}, {"question_type": "open", "question": "What is <image 1>"},
            {"question": "<image 2> and <image 1> and <image 1>", "options": "['<image 1>', 'x']"},
        ],
        "textvqa_val": [{"question": "WHAT is it?"}],
        "realworldqa": [
            {"question": "q? Please answer directly with only the letter of the correct option and nothing else."}
        ],
    }  # fmt: skip
    for change in more.get(name, []):
        yield doc | change


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() | {"mlvu_test", "cv_bench_omni3d"}))
def test_prompts_and_limits(name):
    theirs, task = config("cv_bench_3d" if name == "cv_bench_omni3d" else name), TASKS[name]
    chosen = (theirs.get("lmms_eval_specific_kwargs") or {}).get("default")
    for doc in variants(name):
        arguments = [] if chosen is None else [chosen]
        said = theirs["doc_to_text"](dict(doc), *arguments)
        if name == "mmmu_val":
            _chat(theirs, task, doc, chosen)
        else:
            assert task.forms["lmms"].prompt(doc) == said
        if task.kind == "image" and name != "mmmu_val":
            ours = [one.convert("RGB").tobytes() for one in task.shown(doc)]
            assert ours == [one.tobytes() for one in theirs["doc_to_visual"](dict(doc))]
    generation = theirs.get("generation_kwargs") or {}
    form = task.forms["lmms"]
    assert form.max_new_tokens == generation.get("max_new_tokens", 1024)
    assert list(form.until) == generation.get("until", ["\n\n"])
    assert not generation.get("do_sample", False)
    source = task.source
    assert source.name == theirs["dataset_path"]
    assert source.split == theirs["test_split"]
    assert source.configs[0] == theirs.get("dataset_name")


def _chat(theirs: dict, task, doc: dict, chosen: dict) -> None:
    """MMMU puts its images among its words."""
    said = [
        part.get("text", part["type"])
        for message in theirs["doc_to_messages"](dict(doc), chosen)
        for part in message["content"]
    ]
    _, question = question_of(task, [doc], doc, Plan())
    ours = [part.get("text", part["type"]) for part in question.messages[0]["content"]]
    assert ours == said
    assert len(question.images) == said.count("image") == len(contents("", len(question.images)))


def test_the_samples_are_the_tasks():
    assert SAME.keys() | SAMPLES.keys() == TASKS.keys()
