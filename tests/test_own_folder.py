"""Own folder, own classes: a CSV of files and labels, the recipe `folder`, and what comes after its training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictures import Cli, drawn_shape, one_sentence
from vitrine.cli import train
from vitrine.datasets import by_name, image_folder, labelled_files
from vitrine.encoder import Encoder
from vitrine.errors import DataError, InputError
from vitrine.training import recipe as recipes
from vitrine.training import tuning

SHAPES = ("bar", "disc", "ring")


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Drawn shapes in class folders, of many sizes, grey ones and JPEGs among them."""
    folder, generator = tmp_path / "shapes", np.random.default_rng(3)
    for name in SHAPES:
        (folder / name).mkdir(parents=True)
        for number in range(14):
            image = Image.fromarray(drawn_shape(name, 40 + 5 * number, generator, True))
            image = image.convert("L") if number % 5 == 0 else image
            image.resize((60 + 7 * number, 80)).save(folder / name / f"{number}.{'jpg' if number % 2 else 'png'}")
    return folder


@pytest.fixture
def labels(shapes: Path) -> Path:
    """The same as a CSV beside the folder."""
    files = [f"shapes/{file.relative_to(shapes)},{file.parent.name}" for file in sorted(shapes.rglob("*.*"))]
    (shapes.parent / "labels.csv").write_text("\n".join(["file,label", *files]), encoding="utf-8")
    return shapes.parent / "labels.csv"


SMALL = {
    "data.size": "32",
    "kept": "48",
    "data.middle": "0.9",
    "photograph.size": "32",
    "early_size": "32",
    "widths": "[8,16]",
    "blocks": "[1,1]",
    "looks": "8",
    "kind": "8",
    "batch_size": "16",
    "data.validation": "0.2",
    "epochs": "2",
}
OPTIONS = [part for key, value in SMALL.items() for part in (f"--{key}", value)]


# --- a CSV of files and labels


def test_a_csv_is_the_same_data_as_the_folders(shapes: Path, labels: Path) -> None:
    folder, csv = image_folder.load(shapes).dataset, labelled_files.load(labels).dataset
    assert csv.checksum() == folder.checksum()
    assert (csv.class_names, csv.sources) == (folder.class_names, folder.sources)
    assert by_name.load(str(labels)).splits.train.checksum() == csv.checksum()


def test_images_come_in_the_order_of_the_lines_and_once(shapes: Path) -> None:
    lines = "label;colour;File\r\n кепка ;red;ring/1.jpg\r\n\r\nдиск;;disc\\\\2.png\r\nкепка;blue;./ring/1.jpg\r\n"
    (shapes / "mine.CSV").write_bytes(b"\xef\xbb\xbf" + lines.replace("\\\\", "\\").encode())
    found = by_name.load(str(shapes / "mine.CSV")).splits.train
    assert found.class_names == {"en": ("диск", "кепка")}
    assert found.labels.tolist() == [1, 0]
    assert [Path(source).name for source in found.sources] == ["1.jpg", "2.png"]


def test_other_labels_need_no_new_decoding(labels: Path) -> None:
    told: list[int] = []
    labelled_files.load(labels, progress=lambda done, total: told.append(done))
    labels.write_text(labels.read_text().replace(",bar", ",stripe"))
    changed = labelled_files.load(labels, progress=lambda done, total: told.append(-done)).dataset
    assert changed.class_names["en"] == ("disc", "ring", "stripe")
    assert min(told) > 0


