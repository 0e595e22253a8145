import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pictures import Cli
from vitrine.cli import watching
from vitrine.datasets import Splits
from vitrine.errors import InputError
from vitrine.training import loop, tuning
from vitrine.training import recipe as recipes
from vitrine.training.recipe import Recipe
from vitrine.training.tuning import Trial, Tuned


def tiny(**overrides: str) -> Recipe:
    small = {"data.name": "drawn", "widths": "[4,8]", "blocks": "[1,1]", "embedding": "8", "batch_size": "32"}
    return recipes.load("compact", {**small, "epochs": "5", "ema": "0", **overrides})


def search(drawn: Splits, folder: Path, count: int, resume: bool = False, epochs: int = 1) -> Tuned:
    return tuning.tune(tiny(), drawn.train, folder, count, epochs, resume=resume)


def test_the_best_of_the_trials_is_written_as_a_recipe(drawn: Splits, tmp_path: Path) -> None:
    told: list[Trial] = []
    found = tuning.tune(tiny(), drawn.train, tmp_path, 4, 2, told=told.append)
    assert told == found.trials
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3]
    assert found.best.validation_accuracy == max(trial.validation_accuracy for trial in found.trials)
    assert tuning.with_values(tiny(), found.trials[0].values) == tiny()  # the first is the recipe as it stands
    assert len({json.dumps(trial.values) for trial in found.trials}) == 4
    winner = recipes.load(str(found.recipe))
    assert winner == replace(tuning.with_values(tiny(), found.best.values), name="recipe")
    assert winner.training.epochs == 5
    assert f"validation accuracy {found.best.validation_accuracy:.4f}" in found.recipe.read_text()
    assert not list(tmp_path.glob("trial-*"))
    straight = loop.train(
        tuning.with_values(tiny(epochs="2"), found.best.values), drawn.train, tmp_path / "again"
    ).history[-1]
    assert straight.validation_accuracy == found.best.validation_accuracy


def test_a_search_that_was_stopped_makes_the_same_choices(
    drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_time(found: Tuned) -> list[Trial]:
        return [replace(trial, seconds=0) for trial in found.trials]

    whole = search(drawn, tmp_path / "whole", 8)
    honest = loop.learn
    calls: list[str] = []

    def stops(*arguments: Any, **named: Any) -> loop.Learnt:
        calls.append("")
        if len(calls) == 4:
            raise KeyboardInterrupt
        return honest(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "learn", stops)
        with pytest.raises(KeyboardInterrupt):
            search(drawn, tmp_path / "parts", 6)
    assert len((tmp_path / "parts" / "trials.jsonl").read_text().splitlines()) == 3
    search(drawn, tmp_path / "parts", 6, resume=True)
    parts = search(drawn, tmp_path / "parts", 8, resume=True)  # and two more
    assert without_time(parts) == without_time(whole)
    assert parts.recipe.read_text() == whole.recipe.read_text()


def test_a_loss_without_bound_is_a_lost_trial(drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(recipe: Recipe, *_: object, **__: object) -> object:
        raise loop.DivergedError("The loss became inf.")

    monkeypatch.setattr(loop, "learn", diverges)
    found = search(drawn, tmp_path, 2)
    assert [(trial.validation_accuracy, trial.validation_loss) for trial in found.trials] == [(0, None)] * 2


def test_searches_that_cannot_be(drawn: Splits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no search in"):
        search(drawn, tmp_path, 1, resume=True)
    with pytest.raises(InputError, match="does not train the classifier"):
        tuning.tune(tiny(metric="supcon", cross_entropy="0"), drawn.train, tmp_path, 1, 1)
    search(drawn, tmp_path, 1)
    with pytest.raises(InputError, match=r"a search in .* already"):
        search(drawn, tmp_path, 1)
    with pytest.raises(InputError, match="another recipe, number of epochs or data"):
        search(drawn, tmp_path, 1, resume=True, epochs=2)


def test_the_command_knows_the_search_by_its_file() -> None:
    assert watching.SEARCH_FILE == tuning.FACTS_FILE


@pytest.mark.slow
def test_until_stops_and_resume_goes_on(drawn: Splits, tmp_path: Path) -> None:
    result = loop.train(tiny(), drawn.train, tmp_path, until=0.01)
    assert len(result.history) == 1
    assert result.model.exists()
    assert len(loop.train(tiny(), drawn.train, tmp_path, resume=True, until=0.01).history) == 1
    assert len(loop.train(tiny(), drawn.train, tmp_path, resume=True).history) == 5


@pytest.mark.slow
def test_the_command(cli: Cli, drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = [
        "--data.name",
        "drawn",
        "--widths",
        "[4,8]",
        "--blocks",
        "[1,1]",
        "--batch_size",
        "64",
        "--data.limit",
        "120",
    ]
    arguments = ["train", "compact", *small, "--tune", "2", "--tune-epochs", "1"]
    code, out, err = cli(*arguments)
    assert (code, err.count("\ntrial ")) == (0, 2)
    assert "train it: vitrine train runs/compact-tune/recipe.toml" in out
    code, out, _ = cli(*arguments, "--resume", "--json")
    *trials, last = (json.loads(line) for line in out.splitlines())
    assert code == 0
    assert [trial["number"] for trial in trials] == [0, 1]
    assert last["validation_accuracy"] == max(trial["validation_accuracy"] for trial in trials)
    for wrong in (["--tune", "0"], ["--tune", "2", "--until", "0.9"], ["--tune-epochs", "3"], ["--until", "1.5"]):
        code, out, err = cli("train", "compact", *wrong)
        assert (code, out, "Traceback" in err) == (2, "", False)
