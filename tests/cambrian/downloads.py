"""What the downloads of docs/cambrian-from-downloads.md would leave, scaled down: rows, pictures, films, questions."""

import json
from pathlib import Path

from tests.data.films import make_film
from tests.evaluate.prompts import SAMPLES
from tests.models.tiny import picture

SAMPLE_OF = {"cv_bench_omni3d": "cv_bench_ade", "tempcompass_rule": "tempcompass_yes_no_rule"}


def training_sets(data: Path) -> None:
    """The three data sets, with what a selection must leave out: no picture, sbu558k, a short clip, a denied source."""
    alignment, images, videos = (data / f"Cambrian-{name}" for name in ("Alignment", "10M", "S-3M"))
    rows = [f"llava_pretrain/{number}.jpg" for number in range(4)] + [
        "sbu558k/9.jpg",
        "llava_pretrain/gone.jpg",
    ]
    _write(alignment / "jsons/alignment_2.5m.jsonl", [_row(n, image=name) for n, name in enumerate(rows)])
    names = [f"coco/train2017/00000000000{number}.jpg" for number in (9, 1, 2, 3)]
    _write(
        images / "jsons/Cambrian7M_withsystemprompt.jsonl",
        [_row(n, image=name) for n, name in enumerate(names)],
    )
    for number, path in enumerate(
        [*(alignment / name for name in rows[:5]), *(images / name for name in names)]
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)
    films = {"long": 130, "other": 125, "third": 121, "short": 2, "tgif/denied": 121}
    (videos / "tgif").mkdir(parents=True)
    for name, seconds in films.items():
        make_film(
            videos / f"{name}.mp4", [float(second) for second in range(0, seconds, 60)] + [float(seconds)]
        )
    _write(videos / "cambrian_s_3m.jsonl", [_row(n, video=f"{name}.mp4") for n, name in enumerate(films)])


def ones_own(folder: Path) -> None:
    """A picture and a clip to ask about."""
    picture(7).save(folder / "photo.jpg")
    make_film(folder / "clip.mp4", [0.0, 1.0, 2.0])


def benchmarks(folder: Path) -> None:
    """A question of each benchmark of the paper."""
    import datasets

    from gazekit.evaluate.benchmarks import GROUPS, TASKS

    film = folder / "film.mp4"
    folder.mkdir(parents=True)
    make_film(film, [0.0, 1.0, 2.0])
    for name in (*GROUPS["image"], *GROUPS["video"]):
        doc = dict(SAMPLES[SAMPLE_OF.get(name, name)][0])
        if TASKS[name].kind == "image":
            shown = {"mmmu_val": ["image_1", "image_2"], "mathvista_rule": ["decoded_image"]}.get(
                name, ["image"]
            )
            doc |= {one: picture(number) for number, one in enumerate(shown)}
        _complete(doc, name)
        place = folder / name
        place.mkdir()
        datasets.Dataset.from_list([doc]).to_parquet(str(place / "rows.parquet"))
        if TASKS[name].kind == "video":
            for stem in ("v", "1"):
                (place / f"{stem}.mp4").write_bytes(film.read_bytes())


def _complete(doc: dict, name: str) -> None:
    """Columns that group samples, which prompts do without."""
    doc |= {"task_type": "count", "duration": "short"}
    if name == "tempcompass_rule":
        doc["form"] = "yes_no"
    elif name == "cv_bench_omni3d":
        doc["source"] = "Omni3D"


def _row(number: int, **shown: str) -> dict:
    (kind,) = shown
    said = [
        {"from": "human", "value": f"<{kind}>\nread row {number}"},
        {"from": "gpt", "value": f"{number} is the column"},
    ]
    return {"id": f"{number}", **shown, "conversations": said}


def _write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