def test_files_that_are_not_there_are_left_out(labels: Path) -> None:
    (labels.parent / "text.png").write_text("no picture")
    labels.write_text(labels.read_text() + "\nshapes/gone.png,disc\ntext.png,cap\n")
    found = labelled_files.load(labels)
    assert len(found.dataset) == 42
    assert found.dataset.class_names["en"] == SHAPES  # no class of pictures that are not there
    assert [entry.path.name for entry in found.unreadable] == ["gone.png", "text.png"]


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"file,name\na.png,x", InputError, "line 1: it has no column called label.*there are file, name"),
        (b"label,picture\nx,a.png", InputError, "line 1: it must name the columns"),
        (b"", InputError, "line 1: it must name the columns"),
        (b"file,label\n", DataError, "names no pictures"),
        (b"file,label\na.png,x\nb.png,\n", InputError, "line 3: the label of b.png is empty"),
        (b"file,label\n,x\n", InputError, "line 2: the name of the picture is empty"),
        (b"file,label\na.png,x\n./a.png,y", InputError, "line 3: ./a.png is 'y' here and 'x' in line 2"),
        (b"file,label\na.png,x,y", InputError, "line 2: it has 3 cells"),
        ("file,label\na.png,сукня".encode("cp1251"), InputError, "line 2: it is not UTF-8"),
        (b"file,label\na.png,x", DataError, "None of the 1 pictures in .*labels.csv can be read"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path: Path, content: bytes, error: type[Exception], said: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(error, match=said):
        labelled_files.load(tmp_path / "labels.csv")


def test_a_csv_that_is_not_there(cli: Cli) -> None:
    code, _, err = cli("data", "show", "labels.csv")
    assert code == 2
    assert "labels.csv cannot be read (No such file or directory)" in err


# --- training


@pytest.mark.slow
def test_from_a_folder_to_a_model_that_everything_takes(cli: Cli, shapes: Path, labels: Path) -> None:
    code, out, err = cli("train", "folder", "--data", labels, *OPTIONS, "--data.limit", "27", "--json")
    assert (code, "Traceback" in err) == (0, False)
    assert json.loads(out.splitlines()[-1])["validation_images"] == 9
    model = "runs/folder/model.onnx"
    card = Encoder.load(model).card
    assert card.classes == {"en": SHAPES}
    assert card.rejection
    assert card.image.shape == (32, 32, 3)
    assert card.recipe["data"]["name"] == str(labels)
    answer = json.loads(cli("classify", shapes / "ring" / "3.jpg", "--model", model, "--json")[1])
    assert answer["label"] in SHAPES
    assert isinstance(answer["known"], bool)
    for data in (shapes, labels):
        out = cli("evaluate", model, "--data", data, "--protocol", "leave-one-out", "--json")[1]
        measured = json.loads(out)
        assert measured["n"] == 42
        assert measured["accuracy"] is not None
    assert cli("index", "add", shapes, "--model", model, "--catalogue", "shapes", "--json")[0] == 0
    matches = json.loads(cli("search", shapes / "ring" / "3.jpg", "--catalogue", "shapes", "--json")[1])["matches"]
    assert matches[0]["source"].endswith("ring/3.jpg")
    told = json.loads(cli("report", "runs/folder", "--json")[1])
    assert (told["measured_on"], told["n"]) == ("validation", 9)
    counts = json.loads(cli("data", "show", labels, "--json")[1])["classes"]
    assert counts["ring"] == {"train": 14, "test": 0}


def flat(shapes: Path) -> None:
    for number, file in enumerate(sorted(shapes.rglob("*.*"))):
        file.rename(shapes / f"{number}{file.suffix}")


def one_class(shapes: Path) -> None:
    (shapes / "disc").rename(shapes / "ring" / "more")
    (shapes / "bar").rename(shapes / "ring" / "others")


def empty(shapes: Path) -> None:
    for file in shapes.rglob("*.*"):
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (flat, "0.png; training needs a sub-folder per class, or a CSV"),
        (one_class, "has one class only, 'ring'"),
        (empty, "holds no pictures"),
    ],
)
def test_folders_that_teach_nothing(cli: Cli, shapes: Path, spoil: Any, said: str) -> None:
    spoil(shapes)
    code, _, err = cli("train", "folder", "--data", shapes, *OPTIONS)
    assert code == 2
    assert said in err
    assert one_sentence(err)
    assert not Path("runs").exists()


