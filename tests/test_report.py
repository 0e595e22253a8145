"""`vitrine report`: what the page says is what the metrics say, in three languages, and of runs that lack something."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictures import Cli, one_sentence, save_folder
from vitrine import evaluation, messages, metrics, plots, report
from vitrine.datasets import Dataset, Splits, drawn_garments, image_folder
from vitrine.datasets.image_folder import PLAIN_GREY
from vitrine.encoder import Encoder
from vitrine.spec import ImageSpec
from vitrine.training import loop, models
from vitrine.training import recipe as recipes

KEYS = {"data.name": "drawn", "epochs": "2", "learning_rate": "0.1", "data.split": "random"}


@pytest.fixture(autouse=True)
def few(drawn: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set "drawn", small."""
    monkeypatch.setattr(drawn_garments, "load", lambda: drawn)


@pytest.fixture(scope="module")
def trained(drawn: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    loop.train(recipes.load("report-b-mlp", KEYS), drawn.train, folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run that a test may spoil."""
    return Path(shutil.copytree(trained, tmp_path / "mlp"))


@pytest.fixture
def cut(run: Path) -> Path:
    """A run that was interrupted after one of its two epochs."""
    (run / "model.onnx").unlink()
    first = (run / "history.jsonl").read_text().splitlines()[0]
    (run / "history.jsonl").write_text(first + '\n{"epoch": 2, "train_lo')
    return run


def edit(run: Path, **changes: Any) -> None:
    """Change keys of run.json; None takes one away."""
    facts = json.loads((run / "run.json").read_text())
    kept = {key: value for key, value in {**facts, **changes}.items() if value is not None}
    (run / "run.json").write_text(json.dumps(kept))


def text_of(page: Path) -> str:
    """The page's words, without tags and pictures; all spaces plain."""
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.S))


# --- one run


@pytest.mark.slow
def test_the_page_says_what_the_metrics_say(cli: Cli, run: Path, drawn: Splits) -> None:
    code, out, err = cli("report", run, "--json")
    assert code == 0
    facts, page = json.loads(out), run / "report" / "index.html"
    encoder = Encoder.load(run / "model.onnx")
    expected = evaluation.query_gallery(encoder, drawn)
    pairs = evaluation.pairs(encoder, drawn.test)
    assert (facts["measured_on"], facts["n"], facts["page"]) == ("test", 50, str(page))
    assert facts["accuracy"] == expected.accuracy
    assert facts["parameters"] == 235_146  # report B's
    for key in ("ece", "precision_at_1", "r_precision", "map_at_r"):
        assert facts[key] == pytest.approx(getattr(expected, key), abs=1e-6)
    for key in ("pair_loss", "pair_error"):
        assert facts[key] == pytest.approx(getattr(pairs, key), abs=1e-4)
    assert 0.8 < facts["trustworthiness"] <= 1
    assert facts["notes"] == []
    words = text_of(page)
    for key in ("accuracy", "ece", "precision_at_1", "map_at_r", "pair_loss", "trustworthiness"):
        assert f" {facts[key]:.4f} " in words
    outputs = encoder.run(drawn.test.images)
    found = metrics.per_class(metrics.confusion_matrix(outputs.logits.argmax(axis=1), drawn.test.labels, 10))
    assert f"Ankle boot {found.precision[9]:.4f} {found.recall[9]:.4f} {found.f1[9]:.4f} 5 " in words
    assert "test part, 50 images" in words
    assert "head Linear 10 1,290 total 235,146" in words
    assert drawn.train.checksum() + " (agrees with the data used here)" in words
    assert "Draw the map of 50 embeddings" in err
    _needs_nothing_else(page)


def _needs_nothing_else(file: Path) -> None:
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert len(page) < 5_000_000
    assert not re.search(r"https?:|<script|<link|url\(|@import", page)
    sources = re.findall(r'<img src="([^"]*)"', page)
    assert {path.name for path in file.parent.iterdir()} == {*report.PICTURES, "index.html"}
    assert len(sources) == page.count(' alt="') == len(report.PICTURES)
    assert all(source.startswith("data:image/png;base64,") for source in sources)


