"""Classes that come after the training: told from a background, kept beside the models, and known everywhere."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from starlette.testclient import TestClient

import foreign_models
from pictures import Cli, one_sentence
from small_models import halves, small_model
from vitrine import background, explaining, images, learning, modelfile, storage
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.errors import InputError, ModelFileError, StorageError
from vitrine.indexing.folder import FolderSync
from vitrine.learning import sidecar
from vitrine.modelfile import Rejection
from vitrine.server.app import Settings, create_app

Pixels = npt.NDArray[np.uint8]


def noisy(picture: Pixels, seed: int) -> Pixels:
    noise = np.random.default_rng(seed).integers(-20, 21, picture.shape)
    found: Pixels = np.clip(picture.astype(np.int64) + noise, 0, 255).astype(np.uint8)
    return found


def band(seed: int) -> Pixels:
    """The new class: bright in the middle rows, which no half is."""
    picture = np.full((28, 28, 1), 30, np.uint8)
    picture[7:21] = 220
    return noisy(picture, seed)


def other(seed: int) -> Pixels:
    left, right = np.random.default_rng(seed).integers(20, 236, 2)
    return noisy(halves(int(left), int(right)), seed + 1000)


def save(pictures: list[Pixels], folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for picture, path in zip(pictures, paths, strict=True):
        Image.fromarray(picture[..., 0]).save(path)
    return paths


@pytest.fixture
def bare() -> Encoder:
    """Two classes, a rejection that every picture here passes, no background."""
    return small_model(rejection=Rejection("energy", 0.5))


@pytest.fixture
def model(bare: Encoder) -> Path:
    """The same with a background, as a file."""
    seen = bare.embed([other(seed) for seed in range(100)])
    modelfile.write(Path("small.onnx"), bare.content, bare.card, seen)
    return Path("small.onnx")


@pytest.fixture
def bands(tmp_path: Path) -> list[Path]:
    return save([band(seed) for seed in range(5)], tmp_path / "bands")


# --- the rule


def gaussians(count: int, shift: float, seed: int) -> npt.NDArray[np.float64]:
    """(count, 8), wide along one axis."""
    spread = np.array([6.0, 1, 1, 1, 1, 1, 1, 1])
    rows: npt.NDArray[np.float64] = np.random.default_rng(seed).normal(size=(count, 8)) * spread
    rows[:, 1] += shift
    return rows


def test_the_discriminant_is_fishers() -> None:
    """scikit-learn's, with as much shrinkage, points the same way."""
    shown, others = gaussians(200, 4, 1), gaussians(200, 0, 2)
    weights, offset = learning.discriminant(shown, others)
    rows, labels = np.concatenate([shown, others]), np.repeat([1, 0], 200)
    direction = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=learning.SHRINKAGE).fit(rows, labels).coef_[0]
    assert weights @ direction / np.linalg.norm(weights) / np.linalg.norm(direction) > 0.95
    told = (gaussians(500, 4, 3) @ weights + offset >= 0).mean() + (gaussians(500, 0, 4) @ weights + offset < 0).mean()
    assert told > 1.85


def test_after_five_pictures_it_tells_more_than_cosines_to_their_mean_can() -> None:
    """Their mean lies far off along the axis that tells nothing, by chance."""
    others, new, far = gaussians(300, 0, 1), gaussians(500, 4, 3), gaussians(500, 0, 4)
    told, best = [], []
    for seed in range(10, 20):
        shown = gaussians(5, 4, seed)
        weights, offset = learning.discriminant(shown, others)
        told.append((new @ weights + offset >= 0).mean() + (far @ weights + offset < 0).mean())
        cosines = [(rows @ shown.mean(axis=0)) / np.linalg.norm(rows, axis=1) for rows in (new, far)]
        cuts = np.linspace(-12, 12, 401)
        best.append(max((cosines[0] >= cut).mean() + (cosines[1] < cut).mean() for cut in cuts))
    assert np.mean(told) > 1.6
    assert np.mean(told) > np.mean(best) + 0.05


