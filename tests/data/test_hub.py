"""Data sets of Hugging Face, through their own library."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from gazekit.data import ConversationData, DenySources, HubSource, Limits, read_record
from gazekit.data.records import RecordOpener, RowFault
from tests.data.dirty import turns
from tests.models.tiny import make_config, make_processor

datasets = pytest.importorskip("datasets", reason="needs the extra datasets")


def jpeg(seed):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def parquet(tmp_path):
    rows = [
        {
            "id": str(n),
            "source": "ab"[n % 2],
            "image": {"bytes": jpeg(n), "path": None},
            "conversations": turns(),
        }
        for n in range(6)
    ]
    rows[4]["image"]["bytes"] = jpeg(4)[:40]
    path = tmp_path / "rows.parquet"
    made = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    made.to_parquet(path)
    return str(path)


@pytest.fixture
def shards(tmp_path):
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for n in range(3):
                key = f"{shard}{n}"
                inner = json.dumps({"id": key, "conversations": turns()}).encode()
                for name, content in ((f"{key}.png", jpeg(n)), (f"{key}.json", inner)):
                    head = tarfile.TarInfo(name)
                    head.size = len(content)
                    tar.addfile(head, io.BytesIO(content))
    return [str(tmp_path / f"{shard}.tar") for shard in range(2)]


def test_parquet_is_read_by_row_and_its_images_only_when_they_are_shown(parquet):
    source = HubSource(dataset="parquet", files=parquet, name="set").open()
    assert len(source) == 6
    record = read_record(source.rows[3])
    assert (record.name, record.source) == ("3", "b")
    picture = RecordOpener(limits=Limits())(record, None).images[0]
    assert picture.tobytes() == Image.open(io.BytesIO(jpeg(3))).tobytes()
    with pytest.raises(RowFault, match="an image in the row is no image"):
        RecordOpener(limits=Limits())(read_record(source.rows[4]), None)


def test_filters_and_training_take_it_as_any_other(parquet):
    source = HubSource(dataset="parquet", files=parquet, filters=[DenySources(names=["a"])])
    assert len(source.open()) == 3
    cambrian = make_processor(make_config())
    loader = ConversationData(cambrian, sources=[source], num_steps=2, batch_size=2).train_dataloader()
    assert [batch["pixel_values"].shape[0] for batch in loader] == [2, 2]


def test_webdataset_shards_are_rows_of_their_json_and_image(shards):
    source = HubSource(dataset="webdataset", files=shards).open()
    assert sorted(read_record(source.rows[n]).name for n in range(6)) == ["00", "01", "02", "10", "11", "12"]
    record = read_record(source.rows[1])
    picture = RecordOpener(limits=Limits())(record, None).images[0]
    assert picture.tobytes() == Image.open(io.BytesIO(jpeg(1))).tobytes()


def test_columns_can_be_renamed_and_must_exist(parquet):
    with pytest.raises(ValueError, match=r"columns must be the data set's, got \['picture'\]"):
        HubSource(dataset="parquet", files=parquet, columns={"picture": "image"}).open()
    row = HubSource(dataset="parquet", files=parquet, columns={"source": "origin"}).open().rows[0]
    assert row["origin"] == "a"


def test_paths_in_rows_open_nothing_without_a_root(tmp_path):
    path = tmp_path / "rows.parquet"
    datasets.Dataset.from_list([{"image": "/etc/passwd", "conversations": turns()}]).to_parquet(path)
    source = HubSource(dataset="parquet", files=str(path)).open()
    with pytest.raises(RowFault, match="the data has no root"):
        RecordOpener(limits=Limits())(read_record(source.rows[0]), source.root)


def test_lists_of_images_are_not_decoded_either_nor_are_those_inside_messages(tmp_path):
    part = {"type": datasets.Value("string"), "text": datasets.Value("string"), "image": datasets.Image()}
    features = datasets.Features(
        {
            "images": datasets.List(datasets.Image()),
            "messages": datasets.List(
                {"role": datasets.Value("string"), "content": datasets.List(part)},
            ),
        }
    )
    asked = [{"type": "image", "image": {"bytes": jpeg(0)}}, {"type": "text", "text": "what?"}]
    said = [{"type": "text", "text": "a lamp"}]
    talk = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    (tmp_path / "outside.png").write_bytes(jpeg(1))
    outside = {"path": str(tmp_path / "outside.png")}
    plain = [{"role": "user", "content": asked[1:]}, talk[1]]
    rows = [{"images": [], "messages": talk}, {"images": [outside], "messages": plain}]
    rows.append({"images": [{"bytes": jpeg(2)}, {"bytes": jpeg(3)}], "messages": plain})
    file = tmp_path / "rows.parquet"
    # as datasets of the hub are published: the paths are not embedded
    datasets.Dataset.from_list(rows, features=features).with_format("arrow").to_parquet(file)
    (tmp_path / "root").mkdir()
    source = HubSource(dataset="parquet", files=str(file), root=str(tmp_path / "root")).open()
    opener = RecordOpener(limits=Limits())
    assert [len(opener(read_record(source.rows[n]), source.root).images) for n in (0, 2)] == [1, 2]
    assert len(source.rows) == 3
    with pytest.raises(RowFault, match=r"outside.png' must be a path relative to the root"):
        opener(read_record(source.rows[1]), source.root)
