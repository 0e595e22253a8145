"""What the tests share. Every test gets an empty home of its own; real data comes from `VITRINE_DATA` only."""

import functools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # a test a core: threads beyond that only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image

from pictures import Cli, save_folder
from vitrine import choosing
from vitrine.catalogue.local import LocalCatalogue
from vitrine.cli import main
from vitrine.datasets import Splits, drawn_garments, fashion_mnist
from vitrine.encoder import Encoder
from vitrine.indexing.folder import FolderSync

pytest_plugins = ["milvus_fixtures", "page_fixtures", "server_fixtures"]
REAL_DATA = os.environ.get("VITRINE_DATA")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and an empty current folder; no data set unless a test asks for one."""
    place = tmp_path / "home"
    monkeypatch.setenv("VITRINE_HOME", str(place))
    monkeypatch.delenv("VITRINE_DATA", raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return place


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data. Without it a test is skipped, loudly; where CI is set it fails."""
    if REAL_DATA and (Path(REAL_DATA) / "fashion-mnist").is_dir():
        return Path(REAL_DATA)
    reason = "NOT RUN: needs the real Fashion-MNIST; set VITRINE_DATA to a folder that holds fashion-mnist/"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real_splits(real_data: Path) -> Splits:
    return fashion_mnist.load(real_data)


@pytest.fixture(scope="session")
def drawn() -> Splits:
    """200 drawn garments to train on, 50 to test."""
    return drawn_garments.load(train=200, test=50)


@pytest.fixture(scope="session", autouse=True)
def _drawn_once() -> Iterator[None]:
    """Thousands of garments take seconds to draw, and many tests train on them."""
    load = drawn_garments.load

    @functools.cache
    def cached(seed: int = 0, train: int = 3_000, test: int = 1_000) -> Splits:
        splits = load(seed, train, test)
        for part in (splits.train, splits.test):
            part.images.setflags(write=False)
            part.labels.setflags(write=False)
        return splits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn_garments, "load", cached)
        yield


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The shipped model."""
    return Encoder.load("default")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no model `photo` to choose: `default`, or a catalogue's own, answers about photos, too."""
    monkeypatch.setattr(choosing, "photo_is_there", lambda: False)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vitrine", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        written = capsys.readouterr()
        return code, written.out, written.err

    return run


@pytest.fixture(scope="session")
def made_shop(drawn: Splits, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures in "shop", 50 drawn garments by class, with prices, and a home with a catalogue of it."""
    place = tmp_path_factory.mktemp("made")
    save_folder(drawn.test, place / "shop")
    lines = [f"{path.relative_to(place / 'shop')},{int(path.stem)}" for path in (place / "shop").rglob("*.png")]
    (place / "shop" / "items.csv").write_text("\n".join(["file,price", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITRINE_HOME", str(place / "home"))
        with LocalCatalogue.create("shop", encoder) as catalogue:
            FolderSync(encoder, place / "shop").run(catalogue)
            catalogue.save_index()
    return place


@pytest.fixture
def served(made_shop: Path, home: Path) -> Path:
    """A catalogue "shop" in the test's own home; the folder of its pictures, which all tests share."""
    shutil.copytree(made_shop / "home", home)
    return made_shop / "shop"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A boot in colour on white, as a shop would show it."""
    drawing = drawn_garments.draw(9, 3, size=300)
    colour = 255 - drawing * np.array([0.4, 0.7, 0.9])
    path = tmp_path / "photos" / "boot.jpg"
    path.parent.mkdir()
    Image.fromarray(np.pad(colour.astype(np.uint8), ((80, 80), (40, 40), (0, 0)), constant_values=255)).save(path)
    return path