@pytest.mark.slow
def test_of_a_folder_the_validation_part_is_measured(cli: Cli, drawn: Splits, tmp_path: Path) -> None:
    """Which images that is, the report finds out without torch; the model file says what they gave in training."""
    save_folder(drawn.train, tmp_path / "shop")
    dataset = image_folder.load(tmp_path / "shop").dataset
    loop.train(recipes.load("report-b-mlp", {**KEYS, "data.name": str(tmp_path / "shop")}), dataset, tmp_path / "run")
    code, out, _ = cli("report", tmp_path / "run", "--json", "--lang", "uk", "--no-map")
    facts = json.loads(out)
    card = Encoder.load(tmp_path / "run" / "model.onnx").card
    assert (code, facts["measured_on"], facts["n"]) == (0, "validation", card.metrics["validation_images"])
    assert facts["accuracy"] == pytest.approx(card.metrics["validation_accuracy"], abs=1e-6)
    assert facts["ece"] == pytest.approx(card.metrics["validation_ece"], abs=1e-6)
    words = text_of(tmp_path / "run" / "report" / "index.html")
    assert "валідаційна частина" in words
    assert "підібрано на цих самих зображеннях" in words
    assert f"{facts['accuracy']:.4f}".replace(".", ",") in words
    # another picture: these are no longer the images that it was trained on
    shutil.copy(next((tmp_path / "shop" / "Bag").iterdir()), tmp_path / "shop" / "Bag" / "new.png")
    code, out, _ = cli("report", tmp_path / "run", "--json", "--no-map")
    facts = json.loads(out)
    assert (code, facts["measured_on"], facts["accuracy"]) == (0, None, None)
    assert "the checksum differs; now 201\u00a0images" in facts["notes"][0]
    assert [Path(path).name for path in facts["pictures"]] == ["curves.png"]
    assert not (tmp_path / "run" / "report" / "confusion.png").exists()  # an older report's


@pytest.mark.slow
def test_two_classes_in_colour(cli: Cli, tmp_path: Path) -> None:
    for label, name in ((0, "women's $tops$ <of all kinds>, long-sleeved"), (9, "взуття")):
        (tmp_path / "shop" / name).mkdir(parents=True)
        for index in range(12):
            colour = 255 - drawn_garments.draw(label, index) * np.array([0.4, 0.7, 0.9])
            Image.fromarray(colour.astype(np.uint8)).save(tmp_path / "shop" / name / f"{index}.png")
    spec = ImageSpec(28, 28, 3, PLAIN_GREY.ground, (0.0,) * 3, (1.0,) * 3)
    dataset: Dataset = image_folder.load(tmp_path / "shop", spec).dataset
    keys = {**KEYS, "data.name": str(tmp_path / "shop"), "epochs": "1", "data.validation": "0.25"}
    loop.train(recipes.load("report-b-mlp", keys), dataset, tmp_path / "run")
    code, out, _ = cli("report", tmp_path / "run", "--json")
    facts = json.loads(out)
    assert (code, facts["n"], facts["trustworthiness"]) == (0, 6, None)
    assert any("There is no map: that needs 10\u00a0images" in note for note in facts["notes"])
    assert "&lt;of all kinds&gt;" in (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")


# --- languages


def test_each_language_says_everything() -> None:
    english = messages.load("en")
    for language in messages.LANGUAGES:
        words = messages.load(language)
        assert list(words.texts) == list(english.texts)
        assert list(words.counted) == list(english.counted)
        assert all(len(forms) == (2 if language == "en" else 3) for forms in words.counted.values())
        for key, text in words.texts.items():
            assert text.strip(), key
            places = [set(re.findall(r"\{(\w+)\}", each)) for each in (text, english.texts[key])]
            assert places[0] == places[1], key


def test_what_the_code_says_is_in_the_files_and_nothing_else() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for room in ("report", "plots")
        for path in (Path(report.__file__).parents[1] / room).rglob("*.py")
    )
    tables = {"unit", "page", "part", "section", "figure", "table", "say", "tile", "plot", "note"}
    for key in messages.load("en").texts:
        table, name = key.split(".")
        assert table in tables
        assert table == "unit" or key in code or re.search(rf'\W{re.escape(name)}\W|f"{table}\.|_\{{', code), key


