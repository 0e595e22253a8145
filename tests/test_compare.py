"""vitrine compare, as people use it, and what they may get wrong."""

import io
import json
import os
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import Cli, one_sentence
from vitrine import images, modelfile
from vitrine.datasets import drawn_garments
from vitrine.encoder import Encoder
from vitrine.similarity import Similarity

COSINE = Similarity("cosine", (0.0, 0.5, 1.0), (0.0005, 0.5, 0.9732))
DISTANCE = Similarity("class-distance", (0.0, 1.0), (0.9732, 0.0005))


@pytest.fixture
def model(encoder: Encoder, tmp_path: Path) -> Path:
    path = tmp_path / "able.onnx"
    modelfile.write(path, encoder.content, replace(encoder.card, similarity=COSINE))
    return path


@pytest.fixture
def shirt(tmp_path: Path) -> Path:
    """A drawn T-shirt, as small and grey as the model wants it."""
    path = tmp_path / "shirt.png"
    Image.fromarray(drawn_garments.draw(0, 1)[..., 0]).save(path)
    return path


def test_compare_says_how_probable_by_what_and_what_each_is(cli: Cli, model: Path, photo: Path) -> None:
    code, out, err = cli("compare", photo, photo, "--model", model)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "same kind of garment: 97.3 %"
    assert lines[1].startswith("  1.0000  cosine similarity")
    assert lines[2].startswith("  0.0000  distance of the embeddings")
    assert lines[3] == lines[5] == str(photo)
    assert lines[4].startswith("  Ankle boot  ")
    assert lines[4].endswith(" %")
    assert len(lines) == 7


def test_nothing_is_called_certain(cli: Cli, model: Path, photo: Path, shirt: Path) -> None:
    assert cli("compare", photo, shirt, "--model", model)[1].startswith("same kind of garment: under 0.1 %")


def test_compare_json(cli: Cli, model: Path, photo: Path, shirt: Path, encoder: Encoder) -> None:
    code, out, _ = cli("compare", photo, shirt, "--model", model, "--json", "--lang", "uk")
    assert code == 0
    answer = json.loads(out)
    assert list(answer) == ["same_probability", "score", "model", "measure", "distance", "a", "b"]
    assert list(answer["a"]) == list(answer["b"]) == ["source", "label", "probability", "known"]
    there = Encoder.load(model).compare(photo, shirt)
    assert (answer["same_probability"], answer["score"]) == pytest.approx((there.same_probability, there.score))
    assert (answer["model"], answer["measure"]) == (encoder.card.name, "cosine")
    assert (answer["a"]["source"], answer["a"]["label"]) == (str(photo), "Черевики")
    assert answer["b"]["label"] == "Футболка/топ"
    assert answer["b"]["probability"] == pytest.approx(encoder.classify([shirt])[0].probability, abs=1e-4)


def test_a_model_of_distances_says_so(cli: Cli, photo: Path, shirt: Path, encoder: Encoder) -> None:
    modelfile.write(Path("far.onnx"), encoder.content, replace(encoder.card, similarity=DISTANCE))
    out = cli("compare", photo, shirt, "--model", "far.onnx")[1]
    assert "distance of the class probabilities" in out
    answer = json.loads(cli("compare", photo, photo, "--model", "far.onnx", "--json")[1])
    assert answer["measure"] == "class-distance"
    assert answer["score"] == pytest.approx(0.0003, abs=1e-4)


@pytest.mark.parametrize("piped", ["a", "b"])
def test_either_picture_from_standard_input(
    cli: Cli, model: Path, photo: Path, shirt: Path, piped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: dict[str, object] = {"a": photo, "b": shirt}
    usual = json.loads(cli("compare", *paths.values(), "--model", model, "--json")[1])
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(Path(str(paths[piped])).read_bytes())))
    paths[piped] = "-"
    answer = json.loads(cli("compare", *paths.values(), "--model", model, "--json", "--out", "both.png")[1])
    assert answer[piped].pop("source") == "-"
    usual[piped].pop("source")
    assert answer == usual
    assert Path("both.png").exists()


@pytest.mark.parametrize("size", [(28, 28), (3000, 3), (2, 900), (600, 800)])
def test_out_draws_both(cli: Cli, model: Path, photo: Path, size: tuple[int, int]) -> None:
    """Tiny, wide and tall ones, with a name as long as can be, of two lines, in letters that the font lacks."""
    name = Path("長い\n$名$" + "W" * 230 + ".png")
    Image.fromarray(np.full((size[1], size[0]), 128, np.uint8)).save(name)
    code, out, err = cli("compare", name, photo, "--model", model, "--out", "both.png")
    assert (code, err) == (0, "Both pictures: both.png\n")
    assert out.startswith("same kind of garment: ")
    assert images.read(Path("both.png")).shape[1] > 600


@pytest.mark.parametrize("bad", ["a", "b", "both"])
def test_pictures_that_cannot_be_read(cli: Cli, model: Path, photo: Path, bad: str) -> None:
    Path("text.jpg").write_text("text")
    a, b = ("missing.jpg" if bad != "b" else photo), ("text.jpg" if bad != "a" else photo)
    code, out, err = cli("compare", a, b, "--model", model, "--out", "both.png")
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == (2 if bad == "both" else 1)
    assert all(one_sentence(line) for line in err.strip().splitlines())
    assert ("no file or folder missing.jpg" in err) == (bad != "b")
    assert ("text.jpg is not a picture" in err) == (bad != "a")
    assert not Path("both.png").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-", "-"], "Only one of the two pictures"),
        (["", "photo"], "name is empty"),
        (["https://example.org/boot.jpg", "photo"], "https://example.org/boot.jpg is a web address"),
        (["photo", "."], "is not a file"),
        (["photo", "photo", "--model", "none"], "There is no model 'none'"),
        (["photo", "photo", "--model", "plain.onnx"], "cannot compare: its training held out too few"),
        (["photo", "photo", "--out", "file/both.png"], "Cannot"),
        (["photo", "photo", "--out", "both.txt"], "does not end in .png"),
        (["mine.png", "photo", "--out", "mine.png"], "would be lost"),
    ],
)
def test_wrong_input_is_one_sentence(
    cli: Cli, model: Path, photo: Path, encoder: Encoder, arguments: list[str], says: str
) -> None:
    Path("file").touch()
    Path("mine.png").write_bytes(photo.read_bytes())
    modelfile.write(Path("plain.onnx"), encoder.content, replace(encoder.card, similarity=None))
    given: list[object] = [photo if argument == "photo" else argument for argument in arguments]
    code, out, err = cli("compare", *given, *([] if "--model" in given else ["--model", model]))
    assert code == 2
    assert bool(out) == (says == "Cannot")  # the answer comes first, then the picture
    assert len(err.strip().splitlines()) == 1
    assert one_sentence(err)
    assert says in err


def test_a_full_disk_while_drawing_leaves_nothing(
    cli: Cli, model: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, out, err = cli("compare", photo, photo, "--model", model, "--out", "both.png")
    assert (code, "same kind of garment" in out) == (2, True)
    assert "the disk is full" in err
    assert list(Path().iterdir()) == []


def test_compare_has_help_and_wants_two(cli: Cli) -> None:
    assert "kind of garment" in cli("compare", "--help")[1]
    assert cli("compare", "one.jpg")[0] == 2