def test_log_odds_are_zero_between_and_steeper_where_the_class_is_farther() -> None:
    others = gaussians(300, 0, 1)
    near, far = (learning.discriminant(gaussians(5, shift, 2), others) for shift in (3, 12))
    at_class = [gaussians(200, shift, 3) @ weights + offset for shift, (weights, offset) in ((3, near), (12, far))]
    assert (others @ near[0] + near[1] < 0).mean() > 0.95
    assert np.median(at_class[1]) > np.median(at_class[0]) > 0


def test_more_pictures_are_better_and_a_draw_is_repeatable() -> None:
    rows = np.concatenate([gaussians(60, 4, 5), gaussians(600, 0, 6)])
    labels = np.repeat([7, 0], [60, 600])
    known = gaussians(300, 0, 7)
    few, many = (learning.few_shot(rows, labels, 7, known, shots=shots) for shots in (2, 20))
    assert sum(many) > sum(few)
    assert min(many) > 0.75
    assert learning.few_shot(rows, labels, 7, known, shots=2) == few
    assert learning.few_shot(rows, labels, 7, known, shots=2, seed=1) != few
    for shots, size in ((1, 300), (60, 300), (5, 19)):
        with pytest.raises(InputError, match="cannot be measured"):
            learning.few_shot(rows, labels, 7, known[:size], shots=shots)


def test_learnt_classes_share_with_each_other_and_shrink_the_rest() -> None:
    joined = learning.join(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([[1.0, -1.0], [-50.0, -50.0]]))
    odds = np.exp([1.0, -1.0])
    rest = 1 / (1 + odds.sum())
    own = np.exp([2.0, 0.0]) / np.exp([2.0, 0.0]).sum()
    assert np.allclose(joined[0], [*(own * rest), *(odds * rest)])
    assert np.allclose(joined[1], [0.5, 0.5, 0, 0])
    assert np.allclose(learning.join(np.empty((1, 0)), np.array([[0.0]])), [[0.5]])


# --- the background in the model file


def test_a_background_survives_the_file_and_changes_nothing_else(bare: Encoder, model: Path) -> None:
    seen = bare.embed([other(seed) for seed in range(100)])
    file = modelfile.read(model)
    found = modelfile.read_background(file)
    assert found is not None
    assert np.abs(found - seen).max() < 0.01
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert file.card == bare.card
    modelfile.write(Path("plain.onnx"), bare.content, bare.card)
    assert modelfile.read_background(modelfile.read(Path("plain.onnx"))) is None


@pytest.mark.parametrize("name", ["default", "compact", "photo"])
def test_the_shipped_models_have_a_background(name: str) -> None:
    encoder = Encoder.load(name)
    found = modelfile.read_background(modelfile.ModelFile(encoder.card, encoder.content))
    assert found is not None
    assert found.shape[1] == encoder.card.embedding
    assert 200 <= len(found) <= background.SIZE


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dimensions": 16, "scale": 1.0, "embeddings": "AAA"},
        {"dimensions": 0, "scale": 1.0, "embeddings": ""},
        {"dimensions": 1, "scale": float("nan"), "embeddings": "AQ=="},
        {"dimensions": 1, "scale": 1.0, "embeddings": "AA=="},
        {"dimensions": 2, "scale": 1.0, "embeddings": "AQE="},
        {"dimensions": 1, "scale": -1.0, "embeddings": "AQ=="},
        {"dimensions": 1, "scale": 1e39, "embeddings": "AQ=="},
    ],
)
def test_a_damaged_background_is_one_sentence(
    fields: dict[str, object], bare: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "to_json", lambda vectors: fields)
    modelfile.write(Path("x.onnx"), bare.content, bare.card, np.ones((1, 16), np.float32))
    with pytest.raises(ModelFileError, match="background of the model small") as caught:
        modelfile.read_background(modelfile.read(Path("x.onnx")))
    assert "\n" not in str(caught.value)


