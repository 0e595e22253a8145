"""Photos in a catalogue of grey pictures: the classes of one model, looks and shape of another."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pictures import Cli, one_sentence, save_folder
from small_models import photo_model, small_model
from vitrine import bridging, images, metrics, modelfile
from vitrine.bridging import Bridge, Viewer
from vitrine.catalogue.local import LocalCatalogue
from vitrine.choosing import Opened
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.indexing.folder import FolderSync, add_folder
from vitrine.indexing.reading import Reader
from vitrine.server.app import Settings, create_app
from vitrine.similarity import Similarity


@pytest.fixture
def known(home: Path) -> Encoder:
    """A model `photo` in this test's home, which takes what is red for a bag and all else for a dress."""
    small = photo_model()
    card = replace(small.card, similarity=Similarity("class-product", (0.0, 1.0), (0.1, 0.9)))
    modelfile.write(home / "data" / "models" / "photo.onnx", small.content, card)
    return Encoder.load("photo")


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.jpg"
    noise = np.random.default_rng(0).integers(0, 60, (700, 600, 3), np.uint8)
    Image.fromarray(noise + np.array([180, 0, 0], np.uint8)).save(path)
    return path


@pytest.fixture
def grey(drawn: Splits, tmp_path: Path) -> Path:
    path = tmp_path / "item.png"
    Image.fromarray(drawn.test.images[3][..., 0]).save(path)
    return path


# --- the vectors


def test_a_joint_embedding_with_its_own_classes_is_itself(encoder: Encoder, drawn: Splits) -> None:
    own = encoder.run(drawn.test.images).embeddings
    first = own[:, :10].astype(np.float64)
    said = first / first.sum(axis=1, keepdims=True)
    assert np.abs(bridging.with_classes(own, said) - own).max() < 1e-6
    other = np.roll(said, 1, axis=1)
    moved = bridging.with_classes(own, other)
    assert moved.dtype == np.float32
    assert np.linalg.norm(moved, axis=1) == pytest.approx(1, abs=1e-6)
    weight = first.sum(axis=1) ** -2 - 1
    assert moved[:, :10] * np.sqrt(1 + weight)[:, None] == pytest.approx(other, abs=1e-6)
    looks = [rest / np.linalg.norm(rest, axis=1, keepdims=True) for rest in (own[:, 10:], moved[:, 10:])]
    assert np.abs(looks[0] - looks[1]).max() < 1e-5


def test_only_what_begins_with_probabilities_is_joint(encoder: Encoder) -> None:
    assert bridging.is_joint(encoder)
    assert not bridging.is_joint(Encoder.load("compact"))
    assert not bridging.is_joint(small_model())
    assert not bridging.is_joint(small_model(["embedding"]))


def test_a_bridge_joins_what_each_model_says(encoder: Encoder, known: Encoder, red: Path) -> None:
    found = Bridge(encoder, known).vectors([red, red.read_bytes()])
    said = metrics.softmax(known.run(known.prepare([red])).logits, known.card.temperature)
    assert np.abs(found[0] - bridging.with_classes(encoder.embed([red]), said)[0]).max() < 0.02  # decoded once
    assert np.array_equal(found[0], found[1])
    assert found[0, :10].argmax() == 8


# --- when


def viewer(name: str) -> Viewer:
    opened = LocalCatalogue.open(name)
    return Viewer(opened.encoder(), opened)


def test_a_photo_is_bridged_and_a_grey_picture_is_not(served: Path, known: Encoder, red: Path, grey: Path) -> None:
    looking = viewer("shop")
    photo, item = looking.look(red), looking.look(grey)
    assert (photo.answering.card.name, photo.image.shape) == (known.card.name, known.card.image.shape)
    assert photo.run().outputs.logits.argmax() == 8
    assert item.bridge is None
    assert item.answering is looking.own
    assert np.array_equal(item.run().vectors, looking.own.embed([grey]))  # bit for bit
    looking.catalogue.close()