@pytest.mark.parametrize(
    ("language", "forms"),
    [
        ("en", {0: "images", 1: "image", 2: "images", 21: "images"}),
        ("uk", {0: "зображень", 1: "зображення", 4: "зображення", 5: "зображень", 11: "зображень", 112: "зображень"}),
        ("ru", {1: "изображение", 3: "изображения", 5: "изображений", 14: "изображений", 21: "изображение"}),
    ],
)
def test_plurals(language: str, forms: dict[int, str]) -> None:
    words = messages.load(language)
    assert {n: words.count(n, "image").split("\u00a0")[-1] for n in forms} == forms


@pytest.mark.parametrize(
    ("language", "says", "loss"),
    [
        ("en", ["Report on the training", "1 of 2 epochs done"], r"validation loss, last epoch \d\.\d{4} "),
        (
            "uk",
            ["Звіт про навчання", "виконано 1 з 2 епох", "Криві навчання"],
            r"втрати на валідації, остання епоха \d,\d{4} ",
        ),
        (
            "ru",
            ["Отчёт об обучении", "выполнено 1 из 2 эпох", "Кривые обучения"],
            r"потери на валидации, последняя эпоха \d,\d{4} ",
        ),
    ],
)
def test_an_interrupted_run_in_each_language(cli: Cli, cut: Path, language: str, says: list[str], loss: str) -> None:
    code, out, err = cli("report", cut, "--lang", language, "--json")
    assert code == 0
    facts = json.loads(out)
    assert (facts["measured_on"], facts["epochs"], facts["accuracy"]) == (None, 1, None)
    assert [Path(path).name for path in facts["pictures"]] == ["curves.png", "first-25.png"]
    words = text_of(cut / "report" / "index.html")
    assert all(each in words for each in says)
    assert re.search(loss, words)
    assert f'<html lang="{language}">' in (cut / "report" / "index.html").read_text(encoding="utf-8")
    assert all(note in err for note in facts["notes"])
    assert len(facts["notes"]) == 3  # interrupted, no model, half a line of history


# --- runs that lack something


def test_a_run_of_an_older_version(cli: Cli, run: Path) -> None:
    """Without layers and machine in run.json, and lines of history with other keys."""
    edit(run, layers=None, machine=None)
    (run / "history.jsonl").write_text('{"epoch": 1, "validation_accuracy": 0.5, "gone": 1}\n')
    (run / "checkpoint.json").unlink()
    read = report.runs.read(run, messages.load("en"))
    assert (read.layers, read.parameters, read.encoder is not None) == ((), None, True)
    assert read.notes == tuple(messages.load("en").text(f"note.{key}") for key in ("no_layers", "no_machine"))
    (run / "run.json").write_text("{")
    read = report.runs.read(run, messages.load("en"))
    assert (read.seed, read.name, read.data["name"]) == (0, "report-b-mlp", "drawn")  # from the model file
    assert "run.json is missing or damaged" in read.notes[0]


def test_a_run_whose_data_are_gone(cli: Cli, run: Path) -> None:
    edit(run, data={"name": "my-pictures", "images": 3, "checksum": "0"})
    code, out, _ = cli("report", run, "--json")
    facts = json.loads(out)
    assert (code, facts["measured_on"]) == (0, None)
    assert "The data “my-pictures” are not to be had" in facts["notes"][0]
    assert "(0" not in text_of(run / "report" / "index.html").split("checksum")[1][:20]
    assert [Path(path).name for path in facts["pictures"]] == ["curves.png"]