def test_a_sample_takes_of_each_class_as_many() -> None:
    labels = np.repeat([0, 1, 2], [500, 30, 5])
    chosen = background.sample(np.eye(535, dtype=np.float32), labels, 100).argmax(axis=1)
    assert np.bincount(labels[chosen]).tolist() == [65, 30, 5]


# --- learning and forgetting


def test_a_class_from_five_pictures_is_known_by_every_copy_of_the_model(model: Path, bands: list[Path]) -> None:
    encoder = Encoder.load(model)
    before = encoder.classify([band(9), other(9)])
    encoder.learn("band", encoder.embed(bands))
    again = Encoder.from_content(encoder.content, encoder.card)
    for one in (encoder, again, again.on_one_thread()):
        assert one.names() == ("left", "right", "band")
        assert one.names("uk") == ("ліворуч", "праворуч", "band")
        new, old = one.classify([band(9), other(9)])
        assert (new.class_index, new.label, new.known) == (2, "band", True)
        assert new.probability > 0.8
        assert (old.label, old.known) == (before[1].label, before[1].known)
        assert sum(new.probabilities) == pytest.approx(1)
        share = 1 - old.probabilities[2]
        assert share > 0.9
        assert np.allclose(old.probabilities[:2], np.array(before[1].probabilities) * share)
    encoder.forget(" BAND ")
    assert encoder.classify([band(9), other(9)]) == before
    assert Encoder.load(model).judge is None
    assert [path.name for path in (storage.data_folder() / "models").iterdir()] == [
        f"{encoder.card.identity}.learnt.lock"
    ]


def test_what_was_rejected_is_known_once_it_was_learnt(bare: Encoder, bands: list[Path]) -> None:
    careful = small_model(rejection=Rejection("energy", 99.0))
    assert [one.known for one in careful.classify([band(9), other(9)])] == [False, False]
    careful.learn("band", careful.embed(bands), careful.embed([other(seed) for seed in range(40)]))
    assert [one.known for one in careful.classify([band(9), other(9)])] == [True, False]


def test_two_learnt_classes_are_told_from_each_other(model: Path, bands: list[Path]) -> None:
    encoder = Encoder.load(model)
    encoder.learn("band", encoder.embed(bands))
    encoder.learn("upright", encoder.embed([band(seed).transpose(1, 0, 2) for seed in range(5)]))
    found = encoder.classify([band(9), band(9).transpose(1, 0, 2), other(9)])
    assert [one.label for one in found[:2]] == ["band", "upright"]
    assert found[2].class_index < 2
    encoder.forget("band")
    assert encoder.names()[2:] == ("upright",)
    assert encoder.classify([band(9).transpose(1, 0, 2)])[0].label == "upright"


def test_a_model_without_classes_learns_some_from_a_folder_of_others(
    cli: Cli, tmp_path: Path, bands: list[Path]
) -> None:
    """A wrapped one has no background, so it is told what others look like."""
    theirs = foreign_models.save(foreign_models.clip(), tmp_path / "clip.onnx")
    assert cli("model", "wrap", theirs, "--output", "image_embeds", "--size", 32, "--name", "mine")[0] == 0
    save([other(seed) for seed in range(60)], tmp_path / "others")
    (tmp_path / "others" / "bad.png").write_text("text")
    os.link(bands[0], tmp_path / "others" / "same.png")  # of the class itself: left out
    code, _, err = cli("model", "learn", "band", *bands, "--model", "mine")
    assert code == 2
    assert "of these mine knows no pictures; name a folder" in err
    code, out, err = cli("model", "learn", "band", *bands, "--model", "mine", "--against", tmp_path / "others")
    assert (code, out) == (0, "mine now knows band.\n")
    assert "bad.png is not a picture" in err
    encoder = Encoder.load("mine")
    kept = sidecar.read(encoder.card)
    assert kept is not None
    assert len(kept.others) == 60
    new, old = encoder.classify([band(9), other(99)])
    assert (new.label, new.known) == ("band", True)
    assert (old.label, old.known) == ("band", False)
    assert old.probability == old.probabilities[0] < 0.5
    code, out, _ = cli("classify", bands[0], "--model", "mine", "--json")
    assert json.loads(out)["label"] == "band"


