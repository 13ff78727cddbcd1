"""A benchmark's rows, from the hub or from a folder, and never by running code that comes with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gazekit.evaluate.benchmarks.task import Rows, Source, Task

_MEDIA = (".mp4", ".mkv", ".webm", ".avi", ".mov")


class Docs:
    """Rows of a benchmark, read and decoded when they are asked for.

    Args:
        rows: Tables or lists of rows, one behind the other; a form's name beside each where rows are to say it.
        images: Rows of images by their names, where they lie apart.
        key: Column that names a row's image there.
        videos: Files by name, of benchmarks of videos.
    """

    def __init__(
        self,
        rows: Sequence[tuple[Rows, str | None]],
        *,
        images: Mapping[Any, tuple[Any, int]] | None = None,
        key: str = "",
        videos: Mapping[str, Path] | None = None,
    ) -> None:
        self.rows = list(rows)
        self.images = images
        self.key = key
        self.videos = videos

    def __len__(self) -> int:
        return sum(len(table) for table, _ in self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside a benchmark of {len(self)} samples")
        doc = self._row(index)
        if self.images is not None:
            name = doc[self.key]
            if name not in self.images:
                raise ValueError(f"there is no image {name!r} in the table of images; download it again")
            pictures, row = self.images[name]
            doc["image"] = pictures[row]["image"]
        return doc

    def _row(self, index: int) -> dict[str, Any]:
        """A row of whichever table it lies in, with its form."""
        for table, form in self.rows:
            if index < len(table):
                return {**table[index], **({} if form is None else {"form": form})}
            index -= len(table)
        raise AssertionError("the index was checked")


def load(task: Task, data: Path | None = None) -> Docs:
    """The docs of a benchmark.

    Args:
        task: The benchmark.
        data: A folder that holds it: as `NAME.parquet`, or in a folder `NAME` (the task's, or the data set's on the
            hub), be it files of parquet or a copy of the data set; or that folder or file itself. None = from the
            hub.

    Raises:
        FileNotFoundError: It is not there; the message says what to download and where to put it.
        ModuleNotFoundError: `datasets` is missing.
        ValueError: The rows lack a column.
    """
    source = task.source
    if data is None and task.kind == "video":
        raise _missing(task, "its videos are files that the hub's table only names")
    if data is None:
        tables = [_from_hub(task, config) for config in source.configs]
        place = None
    else:
        place = _place(task, data)
        tables = _from_folder(task, place)
    tables = [_only(task, table) for table in tables]
    forms = [_form(config) if source.form and len(tables) > 1 else None for config in source.configs]
    rows = list(zip(tables, forms, strict=False))
    if source.form and len(tables) == 1 and "form" not in tables[0].column_names:
        raise _missing(task, f"{place} has no column 'form' that tells its kinds of question apart")
    images = None
    if source.join is not None and "image" not in tables[0].column_names:
        images = _images(task, place)
    videos = None
    if place is not None and task.kind == "video":
        root = place if place.is_dir() else place.parent
        videos = _videos(root)
    return Docs(rows, images=images, key=source.join.key if source.join else "", videos=videos)


def video_at(docs: Docs, name: str) -> Path:
    """The file of a video, or the folder of its frames.

    Raises:
        FileNotFoundError: It is not in the data set's folder.
    """
    videos = docs.videos or {}
    stem = Path(name).stem
    for known in (name, Path(name).name, stem):
        if known in videos:
            return videos[known]
    raise FileNotFoundError(
        f"there is no video {name} below the data set's folder; unpack the data set's archives there"
    )


def _from_hub(task: Task, config: str | None) -> Any:
    import datasets

    try:
        return _decoded(datasets.load_dataset(task.source.name, config, split=task.source.split))
    except (OSError, ValueError, RuntimeError) as error:
        raise _missing(task, f"the hub did not give it ({_first_line(error)})") from error


def _from_folder(task: Task, place: Path) -> list[Any]:
    import datasets

    source = task.source
    described = place.is_dir() and (place / "README.md").is_file()
    try:
        if described:
            return [
                _decoded(datasets.load_dataset(str(place), config, split=source.split))
                for config in source.configs
            ]
        files = [place] if place.is_file() else sorted(place.rglob("*.parquet"))
        if source.join is not None and len(files) > 1:
            files = [file for file in files if source.join.config not in str(file)]
        # Files of several splits are named by them, as on the hub.
        files = [file for file in files if file.name.startswith(source.split)] or files
        return [
            _decoded(
                datasets.load_dataset("parquet", data_files=[str(file) for file in files], split="train")
            )
        ]
    except (OSError, ValueError, RuntimeError) as error:
        raise _missing(task, f"{place} does not hold it ({_first_line(error)})") from error


def _decoded(table: Any) -> Any:
    """Columns of encoded images as images, whoever wrote the file."""
    import datasets

    for name, feature in table.features.items():
        if isinstance(feature, dict) and set(feature) == {"bytes", "path"}:
            table = table.cast_column(name, datasets.Image())
    return table


def _only(task: Task, table: Any) -> Any:
    if task.source.only is None:
        return table
    column, value = task.source.only
    if column not in table.column_names:
        raise ValueError(f"{task.name} needs the column {column!r}, got {sorted(table.column_names)}")
    return table.select([row for row, said in enumerate(table[column]) if said == value])


def _images(task: Task, place: Path | None) -> dict[Any, tuple[Any, int]]:
    import datasets

    join = task.source.join
    assert join is not None, "asked for tasks that join alone"
    if place is None:
        table = _from_hub(task, join.config)
    elif (place / "README.md").is_file():
        table = _decoded(datasets.load_dataset(str(place), join.config, split=task.source.split))
    else:
        files = [str(file) for file in sorted(place.rglob("*.parquet")) if join.config in str(file)]
        if not files:
            raise _missing(task, f"{place} has neither a column 'image' nor files of {join.config}")
        table = _decoded(datasets.load_dataset("parquet", data_files=files, split="train"))
    return {name: (table, row) for row, name in enumerate(table[join.on])}


def _place(task: Task, data: Path) -> Path:
    """The folder or file that holds a benchmark."""
    owner, _, name = task.source.name.partition("/")
    candidates = [
        data / f"{task.name}.parquet",
        data / task.name,
        data / name,
        data / owner / name,
        data / f"{name}.parquet",
    ]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    if data.is_file() or data.name in (task.name, name) or (data / "README.md").is_file():
        return data
    raise _missing(task, f"{data} has neither {task.name}.parquet nor a folder {task.name} or {name}")


def _videos(root: Path) -> dict[str, Path]:
    """Video files, and folders that hold pictures, by path below the root, by name and by name without suffix."""
    found: dict[str, Path] = {}
    for one in sorted(root.rglob("*")):
        if one.suffix.lower() in _MEDIA or one.is_dir():
            for name in (one.relative_to(root).as_posix(), one.name, one.stem):
                found.setdefault(name, one)
    return found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _form(config: str | None) -> str | None:
    return None if config is None else config.replace("-", "_")


def _missing(task: Task, why: str) -> FileNotFoundError:
    """What to download, and where to put it."""
    source: Source = task.source
    folder = source.name.partition("/")[2]
    return FileNotFoundError(
        f"{task.name} needs the data set {source.name}: {why}; download it (hf download {source.name} --repo-type "
        f"dataset --local-dir DATA/{folder}) and pass --data DATA"
    )
