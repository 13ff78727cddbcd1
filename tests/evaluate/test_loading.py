"""Rows from files: parquet, copies of data sets, images apart, videos beside; and what is said where they are not."""

import io

import pytest

from gazekit.evaluate import Plan, Responder, evaluate
from gazekit.evaluate.benchmarks import TASKS, load
from gazekit.evaluate.benchmarks.loading import video_at
from tests.evaluate.asking import ROWS, cambrian, gqa_rows
from tests.models.tiny import picture

datasets = pytest.importorskip("datasets", reason="needs datasets")
pytestmark = pytest.mark.filterwarnings("ignore")


def write(path, rows, *, encoded: bool = False) -> None:
    """Rows as parquet; images as the hub's files have them, or as bytes that no one has described."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if encoded:
        rows = [{**row, **{n: as_bytes(v) for n, v in row.items() if n == "image"}} for row in rows]
    datasets.Dataset.from_list(rows).to_parquet(str(path))


def as_bytes(image) -> dict:
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setattr(datasets.config, name, True, raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("place", ["chartqa.parquet", "chartqa/part-0.parquet", "ChartQA/data/x.parquet"])
@pytest.mark.parametrize("encoded", [False, True])
def test_files_of_parquet(place, encoded, tmp_path):
    write(tmp_path / "data" / place, ROWS["chartqa"](), encoded=encoded)
    docs = load(TASKS["chartqa"], tmp_path / "data")
    assert len(docs) == 7
    for doc, row in zip(docs, ROWS["chartqa"](), strict=True):
        assert doc["question"] == row["question"]
        assert doc["image"].tobytes() == row["image"].tobytes()
    assert len(load(TASKS["chartqa"], next((tmp_path / "data").rglob("*.parquet")))) == 7
    with pytest.raises(IndexError, match="index 7 is outside a benchmark of 7 samples"):
        docs[7]


def test_what_comes_from_a_file_is_answered_as_what_does_not(tmp_path):
    plan = Plan(batch_size=3, max_new_tokens=2)
    for name, rows in ROWS.items():
        write(tmp_path / f"{name}.parquet", rows())
        docs = load(TASKS[name], tmp_path)
        filed = evaluate(TASKS[name], docs, Responder(*cambrian()), plan)
        assert filed == evaluate(TASKS[name], rows(), Responder(*cambrian()), plan)


def test_a_copy_of_a_data_set_with_its_configurations(tmp_path):
    folder = tmp_path / "CV-Bench"
    rows = [
        {
            "idx": n, "type": "2D", "task": "Count", "source": ("ADE20K", "COCO")[n % 2], "prompt": f"p {n}",
            "choices": ["1", "2"], "answer": "(A)", "image": picture(n),
        }
        for n in range(5)
    ]  # fmt: skip
    write(folder / "test_2d.parquet", rows)
    write(folder / "test_3d.parquet", [{**row, "source": "Omni3D", "prompt": "d"} for row in rows[:2]])
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: 2D\n  data_files:\n  - split: test\n    path: test_2d.parquet\n"
        "- config_name: 3D\n  data_files:\n  - split: test\n    path: test_3d.parquet\n---\n"
    )
    assert [doc["prompt"] for doc in load(TASKS["cv_bench_ade"], tmp_path)] == ["p 0", "p 2", "p 4"]
    assert [doc["prompt"] for doc in load(TASKS["cv_bench_omni3d"], folder)] == ["d", "d"]


def test_the_split_is_taken_where_files_are_named_by_it(tmp_path):
    for split, count in (("train", 2), ("test", 3)):
        write(tmp_path / "ChartQA" / "data" / f"{split}-00000-of-00001.parquet", ROWS["chartqa"](count))
    assert len(load(TASKS["chartqa"], tmp_path / "ChartQA")) == 3


def test_another_benchmarks_file_is_not_taken(tmp_path):
    write(tmp_path / "gqa.parquet", gqa_rows())
    with pytest.raises(FileNotFoundError, match="mme needs the data set"):
        load(TASKS["mme"], tmp_path)
    docs = load(TASKS["mme"], tmp_path / "gqa.parquet")
    with pytest.raises(
        ValueError, match=r"docs of mmvp must have the column 'Question', got answer, .* lmms-lab-eval/MMVP\?"
    ):
        evaluate(TASKS["mmvp"], docs, Responder(*cambrian()))


def test_code_beside_a_data_set_is_not_run(tmp_path):
    folder = tmp_path / "MME"
    folder.mkdir()
    (folder / "MME.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    with pytest.raises(FileNotFoundError, match="mme needs the data set lmms-lab-encoder/MME"):
        load(TASKS["mme"], tmp_path)
    assert not (tmp_path / "ran").exists()


def test_images_that_lie_apart(tmp_path):
    rows = gqa_rows()
    bare = [{name: value for name, value in row.items() if name != "image"} for row in rows]
    images = {row["imageId"]: row["image"] for row in rows}
    write(tmp_path / "GQA" / "testdev_balanced_instructions" / "a.parquet", bare)
    with pytest.raises(
        FileNotFoundError, match="neither a column 'image' nor files of testdev_balanced_images"
    ):
        load(TASKS["gqa"], tmp_path)
    pictures = [{"id": name, "image": image} for name, image in images.items()]
    write(tmp_path / "GQA" / "testdev_balanced_images" / "a.parquet", pictures)
    docs = load(TASKS["gqa"], tmp_path)
    assert [doc["image"].tobytes() for doc in docs] == [row["image"].tobytes() for row in rows]
    write(tmp_path / "GQA" / "testdev_balanced_images" / "a.parquet", pictures[1:])
    with pytest.raises(ValueError, match="there is no image 'n0' in the table of images"):
        load(TASKS["gqa"], tmp_path)[0]


def test_videos_beside_their_questions(tmp_path):
    rows = [
        {"video_name": "1_plot/a.mp4", "question": "q", "candidates": ["x"], "answer": "A", "task_type": "t"}
    ]
    write(tmp_path / "MLVU_dev" / "test.parquet", rows)
    (tmp_path / "MLVU_dev" / "video" / "1_plot").mkdir(parents=True)
    docs = load(TASKS["mlvu_dev"], tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"no video 1_plot/a\.mp4 below the data set's folder; unpack"
    ):
        video_at(docs, docs[0]["video_name"])
    file = tmp_path / "MLVU_dev" / "video" / "1_plot" / "a.mp4"
    file.write_bytes(b"film")
    docs = load(TASKS["mlvu_dev"], tmp_path)
    assert video_at(docs, docs[0]["video_name"]) == file


def test_kinds_of_question_are_told_apart(tmp_path):
    rows = [{"video_id": "v", "question": "q", "answer": "yes", "dim": "speed"}]
    write(tmp_path / "TempCompass" / "a.parquet", rows)
    with pytest.raises(FileNotFoundError, match="has no column 'form'"):
        load(TASKS["tempcompass_rule"], tmp_path)
    write(tmp_path / "TempCompass" / "a.parquet", [{**rows[0], "form": "yes_no"}])
    doc = load(TASKS["tempcompass_rule"], tmp_path)[0]
    assert TASKS["tempcompass_rule"].forms["lmms"].prompt(doc) == "q\nPlease answer yes or no:"


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"gqa needs the data set lmms-lab-encoder/GQA: .* has neither gqa\.parquet nor a folder gqa or GQA; "
        r"download it \(hf download lmms-lab-encoder/GQA --repo-type dataset --local-dir DATA/GQA\) and pass --data",
    ):
        load(TASKS["gqa"], tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"mme needs the data set lmms-lab-encoder/MME: the hub did not give"
    ):
        load(TASKS["mme"])
    write(tmp_path / "cv_bench_ade.parquet", [{"prompt": "x"}])
    with pytest.raises(ValueError, match="cv_bench_ade needs the column 'source', got"):
        load(TASKS["cv_bench_ade"], tmp_path)
