import errno
import hashlib
import os
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from pictures import save_folder
from vitrine import images, storage
from vitrine.catalogue import filters
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Splits
from vitrine.encoder import Encoder, Outputs
from vitrine.errors import DataError, InputError
from vitrine.indexing import Report, data_set, folder, here, reading
from vitrine.indexing.folder import FolderSync, How
from vitrine.indexing.reading import Reader
from vitrine.spec import ImageSpec

PHOTO = ImageSpec(96, 96, 3, "any", (0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def catalogue(encoder: Encoder) -> LocalCatalogue:
    return LocalCatalogue.create("mine", encoder)


@pytest.fixture
def photos(drawn: Splits, tmp_path: Path) -> Path:
    """Twenty pictures, two of each class."""
    save_folder(drawn.test[:20], tmp_path / "photos")
    return tmp_path / "photos"


def sync(catalogue: LocalCatalogue, photos: Path, how: How = folder.DEFAULT) -> Report:
    return FolderSync(Encoder.load("default"), photos, how).run(catalogue)


def counts(report: Report) -> tuple[int, int, int, int]:
    return report.added, report.replaced, report.removed, report.unchanged


def listen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    read: list[str] = []
    decode = reading.decode

    def heard(file: str, known: str | None, reader: Reader) -> object:
        read.append(Path(file).name)
        return decode(file, known, reader)

    monkeypatch.setattr(reading, "decode", heard)
    return read


# --- adding


def test_a_data_set_is_added_once(drawn: Splits, encoder: Encoder, catalogue: LocalCatalogue) -> None:
    told: list[int] = []
    report = data_set.add_dataset(catalogue, encoder, drawn.test, lambda done, total: told.append(done))
    assert (report.added, report.unchanged, told[-1]) == (50, 0, 50)
    again = data_set.add_dataset(catalogue, encoder, drawn.test)
    assert (again.added, again.unchanged) == (0, 50)
    ids, vectors, sources = catalogue.vectors()
    assert tuple(sources) == drawn.test.sources
    assert np.abs(vectors - encoder.run(drawn.test.images).embeddings).max() < 1e-5
    assert catalogue.item(int(ids[3])).label == "Dress"


def test_a_data_set_stays_small_for_a_model_that_wants_it_large(
    drawn: Splits, encoder: Encoder, catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """70,000 items are not enlarged all at once, nor kept so."""
    seen: list[tuple[int, ...]] = []
    wide = Encoder(replace(encoder.card, image=PHOTO), encoder.content, encoder._session)

    def run(self: Encoder, batch: images.Pixels) -> Outputs:
        seen.append(batch.shape)
        return answer(encoder, batch[:, :28, :28, :1])

    answer = Encoder.run
    monkeypatch.setattr(Encoder, "run", run)
    data_set.add_dataset(catalogue, wide, drawn.test)
    assert seen == [(50, 96, 96, 3)]
    assert (images.read(catalogue.item(1).thumbnail) == drawn.test.images[0]).all()


def test_a_folder_with_labels_changes_and_unreadable_files(
    photos: Path, encoder: Encoder, catalogue: LocalCatalogue
) -> None:
    (photos / "Dress" / "broken.jpg").write_text("text")
    report = folder.add_folder(catalogue, encoder, photos)
    assert counts(report) == (20, 0, 0, 0)
    assert [entry.path.name for entry in report.unreadable] == ["broken.jpg"]
    changed = photos / "Dress" / "0003.png"
    Image.new("L", (28, 28), 99).save(changed)
    (photos / "Dress" / "0013.png").rename(photos / "Dress" / "new.png")
    assert counts(folder.add_folder(catalogue, encoder, photos)) == (1, 1, 0, 18)
    item = catalogue.item(catalogue.ids([str(changed)])[str(changed)])
    assert item.label == "Dress"
    assert np.abs(item.vector - encoder.embed([changed])[0]).max() < 1e-5
    assert catalogue.info().items == 21  # what is gone from the folder is left


def test_a_stopped_run_goes_on(
    drawn: Splits, encoder: Encoder, catalogue: LocalCatalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "BATCH", 8)
    save_folder(drawn.test[:30], tmp_path / "photos", by_class=False)

    def stop(done: int, total: int, /) -> None:
        assert total == 30
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.add_folder(catalogue, encoder, tmp_path / "photos", stop)
    assert catalogue.info().items == 8  # the second batch was read, not added
    report = folder.add_folder(catalogue, encoder, tmp_path / "photos")
    assert (report.added, report.unchanged) == (22, 8)


def test_names_that_are_not_utf8_are_left_out(encoder: Encoder, catalogue: LocalCatalogue, tmp_path: Path) -> None:
    Image.new("L", (28, 28), 99).save(tmp_path / "good.png")
    try:
        (tmp_path / "bad\udcff.png").write_bytes((tmp_path / "good.png").read_bytes())
        (tmp_path / "bad\udcff").mkdir()
    except OSError:
        pytest.skip("NOT RUN: this file system takes no name that is not UTF-8, so it has no such problem")
    report = folder.add_folder(catalogue, encoder, tmp_path)
    assert report.added == 1
    assert "not valid UTF-8" in report.unreadable[0].reason
    (tmp_path / "good.png").rename(tmp_path / "bad\udcff" / "good.png")
    report = sync(catalogue, tmp_path / "bad\udcff")
    assert (report.added, len(report.unreadable)) == (0, 1)


def test_a_folder_without_pictures(encoder: Encoder, catalogue: LocalCatalogue, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        folder.add_folder(catalogue, encoder, tmp_path)


# --- following a folder


def test_what_is_new_changed_or_gone(photos: Path, catalogue: LocalCatalogue, encoder: Encoder) -> None:
    assert counts(sync(catalogue, photos)) == (20, 0, 0, 0)
    before = dict(zip(catalogue.vectors()[2], catalogue.vectors()[0].tolist(), strict=True))
    Image.new("L", (28, 28), 99).save(photos / "Dress" / "0003.png")
    (photos / "Bag" / "0008.png").unlink()
    (photos / "Coat" / "0004.png").rename(photos / "Dress" / "0004.png")
    assert counts(sync(catalogue, photos)) == (1, 1, 2, 17)
    assert counts(sync(catalogue, photos)) == (0, 0, 0, 19)
    ids, vectors, sources = catalogue.vectors()
    assert sorted(sources) == sorted(map(str, photos.rglob("*.png")))
    assert np.abs(vectors - encoder.embed([Path(source) for source in sources])).max() < 1e-5
    known = dict(zip(sources, ids.tolist(), strict=True))
    kept = [source for source in known if known[source] == before.get(source)]
    assert len(kept) == 17  # the others have ids that were never there before
    assert catalogue.item(known[str(photos / "Dress" / "0004.png")]).label == "Dress"


def test_only_what_lies_in_the_folder_is_taken_out(
    photos: Path, drawn: Splits, encoder: Encoder, catalogue: LocalCatalogue
) -> None:
    data_set.add_dataset(catalogue, encoder, drawn.test)
    beside = photos.with_name("photos and more")
    save_folder(drawn.test[:3], beside)
    assert counts(sync(catalogue, beside)) == (3, 0, 0, 0)
    assert counts(sync(catalogue, photos)) == (20, 0, 0, 0)
    (beside / "Trouser" / "0001.png").unlink()
    (photos / "Trouser" / "0001.png").unlink()
    assert counts(sync(catalogue, photos)) == (0, 0, 1, 19)
    assert catalogue.info().items == 50 + 3 + 19


def test_a_folder_that_vanished_or_is_empty_takes_nothing_out(
    photos: Path, encoder: Encoder, catalogue: LocalCatalogue
) -> None:
    sync(catalogue, photos)
    photos.rename(photos.with_name("moved"))
    with pytest.raises(DataError, match="There is no folder"):
        sync(catalogue, photos)
    photos.mkdir()  # where a drive was
    with pytest.raises(DataError, match=r"20 items of 'mine' come from it; nothing was taken out: .* --allow-empty"):
        sync(catalogue, photos)
    with pytest.raises(DataError, match="holds no pictures; looked for are"):
        folder.add_folder(catalogue, encoder, photos)
    assert catalogue.info().items == 20
    assert counts(sync(catalogue, photos, How(allow_empty=True))) == (0, 0, 20, 0)
    assert catalogue.info().items == 0


def test_a_folder_that_vanishes_while_it_is_looked_through(
    photos: Path, catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(catalogue, photos)
    (photos / "Bag" / "0008.png").unlink()
    look = folder._is_gone

    def unmount(file: str) -> bool:
        if photos.exists():
            photos.rename(photos.with_name("moved"))
            photos.mkdir()
        return look(file)

    monkeypatch.setattr(folder, "_is_gone", unmount)
    with pytest.raises(DataError, match="went away meanwhile; nothing was taken out"):
        sync(catalogue, photos)
    assert catalogue.info().items == 20


def test_what_may_not_be_looked_at_is_not_gone(
    photos: Path, catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(catalogue, photos)
    walk = os.walk

    def refuse(top: str, *, onerror: object) -> object:
        assert callable(onerror)
        for place, folders, names in walk(top):
            if "Dress" in folders:
                folders.remove("Dress")
                onerror(PermissionError(errno.EACCES, "Permission denied", os.path.join(place, "Dress")))
            yield place, folders, names

    monkeypatch.setattr(os, "walk", refuse)
    report = sync(catalogue, photos)
    assert counts(report) == (0, 0, 0, 18)
    assert "Permission denied" in report.unreadable[0].reason


def test_a_picture_that_breaks_keeps_its_item(photos: Path, catalogue: LocalCatalogue) -> None:
    sync(catalogue, photos)
    (photos / "Dress" / "0003.png").write_text("text")
    report = sync(catalogue, photos)
    assert (counts(report), len(report.unreadable)) == ((0, 0, 0, 19), 1)
    assert catalogue.info().items == 20


def test_links_that_lead_in_circles(photos: Path, catalogue: LocalCatalogue) -> None:
    (photos / "Dress" / "up").symlink_to(photos)
    (photos / "circle.png").symlink_to(photos / "circle.png")
    (photos / "there.png").symlink_to(photos / "Dress" / "0003.png")
    report = sync(catalogue, photos)
    assert report.added == 21
    assert "cannot be read" in report.unreadable[0].reason


def test_ten_thousand_empty_files(catalogue: LocalCatalogue, tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number}.jpg").touch()
    report = sync(catalogue, tmp_path)
    assert (report.changed, len(report.unreadable)) == (0, 10_000)


def test_a_picture_is_read_only_when_it_may_have_changed(
    photos: Path, catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and times are trusted once they are old enough to prove something, and never when --reread is said."""
    read = listen(monkeypatch)
    sync(catalogue, photos)
    assert len(read) == 20
    read.clear()
    sync(catalogue, photos)  # the files are too young to be trusted
    assert len(read) == 20
    monkeypatch.setattr(reading, "GRAIN", -1.0)
    sync(catalogue, photos)
    read.clear()
    assert counts(sync(catalogue, photos)) == (0, 0, 0, 20)
    assert read == []
    changed = photos / "Dress" / "0003.png"
    status = changed.stat()
    changed.write_bytes(changed.read_bytes()[::-1])  # as long as before, and dated back
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(sync(catalogue, photos).unreadable) == 1
    assert read == ["0003.png"]
    read.clear()
    sync(catalogue, photos, How(reread=True))
    assert len(read) == 20


def test_while_watching_nothing_is_read_twice_nor_while_it_is_written(
    photos: Path, catalogue: LocalCatalogue, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "broken.jpg").write_text("text")
    following = FolderSync(encoder, photos, How(calm=3600.0))
    assert counts(following.run(catalogue)) == (0, 0, 0, 0)  # all were written within the hour
    following.how = How()
    monkeypatch.setattr(reading, "GRAIN", -1.0)
    assert len(following.run(catalogue).unreadable) == 1
    read = listen(monkeypatch)
    report = following.run(catalogue)
    assert "is not a picture" in report.unreadable[0].reason
    assert "broken.jpg" not in read
    (photos / "broken.jpg").chmod(0o600)  # looks different from outside
    following.run(catalogue)
    assert "broken.jpg" in read


@pytest.mark.parametrize("grain", [reading.GRAIN, -1.0])
def test_a_picture_that_was_half_written_at_the_first_look_comes_at_the_next(
    grain: float, photos: Path, catalogue: LocalCatalogue, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = photos / "Dress" / "0003.png"
    whole = late.read_bytes()
    late.write_bytes(whole[: len(whole) // 2])
    decode = reading.decode

    def finish(file: str, known: str | None, reader: Reader) -> object:
        read = decode(file, known, reader)
        if file == str(late):
            late.write_bytes(whole)  # after it was read, and before anything is said of it
        return read

    monkeypatch.setattr(reading, "GRAIN", grain)
    following = FolderSync(encoder, photos)
    with monkeypatch.context() as patched:
        patched.setattr(reading, "decode", finish)
        assert len(following.run(catalogue).unreadable) == 1
    report = following.run(catalogue)
    assert (report.added, report.unreadable) == (1, [])


# --- labels


@pytest.mark.parametrize("grain", [reading.GRAIN, -1.0])
@pytest.mark.parametrize("reread", [False, True])
def test_labels_are_those_of_the_folder_that_is_synced_now(
    grain: float, reread: bool, photos: Path, catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the pictures are read again or not."""
    monkeypatch.setattr(reading, "GRAIN", grain)
    assert sync(catalogue, photos / "Dress").added == 2
    assert {item.label for item in catalogue.known()} == {None}
    report = sync(catalogue, photos, How(reread=reread))
    assert (counts(report), report.columns_updated) == ((18, 0, 0, 2), 2)
    assert {item.source: item.label for item in catalogue.known()} == {
        str(path): path.parent.name for path in photos.rglob("*.png")
    }
    dresses = filters.parse("label = 'Dress'", ())
    assert len(catalogue.search(catalogue.vectors()[1][:1], 9, where=dresses)[0]) == 2
    assert not catalogue.check().found
    assert sync(catalogue, photos, How(reread=reread)).changed == 0


# --- columns


@pytest.mark.usefixtures("alone")  # else the model is asked what it is
def test_columns_come_from_the_csv_and_change_without_embedding(
    photos: Path, catalogue: LocalCatalogue, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = photos / "items.csv"
    csv.write_text("file,price,colour\nDress/0003.png,39.5,red\nCoat/0004.png,80,\nCoat/none.png,1,x\n")
    report = sync(catalogue, photos)
    assert (counts(report), report.columns_updated) == ((20, 0, 0, 0), 0)
    assert [(line.line, line.file) for line in report.unmatched] == [(4, "Coat/none.png")]
    assert catalogue.columns() == {"price": 2, "colour": 1}
    csv.write_text("file;price\nDress/0003.png;39,5\nDress/0013.png;10\n")

    def refuse(*_: object) -> None:
        raise AssertionError("nothing is to be embedded")

    with monkeypatch.context() as blocked:
        blocked.setattr(Encoder, "run", refuse)
        report = sync(catalogue, photos)
    assert (counts(report), report.columns_updated) == ((0, 0, 0, 20), 3)
    assert catalogue.columns() == {"price": 2}
    cheap = filters.parse("price < 20", catalogue.columns())
    (match,) = catalogue.search(catalogue.vectors()[1][:1], 9, where=cheap)[0]
    assert (match.source, match.columns) == (str(photos / "Dress" / "0013.png"), {"price": 10})
    csv.unlink()  # nobody says anything about columns any more: they stay, with a picture that changes, too
    Image.new("L", (28, 28), 99).save(photos / "Dress" / "0013.png")
    report = sync(catalogue, photos)
    assert (counts(report), report.columns_updated) == ((0, 1, 0, 19), 0)
    assert catalogue.columns() == {"price": 2}
    csv.write_text("file\n")  # it says that there are none
    assert sync(catalogue, photos).columns_updated == 2
    assert catalogue.columns() == {}


def test_a_csv_elsewhere_and_one_that_is_wrong(photos: Path, catalogue: LocalCatalogue, tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text("file,price\nDress/0003.png,1\n")
    assert sync(catalogue, photos, How(columns=prices)).added == 20
    assert catalogue.columns() == {"price": 1}
    prices.write_text("file,price\nDress/0003.png,1,2\n")
    (photos / "Bag" / "0008.png").unlink()
    with pytest.raises(InputError, match="line 2: it has 3 cells"):
        sync(catalogue, photos, How(columns=prices))
    assert catalogue.info().items == 20  # nothing was done


def test_pictures_are_decoded_by_several_threads(
    photos: Path, catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "cores", lambda: 2)
    meeting = threading.Barrier(2, timeout=30)
    decode = reading.decode
    names: set[str] = set()

    def meet(file: str, known: str | None, reader: Reader) -> object:
        if len(names) < 2:
            names.add(threading.current_thread().name)
            meeting.wait()
        return decode(file, known, reader)

    monkeypatch.setattr(reading, "decode", meet)
    assert sync(catalogue, photos).added == 20
    assert len(names) == 2


@pytest.mark.usefixtures("alone")  # else the first to be interrupted is the sample that is looked at
def test_after_ctrl_c_no_further_picture_is_begun(
    photos: Path, catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "cores", lambda: 1)
    monkeypatch.setattr(reading, "PART", 20)
    monkeypatch.setattr(here, "BATCH", 40)
    begun: list[str] = []
    waiting = threading.Event()
    decode = reading.decode

    def slow(file: str, known: str | None, reader: Reader) -> object:
        begun.append(file)
        waiting.set()
        time.sleep(0.1)
        return decode(file, known, reader)

    def interrupt(*_: object) -> NoReturn:
        waiting.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "decode", slow)
    monkeypatch.setattr(Future, "result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sync(catalogue, photos)
    assert 1 <= len(begun) <= 3
    assert len(catalogue) == 0


def test_the_content_is_the_hash_of_the_file(photos: Path, catalogue: LocalCatalogue) -> None:
    sync(catalogue, photos)
    for item in catalogue.known(str(photos / "Dress")):
        assert item.content == hashlib.sha256(Path(item.source).read_bytes()).hexdigest()[:32]
