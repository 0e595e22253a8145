"""The commands as people use them, and everything that they may get wrong."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictures import Cli, one_sentence, save_folder
from vitrine import images, storage
from vitrine.catalogue import folders
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Splits, drawn_garments
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError
from vitrine.training import recipe as recipes


@pytest.fixture
def shop(drawn: Splits, tmp_path: Path, cli: Cli) -> Path:
    """A catalogue "shop" of 50 pictures."""
    save_folder(drawn.test, tmp_path / "shop")
    assert cli("index", "add", tmp_path / "shop")[0] == 0
    return tmp_path / "shop"


# --- help and version


def test_every_command_has_help(cli: Cli) -> None:
    for command in ([], ["demo"], ["data"], ["data", "show"], ["data", "verify"], ["train"], ["classify"], ["search"]):
        code, out, _ = cli(*command, "--help")
        assert code == 0
        assert "Usage" in out
    assert cli("--version")[1].startswith("vitrine 0.")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, vitrine.cli\nheavy = {'numpy', 'torch', 'matplotlib', 'faiss', 'onnxruntime', 'PIL', 'pooch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_using_a_model_never_imports_torch(photo: Path) -> None:
    script = (
        "import sys, vitrine.encoder, vitrine.demo, vitrine.catalogue.local\n"
        f"vitrine.encoder.Encoder.load().classify([{str(photo)!r}])\n"
        "print({'torch', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- classify


@pytest.mark.usefixtures("alone")
def test_classify_prints_three_names_with_bars(cli: Cli, photo: Path) -> None:
    code, out, err = cli("classify", photo)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == str(photo)
    assert lines[1].startswith("  Ankle boot")
    assert "%" in lines[1]
    assert "█" in lines[1]
    assert len(lines) == 4


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("lang", "label"), [("en", "Ankle boot"), ("uk", "Черевики"), ("ru", "Ботинки")])
def test_classify_json_in_three_languages(cli: Cli, photo: Path, lang: str, label: str) -> None:
    answer = json.loads(cli("classify", photo, "--json", "--lang", lang)[1])
    assert answer["label"] == label
    assert answer["class_index"] == 9
    assert answer["probability"] == max(answer["probabilities"])
    assert len(answer["probabilities"]) == 10


@pytest.mark.usefixtures("alone")
def test_classify_standard_input(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(photo.read_bytes())))
    answer = json.loads(cli("classify", "-", "--json")[1])
    assert (answer["source"], answer["class_index"]) == ("-", 9)


def test_classify_a_folder_and_go_on_after_a_bad_file(cli: Cli, photo: Path) -> None:
    (photo.parent / "bad.jpg").write_text("text")
    code, out, err = cli("classify", photo.parent, "--json")
    assert code == 2
    assert [json.loads(line)["source"] for line in out.splitlines()] == [str(photo)]
    assert one_sentence(err)
    assert "bad.jpg is not a picture" in err


def test_show_input_draws_the_steps(cli: Cli, photo: Path) -> None:
    code, _, err = cli("classify", photo, "--show-input", "seen.png")
    assert code == 0
    assert "seen.png" in err
    assert images.read(Path("seen.png")).shape[1] > 400


def test_explain_draws_where_the_model_looked(cli: Cli, photo: Path) -> None:
    plain = cli("classify", photo, "--json")
    code, out, err = cli("classify", photo, photo, "--json", "--explain", "why.png", "--show-input", "seen.png")
    assert code == 0
    assert out == 2 * plain[1]  # it says nothing else than before
    assert "Where the model looked: why.png" in err
    drawn = images.read(Path("why.png"))
    assert drawn.shape[1] > 900
    above = drawn[: drawn.shape[0] * 5 // 6]  # the scale of colours
    assert np.count_nonzero(np.ptp(above, axis=2) > 150) > 300  # colours that the photo has not
    assert Path("seen.png").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--explain", "why.jpg"], "why.jpg does not end in .png"),
        (["--explain", "copy.png"], "copy.png is one of the pictures that were given"),
        (["--explain", "a.png", "--show-input", "./a.png"], "a.png is named by --show-input and by --explain"),
    ],
)
def test_explain_writes_over_nothing(cli: Cli, photo: Path, arguments: list[str], says: str) -> None:
    Image.open(photo).save("copy.png")
    before = Path("copy.png").read_bytes()
    code, out, err = cli("classify", "copy.png", *arguments)
    assert (code, out) == (2, "")
    assert one_sentence(err)
    assert says in err
    assert [path.name for path in Path().iterdir()] == ["copy.png"]
    assert Path("copy.png").read_bytes() == before


# --- index and search


def test_search_by_picture_finds_the_picture_itself(cli: Cli, shop: Path, encoder: Encoder) -> None:
    picture = shop / "Dress" / "0013.png"
    code, out, _ = cli("search", picture, "-k", 5, "--catalogue", "shop", "--json", "--out", "found.png")
    assert code == 0
    answer = json.loads(out)
    assert (answer["source"], answer["model"]) == (str(picture), encoder.card.name)
    assert len(answer["matches"]) == 5
    best = answer["matches"][0]
    assert (best["source"], best["label"]) == (str(picture), "Dress")
    assert best["score"] == pytest.approx(1, abs=1e-5)
    assert images.read(Path("found.png")).shape[1] > 500


def test_search_by_id_leaves_the_item_out(cli: Cli, shop: Path) -> None:
    matches = json.loads(cli("search", "--id", 1, "-k", 49, "--catalogue", "shop", "--json")[1])["matches"]
    assert sorted([1, *(match["id"] for match in matches)]) == list(range(1, 51))
    out = cli("search", "--id", 1, "--catalogue", "shop", "-k", 3)[1]
    assert len(out.splitlines()) == 3


def test_search_with_a_threshold_may_find_nothing(cli: Cli, shop: Path, photo: Path) -> None:
    code, out, _ = cli("search", photo, "--catalogue", "shop", "--threshold", 1)
    assert code == 0
    assert "Nothing in shop is that much alike" in out


@pytest.mark.parametrize("count", [9, 20])
def test_many_matches_are_drawn_in_rows(cli: Cli, shop: Path, count: int) -> None:
    assert cli("search", "--id", 1, "-k", count, "--catalogue", "shop", "--out", "found.png")[0] == 0
    assert images.read(Path("found.png")).shape[0] > 300


def test_index_list_info_add_again_and_remove(cli: Cli, shop: Path, encoder: Encoder) -> None:
    assert "shop" in cli("index", "list")[1]
    facts = json.loads(cli("index", "info", "shop", "--json")[1])
    assert (facts["items"], facts["model"], facts["dimensions"]) == (50, encoder.card.name, encoder.card.embedding)
    assert json.loads(cli("index", "list", "--json")[1]) == facts
    again = json.loads(cli("index", "add", shop, "--json")[1])
    assert (again["added"], again["unchanged"], again["items"]) == (0, 50, 50)
    assert "2 removed, 48 left" in cli("index", "remove", "shop", 1, 2)[1]
    code, out, err = cli("index", "remove", "shop", 1, 3)
    assert (code, one_sentence(err)) == (2, True)
    assert "1 removed" in out
    path = shop / "Dress" / "0003.png"
    assert json.loads(cli("index", "remove", "shop", "--source", path, "--json")[1]) == {
        "catalogue": "shop",
        "removed": 1,
        "items": 46,
    }
    assert cli("index", "remove", "shop", "--all")[0] == 0
    assert "no catalogue yet" in cli("index", "list")[2]


def test_index_info_for_people(cli: Cli, shop: Path) -> None:
    assert "items            50" in cli("index", "info", "shop")[1]


def test_index_drawn(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = drawn_garments.load(train=30, test=10)
    monkeypatch.setattr(drawn_garments, "load", lambda: splits)
    assert "40 added" in cli("index", "add", "drawn")[1]
    assert json.loads(cli("search", "--id", 1, "--catalogue", "drawn", "--json")[1])["matches"]


# --- data, model


def test_data_show_draws_and_counts(cli: Cli, shop: Path) -> None:
    code, out, _ = cli("data", "show", shop, "--out", "first.png")
    assert code == 0
    assert "Trouser" in out
    assert images.read(Path("first.png")).shape[0] > 500
    facts = json.loads(cli("data", "show", shop, "--json")[1])
    assert facts["classes"]["Bag"] == {"train": 5, "test": 0}


def test_data_show_draws_photos_in_their_colours(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "photos" / "dress").mkdir(parents=True)
    for i in range(3):
        noise = np.random.default_rng(i).integers(60, 200, (90, 60, 3)).astype(np.uint8)
        noise[20:70, 15:45] = (240, 10, 10)
        Image.fromarray(noise).resize((300, 450)).save(tmp_path / "photos" / "dress" / f"{i}.jpg")
    assert cli("data", "show", tmp_path / "photos", "--out", "first.png")[0] == 0
    drawn = images.read(Path("first.png")).astype(int)
    assert ((drawn[..., 0] > 200) & (drawn[..., 1] < 60)).mean() > 0.01


def test_data_show_and_verify_the_real_data(cli: Cli, real_data: Path) -> None:
    code, out, _ = cli("data", "show", "--data-dir", real_data, "--json")
    assert code == 0
    assert json.loads(out)["classes"]["Coat"] == {"train": 6000, "test": 1000}
    code, out, _ = cli("data", "verify", "--data-dir", real_data)
    assert (code, out.count("ok ")) == (0, 4)


def test_data_verify_without_data(cli: Cli) -> None:
    code, out, err = cli("data", "verify", "--json")
    assert code == 2
    assert len(out.splitlines()) == 4
    assert one_sentence(err)


def test_model_card(cli: Cli, encoder: Encoder) -> None:
    assert "28x28, grey, dark ground" in cli("model", "card")[1]
    assert json.loads(cli("model", "card", "default", "--json")[1])["name"] == encoder.card.name


# --- wrong input: each one sentence on standard error, exit code 2


def bomb() -> bytes:
    written = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(written, "PNG")
    return written.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.jpg", b"hello", "not a picture"),
        ("empty.jpg", b"", "is empty"),
        ("half.jpg", None, "damaged"),
        ("bomb.png", bomb(), "pixels"),
        ("missing.jpg", "missing", "There is no file"),
    ],
)
@pytest.mark.parametrize("command", ["classify", "search"])
def test_bad_pictures(cli: Cli, shop: Path, photo: Path, command: str, name: str, content: object, says: str) -> None:
    path = photo.parent / name
    if content is None:
        path.write_bytes(photo.read_bytes()[:2000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    extra = ["--catalogue", "shop", "--out", "out.png"] if command == "search" else ["--show-input", "out.png"]
    code, out, err = cli(command, path, *extra)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert one_sentence(err)
    assert says in err
    assert not Path("out.png").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["classify", ""], "A picture's name is empty"),
        (["classify", "https://example.org/boot.jpg"], "https://example.org/boot.jpg is a web address"),
        (["classify", "empty-folder"], "holds no pictures"),
        (["classify", "x.jpg", "--model", "none"], "There is no model 'none'"),
        (["classify", "x.jpg", "--model", "text.onnx"], "is not an ONNX file"),
        (["search", "x.jpg"], "There is no catalogue 'fashion-mnist'"),
        (["search"], "Name one picture"),
        (["search", "x.jpg", "--id", "3"], "Name one picture"),
        (["index", "add", "empty-folder"], "holds no pictures"),
        (["index", "add", "nowhere"], "no folder 'nowhere'"),
        (["index", "add", "drawn", "--catalogue", "a/b"], "cannot name a catalogue"),
        (["index", "info", "nowhere"], "There is no catalogue"),
        (["index", "remove", "nowhere", "1"], "There is no catalogue"),
        (["index", "remove", "nowhere"], "Say which items"),
        (["data", "show", "nowhere"], "There is no data set 'nowhere'"),
        (["data", "show", "--data-dir", "empty-folder"], "No Fashion-MNIST in"),
        (["model", "card", "text.onnx"], "is not an ONNX file"),
        (["train", "compactt"], "did you mean 'compact'?"),
        (["train", "nowhere.toml"], "cannot be read"),
        (["train", "bad.toml"], "not valid TOML"),
        (["train", "odd.toml"], "did you mean 'optimiser.learning_rate'?"),
        (["train", "compact", "--epoch", "3"], "did you mean 'epochs'?"),
        (["train", "compact", "--epochs", "many"], "must be a whole number"),
        (["train", "compact", "--epochs", "1" * 5000], "must be a whole number"),
        (["train", "compact", "--epochs", "0"], "allowed is 1 to"),
        (["train", "compact", "--epochs"], "needs a value"),
        (["train", "compact", "epochs=3"], "is not expected here"),
        (["train", "compact", "--name", "3"], "could be"),
        (["train", "compact", "--device", "cuda:99"], "cannot use the device"),
        (["train", "compact", "--data.name", "drawn", "--resume"], "no checkpoint"),
        (["train", "compact", "--data.name", "flat"], "images without a class"),
    ],
)
def test_wrong_input_is_one_sentence(cli: Cli, arguments: list[str], says: str) -> None:
    Path("empty-folder").mkdir()
    Path("flat").mkdir()
    Image.new("L", (28, 28), 3).save("flat/a.png")
    Path("text.onnx").write_text("text")
    Path("bad.toml").write_text("= no")
    Path("odd.toml").write_text("[optimiser]\nlearning_rat = 1.0\n")
    code, out, err = cli(*arguments)
    assert code == 2
    assert out == ""
    assert one_sentence(err)
    assert says in err
    assert not Path("runs").exists() or not list(Path("runs").iterdir())
    assert folders.names() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["search", "x", "-k", "0"],
        ["search", "--id", "9" * 30],
        ["index", "remove", "x", "9" * 30],
        ["classify"],
        ["classify", "x", "--lang", "fr"],
    ],
)
def test_usage_errors_exit_with_2(cli: Cli, arguments: list[str]) -> None:
    code, _, err = cli(*arguments)
    assert code == 2
    assert "Traceback" not in err


def test_names_that_no_catalogue_had_before(cli: Cli, drawn: Splits, tmp_path: Path) -> None:
    """A Ukrainian folder; the same folder by another path; a folder called like a data set; odd class names."""
    photos = tmp_path / "мої фото"
    save_folder(drawn.test[:4], photos)
    (photos / "Dress").rename(photos / "[red] $x_1$ dress")
    assert json.loads(cli("index", "add", photos, "--json")[1])["catalogue"] == "мої-фото"
    again = json.loads(cli("index", "add", tmp_path / "here" / ".." / "мої фото", "--json")[1])
    assert (again["added"], again["unchanged"]) == (0, 4)
    assert "[red] $x_1$ dress" in cli("data", "show", photos)[1]
    assert cli("search", "--id", 1, "--catalogue", "мої-фото", "--out", "found.png")[0] == 0
    save_folder(drawn.test[:1], tmp_path / "drawn")
    code, _, err = cli("index", "add", tmp_path / "drawn")
    assert code == 2
    assert "called like the data set" in err


def test_json_stays_json_where_the_terminal_is_not_utf8(photo: Path) -> None:
    arguments = ["vitrine", "classify", str(photo), "--json", "--lang", "uk", "--model", "default"]
    script = f"import sys, vitrine.cli\nsys.argv = {arguments}\n"
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-c", script + "vitrine.cli.main()"]
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert json.loads(done.stdout)["label"] == "Черевики"


def test_ctrl_c_in_index_add(cli: Cli, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vitrine.catalogue.local.LocalCatalogue.add", stop)
    code, _, err = cli("index", "add", shop, "--catalogue", "new")
    assert code == 130
    assert "new holds 0 items" in err
    assert folders.names() == ["shop"]


@pytest.mark.usefixtures("alone")
def test_a_new_catalogue_that_cannot_be_counted_is_never_deleted(
    cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was added was acknowledged: an error after it must not take it away."""

    def refuse(catalogue: LocalCatalogue) -> None:
        raise CatalogueError("The disk went away.")

    with monkeypatch.context() as broken:
        broken.setattr(LocalCatalogue, "__len__", refuse)
        code, _, err = cli("index", "add", shop, "--catalogue", "new")
    assert (code, one_sentence(err)) == (2, True)
    assert json.loads(cli("index", "info", "new", "--json")[1])["items"] == 50