def test_parts_of_a_data_set_are_no_classes(capsys: pytest.CaptureFixture[str]) -> None:
    for classes in ((), ("plane", "train"), ("bar", "disc")):
        train._note_parts("my data", classes)
    assert capsys.readouterr().err == ""
    train._note_parts("my data", ("Train", "test"))
    err = capsys.readouterr().err
    assert err.startswith("The classes are called Train and test;")
    assert err.endswith("--data 'my data/Train'\n")


def test_the_weights_of_the_photo_model_fit_the_recipe_for_own_folders() -> None:
    own, photo = recipes.load("folder").model, recipes.load("photo").model
    assert (own.widths, own.blocks) == (photo.widths, photo.blocks)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--data FOLDER"),
        (["--data", ""], "--data is empty"),
        (["--data", "here", "--data.name", "there"], "--data and --data.name both"),
        (["--data", "nowhere"], "There is no data set 'nowhere'"),
        (["--data", "nowhere.csv"], "nowhere.csv cannot be read"),
    ],
)
def test_what_to_learn_from_must_be_named_once(cli: Cli, arguments: list[str], said: str) -> None:
    code, _, err = cli("train", "folder", *arguments)
    assert code == 2
    assert said in err
    assert one_sentence(err)


def test_the_search_tries_what_photos_are_learnt_by(cli: Cli, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = cli("train", "folder", "--data", shapes, *OPTIONS, "--tune", "2", "--tune-epochs", "1", "--json")
    assert code == 0
    values = json.loads(out.splitlines()[-1])["values"]
    assert {key for key in values if key.startswith("photograph.")} == {
        "photograph.least",
        "photograph.light",
        "photograph.mix",
        "photograph.erase",
    }
    won = recipes.load("runs/folder-tune/recipe.toml")
    assert won.data.name == str(shapes)


def test_a_recipe_with_classes_is_written_as_it_is_read(tmp_path: Path) -> None:
    meant = {"my hats": (), "чоботи": ("👢 boot", "sandal"), "shirt": ("shirt",)}
    trial = tuning.Trial(0, {}, 0.5, None, 1.0)
    text = "".join(f"{json.dumps(key, ensure_ascii=False)} = {list(names)}\n" for key, names in meant.items())
    (tmp_path / "own.toml").write_text(f"[model]\nname = 'photo'\nlooks = 8\n[data]\nsize = 64\n[classes]\n{text}")
    read = recipes.load(str(tmp_path / "own.toml"))
    assert read.classes == meant
    (tmp_path / "again.toml").write_text(tuning._toml(read, trial, 1, 1))
    assert recipes.load(str(tmp_path / "again.toml")).classes == meant


def test_what_folders_mean_is_for_photos(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[classes]\nhat = []\n")
    with pytest.raises(InputError, match=r"are for model\.name 'photo'"):
        recipes.load(str(tmp_path / "own.toml"))


@pytest.mark.slow
def test_a_report_measures_folders_that_mean_one_class(cli: Cli, shapes: Path) -> None:
    Path("own.toml").write_text(
        "[data]\nname = ''\n[model]\nname = 'photo'\n[classes]\nbar = ['line']\ndisc = ['round']\nring = []\n"
    )
    small = [*OPTIONS, "--half", "false", "--epochs", "1"]
    del small[small.index("--epochs") : small.index("--epochs") + 2]
    assert cli("train", "own.toml", "--data", shapes, *small)[0] == 0
    assert Encoder.load("runs/own/model.onnx").card.classes == {"en": ("line", "round")}
    told = json.loads(cli("report", "runs/own", "--no-map", "--json")[1])
    assert (told["measured_on"], told["n"]) == ("validation", 6)
    assert any("ring" in note for note in told["notes"])
    assert "line" in (Path("runs/own/report") / "index.html").read_text()