def test_without_a_photo_model_nothing_is_bridged(served: Path, red: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrine.encoder.names", lambda: ["compact", "default"])
    looking = viewer("shop")
    assert np.array_equal(looking.look(red).run().vectors, looking.own.embed([red]))
    looking.catalogue.close()


def test_a_photo_model_of_other_classes_is_not_asked(served: Path, known: Encoder, red: Path, home: Path) -> None:
    path = home / "data" / "models" / "photo.onnx"
    modelfile.write(path, known.content, replace(known.card, classes={"en": tuple("abcdefghij")}))
    looking = viewer("shop")
    view = looking.look(red)
    assert view.bridge is None
    assert np.array_equal(view.run().vectors, looking.own.embed([red]))
    looking.catalogue.close()


def test_a_catalogue_of_photos_or_of_another_model_is_asked_as_before(
    known: Encoder, encoder: Encoder, red: Path, drawn: Splits, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(5):
        Image.new("RGB", (90, 90), (250, 40 * number, 20)).save(tmp_path / "photos" / f"{number}.png")
    save_folder(drawn.test[:5], tmp_path / "greys")
    made = {"photos": encoder, "greys": Encoder.load("compact")}
    for name, model in made.items():
        with LocalCatalogue.create(name, model) as catalogue:
            FolderSync(model, tmp_path / name).run(catalogue)
            looking = Viewer(model, catalogue)
            assert looking.look(red).bridge is None
            assert looking.together([(red, None), (red, None)])[0] is model


def test_a_sample_is_spread_over_all_items(served: Path) -> None:
    with LocalCatalogue.open("shop") as opened:
        small = opened.sample(10)
        ids = [id for id in range(1, 51) if opened.item(id).thumbnail in small]
        assert len(small) == 10
        assert [id for id in ids if id % 5 == 1] == [1, 6, 11, 16, 21, 26, 31, 36, 41, 46]
        opened.remove(range(1, 49))
        assert len(opened.sample(10)) == 1
        opened.remove([49, 50])
        assert opened.sample(10) == []


# --- at the edges


def test_search_bridges_a_photo(cli: Cli, served: Path, known: Encoder, red: Path, grey: Path) -> None:
    def found(*arguments: object) -> Any:
        return json.loads(cli("search", *arguments, "--catalogue", "shop", "--json")[1])

    answer = found(red, "-k", 3)
    assert (answer["model"], answer["bridge"]) == ("siamese", known.card.name)
    assert {match["label"] for match in answer["matches"]} == {"Bag"}
    assert found(grey)["bridge"] is None
    assert found(grey, "--unlike", red)["bridge"] == known.card.name
    assert found("--id", 3)["bridge"] is None
    assert cli("search", red, "--catalogue", "shop", "--out", "found.png")[0] == 0


@pytest.fixture
def client(served: Path, known: Encoder) -> Iterator[TestClient]:
    with TestClient(create_app(Settings("shop")), "http://127.0.0.1") as connected:
        yield connected


def test_the_server_asks_the_photo_model_about_photos(
    client: TestClient, known: Encoder, red: Path, grey: Path, cli: Cli
) -> None:
    def asked(address: str, *paths: Path, **fields: str) -> Any:
        files = [("image", (path.name, path.read_bytes())) for path in paths]
        return client.post(address, files=files, data=fields).json()

    photo, item = asked("/api/classify", red), asked("/api/classify", grey)
    assert (photo["model"], photo["label"], item["model"]) == (known.card.name, "Bag", "siamese")
    answer = asked("/api/search", red, show_input="true")
    assert (answer["model"], answer["bridge"]) == ("siamese", known.card.name)
    assert answer["prediction"] == {key: photo[key] for key in answer["prediction"]}
    assert answer["prediction"]["known"] is True
    seen = images.read(bytes_of(answer["input"]))
    assert seen.shape == known.card.image.shape
    plain = json.loads(cli("search", red, "--catalogue", "shop", "--json")[1])
    assert [match["id"] for match in plain["matches"]] == [match["id"] for match in answer["matches"]]
    assert asked("/api/search", grey)["bridge"] is None
    both = asked("/api/compare", red, grey)
    assert (both["model"], both["a"]["label"], both["a"]["known"]) == (known.card.name, "Bag", True)
    assert asked("/api/compare", grey, grey)["model"] == "siamese"
    assert asked("/api/compare", red, id="3")["model"] == known.card.name


def test_what_was_taught_to_the_photo_model_is_said_of_photos(
    served: Path, known: Encoder, red: Path, grey: Path
) -> None:
    random = np.random.default_rng(0)
    known.learn("hat", known.embed([red, images.read(red)[:500]]), random.normal(size=(40, 12)).astype(np.float32))
    with TestClient(create_app(Settings("shop")), "http://127.0.0.1") as client:
        for path, names in ((red, ["hat"]), (grey, [])):
            answer = client.post("/api/search", files={"image": (path.name, path.read_bytes())}).json()
            assert answer["learnt"] == names
            assert len(answer["prediction"]["probabilities"]) == 10 + len(names)
        assert client.post("/api/search", data={"like": "3"}).json()["learnt"] == []


def bytes_of(address: str) -> bytes:
    import base64

    return base64.b64decode(address.partition(",")[2])


def test_a_photo_that_is_added_is_found_by_itself(
    cli: Cli, served: Path, known: Encoder, red: Path, encoder: Encoder, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "red.jpg").write_bytes(red.read_bytes())
    (tmp_path / "more" / "bad.jpg").write_text("text")
    assert cli("index", "add", tmp_path / "more", "--catalogue", "shop")[0] == 0
    with LocalCatalogue.open("shop") as opened:
        assert opened.item(51).vector[:10].argmax() == 8
        assert len(images.read(opened.item(51).thumbnail)) < 192
    found = json.loads(cli("search", red, "--catalogue", "shop", "-k", 1, "--json")[1])["matches"]
    assert (found[0]["id"], found[0]["score"]) == (51, pytest.approx(1, abs=1e-5))
    with TestClient(create_app(Settings("shop", "a-token-of-the-tests")), "http://127.0.0.1") as client:
        files = {"image": ("red.jpg", red.read_bytes())}
        added = client.post("/api/items", files=files, headers={"Authorization": "Bearer a-token-of-the-tests"}).json()
        (one,) = added["added"]
        assert one["id"] == 52
    with LocalCatalogue.open("shop") as opened:
        assert np.array_equal(opened.item(51).vector, opened.item(52).vector)


@pytest.mark.parametrize(("greys", "bridged"), [(4, True), (2, False)])
def test_what_comes_decides_where_more_comes_than_is_there(
    known: Encoder, encoder: Encoder, drawn: Splits, red: Path, tmp_path: Path, greys: int, bridged: bool
) -> None:
    save_folder(drawn.test[:greys], tmp_path / "shop", by_class=False)
    for number in range(2):
        content = images.png(images.read(red)[: 500 + number])
        (tmp_path / "shop" / f"red-{number}.png").write_bytes(content)
    with LocalCatalogue.create("shop", encoder) as catalogue:
        FolderSync(encoder, tmp_path / "shop").run(catalogue)
        sure = Bridge(encoder, known).vectors([tmp_path / "shop" / "red-0.png"])[0]
        alone = encoder.embed([tmp_path / "shop" / "red-0.png"])[0]
        first, expected = catalogue.item(greys + 1).vector, sure if bridged else alone
        assert np.abs(first - expected).max() < 1e-5
        assert np.array_equal(Viewer(encoder, catalogue).look(red).bridge is not None, bridged)
        assert catalogue.item(1).vector == pytest.approx(encoder.embed([drawn.test.images[0]])[0], abs=1e-5)
        (tmp_path / "more").mkdir()
        (tmp_path / "more" / "red.jpg").write_bytes(red.read_bytes())
        add_folder(catalogue, encoder, tmp_path / "more")  # one comes: the catalogue decides
        expected = Bridge(encoder, known).vectors([red])[0] if bridged else encoder.embed([red])[0]
        assert np.abs(catalogue.item(greys + 3).vector - expected).max() < 1e-5


def test_a_catalogue_that_wants_photos_or_that_is_alone_costs_no_look(
    known: Encoder, encoder: Encoder, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (red.parent / "photos").mkdir()
    red.rename(red.parent / "photos" / "red.jpg")
    monkeypatch.setattr(bridging, "is_joint", None)
    monkeypatch.setattr(LocalCatalogue, "sample", None)
    monkeypatch.setattr("vitrine.choosing.for_files", None)
    with LocalCatalogue.create("photos", known) as catalogue:
        assert FolderSync(known, red.parent / "photos").run(catalogue).added == 1
    monkeypatch.setattr("vitrine.choosing.photo_is_there", lambda: False)
    with LocalCatalogue.create("alone", encoder) as catalogue:
        assert FolderSync(encoder, red.parent / "photos").run(catalogue).added == 1


def test_a_damaged_photo_model_is_named_where_it_is_needed(
    cli: Cli, served: Path, known: Encoder, red: Path, grey: Path, home: Path, tmp_path: Path
) -> None:
    (home / "data" / "models" / "photo.onnx").write_bytes(b"damaged")
    (tmp_path / "more").mkdir()
    grey.rename(tmp_path / "more" / "item.png")
    assert cli("index", "add", tmp_path / "more", "--catalogue", "shop")[0] == 0
    red.rename(tmp_path / "more" / "red.jpg")
    code, _, err = cli("index", "add", tmp_path / "more", "--catalogue", "shop")
    assert code == 2
    assert one_sentence(err)
    assert "photo.onnx" in err
    with LocalCatalogue.open("shop") as opened:
        assert len(opened) == 51


def test_a_photo_is_decoded_once(
    served: Path, known: Encoder, encoder: Encoder, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide, content = photo_model(128), red.read_bytes()
    looking = viewer("shop")
    looking.models._loaded["photo"] = wide
    assert looking.possible()
    opened = Opened.read(red)
    decode = images.opened
    with monkeypatch.context() as patched:
        patched.setattr("vitrine.images.reading.opened", None)
        assert Bridge(encoder, wide).see(opened).own.shape == (28, 28, 1)
    decoded: list[object] = []

    def heard(picture: bytes, *rest: Any) -> Image.Image:
        decoded.append(picture)
        return decode(picture, *rest)

    monkeypatch.setattr("vitrine.images.reading.opened", heard)
    image, _, vector = Reader(looking.own, looking).see(content, "red.jpg")  # as a folder does
    assert image is None
    assert vector is not None
    assert vector[:10].argmax() == 8
    assert decoded == [content]
    looking.catalogue.close()
