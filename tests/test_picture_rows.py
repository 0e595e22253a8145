"""Parquet files of pictures, into a catalogue and again and again: by the engine of one machine."""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pictures import Cli, one_sentence, save_folder
from vitrine import images
from vitrine.catalogue import Item
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.errors import DataError
from vitrine.indexing import here, picture_rows, reading
from vitrine.indexing.folder import FolderSync, How
from vitrine.indexing.from_parquet import ParquetSync
from vitrine.indexing.reading import Reader

COUNT = 30


@pytest.fixture
def rows(drawn: Splits) -> dict[str, list[Any]]:
    """Thirty pictures: their bytes, names, labels and prices."""
    return {
        "image": [images.png(image) for image in drawn.test.images[:COUNT]],
        "file": [f"{number:02d}.png" for number in range(COUNT)],
        "label": [drawn.test.class_names["en"][label].replace("/", "-") for label in drawn.test.labels[:COUNT]],
        "price": [number if number % 3 else None for number in range(COUNT)],
    }


@pytest.fixture
def catalogue(encoder: Encoder) -> LocalCatalogue:
    return LocalCatalogue.create("mine", encoder)


@pytest.fixture(autouse=True)
def _old(monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of files that were just written are believed."""
    monkeypatch.setattr(reading, "GRAIN", -1.0)
    monkeypatch.setattr(picture_rows, "GRAIN", -1.0)


def write(path: Path, columns: dict[str, Any], group: int = 7, **more: Any) -> Path:
    pq.write_table(pa.table(columns, **more), path, row_group_size=group)
    return path


def sync(catalogue: LocalCatalogue, path: Path, how: How = How()) -> tuple[int, int, int, int]:  # noqa: B008
    report = ParquetSync(Encoder.load("default"), path, how).run(catalogue)
    return report.added, report.replaced, report.removed, report.unchanged


def listen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are decoded from now on."""
    seen: list[str] = []
    see = Reader.see

    def heard(self: Reader, written: bytes, file: str) -> object:
        seen.append(file.rpartition("#")[2])
        return see(self, written, file)

    monkeypatch.setattr(Reader, "see", heard)
    return seen


# --- bytes


@pytest.mark.parametrize("group", [1, 7, 100])
def test_bytes_in_a_parquet_file_are_as_the_same_files_in_a_folder(
    group: int, rows: dict[str, list[Any]], catalogue: LocalCatalogue, encoder: Encoder, tmp_path: Path
) -> None:
    shop = write(tmp_path / "shop.parquet", rows, group)
    assert sync(catalogue, shop) == (COUNT, 0, 0, 0)
    place = tmp_path / "shop"
    for name, label, written in zip(rows["file"], rows["label"], rows["image"], strict=True):
        (place / label).mkdir(parents=True, exist_ok=True)
        (place / label / name).write_bytes(written)
    with LocalCatalogue.create("folder", encoder) as other:
        FolderSync(encoder, place).run(other)
        files = {Path(item.source).name: other.item(item.id) for item in other.known()}
    for item in catalogue.known():
        same = files[item.source.removeprefix(f"{shop}#")]
        here = catalogue.item(item.id)
        assert (here.label, here.content, here.thumbnail) == (same.label, same.content, same.thumbnail)
        assert np.abs(here.vector - same.vector).max() < 1e-6
    assert catalogue.columns() == {"price": COUNT * 2 // 3}


def test_only_what_changed_is_read(
    rows: dict[str, list[Any]], catalogue: LocalCatalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = write(tmp_path / "shop.parquet", rows)
    sync(catalogue, shop)
    seen = listen(monkeypatch)
    loaded = picture_rows.loaded
    monkeypatch.setattr(picture_rows, "loaded", lambda _: pytest.fail("it is as it was"))
    assert sync(catalogue, shop) == (0, 0, 0, COUNT)
    monkeypatch.setattr(picture_rows, "loaded", loaded)
    buffer = io.BytesIO()
    Image.new("L", (28, 28), 99).save(buffer, "PNG")
    rows["image"][3] = buffer.getvalue()
    rows["label"][4] = "Something"
    for cells in rows.values():
        del cells[8]
    assert sync(catalogue, write(shop, rows)) == (0, 1, 1, COUNT - 2)
    assert seen == ["03.png"]
    assert "Something" in {item.label for item in catalogue.known()}
    assert sync(catalogue, shop) == (0, 0, 0, COUNT - 1)
    assert sync(catalogue, shop, How(reread=True)) == (0, 0, 0, COUNT - 1)


def test_rows_without_names_or_pictures(rows: dict[str, list[Any]], catalogue: LocalCatalogue, tmp_path: Path) -> None:
    pictures = [*rows["image"][:5], None, b"text", b""]
    shop = write(tmp_path / "shop.parquet", {"bytes": pa.array(pictures, pa.large_binary())}, 3)
    report = ParquetSync(Encoder.load("default"), shop).run(catalogue)
    assert report.added == 5
    assert [item.source for item in catalogue.known()] == [f"{shop}#{row}" for row in range(1, 6)]
    reasons = {entry.path.name: entry.reason for entry in report.unreadable}
    assert list(reasons) == ["shop.parquet#6", "shop.parquet#7", "shop.parquet#8"]
    assert "has no picture" in reasons["shop.parquet#6"]
    assert "is not a picture" in reasons["shop.parquet#7"]
    assert "is empty" in reasons["shop.parquet#8"]


def test_as_hugging_face_writes_it(rows: dict[str, list[Any]], catalogue: LocalCatalogue, tmp_path: Path) -> None:
    pictures = pa.array([{"bytes": one, "path": None} for one in rows["image"]])
    features = {"label": {"_type": "ClassLabel", "names": ["Top", "Bag"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    labels = pa.array([number % 3 for number in range(COUNT)])
    shop = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(pa.table({"image": pictures, "label": labels}, metadata=metadata), shop)
    assert sync(catalogue, shop) == (COUNT, 0, 0, 0)
    assert [item.label for item in catalogue.known()].count("Top") == 10
    assert {item.label for item in catalogue.known()} == {"Top", "Bag", "2"}


def test_large_pictures_come_in_small_batches(
    rows: dict[str, list[Any]], catalogue: LocalCatalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "_BYTES", 1000)
    sizes: list[int] = []
    add = LocalCatalogue.add

    def heard(self: LocalCatalogue, items: Sequence[Item]) -> list[int]:
        sizes.append(len(items))
        return add(self, items)

    monkeypatch.setattr(LocalCatalogue, "add", heard)
    assert sync(catalogue, write(tmp_path / "shop.parquet", rows))[0] == COUNT
    assert sum(sizes) == COUNT
    assert max(sizes) < 10


def test_what_is_neither_text_nor_number_is_passed_over(
    rows: dict[str, list[Any]], catalogue: LocalCatalogue, tmp_path: Path
) -> None:
    other = {"vector": [[0.5, 1.0]] * COUNT, "sold": [True] * COUNT, "name": ["a"] * COUNT}
    sync(catalogue, write(tmp_path / "shop.parquet", rows | other))
    assert catalogue.columns() == {"name": COUNT, "price": 20}


# --- files


def test_files_that_a_parquet_file_names(
    drawn: Splits, catalogue: LocalCatalogue, encoder: Encoder, tmp_path: Path
) -> None:
    save_folder(drawn.test[:10], tmp_path / "shop", by_class=False)
    files = [f"shop/{number:04d}.png" for number in range(9)]
    shop = write(tmp_path / "list.parquet", {"Path": [*files, "shop/none.png"], "label": ["a"] * 10})
    report = ParquetSync(encoder, shop).run(catalogue)
    assert (report.added, len(report.unreadable)) == (9, 1)
    assert [item.source for item in catalogue.known()] == [str(tmp_path / file) for file in files]
    assert FolderSync(encoder, tmp_path / "shop").run(catalogue).unchanged == 9  # they are the same items
    assert sync(catalogue, write(shop, {"path": files[:5]})) == (0, 0, 0, 5)  # nothing is taken out
    assert len(catalogue) == 10


# --- the commands


def test_the_commands(rows: dict[str, list[Any]], cli: Cli, tmp_path: Path) -> None:
    shop = write(tmp_path / "my shop.parquet", rows)
    code, out, _ = cli("index", "sync", shop, "--json")
    assert (code, json.loads(out)["catalogue"], json.loads(out)["added"]) == (0, "my-shop", COUNT)
    code, out, _ = cli("index", "add", shop, "--catalogue", "other", "--json")
    assert (code, json.loads(out)["added"]) == (0, COUNT)
    for cells in rows.values():
        del cells[5:]
    write(shop, rows)
    assert json.loads(cli("index", "add", shop, "--catalogue", "other", "--json")[1])["items"] == COUNT
    said = json.loads(cli("index", "sync", shop, "--json")[1])
    assert (said["removed"], said["items"]) == (COUNT - 5, 5)


def bad(rows: dict[str, list[Any]], path: Path) -> list[tuple[Path, str]]:
    """Files that cannot be used, and a word of why."""
    path.mkdir()
    (path / "text.parquet").write_text("text")
    exported = pa.table({"source": ["a.png"]}, metadata={"vitrine": "{}"})
    pq.write_table(exported, path / "exported.parquet")
    return [
        (path / "none.parquet", "There is no file"),
        (path / "text.parquet", "cannot be read as Parquet"),
        (path / "exported.parquet", "vitrine index import"),
        (write(path / "1.parquet", {"price": [1]}), "has no pictures: .* its columns are price"),
        (write(path / "2.parquet", {"image": [b"a"], "thumb": [b"b"], "picture": [b"c"]}), "several columns of bytes"),
        (write(path / "3.parquet", {"image": [b"a"] * 2, "file": ["a", "a"]}), "row 2: .* is in row 1 already"),
        (write(path / "4.parquet", {"image": [b"a"], "file": pa.array([None], pa.string())}), "row 1: the column file"),
        (write(path / "5.parquet", {"image": [b"a"], "label": ["a"], "Label": ["b"]}), "two columns called label"),
        (write(path / "6.parquet", {"file": [1]}), "has no pictures"),
        (write(path / "7.parquet", {"image": pa.array([], pa.binary())}), "has no rows"),
    ]


def test_what_cannot_be_used(rows: dict[str, list[Any]], cli: Cli, tmp_path: Path) -> None:
    for path, why in bad(rows, tmp_path / "bad"):
        for command in ("sync", "add"):
            code, out, error = cli("index", command, path, "--catalogue", "new")
            assert (code, out) == (2, "")
            assert one_sentence(error)
            assert re.search(why, error), error
    assert cli("index", "info", "new")[0] == 2  # no catalogue came of it
    shop = write(tmp_path / "shop.parquet", rows)
    code, _, error = cli("index", "sync", shop, "--columns", tmp_path / "a.csv")
    assert (code, one_sentence(error)) == (2, True)
    assert "are in the file itself" in error


def test_a_file_that_lost_all_its_rows(rows: dict[str, list[Any]], catalogue: LocalCatalogue, tmp_path: Path) -> None:
    shop = write(tmp_path / "shop.parquet", rows)
    sync(catalogue, shop)
    write(shop, {"image": pa.array([], pa.binary())})
    with pytest.raises(DataError, match=r"has no rows; .*--allow-empty"):
        sync(catalogue, shop)
    assert sync(catalogue, shop, How(allow_empty=True)) == (0, 0, COUNT, 0)