def test_only_unreadable_pictures_make_no_catalogue(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("text")
    code, _, err = cli("index", "add", tmp_path / "bad")
    assert code == 2
    assert "nothing was added" in err
    assert folders.names() == []


def test_one_bad_path_among_good_ones(cli: Cli, photo: Path) -> None:
    code, out, err = cli("classify", "", "missing.jpg", Path(), photo, "/dev/null", "--json")
    assert code == 2
    assert [json.loads(line)["source"] for line in out.splitlines()] == [str(photo)]
    assert len(err.strip().splitlines()) == 4


def test_a_damaged_catalogue_is_named_and_can_be_removed(cli: Cli, shop: Path) -> None:
    storage.write_text(folders.folder("bad") / "catalogue.sqlite", "no database" * 100)
    code, out, err = cli("index", "list")
    assert (code, one_sentence(err)) == (2, True)
    assert "shop" in out
    assert cli("index", "remove", "bad", "--all")[0] == 0
    assert folders.names() == ["shop"]
    assert cli("index", "remove", "bad", "--all")[0] == 2


def test_a_place_that_may_not_be_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    for arguments in (["classify", "x.jpg", "--model", "default"], ["search", "x.jpg"], ["index", "info", "x"]):
        code, _, err = cli(*arguments)
        assert code == 2
        assert one_sentence(err)
        assert "Permission denied" in err


def test_a_home_that_cannot_be_written(cli: Cli, drawn: Splits, tmp_path: Path, home: Path) -> None:
    save_folder(drawn.test[:3], tmp_path / "photos")
    home.write_text("a file in the way")
    code, _, err = cli("index", "add", tmp_path / "photos")
    assert code == 2
    assert one_sentence(err)
    assert "Cannot write" in err


def test_a_full_disk_while_drawing(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    whole = cli("classify", photo, photo)[1]
    monkeypatch.setattr(os, "fsync", full)
    code, out, err = cli("classify", photo, photo, "--show-input", "seen.png")
    assert code == 2
    assert one_sentence(err)
    assert "the disk is full" in err
    assert out == whole  # what was asked is answered
    assert list(Path().iterdir()) == []


def test_training_without_torch_says_what_to_install() -> None:
    script = (
        "import sys\nsys.modules['torch'] = None\nsys.argv = ['vitrine', 'train', 'compact']\n"
        "import vitrine.cli\nvitrine.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'vitrine[train]'" in done.stderr
    assert one_sentence(done.stderr)


# --- train


@pytest.mark.slow
def test_train_ends_with_a_model_that_classifies(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = drawn_garments.load(train=300, test=10)
    monkeypatch.setattr(drawn_garments, "load", lambda: splits)
    arguments = ["train", "compact", "--data.name", "drawn", "--widths", "[8,16]", "--blocks", "[1,1]", "--epochs", "6"]
    code, out, err = cli(*arguments, "--batch-size=32", "--ema", "0", "--label_smoothing", "0")
    assert code == 0
    assert "epoch   6" in err
    assert "validation accuracy" in out
    assert [json.loads(line)["epoch"] for line in Path("runs/compact/history.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    answer = json.loads(cli("classify", photo, "--model", "runs/compact/model.onnx", "--json")[1])
    assert answer["label"] in ("Ankle boot", "Bag", "Sneaker", "Sandal")
    code, _, err = cli(*arguments)
    assert code == 2
    assert "There is a run in runs/compact already" in err
    code, _, err = cli(*arguments, "--resume")
    assert code == 2
    assert "was started with another recipe" in err


def test_train_json(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = drawn_garments.load(train=60, test=10)
    monkeypatch.setattr(drawn_garments, "load", lambda: splits)
    out = cli("train", "report-b-mlp", "--data.name", "drawn", "--epochs", "2", "--out", "r", "--json")[1]
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line.get("epoch") for line in lines] == [1, 2, None]
    assert lines[2]["parameters"] == 235_146
    assert Path(lines[2]["model"]).exists()


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from vitrine.training import loop

    whole = loop._train_epoch

    def stop(*arguments: Any) -> tuple[float, float]:
        if arguments[1] == stopped_in:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(loop, "_train_epoch", stop)
    arguments = ["train", "report-b-mlp", "--data.name", "drawn", "--epochs", "3", "--out", "a run"]
    stopped_in = 1
    code, _, err = cli(*arguments)
    assert (code, "nothing was kept" in err) == (130, True)
    stopped_in = 2
    code, _, err = cli(*arguments)
    assert code == 130
    again = shlex.split(err.strip().splitlines()[-1].split("with: vitrine ")[1])
    assert again == [*arguments, "--resume"]
    stopped_in = 0
    assert cli(*again)[0] == 0


def test_recipes_are_named_in_the_help(cli: Cli) -> None:
    out = cli("train", "--help")[1]
    assert set(recipes.names()) <= set(re.split(r"[^\w-]+", out))


def test_the_home_is_where_things_go(cli: Cli, shop: Path, home: Path) -> None:
    assert (home / "data" / "catalogues" / "shop" / "catalogue.sqlite").exists()
    assert storage.data_folder().is_relative_to(home)
