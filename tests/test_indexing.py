from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import save_folder
from vitrine import indexing
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.errors import DataError


@pytest.fixture
def catalogue(encoder: Encoder) -> LocalCatalogue:
    return LocalCatalogue.create("mine", encoder)


def test_a_data_set_is_added_once(drawn: Splits, encoder: Encoder, catalogue: LocalCatalogue) -> None:
    told: list[int] = []
    report = indexing.add_dataset(catalogue, encoder, drawn.test, lambda done, total: told.append(done))
    assert (report.added, report.unchanged, told[-1]) == (50, 0, 50)
    again = indexing.add_dataset(catalogue, encoder, drawn.test)
    assert (again.added, again.unchanged) == (0, 50)
    ids, vectors, sources = catalogue.vectors()
    assert tuple(sources) == drawn.test.sources
    assert np.abs(vectors - encoder.run(drawn.test.images).embeddings).max() < 1e-5
    assert catalogue.item(int(ids[3])).label == "Dress"


def test_a_folder_with_labels_changes_and_unreadable_files(
    drawn: Splits, encoder: Encoder, catalogue: LocalCatalogue, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    save_folder(drawn.test[:20], photos)
    (photos / "Dress" / "broken.jpg").write_text("text")
    report = indexing.add_folder(catalogue, encoder, photos)
    assert (report.added, report.replaced, report.unchanged) == (20, 0, 0)
    assert [entry.path.name for entry in report.unreadable] == ["broken.jpg"]
    changed = photos / "Dress" / "0003.png"
    Image.new("L", (28, 28), 99).save(changed)
    (photos / "Dress" / "0013.png").rename(photos / "Dress" / "new.png")
    report = indexing.add_folder(catalogue, encoder, photos)
    assert (report.added, report.replaced, report.unchanged) == (1, 1, 18)
    item = next(
        catalogue.item(int(id)) for id, source in zip(*catalogue.vectors()[::2], strict=True) if source == str(changed)
    )
    assert item.label == "Dress"
    assert np.abs(item.vector - encoder.embed([changed])[0]).max() < 1e-5


def test_a_stopped_run_goes_on(
    drawn: Splits, encoder: Encoder, catalogue: LocalCatalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "BATCH", 8)
    save_folder(drawn.test[:30], tmp_path / "photos", by_class=False)

    def stop(done: int, total: int, /) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        indexing.add_folder(catalogue, encoder, tmp_path / "photos", stop)
    assert catalogue.info().items == 16
    report = indexing.add_folder(catalogue, encoder, tmp_path / "photos")
    assert (report.added, report.unchanged) == (14, 16)


def test_names_that_are_not_utf8_are_left_out(encoder: Encoder, catalogue: LocalCatalogue, tmp_path: Path) -> None:
    Image.new("L", (28, 28), 99).save(tmp_path / "good.png")
    try:
        (tmp_path / "bad\udcff.png").write_bytes((tmp_path / "good.png").read_bytes())
    except OSError:
        return  # a file system that takes no such name has no such problem
    report = indexing.add_folder(catalogue, encoder, tmp_path)
    assert report.added == 1
    assert "not valid UTF-8" in report.unreadable[0].reason


def test_a_folder_without_pictures(encoder: Encoder, catalogue: LocalCatalogue, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        indexing.add_folder(catalogue, encoder, tmp_path)
