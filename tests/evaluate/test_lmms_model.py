"""A model of ours through lmms-eval: its own tasks ask what we ask, and score what we score."""

import json
import logging
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gazekit.evaluate import Plan, Responder, evaluate
from gazekit.evaluate.benchmarks import TASKS
from gazekit.evaluate.lmms import TASKS as OUR_TASKS
from gazekit.evaluate.lmms import manifests
from tests.evaluate import upstream
from tests.evaluate.asking import ROWS, cambrian, qwen
from tests.evaluate.prompts import LETTER, WORD

pytestmark = [pytest.mark.lmms_eval, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
TOKENS = 3
GOLDEN = {
    "mme": f"Is there row 0 read the column?\n{WORD}",
    "chartqa": "where is the row 0\nAnswer the question with a single word.",
    "gqa": f"where is row 0\n{WORD}",
    "mmbench_en_dev_static": f"where is 0 There are several options:\nA. row 1\nB. column 2\n\n{LETTER}",
}
FIGURES = {
    "mme": "mme_perception_score",
    "chartqa": "relaxed_overall",
    "gqa": "exact_match",
    "mmbench_en_dev_static": "gpt_eval_score",
}


def answered(name: str) -> list[dict]:
    """Rows of which every other is right: the truth is what the model says."""
    rows = ROWS[name]()
    task = TASKS[name]
    said = evaluate(task, rows, Responder(*cambrian()), Plan(max_new_tokens=TOKENS, batch_size=2)).records
    for row, record in list(zip(rows, said, strict=True))[::2]:
        if name == "mme":
            row["answer"] = "Yes" if "yes" in record.prediction.lower()[:4] else "No"
        elif name == "mmbench_en_dev_static":
            row["answer"] = record.prediction[:1] if record.prediction[:1] in "AB" else "A"
        else:
            row["answer"] = record.prediction
    return rows


def write_tasks(folder: Path) -> list[str]:
    """lmms-eval's own task files on our parquet; only the length of an answer is another, to be quick."""
    import datasets

    root = Path(upstream.module("tasks").__file__).parent
    files = {
        "mme": "mme/mme.yaml", "chartqa": "chartqa/chartqa.yaml", "gqa": "gqa/gqa.yaml",
        "mmbench_en_dev_static": "mmbench/mmbench_en_dev_static.yaml",
    }  # fmt: skip
    for name, file in files.items():
        datasets.Dataset.from_list(answered(name)).to_parquet(str(folder / f"{name}.parquet"))
        split = TASKS[name].source.split
        until = '["ASSISTANT:"]' if name.startswith("mmbench") else '["\\n\\n"]'
        (folder / f"{name}.yaml").write_text(
            f"include: {root / file}\ntask: small_{name}\ndataset_path: parquet\ndataset_name: null\n"
            f"process_docs: null\ndataset_kwargs:\n  data_files:\n    {split}: {folder / name}.parquet\n"
            f"generation_kwargs:\n  max_new_tokens: {TOKENS}\n  until: {until}\n"
        )
    return [f"small_{name}" for name in files]


def run(model, folder: Path, tasks: list[str]) -> dict:
    """`simple_evaluate` on the tasks of a folder alone."""
    simple_evaluate = upstream.module("evaluator").simple_evaluate
    manager = upstream.module("tasks").TaskManager(include_path=str(folder), include_defaults=False)
    return upstream.quiet(
        lambda: simple_evaluate(
            model=model, tasks=tasks, task_manager=manager, log_samples=True, bootstrap_iters=0
        )
    )


@pytest.fixture(scope="module", autouse=True)
def _quiet(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            patch.setenv(name, "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.setenv("OPENAI_API_KEY", "none")
        patch.chdir(tmp_path_factory.mktemp("cwd"))  # MMBench leaves a file of submissions where it is run.
        logging.disable(logging.WARNING)
        yield
        logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def names(folder):
    return write_tasks(folder)


def figure(found: dict, name: str) -> float:
    scores = found["results"][f"small_{name}"]
    return next(value for key, value in scores.items() if key.split(",")[0] == FIGURES[name])


@pytest.fixture(scope="module")
def through(folder, names, tmp_path_factory):
    """What lmms-eval makes of our model, and the file beside."""
    from gazekit.evaluate.lmms.models import ChatModel

    model, processor = cambrian()
    sidecar = tmp_path_factory.mktemp("beside") / "attended.jsonl"
    chat = ChatModel(model=model, processor=processor, batch_size=2, attended=str(sidecar))
    asked, respond = [], chat.responder.respond

    def listening(questions, **options):
        asked.extend(one.messages[0]["content"] for one in questions)
        return respond(questions, **options)

    chat.responder.respond = listening
    return run(chat, folder, names), sidecar, asked


@pytest.mark.parametrize("name", GOLDEN)
def test_lmms_eval_asks_what_we_ask_and_scores_what_we_score(name, through, folder, names):
    from gazekit.evaluate.benchmarks import load

    found, sidecar, asked = through
    ours = evaluate(
        TASKS[name],
        load(TASKS[name], folder),
        Responder(*cambrian()),
        Plan(max_new_tokens=TOKENS, batch_size=2),
    )
    samples = sorted(found["samples"][f"small_{name}"], key=lambda one: one["doc_id"])
    lines = [json.loads(line) for line in sidecar.read_text().splitlines()]
    texts = {
        line["doc_id"]: content
        for line, content in zip(lines, asked, strict=True)
        if line["task"] == f"small_{name}"
    }
    assert texts[0] == [{"type": "image"}, {"type": "text", "text": GOLDEN[name]}]
    assert [texts[one["doc_id"]][1]["text"] for one in samples] == [record.prompt for record in ours.records]
    said = [one["filtered_resps"][0].strip() for one in samples]
    assert said == [record.prediction.strip() for record in ours.records]
    assert figure(found, name) == pytest.approx(ours.scores[FIGURES[name]])
    if name != "mmbench_en_dev_static":
        assert figure(found, name) > 0


def test_attended_entries_lie_beside(through):
    found, sidecar, _ = through
    lines = [json.loads(line) for line in sidecar.read_text().splitlines()]
    assert {(one["task"], one["doc_id"]) for one in lines} == {
        (task, sample["doc_id"]) for task, samples in found["samples"].items() for sample in samples
    }
    assert {one["visual"] / one["visual_tokens"] for one in lines} == {0.5}
    assert all(1 <= one["queries"] <= TOKENS for one in lines)


def test_tokens_are_counted(through):
    found, _, _ = through
    counts = [sample["token_counts"] for sample in found["samples"]["small_gqa"]]
    assert all(count[0]["input_tokens"] > 17 and 1 <= count[0]["output_tokens"] <= TOKENS for count in counts)


@pytest.mark.parametrize("make", [cambrian, qwen])
def test_plain_prompts_are_answered_as_messages_are(make, folder, names, tmp_path):
    from gazekit.evaluate.lmms.models import ChatModel, PlainModel

    model, processor = make()
    found = [
        run(kind(model=model, processor=processor, batch_size=3, attended=""), folder, ["small_gqa"])
        for kind in (ChatModel, PlainModel)
    ]
    said = [[one["filtered_resps"] for one in each["samples"]["small_gqa"]] for each in found]
    assert said[0] == said[1]


def test_a_saved_model_looks_as_it_is_told(tmp_path):
    from gazekit.evaluate.lmms.models import ChatModel
    from gazekit.route import RandomRouter

    model, processor = cambrian()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    for system, route in (("dense", type(None)), ("random", RandomRouter)):
        chat = ChatModel.create_from_arg_string(
            f"pretrained={tmp_path},system={system}", {"batch_size": 1, "device": "cpu"}
        )
        assert [type(gaze.route) for gaze in chat.responder.model.gazes] == [route]
    with pytest.raises(ValueError, match="system must be one of gaze, dense, random, got 'dens'"):
        ChatModel(pretrained=str(tmp_path), system="dens")
    with pytest.raises(ValueError, match="pretrained must name the folder of a saved model"):
        ChatModel()
    for refused in (chat.loglikelihood, chat.generate_until_multi_round):
        with pytest.raises(ValueError, match="not what gazekit answers"):
            refused([])


def test_the_entry_point_names_classes_that_lmms_eval_takes():
    written = (ROOT / "pyproject.toml").read_text()
    assert '[project.entry-points."lmms_eval.models"]\ngazekit = "gazekit.evaluate.lmms:manifests"' in written
    point = EntryPoint("gazekit", "gazekit.evaluate.lmms:manifests", "lmms_eval.models")
    assert point.load() is manifests
    registry = upstream.module("models.registry_v2").ModelRegistryV2()
    for manifest in manifests():
        registry.register_manifest(manifest)
    assert not registry.get_model_class("gazekit").is_simple
    assert registry.get_model_class("gazekit", force_simple=True).is_simple


def test_our_own_tasks_run(tmp_path, monkeypatch):
    """The files that are shipped, on small data: rows are chosen by source, answers scored as ours are."""
    import datasets

    from gazekit.evaluate.lmms.models import ChatModel
    from tests.evaluate.test_benchmarks import sample

    rows = {
        "cv_bench_ade": [
            sample("cv_bench_ade") | {"source": source} for source in ("ADE20K", "COCO", "ADE20K")
        ],
        "mmbench_cn_dev_static": [sample("mmbench_cn_dev_static") | {"C": "nan", "D": "nan"}],
        "mathvista_rule": [sample("mathvista_rule")],
    }
    for name, some in rows.items():
        datasets.Dataset.from_list(some).to_parquet(str(tmp_path / f"{name}.parquet"))
        split = TASKS[name].source.split
        (tmp_path / f"{name}.yaml").write_text(
            f"include: {OUR_TASKS / name}.yaml\ntask: small_{name}\ndataset_path: parquet\ndataset_name: null\n"
            f"dataset_kwargs:\n  data_files:\n    {split}: {tmp_path / name}.parquet\n"
            f"generation_kwargs:\n  max_new_tokens: {TOKENS}\n"
        )
    model, processor = cambrian()
    chat = ChatModel(model=model, processor=processor, attended="")
    found = run(chat, tmp_path, [f"small_{name}" for name in rows])
    assert {name: len(samples) for name, samples in found["samples"].items()} == {
        "small_cv_bench_ade": 2, "small_mmbench_cn_dev_static": 1, "small_mathvista_rule": 1,
    }  # fmt: skip
    for name in rows:
        ours = evaluate(TASKS[name], [one for one in rows[name] if one.get("source") != "COCO"],
                        Responder(model, processor), Plan(max_new_tokens=TOKENS))  # fmt: skip
        theirs = {key.split(",")[0]: value for key, value in found["results"][f"small_{name}"].items()}
        for key in theirs.keys() & ours.scores.keys():
            assert theirs[key] == pytest.approx(ours.scores[key]), key
        assert len(theirs.keys() & ours.scores.keys()) == 2


def test_every_file_of_ours_is_a_task():
    manager = upstream.module("tasks").TaskManager(include_path=str(OUR_TASKS), include_defaults=False)
    assert set(manager.all_tasks) == {path.stem for path in OUR_TASKS.glob("*.yaml")}
    assert len(manager.all_tasks) == 7
    load = upstream.module("utils").load_yaml_config
    for path in OUR_TASKS.glob("*.yaml"):
        assert callable(load(yaml_path=str(path))["doc_to_text"])


SCRIPT = """
import json, logging, sys
sys.path.insert(0, {root!r})
logging.disable(logging.WARNING)
from pathlib import Path
from gazekit.evaluate.lmms.models import ChatModel
from tests.evaluate.asking import cambrian
from tests.evaluate.test_lmms_model import run
model, processor = cambrian()
chat = ChatModel(model=model, processor=processor, batch_size=2, attended={out!r} + "/attended.jsonl")
found = run(chat, Path({folder!r}), {names!r})
if found is not None:
    Path({out!r}, "results.json").write_text(json.dumps(found["results"], default=str))
"""


def test_two_ranks_score_as_one(through, folder, names, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(SCRIPT.format(root=str(ROOT), folder=str(folder), names=names, out=str(tmp_path)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
    ]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    found = {"results": json.loads((tmp_path / "results.json").read_text())}
    for name in GOLDEN:
        assert figure(found, name) == figure(through[0], name)
    lines = [
        json.loads(line)
        for path in tmp_path.glob("attended*.jsonl")
        for line in path.read_text().splitlines()
    ]
    counted = [(one["task"], one["doc_id"]) for one in lines]
    assert (
        len(counted) == len(set(counted)) == sum(len(samples) for samples in through[0]["samples"].values())
    )
