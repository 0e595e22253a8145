"""Dataset, Fashion-MNIST, folders of pictures, drawn garments."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
from PIL import Image

from pictures import save_folder
from vitrine import storage
from vitrine.datasets import Dataset, Splits, by_name, drawn_garments, fashion_mnist, image_folder
from vitrine.datasets.image_folder import PLAIN_GREY
from vitrine.encoder import Encoder
from vitrine.errors import DataError, DownloadError, StorageError

# --- Dataset


def test_parts_counts_and_checksum(drawn: Splits) -> None:
    part = drawn.train[np.array([3, 13, 4])]
    assert part.labels.tolist() == [3, 3, 4]
    assert part.sources == ("drawn/train/00003", "drawn/train/00013", "drawn/train/00004")
    assert part.counts().tolist() == [0, 0, 0, 2, 1, 0, 0, 0, 0, 0]
    assert len(drawn.train[:7]) == 7
    assert part.checksum() != drawn.train[np.array([13, 3, 4])].checksum()


def test_parts_that_do_not_agree_are_refused(drawn: Splits) -> None:
    part = drawn.test
    for images, labels in (
        (part.images[:3], part.labels),
        (part.images, part.labels + 10),
        (part.images[0], part.labels),
    ):
        with pytest.raises(DataError):
            Dataset(images, labels, part.class_names, part.sources, "x")


# --- Fashion-MNIST


def test_the_official_data(real_splits: Splits) -> None:
    assert real_splits.train.images.shape == (60_000, 28, 28, 1)
    assert real_splits.train.counts().tolist() == [6_000] * 10
    assert real_splits.test.counts().tolist() == [1_000] * 10
    assert real_splits.train.labels[:5].tolist() == [9, 0, 0, 3, 0]
    assert set(real_splits.train.class_names) == {"en", "uk", "ru"}


@pytest.mark.parametrize("inside", ["fashion-mnist", "."])
def test_the_folder_with_the_files_or_the_one_above_it(
    inside: str, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data" / inside
    shutil.copytree(real_data / "fashion-mnist", place, dirs_exist_ok=True)
    assert len(fashion_mnist.load(tmp_path / "data").test) == 10_000
    monkeypatch.setenv("VITRINE_DATA", str(tmp_path / "data"))
    assert len(fashion_mnist.load().test) == 10_000


def test_a_wrong_file_in_a_users_folder_is_named_and_left_alone(real_data: Path, tmp_path: Path) -> None:
    shutil.copytree(real_data / "fashion-mnist", tmp_path / "data")
    wrong = tmp_path / "data" / "t10k-labels-idx1-ubyte.gz"
    wrong.chmod(0o600)
    wrong.write_bytes(wrong.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is wrong or half"):
        fashion_mnist.load(tmp_path / "data")
    assert wrong.stat().st_size == 1000
    assert [check.problem is None for check in fashion_mnist.verify(tmp_path / "data")] == [True, True, True, False]


def test_a_named_folder_must_hold_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No Fashion-MNIST in"):
        fashion_mnist.load(tmp_path)


def served(source: Path | None) -> Any:
    """A stand-in for the network: copies from `source`, or refuses."""

    class Downloader:
        def __init__(self, progressbar: Any, **_: object) -> None:
            self.progressbar = progressbar

        def __call__(self, url: str, output_file: str, pooch: object) -> None:
            if source is None or "s3" in url:
                raise ConnectionError("no network")
            content = (source / url.rsplit("/", 1)[1]).read_bytes()
            Path(output_file).write_bytes(content)
            self.progressbar.total = len(content)
            self.progressbar.update(len(content))
            self.progressbar.close()

    return Downloader


def test_without_network_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch, "HTTPDownloader", served(None))
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        fashion_mnist.load()


def test_download_into_the_cache_and_mending_it(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address fails, the second serves; a half file in the cache is replaced."""
    monkeypatch.setattr(pooch, "HTTPDownloader", served(real_data / "fashion-mnist"))
    told: list[tuple[int, int]] = []
    assert len(fashion_mnist.load(progress=lambda done, total: told.append((done, total))).train) == 60_000
    assert told
    labels = fashion_mnist.cache() / "t10k-labels-idx1-ubyte.gz"
    labels.chmod(0o600)
    labels.write_bytes(b"half")
    assert len(fashion_mnist.load().test) == 10_000