def test_the_commands_say_what_they_did(cli: Cli, model: Path, bands: list[Path]) -> None:
    code, out, _ = cli("model", "learn", "band", bands[0].parent, "--model", model, "--json")
    assert code == 0
    assert json.loads(out) == {
        "model": "small",
        "learnt": "band",
        "pictures": 5,
        "classes": ["left", "right", "band"],
    }
    assert "learnt     band (5 pictures)" in cli("model", "card", model)[1]
    assert json.loads(cli("model", "card", model, "--json")[1])["learnt"] == ["band"]
    answer = json.loads(cli("classify", bands[0], "--model", model, "--json", "--lang", "uk")[1])
    assert (answer["label"], answer["class_index"], answer["known"]) == ("band", 2, True)
    code, out, _ = cli("model", "forget", "band", "--model", model, "--json")
    assert json.loads(out) == {"model": "small", "forgot": "band", "classes": ["left", "right"]}
    assert json.loads(cli("model", "card", model, "--json")[1])["learnt"] == []


def test_the_server_and_the_explanation_know_it_too(model: Path, bands: list[Path]) -> None:
    encoder = Encoder.load(model)
    with LocalCatalogue.create("shop", encoder) as catalogue:
        FolderSync(encoder, bands[0].parent).run(catalogue)
        catalogue.save_index()
    encoder.learn("band", encoder.embed(bands))
    with TestClient(create_app(Settings("shop")), "http://127.0.0.1") as client:
        photo = {"image": ("band.png", bands[0].read_bytes())}
        assert client.get("/api/model").json()["learnt"] == ["band"]
        answer = client.post("/api/classify", files=photo, data={"lang": "ru"}).json()
        assert (answer["label"], answer["class_index"], answer["known"]) == ("band", 2, True)
        assert client.post("/api/search", files=photo).json()["prediction"]["label"] == "band"
    found = explaining.explain(encoder, images.prepare(band(9), encoder.card.image))
    assert (found.label, found.way) == ("band", "occlusion")
    assert found.heat[7:21].mean() > 2 * found.heat[[0, 1, 2, -3, -2, -1]].mean()


def test_a_model_with_maps_has_none_of_a_learnt_class(bands: list[Path]) -> None:
    encoder = small_model([*modelfile.OUTPUTS, modelfile.ACTIVATION])
    assert explaining.explain(encoder, other(3)).way == "activation"
    encoder.learn("band", encoder.embed(bands), encoder.embed([other(seed) for seed in range(40)]))
    assert explaining.explain(encoder, band(9)).way == "occlusion"
    assert explaining.explain(encoder, other(3)).way == "activation"


def test_writers_wait_for_each_other(model: Path, bands: list[Path]) -> None:
    def learn(name: str) -> None:
        encoder = Encoder.load(model)
        encoder.learn(name, encoder.embed(bands))

    names = [f"band {number}" for number in range(6)]
    threads = [threading.Thread(target=learn, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Encoder.load(model).names()[2:]) == names


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["Left", "bands"], "small knows the class left already"),
        (["ЛІВОРУЧ", "bands"], "small knows the class ліворуч already"),
        (["BAND", "bands"], "has learnt band already; forget it first"),
        (["", "bands"], "cannot be called ''"),
        ([" ", "bands"], "cannot be called ' '"),
        (["a\nb", "bands"], "on one line"),
        (["x" * 201, "bands"], "1 to 200 characters"),
        (["hat", "bands/0.png"], "at least 2 different pictures"),
        (["hat", "bands/0.png", "bands/0.png"], "at least 2 different pictures, better from 5 or more; 1 was given"),
        (["hat", "bands/0.png", "bad.png", "nothing.png"], "There is no file or folder nothing.png"),
        (["hat", "bands", "--against", "nothing"], "nothing"),
        (["hat", "bands", "--against", "bands"], "of these small knows"),
        (["hat", "http://example.org/a.png"], "is a web address"),
    ],
)
def test_wrong_input_is_one_sentence_and_nothing_is_kept(
    arguments: list[str], says: str, cli: Cli, model: Path, bare: Encoder, bands: list[Path]
) -> None:
    os.symlink(bands[0].parent, "bands")
    Path("bad.png").write_text("text")
    encoder = Encoder.load(model)
    encoder.learn("band", encoder.embed(bands))
    before = sidecar.place(encoder.card.identity).read_bytes()
    if "--against" in arguments:  # of a file that has no background
        modelfile.write(model, bare.content, bare.card)
    code, _, err = cli("model", "learn", *arguments, "--model", model)
    assert code == 2
    assert one_sentence(err)
    assert says in err
    assert ("bad.png" in arguments) == ("bad.png is not a picture" in err)
    assert sidecar.place(encoder.card.identity).read_bytes() == before


