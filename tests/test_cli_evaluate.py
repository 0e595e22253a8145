"""`vitrine evaluate` as people use it, and what they may get wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pictures import Cli, one_sentence, save_folder
from vitrine import evaluation, modelfile
from vitrine.cli import unseen
from vitrine.datasets import Splits, drawn_garments
from vitrine.encoder import Encoder, Outputs
from vitrine.similarity import Similarity
from vitrine.training.recipe import Recipe

MakeModel = Callable[..., Path]


@pytest.fixture
def few(drawn: Splits, monkeypatch: pytest.MonkeyPatch) -> Splits:
    """The data set "drawn", small."""
    monkeypatch.setattr(drawn_garments, "load", lambda: drawn)
    return drawn


@pytest.fixture
def make_model(encoder: Encoder, tmp_path: Path) -> MakeModel:
    """The shipped model with another card, as a file."""

    def make(name: str, **fields: Any) -> Path:
        path = tmp_path / name
        modelfile.write(path, encoder.content, replace(encoder.card, **fields))
        return path

    return make


@pytest.fixture
def shop(drawn: Splits, tmp_path: Path) -> Path:
    save_folder(drawn.test, tmp_path / "shop")
    return tmp_path / "shop"


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_line_a_model(cli: Cli, few: Splits, make_model: MakeModel) -> None:
    other = make_model("other.onnx")
    code, out, err = cli("evaluate", "--data", "drawn", "--baselines", "--baseline-model", other, "--json")
    assert code == 0
    first, pixels, *_, second = lines(out)
    assert (first["model"], pixels["model"], second["model"]) == ("default", "raw pixels", str(other))
    assert (first["data"], first["protocol"], first["n"]) == ("drawn", "query-gallery", 50)
    expected = evaluation.query_gallery(Encoder.load(), few)
    assert first["accuracy"] == expected.accuracy
    assert first["map_at_r"] == pytest.approx(expected.map_at_r, abs=1e-6)
    assert first["success_at_1"] is first["pair_loss"] is None
    assert {**second, "model": "default"} == first
    assert (pixels["accuracy"], pixels["ece"]) == (None, None)
    assert pixels["map_at_r"] < first["map_at_r"]
    assert "Measure raw pixels on drawn, query-gallery ..." in err


def test_a_table_for_people(cli: Cli, few: Splits) -> None:
    code, out, _ = cli("evaluate", "--data", "drawn", "--protocol", "leave-one-out", "--baselines")
    assert code == 0
    assert "drawn, leave-one-out, n = 50" in out
    assert "MAP@R" in out
    assert "pair" not in out
    assert "raw pixels" in out


def test_find_original_by_seed(cli: Cli, few: Splits) -> None:
    arguments = ["evaluate", "--data", "drawn", "--protocol", "find-original", "--json", "--seed"]
    first, again, other = (lines(cli(*arguments, seed)[1])[0] for seed in (1, 1, 2))
    assert first == again
    assert (first["n"], first["map_at_r"], first["accuracy"]) == (50, None, None)
    assert 0 <= first["success_at_1"] <= first["success_at_10"] <= 1
    assert first["success_at_10"] != other["success_at_10"]


def test_pairs(cli: Cli, few: Splits, make_model: MakeModel) -> None:
    model = make_model("comparing.onnx", similarity=Similarity("cosine", (0.0, 1.0), (0.05, 0.95)))
    row = lines(cli("evaluate", model, "--data", "drawn", "--protocol", "pairs", "--json")[1])[0]
    assert (row["n"], row["accuracy"]) == (20_000, None)
    assert 0 < row["pair_error"] < 0.5
    assert 0 < row["pair_loss"] < 0.7
    mute = make_model("mute.onnx", similarity=None)
    code, out, err = cli("evaluate", mute, "--data", "drawn", "--protocol", "pairs", "--json")
    assert (code, out, one_sentence(err)) == (2, "", True)


def test_unseen_classes(cli: Cli, few: Splits, encoder: Encoder, make_model: MakeModel) -> None:
    recipe = {**encoder.card.recipe, "data": {**encoder.card.recipe["data"], "leave_out": [1, 7]}}
    model = make_model("unseen.onnx", recipe=recipe, data={**encoder.card.data, "name": "drawn"})
    arguments = ["evaluate", model, "--protocol", "unseen-classes", "--json"]
    row = lines(cli(*arguments, "--data", "drawn")[1])[0]
    assert (row["n"], row["accuracy"]) == (10, None)
    assert row["map_at_r"] > 0.5
    elsewhere = make_model("elsewhere.onnx", recipe=recipe)
    code, _, err = cli("evaluate", elsewhere, "--protocol", "unseen-classes", "--data", "drawn")
    assert (code, one_sentence(err)) == (2, True)
    assert "has left out classes of fashion-mnist" in err


# --- folders


def test_a_folder_is_searched_in_itself(cli: Cli, shop: Path) -> None:
    (shop / "Bag" / "broken.png").write_text("text")
    code, out, err = cli("evaluate", "--data", shop, "--protocol", "leave-one-out", "--json")
    assert code == 0
    assert "Left out: 1 file" in err
    row = lines(out)[0]
    assert row["n"] == 50
    assert row["accuracy"] > 0.5
    for protocol in ("find-original", "leave-one-out"):
        assert cli("evaluate", "--data", shop, "--protocol", protocol)[0] == 0
    code, out, err = cli("evaluate", "--data", shop)
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert "--protocol leave-one-out" in err


def test_a_folder_with_a_class_that_the_model_lacks(cli: Cli, shop: Path) -> None:
    (shop / "Bag").rename(shop / "[red] hat")
    (shop / "Dress").rename(shop / "сукня")
    code, out, err = cli("evaluate", "--data", shop, "--protocol", "leave-one-out", "--json")
    assert code == 0
    row = lines(out)[0]
    assert (row["accuracy"], row["ece"]) == (None, None)
    assert row["precision_at_1"] > 0.5
    assert "No accuracy for default, which does not know the classes [red] hat." in err


def test_a_class_with_one_picture(cli: Cli, drawn: Splits, tmp_path: Path) -> None:
    save_folder(drawn.test[:11], tmp_path / "shop")  # one picture a class, two T-shirts
    code, out, err = cli("evaluate", "--data", tmp_path / "shop", "--protocol", "leave-one-out", "--json")
    assert code == 0
    assert "Of 11 images, 9 cannot find another of their class" in err
    assert lines(out)[0]["r_precision"] in (0, 0.5, 1)


@pytest.mark.parametrize(
    ("pictures", "by_class", "protocol", "says"),
    [
        ([0, 10, 20], True, "leave-one-out", "nothing to tell apart"),
        ([0, 1, 2], True, "leave-one-out", "No image has another one of its class"),
        ([0, 10, 1], False, "leave-one-out", "have no class; put each picture into a sub-folder"),
        ([0, 10, 1], False, "pairs", "Pairs need images that all have a class"),
        ([0, 10, 20], True, "pairs", "Pairs need two classes"),
        ([0, 10, 1], True, "unseen-classes", "trained with data.leave_out"),
        ([], True, "leave-one-out", "holds no pictures"),
    ],
)
def test_folders_that_cannot_be_measured(
    cli: Cli, drawn: Splits, tmp_path: Path, pictures: list[int], by_class: bool, protocol: str, says: str
) -> None:
    (tmp_path / "shop").mkdir()
    for index in pictures:
        save_folder(drawn.test[index : index + 1], tmp_path / "shop" / "", by_class)
        for file in (tmp_path / "shop").rglob("0000.png"):
            file.rename(file.with_name(f"picture {index}.png"))
    code, out, err = cli("evaluate", "--data", tmp_path / "shop", "--protocol", protocol, "--json")
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "There is no model 'nowhere'"),
        (["--data", "nowhere"], "There is no data set 'nowhere'"),
        (["--baseline-model", "nowhere"], "There is no model 'nowhere'"),
        (["--data-dir", "."], "No Fashion-MNIST in"),
        (["siamese", "--protocol", "leave-one-out"], "There is no model 'siamese'"),
        (["--epochs", "3"], "--epochs does nothing"),
        (["--out", "x"], "--out does nothing"),
        (["--set", "looks=3"], "--set does nothing"),
        (["siamese", "--protocol", "unseen-classes", "--set", "looks"], "wants KEY=VALUE"),
        (["siamese", "--protocol", "unseen-classes", "--set", "seed=3", "--seed", "2"], "--seed and --set seed both"),
        (
            ["siamese", "--protocol", "unseen-classes", "--set", "training.epochs=3", "--epochs", "2"],
            "--epochs and --set",
        ),
        (["siamese", "--protocol", "unseen-classes", "--set", "look=3"], "'look'"),
        (["nowhere.toml", "--protocol", "unseen-classes"], "The recipe nowhere.toml cannot be read"),
    ],
)
def test_wrong_input_is_one_sentence(cli: Cli, arguments: list[str], says: str) -> None:
    code, out, err = cli("evaluate", *arguments)
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err


@pytest.mark.parametrize("arguments", [["--protocol", "none"], ["--seed", "-1"], ["--seed", "x"]])
def test_usage_errors_exit_with_2(cli: Cli, arguments: list[str]) -> None:
    assert cli("evaluate", *arguments)[0] == 2


@pytest.mark.slow
def test_raw_pixels_find_few_originals_in_the_real_data(real_splits: Splits) -> None:
    """Bounds wide enough for any seed: much above, and the alterations would be too weak to tell models apart."""
    found = evaluation.find_original(evaluation.RawPixels(), real_splits, count=500)
    assert found.success_at_1 is not None
    assert 0.04 < found.success_at_1 < 0.2


def test_the_model_of_cross_entropy_alone_is_a_baseline_once(
    cli: Cli, few: Splits, encoder: Encoder, tmp_path: Path
) -> None:
    other = tmp_path / "other.onnx"
    modelfile.write(other, encoder.content, replace(encoder.card, identity="0" * 32))
    for model, expected in ((str(other), [str(other), "compact"]), ("compact", ["compact"])):
        code, out, _ = cli("evaluate", model, "--data", "drawn", "--protocol", "pairs", "--baselines", "--json")
        assert code == 0
        assert [line["model"] for line in lines(out)] == expected
        assert all(0 < line["pair_loss"] < 2 and line["n"] == 20_000 for line in lines(out))


@pytest.mark.slow
def test_unseen_classes_trains_three_models_keeps_them_and_measures_beside_baselines(
    cli: Cli, few: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.toml").write_text(
        """
        [data]
        name = "drawn"
        [model]
        widths = [8, 16]
        blocks = [1, 1]
        embedding = 16
        looks = 8
        [loss]
        metric = "supcon"
        positives = "image"
        [training]
        views = 2
        batch_size = 32
        mirror = false
        """
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", "small.toml", "--protocol", "unseen-classes", "--epochs", "1", "--baselines", "--json"]
    code, out, _ = cli(*arguments)
    assert code == 0
    found = lines(out)
    alone = "small.toml, cross-entropy alone"
    assert [line["model"] for line in found] == ["small.toml", alone, "raw pixels"] * 4
    assert [line["classes"] for line in found[::3]] == [[0, 2, 4], [5, 7, 9], [3, 6, 8], None]
    assert found[9]["map_at_r"] == pytest.approx(sum(line["map_at_r"] for line in found[:9:3]) / 3, abs=1e-5)
    assert {line["data"] for line in found} == {"drawn"}
    card = Encoder.load(tmp_path / "runs/unseen-classes/small-supcon-without-5-7-9-seed-0/model.onnx").card
    assert card.recipe["data"]["leave_out"] == [5, 7, 9]
    assert card.recipe["training"]["epochs"] == 1
    plain = Encoder.load(tmp_path / "runs/unseen-classes/small-without-5-7-9-seed-0/model.onnx").card
    assert (plain.embedding, plain.recipe["training"]["views"]) == (128, 1)
    code, again, err = cli(*arguments)
    assert (code, again) == (0, out)
    assert err.count("Keep") == 6
    arguments.remove("--baselines")
    code, again, err = cli(*arguments, "--set", "looks_weight=9", "--set", "model.sharpness=0.5")  # only for the file
    assert (code, err.count("Take up")) == (0, 3)
    assert lines(again)[0] != found[0]
    card = Encoder.load(tmp_path / "runs/unseen-classes/small-supcon-without-5-7-9-seed-0/model.onnx").card
    assert (card.recipe["model"]["looks_weight"], card.recipe["model"]["sharpness"]) == (9, 0.5)
    arguments[arguments.index("--epochs") + 1] = "2"  # another recipe in the same folder
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert "was started with another recipe" in err
    for option in ("--data", "--baseline-model"):
        code, _, err = cli(*arguments, option, "drawn")
        assert (code, one_sentence(err)) == (2, True)
        assert f"{option} does nothing" in err


def test_unseen_classes_shows_a_recipe_for_photos_images_of_the_size_that_it_learns(
    cli: Cli, few: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training keeps them larger, to cut views out of."""

    class Model:
        def run(self, images: npt.NDArray[np.uint8], progress: object) -> Outputs:
            assert images.shape[1:] == (32, 32, 3)
            return Outputs(np.empty((len(images), 0), np.float32), np.eye(len(images), dtype=np.float32))

    def trained(recipe: Recipe, out: Path, splits: Splits) -> Model:
        assert splits.train.images.shape[1:] == (48, 48, 3)
        return Model()

    monkeypatch.setattr(unseen, "_trained", trained)
    changes = ["--set", "data.name=drawn", "--set", "data.size=32", "--set", "kept=48"]
    code, out, err = cli("evaluate", "folder", "--protocol", "unseen-classes", *changes, "--baselines", "--json")
    assert (code, "Traceback" in err) == (0, False)
    assert [line["model"] for line in lines(out)] == ["folder", "raw pixels"] * 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["photo"], "data.beside"),
        (["folder"], "names no data"),
        (["folder", "--set", "data.name=drawn", "--set", "weights=photo"], "model.weights"),
        (["folder", "--set", "data.name=nowhere"], "There is no data set 'nowhere'"),
    ],
)
def test_recipes_for_photos_that_do_not_allow_unseen_classes(cli: Cli, arguments: list[str], said: str) -> None:
    code, out, err = cli("evaluate", *arguments, "--protocol", "unseen-classes")
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("line", ["[model]\nstart = 'base'", "[data]\nleave_out = [1]"])
def test_a_recipe_that_may_know_the_classes_is_refused(cli: Cli, tmp_path: Path, line: str) -> None:
    (tmp_path / "r.toml").write_text(line)
    code, out, err = cli("evaluate", tmp_path / "r.toml", "--protocol", "unseen-classes", "--out", tmp_path / "runs")
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert "may know them" in err
    assert not (tmp_path / "runs").exists()