def test_a_wrong_download_is_never_used(real_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for file in fashion_mnist.FILES.values():
        (tmp_path / file.name).write_bytes(b"an error page")
    monkeypatch.setattr(pooch, "HTTPDownloader", served(tmp_path))
    with pytest.raises(DownloadError, match="gave another file"):
        fashion_mnist.load()
    assert not list(fashion_mnist.cache().glob("*.gz"))


# --- Folders of pictures


def test_a_folder_per_class(drawn: Splits, tmp_path: Path) -> None:
    save_folder(drawn.test, tmp_path / "photos")
    told: list[tuple[int, int]] = []
    loaded = image_folder.load(tmp_path / "photos", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (50, 50)
    names = loaded.dataset.class_names["en"]
    assert names == tuple(sorted(name.replace("/", "-") for name in drawn.test.class_names["en"]))
    by_source = {Path(source).stem: i for i, source in enumerate(loaded.dataset.sources)}
    for index in range(50):
        at = by_source[f"{index:04d}"]
        assert (loaded.dataset.images[at] == drawn.test.images[index]).all()
        assert names[loaded.dataset.labels[at]] == drawn.test.class_names["en"][drawn.test.labels[index]].replace(
            "/", "-"
        )


def test_a_second_load_decodes_nothing_and_a_changed_file_is_seen(
    drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_folder(drawn.test[:6], tmp_path / "photos", by_class=False)
    first = image_folder.load(tmp_path / "photos").dataset
    assert not first.labelled
    assert isinstance(first.images, np.memmap)
    told: list[int] = []
    image_folder.load(tmp_path / "photos", progress=lambda done, total: told.append(done))
    assert not told
    Image.new("L", (28, 28), 77).save(tmp_path / "photos" / "0000.png")
    assert (image_folder.load(tmp_path / "photos").dataset.images[0] == 77).all()


def test_a_file_that_could_not_be_read_is_tried_again(drawn: Splits, tmp_path: Path) -> None:
    save_folder(drawn.test[:2], tmp_path / "photos", by_class=False)
    bad = tmp_path / "photos" / "bad.png"
    bad.write_bytes((tmp_path / "photos" / "0000.png").read_bytes())
    time = bad.stat().st_mtime_ns
    whole = bad.read_bytes()
    bad.write_bytes(bytes(len(whole)))
    os.utime(bad, ns=(time, time))
    assert len(image_folder.load(tmp_path / "photos").unreadable) == 1
    told: list[int] = []
    again = image_folder.load(tmp_path / "photos", progress=lambda done, total: told.append(done))
    assert (len(again.dataset), [entry.path for entry in again.unreadable], told) == (2, [bad], [])  # from the cache
    bad.write_bytes(whole)
    os.utime(bad, ns=(time, time))
    assert len(image_folder.load(tmp_path / "photos").dataset) == 3


def test_nested_other_suffixes_hidden_and_unreadable(drawn: Splits, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    save_folder(drawn.test[:3], photos / "dress" / "2024" / "summer", by_class=False)
    for suffix in ("jpg", "webp", "bmp", "gif", "tiff", "JPEG"):
        (photos / "coat").mkdir(exist_ok=True)
        Image.new("L", (40, 40), 200).save(photos / "coat" / f"a.{suffix}")
    (photos / "coat" / "notes.txt").write_text("no picture")
    (photos / ".thumbnails").mkdir()
    Image.new("L", (4, 4)).save(photos / ".thumbnails" / "x.png")
    (photos / "coat" / "text.jpg").write_text("a text file")
    (photos / "coat" / "empty.png").touch()
    loaded = image_folder.load(photos)
    assert loaded.dataset.class_names["en"] == ("coat", "dress")
    assert loaded.dataset.counts().tolist() == [6, 3]
    assert [entry.path.name for entry in loaded.unreadable] == ["empty.png", "text.jpg"]


def test_folders_without_pictures_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        image_folder.load(tmp_path / "missing")
    (tmp_path / "list.csv").write_text("file,label")
    with pytest.raises(DataError, match=r"list\.csv is a file; name a folder"):
        image_folder.load(tmp_path / "list.csv")
    (tmp_path / "list.csv").unlink()
    with pytest.raises(DataError, match="holds no pictures"):
        image_folder.load(tmp_path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match="None of the 1 pictures"):
        image_folder.load(tmp_path)


def test_a_cache_that_cannot_be_written(drawn: Splits, tmp_path: Path, home: Path) -> None:
    save_folder(drawn.test[:2], tmp_path / "photos", by_class=False)
    home.mkdir()
    (home / "cache").write_text("a file in the way")
    with pytest.raises(StorageError):
        image_folder.load(tmp_path / "photos")


def test_a_full_disk_leaves_no_half_cache(drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folder(drawn.test[:2], tmp_path / "photos", by_class=False)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_folder, "_write_images", full)
    with pytest.raises(StorageError, match="the disk is full"):
        image_folder.load(tmp_path / "photos")
    assert list((storage.cache_folder() / "folders").iterdir()) == []


@pytest.mark.slow
def test_by_name(tmp_path: Path) -> None:
    assert len(by_name.load("drawn").splits.test) == 1_000
    wide = by_name.load("drawn", spec=replace(PLAIN_GREY, height=32, width=32)).splits
    assert wide.train.images.shape == (3_000, 32, 32, 1)
    assert wide.whole().sources == wide.train.sources + wide.test.sources
    with pytest.raises(DataError, match="There is no data set 'no-such'"):
        by_name.load("no-such")
    Image.new("L", (28, 28), 9).save(tmp_path / "one.png")
    loaded = by_name.load(str(tmp_path))
    assert (len(loaded.splits.train), len(loaded.splits.test)) == (1, 0)


def test_a_folder_or_a_csv_in_the_folder_of_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets, here = tmp_path / "sets", tmp_path / "here"
    for folder, n in ((sets, 3), (here, 1)):
        (folder / "shop" / "hat").mkdir(parents=True)
        for i in range(n):
            Image.new("L", (28, 28), 9 * i).save(folder / "shop" / "hat" / f"{i}.png")
    (sets / "labels.csv").write_text("file,label\nshop/hat/0.png,hat\nshop/hat/1.png,hat\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITRINE_DATA", str(sets))
    for name, n in (("shop", 3), ("labels.csv", 2)):
        found = by_name.load(name).splits.train
        assert (found.name, len(found)) == (name, n)
    monkeypatch.chdir(here)
    assert len(by_name.load("shop").splits.train) == 1  # what lies here comes first
    for name in ("", "nothing", str(here / "nothing"), "../sets/none", "x" * 300, "../../" + str(sets)[1:]):
        with pytest.raises(DataError, match="There is no data set"):
            by_name.load(name)
    monkeypatch.setenv("VITRINE_DATA", "~nobody-of-this-name/sets")
    assert len(by_name.load("shop").splits.train) == 1
    with pytest.raises(StorageError, match="VITRINE_DATA is ~nobody-of-this-name/sets, the home of nobody"):
        by_name.load("labels.csv")


# --- Drawn garments


def test_drawings_depend_on_class_and_seed_only() -> None:
    assert (drawn_garments.draw(3, 5) == drawn_garments.draw(3, 5)).all()
    assert (drawn_garments.draw(3, 5) != drawn_garments.draw(3, 6)).any()
    assert (drawn_garments.draw(3, 5) != drawn_garments.draw(4, 5)).any()
    assert drawn_garments.draw(9, 1, size=200).shape == (200, 200, 1)


def test_drawings_are_frozen() -> None:
    """What a model makes of them means something only while they are not changed to please it."""
    # a coarse fingerprint, so that another processor's rounding does not matter
    images = np.stack([drawn_garments.draw(label, seed) for label in range(10) for seed in range(3)])
    coarse = np.round(images.reshape(30, 7, 4, 7, 4).mean(axis=(2, 4)) / 32).astype(np.uint8)
    assert hashlib.sha256(coarse.tobytes()).hexdigest()[:16] == "2e9f2ba09bb109cf"


def test_training_and_test_drawings_differ(drawn: Splits) -> None:
    seen = {image.tobytes() for image in drawn.train.images}
    assert len(seen) == len(drawn.train)
    assert not any(image.tobytes() in seen for image in drawn.test.images)


def test_the_shipped_model_knows_what_the_drawings_show(encoder: Encoder) -> None:
    """It never saw one; measured on the 1,000 of the test part: see docs/results.md."""
    part = drawn_garments.load(train=10, test=1_000).test
    right = (encoder.run(part.images).logits.argmax(axis=1) == part.labels).mean()
    assert right > 0.55