def test_what_was_not_learnt_cannot_be_forgotten(cli: Cli, model: Path, bands: list[Path]) -> None:
    assert "has learnt no class 'hat'; it has learnt none" in cli("model", "forget", "hat", "--model", model)[2]
    assert not list(storage.data_folder().rglob("*.learnt.lock"))  # nothing is left of it
    assert cli("model", "learn", "band", *bands, "--model", model)[0] == 0
    code, _, err = cli("model", "forget", "left", "--model", model)
    assert code == 2
    assert "has learnt no class 'left'; it has learnt band" in err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 9}, "newer than this vitrine knows"),
        ({"identity": "0" * 32}, "classes of another model"),
        ({"classes": [{"name": "a", "embeddings": "AAAA"}]}, "is damaged"),
        ({"others": {"dimensions": 16, "scale": 1, "embeddings": ""}}, "is damaged"),
        ({"dimensions": 15}, "is damaged"),
        ({"classes": None}, "is damaged"),
        ({"classes": []}, "there is no class"),
        ({"format_version": 0}, "there is no format 0"),
    ],
)
def test_a_damaged_file_is_one_sentence(
    change: dict[str, object], says: str, cli: Cli, model: Path, bands: list[Path]
) -> None:
    encoder = Encoder.load(model)
    encoder.learn("band", encoder.embed(bands))
    place = sidecar.place(encoder.card.identity)
    place.write_text(json.dumps({**json.loads(place.read_text()), **change}))
    code, _, err = cli("classify", bands[0], "--model", model)
    assert code == 2
    assert one_sentence(err)
    assert says in err
    assert str(place) in err
    for content in (place.read_bytes()[:100], b"[" * 100_000):
        place.write_bytes(content)
        assert "is damaged" in cli("model", "forget", "band", "--model", model)[2]


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 201])
def test_a_name_that_no_class_can_have_is_damage(name: str, model: Path, bands: list[Path]) -> None:
    encoder = Encoder.load(model)
    encoder.learn("band", encoder.embed(bands))
    place = sidecar.place(encoder.card.identity)
    kept = json.loads(place.read_text())
    kept["classes"][0]["name"] = name
    place.write_text(json.dumps(kept))
    with pytest.raises(ModelFileError, match="is damaged"):
        Encoder.load(model).names()


def test_one_picture_of_other_things_is_counted_as_one(model: Path, bare: Encoder, bands: list[Path]) -> None:
    modelfile.write(Path("bare.onnx"), bare.content, bare.card)
    encoder = Encoder.load("bare.onnx")
    with pytest.raises(InputError, match="knows 1 picture; name a folder"):
        encoder.learn("band", encoder.embed(bands), encoder.embed([other(0)]))


def test_a_disk_that_refuses_keeps_what_was_there(
    model: Path, bands: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder.load(model)
    encoder.learn("band", encoder.embed(bands))
    before = sidecar.place(encoder.card.identity).read_bytes()

    def full(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="disk is full"):
        encoder.learn("other", encoder.embed([other(seed) for seed in range(5)]))
    assert sidecar.place(encoder.card.identity).read_bytes() == before
    assert encoder.names()[2:] == ("band",)
