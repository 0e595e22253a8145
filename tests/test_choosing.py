"""Which of two models a picture is for: each picture, two together, a folder; and what every edge makes of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import Cli, one_sentence, save_folder, written
from small_models import photo_model
from vitrine import choosing, images, modelfile
from vitrine.catalogue.local import LocalCatalogue
from vitrine.choosing import Choice, Opened
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.images import Crop
from vitrine.learning import sidecar
from vitrine.similarity import Similarity

TABLE = Similarity("class-product", (0.0, 1.0), (0.1, 0.9))


@pytest.fixture
def known(home: Path) -> Encoder:
    """A model `photo` in this test's home, which takes what is red for a bag and all else for a dress."""
    small = photo_model()
    modelfile.write(home / "data" / "models" / "photo.onnx", small.content, replace(small.card, similarity=TABLE))
    return Encoder.load("photo")


@pytest.fixture
def grey(drawn: Splits, tmp_path: Path) -> Path:
    """An item as Fashion-MNIST has it."""
    path = tmp_path / "item.png"
    Image.fromarray(drawn.test.images[0][..., 0]).save(path)
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A large red photo."""
    path = tmp_path / "scene.jpg"
    noise = np.random.default_rng(0).integers(0, 60, (1500, 1300, 3), np.uint8)
    Image.fromarray(noise + np.array([180, 0, 0], np.uint8)).save(path)
    return path


def save(folder: Path, drawn: Splits, greys: int, photos: int) -> Path:
    if greys:
        save_folder(drawn.test[:greys], folder)
    folder.mkdir(exist_ok=True)
    for number in range(photos):
        Image.new("RGB", (40, 60), (200, 20 + number, 20)).save(folder / f"photo-{number}.png")
    return folder


# --- in Python


def test_a_picture_is_for_the_model_that_knows_such(known: Encoder, grey: Path, photo: Path, scene: Path) -> None:
    opened = {path: Opened.read(path) for path in (grey, photo, scene)}
    assert [choosing.choose(one) for one in opened.values()] == ["default", "photo", "photo"]
    assert choosing.choose(opened[grey], opened[grey]) == "default"
    assert choosing.choose(opened[grey], opened[scene]) == "photo"


def test_default_is_for_all_where_there_is_no_other(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrine.encoder.names", lambda: ["compact", "default"])
    assert choosing.choose(Opened.read(scene)) == "default"
    assert choosing.for_files([scene]).model == "default"


@pytest.mark.parametrize("name", ["default", "photo"])
def test_what_a_model_sees_does_not_depend_on_the_choice(
    known: Encoder, grey: Path, photo: Path, scene: Path, name: str
) -> None:
    wide = Encoder(replace(known.card, image=replace(known.card.image, height=128, width=128)), b"", known._session)
    for model in (Encoder.load(name), wide):
        for path in (grey, photo, scene):
            for picture in (path, path.read_bytes(), images.read(path)):
                assert np.array_equal(Opened.read(picture).seen_by(model), model.prepare([picture])[0])


@pytest.mark.parametrize("side", [28, 96, 160])
@pytest.mark.parametrize("kind", ["JPEG", pytest.param("PNG", marks=pytest.mark.slow)])
def test_nor_does_what_is_not_decoded_again(side: int, kind: str) -> None:
    """Sizes at which a decoder changes its scale, for one model or the other, and strips."""
    model = photo_model(side)
    noise = np.random.default_rng(0).integers(0, 256, (1540, 1540, 3), np.uint8)
    sizes = [(255, 100), (511, 300), (512, 700), (767, 770), (768, 770), (1023, 1030), (1512, 1530), (1535, 1540)]
    for height, width in sizes:
        picture = written(Image.fromarray(noise[:height, :width]), kind)
        assert np.array_equal(Opened.read(picture).seen_by(model), model.prepare([picture])[0]), (height, width)
    strip = written(Image.linear_gradient("L").resize((600, 9000)), kind)
    assert np.array_equal(Opened.read(strip).seen_by(model), model.prepare([strip])[0])
    for crop in (Crop(1, 2, 1535, 1533), Crop(3, 1, 1025, 1027), Crop(0, 0, 767, 900)):
        part = images.prepare(images.read(picture, None, model.card.image, crop=crop), model.card.image)
        assert np.array_equal(Opened.read(picture, crop=crop).seen_by(model), part), crop


def test_what_need_not_is_not_decoded_again(known: Encoder, grey: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [Encoder.load("default"), known, photo_model(96)]
    telephone = written(Image.effect_noise((2016, 1512), 90), "JPEG")
    opened = [(Opened.read(one), models) for one in (grey, Image.new("RGB", (255, 100), "red"))]
    opened.append((Opened.read(telephone), models[2:]))
    monkeypatch.setattr("vitrine.images.reading.opened", None)
    for one, each in opened:
        for model in each:
            assert one.seen_by(model).shape == model.card.image.shape


def test_a_folder_is_judged_by_a_sample_of_all_of_it(known: Encoder, drawn: Splits, tmp_path: Path) -> None:
    files = sorted(save(tmp_path / "shop", drawn, 40, 20).rglob("*.png"))
    assert choosing.for_files(files) == Choice("default", 16, 50)
    assert choosing.for_files(files[-20:]) == Choice("photo", 20, 20)
    (tmp_path / "bad.jpg").write_text("text")
    assert choosing.for_files([tmp_path / "bad.jpg", *files[:1]]).looked == 1
    assert choosing.for_files([]) == Choice("photo", 0, 0)


# --- on the command line


def test_classify_asks_the_model_that_a_picture_is_for(cli: Cli, known: Encoder, grey: Path, scene: Path) -> None:
    code, out, err = cli("classify", grey, scene, "--json")
    assert (code, err) == (0, "")
    one, two = map(json.loads, out.splitlines())
    assert (one["model"], two["model"], two["label"]) == ("siamese", known.card.name, "Bag")
    assert one == json.loads(cli("classify", grey, "--json", "--model", "default")[1])
    assert two == json.loads(cli("classify", scene, "--json", "--model", "photo")[1])
    assert json.loads(cli("classify", scene, "--json", "--model", "default")[1])["model"] == "siamese"


def test_classify_says_so_where_both_were_asked(cli: Cli, known: Encoder, grey: Path, scene: Path) -> None:
    said = "Photos were shown to the model photo (2), what looks like Fashion-MNIST to default (1); --model names one"
    assert cli("classify", grey, scene, scene)[2].startswith(said)
    assert cli("classify", scene, scene)[2] == ""
    assert cli("classify", scene, "--show-input", "seen.png")[0] == 0
    side = images.read(Path("seen.png"))
    assert np.count_nonzero(np.ptp(side, axis=2) > 100) > 1000  # in colour: default would have seen greys


def test_only_the_model_that_is_needed_is_loaded(
    cli: Cli, known: Encoder, grey: Path, scene: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "data" / "models" / "photo.onnx").write_bytes(b"damaged")
    assert cli("classify", grey)[0] == 0
    code, out, err = cli("classify", scene, grey, scene, "--json")
    assert code == 2
    assert len(out.splitlines()) == 1
    assert one_sentence(err)
    assert err.count("photo.onnx") == 1  # said once


def test_compare_asks_photo_where_one_is_a_photo(cli: Cli, known: Encoder, grey: Path, scene: Path) -> None:
    def model(*arguments: object) -> str:
        return str(json.loads(cli("compare", *arguments, "--json")[1])["model"])

    assert model(grey, grey) == "siamese"
    assert model(grey, scene) == model(scene, scene) == known.card.name
    assert model(scene, scene, "--model", "default") == "siamese"
    code, _, err = cli("compare", "missing.jpg", "gone.jpg")
    assert code == 2
    assert "missing.jpg" in err
    assert "gone.jpg" in err


@pytest.mark.parametrize("verb", ["add", "sync"])
def test_a_new_catalogue_is_of_the_model_that_its_pictures_are_for(
    cli: Cli, known: Encoder, drawn: Splits, tmp_path: Path, verb: str
) -> None:
    folder = save(tmp_path / "shop", drawn, 1, 3)
    code, _, err = cli("index", verb, folder)
    assert code == 0
    assert "shop is searched by the model photo: 3 of 4 pictures are photos (--model names another).\n" in err
    with LocalCatalogue.open("shop") as opened:
        assert opened.info().identity == known.card.identity
    save(folder, drawn, 9, 0)  # it stays with its model
    assert "searched by" not in cli("index", verb, folder)[2]
    with LocalCatalogue.open("shop") as opened:
        assert opened.info().identity == known.card.identity
    assert cli("index", verb, folder, "--catalogue", "other")[2].count("the model default: 9 of 12 pictures look") == 1
    named = cli("index", verb, folder, "--catalogue", "third", "--model", "photo")
    assert (named[0], "searched by" in named[2]) == (0, False)


def plain(folder: Path, colours: list[tuple[int, int, int]]) -> Path:
    folder.mkdir()
    for number, colour in enumerate(colours):
        Image.new("RGB", (40, 60), colour).save(folder / f"{number:02d}.png")
    return folder


def test_a_class_is_taught_to_the_model_that_most_of_its_pictures_are_for(
    cli: Cli, known: Encoder, drawn: Splits, grey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greens = plain(tmp_path / "greens", [(10, shade, 20) for shade in (150, 170, 190)])
    others = plain(tmp_path / "others", [(100 + number, 9 * number % 256, 20) for number in range(30)])
    code, out, err = cli("model", "learn", "hat", greens, "--against", others, "--json")
    assert code == 0, err
    assert (json.loads(out)["model"], json.loads(out)["pictures"]) == (known.card.name, 3)
    assert json.loads(cli("classify", greens / "00.png", "--json")[1])["probabilities"][10] > 0
    assert len(json.loads(cli("classify", grey, "--json")[1])["probabilities"]) == 10
    mostly = save(tmp_path / "mostly", drawn, 5, 2)
    monkeypatch.setattr(choosing, "SAMPLE", 3)  # what comes after these is read for the model that they chose
    files = [*sorted(mostly.rglob("0*.png")), *sorted(mostly.glob("photo-*.png"))]
    greys = save(tmp_path / "greys", drawn, 30, 0)
    code, out, err = cli("model", "learn", "mostly", *files, "--against", greys, "--json")
    assert (code, json.loads(out)["model"], json.loads(out)["pictures"]) == (0, "siamese", 7), err
    shown = cli("model", "card", "default", "--json")[1]
    assert json.loads(shown)["learnt"] == ["mostly"]
    kept = sidecar.read(Encoder.load("default").card)
    assert kept is not None
    assert np.abs(kept.classes[0].embeddings - Encoder.load("default").embed(files)).max() < 1e-6


def test_what_learnt_a_class_forgets_it(cli: Cli, known: Encoder) -> None:
    others = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)
    shown = known.embed([np.full((60, 40, 3), colour, np.uint8) for colour in ((10, 150, 20), (10, 190, 20))])
    known.learn("Hat", shown, others)
    default = Encoder.load("default")
    seen = default.embed([np.full((28, 28), shade, np.uint8) for shade in (60, 200)])
    default.learn("hat", seen)
    code, out, err = cli("model", "forget", "HAT")
    assert (code, out) == (2, "")
    assert one_sentence(err)
    assert "default and photo have both learnt HAT; say which" in err
    assert json.loads(cli("model", "forget", "HAT", "--model", "default", "--json")[1])["model"] == "siamese"
    assert json.loads(cli("model", "forget", " hAT ", "--json")[1])["model"] == known.card.name
    code, _, err = cli("model", "forget", "hat")
    assert code == 2
    assert "'hat' is no class that was learnt (default: none; photo: none); name another model with --model" in err


@pytest.mark.parametrize("choice", [(), ("--model", "photo")])
def test_nothing_is_learnt_where_a_picture_cannot_be_read(
    cli: Cli, known: Encoder, tmp_path: Path, choice: tuple[str, ...]
) -> None:
    greens = plain(tmp_path / "greens", [(10, shade, 20) for shade in (150, 170, 190)])
    (greens / "bad.png").write_text("text")
    code, out, err = cli("model", "learn", "hat", greens, "gone.jpg", *choice)
    assert (code, out) == (2, "")
    assert [line.split()[1].split("/")[-1] for line in err.splitlines()] == ["bad.png", "There"]
    assert sidecar.read(known.card) is None


def test_a_data_set_is_for_default(cli: Cli, known: Encoder, drawn: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrine.datasets.drawn_garments.load", lambda: drawn)
    code, _, err = cli("index", "add", "drawn")
    assert code == 0
    assert "searched by" not in err
    with LocalCatalogue.open("drawn") as opened:
        assert opened.info().model == "siamese"