def test_a_model_file_that_cannot_be_used(cli: Cli, run: Path) -> None:
    (run / "model.onnx").write_bytes(b"half")
    code, out, _ = cli("report", run, "--json")
    assert (code, json.loads(out)["accuracy"]) == (0, None)
    assert "The model file cannot be used" in json.loads(out)["notes"][0]


def test_a_model_without_a_table_of_similarities(drawn: Splits, encoder: Encoder) -> None:
    mute = Encoder.from_content(encoder.content, replace(encoder.card, similarity=None))
    notes: list[str] = []
    found = report.measured.measure(mute, report.runs.Images(drawn, "test", []), messages.load("en"), notes)
    assert found is not None
    assert found.pairs is not None
    assert found.pairs.probabilities is None
    assert found.pairs.found is None
    assert np.mean(found.pairs.distances[found.pairs.same]) < np.mean(found.pairs.distances[~found.pairs.same])
    assert ["no table of similarities" in note for note in notes] == [True]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere is missing; name the folder of a run"),
        (["file"], "file is a file"),
        (["empty"], "holds no run"),
        (["mlp", "nowhere"], "nowhere is missing"),
        (["mlp", "--out", "file"], "file is a file; name a folder"),
        (["mlp", "--out", "site"], "is not a report of vitrine's"),
        (["mlp", "--out", "file/deeper"], "Cannot write"),
    ],
)
def test_wrong_input_is_one_sentence(cli: Cli, run: Path, arguments: list[str], says: str) -> None:
    Path("file").touch()
    Path("empty").mkdir()
    Path("site").mkdir()
    Path("site/index.html").write_text("my page")
    before = sorted(Path().rglob("*"))
    code, out, err = cli("report", *[run if argument == "mlp" else argument for argument in arguments])
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err
    assert sorted(Path().rglob("*")) == before
    assert not (run / "report").exists()


def test_ctrl_c_leaves_the_old_report(cli: Cli, cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("report", cut)[0] == 0
    before = {path.name: path.read_bytes() for path in (cut / "report").iterdir()}
    files = sorted(cut.rglob("*"))

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plots, "grid", stop)
    assert cli("report", cut, "--lang", "ru")[0] == 130
    assert {path.name: path.read_bytes() for path in (cut / "report").iterdir()} == before
    assert sorted(cut.rglob("*")) == files


# --- several runs


def test_runs_side_by_side(cli: Cli, run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    recipe = json.loads((other / "run.json").read_text())["recipe"]
    edit(other, recipe={**recipe, "training": {**recipe["training"], "seed": 1}})
    lines = (other / "history.jsonl").read_text().splitlines()
    last = {**json.loads(lines[-1]), "validation_accuracy": 0.25}
    (other / "history.jsonl").write_text(f"{lines[0]}\n{json.dumps(last)}\n")
    code, out, _ = cli("report", run, other, "--json", "--lang", "uk")
    assert code == 0
    facts = [json.loads(line) for line in out.splitlines()]
    assert [line["run"] for line in facts] == [str(run), str(other)]
    assert facts[0]["accuracy"] == facts[1]["accuracy"]
    words = text_of(Path("report/index.html"))
    first = json.loads((run / "history.jsonl").read_text().splitlines()[-1])["validation_accuracy"]
    mean, sd = (first + 0.25) / 2, abs(first - 0.25) / 2**0.5
    assert f"{mean:.4f} ± {sd:.4f}".replace(".", ",") in words
    assert "Порівняння: 2 навчання" in words
    assert sorted(path.name for path in Path("report").iterdir()) == ["curves.png", "index.html"]


# --- what a run says of its network


def test_the_layers_add_up(trained: Path, drawn: Splits) -> None:
    layers = json.loads((trained / "run.json").read_text())["layers"]
    assert [layer["shape"] for layer in layers] == [[784], [256], [256], [128], [128], [128], [10]]
    recipe = recipes.load("siamese")
    network = models.build(recipe.model, 1, 28, 10)
    from torch import zeros

    from vitrine.training import summary

    found = summary.layers(network, zeros(1, 1, 28, 28))
    assert sum(layer["parameters"] for layer in found) == models.parameter_count(network)
