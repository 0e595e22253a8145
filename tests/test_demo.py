"""The main job, through the command line: on drawn garments, and on the real data."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pictures import Cli, one_sentence
from vitrine import images
from vitrine.catalogue import writing
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import drawn_garments, fashion_mnist
from vitrine.errors import DownloadError


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DownloadError("Fashion-MNIST is not here and cannot be downloaded.")

    monkeypatch.setattr(fashion_mnist, "_download_missing", refuse)
    splits = drawn_garments.load(train=120, test=40)
    monkeypatch.setattr(drawn_garments, "load", lambda: splits)


@pytest.mark.usefixtures("no_network")
def test_without_data_it_goes_on_with_drawn_garments(cli: Cli) -> None:
    code, out, err = cli("demo", "--json")
    assert code == 0
    assert "Going on with drawn garments." in err
    last = json.loads(out.strip().splitlines()[-1])
    assert list(last) == ["data", "items", "accuracy", "precision_at_1", "seconds"]
    assert (last["data"], last["items"]) == ("drawn", 160)
    assert 0.5 < last["accuracy"] <= 1
    assert images.read(Path("vitrine-demo/neighbours.png")).size > 100_000
    code, out, _ = cli("demo")
    assert code == 0
    assert "drawn garments, 160 items (160 were there)" in out
    assert "vitrine serve --open " in out
    assert "make serve" in out
    assert "Fashion-MNIST" not in out


@pytest.mark.usefixtures("no_network")
def test_a_catalogue_of_another_model_is_left_alone(cli: Cli) -> None:
    assert cli("demo")[0] == 0
    with LocalCatalogue.open("drawn") as catalogue, writing.transaction(catalogue._store) as write:
        write.meta = replace(write.meta, identity="other")
    code, _, err = cli("demo")
    assert code == 2
    assert one_sentence(err)
    assert "vitrine index remove drawn --all" in err
    with LocalCatalogue.open("drawn") as catalogue:
        assert catalogue.info().items == 160


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
def test_a_catalogue_with_pictures_of_ones_own(cli: Cli, photo: Path) -> None:
    assert cli("demo")[0] == 0
    assert cli("index", "add", photo.parent, "--catalogue", "drawn")[0] == 0
    code, out, _ = cli("demo", "--json")
    assert code == 0
    assert json.loads(out)["items"] == 160


def test_damaged_data_is_an_error_and_not_an_occasion_for_drawings(cli: Cli, tmp_path: Path) -> None:
    for file in fashion_mnist.FILES.values():
        (tmp_path / file.name).write_bytes(b"half")
    code, _, err = cli("demo", "--data-dir", tmp_path)
    assert code == 2
    assert one_sentence(err)
    assert "wrong or half" in err


@pytest.mark.slow
def test_the_main_job_on_the_real_data(cli: Cli, real_data: Path) -> None:
    code, out, _ = cli("demo", "--data-dir", real_data, "--json")
    assert code == 0
    last = json.loads(out.strip().splitlines()[-1])
    assert (last["data"], last["items"]) == ("fashion-mnist", 70_000)
    assert last["accuracy"] >= 0.945
    assert last["precision_at_1"] >= 0.93
    code, out, _ = cli("search", "--id", 60_001, "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["source"] == "fashion-mnist/test/00000"
    assert answer["matches"][0]["label"] == "Ankle boot"
