"""docs/results.md and docs/performance.md say what the logs say: the scripts that write them, and the logs."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import logs
import make_demo
import make_performance
import make_results
import record
from vitrine.training import models, recipe

RESULTS = Path(make_results.__file__).with_name("results")
MEASURES = (
    *("accuracy", "precision_at_1", "r_precision", "map_at_r", "map_at_100"),
    *("success_at_1", "success_at_10", "pair_loss", "pair_error", "ece"),
)


def line(model: str, protocol: str = "query-gallery", **figures: Any) -> dict[str, Any]:
    """As `vitrine evaluate --json` prints it."""
    facts = {"model": model, "data": "fashion-mnist", "protocol": protocol, "n": 10_000, "classes": None}
    return {**facts, **dict.fromkeys(MEASURES), **figures}


def write(path: Path, *lines: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")


def test_the_page_says_what_the_logs_say() -> None:
    """If not: python benchmarks/make_results.py"""
    assert make_results.page(logs.read(RESULTS)) == make_results.PAGE.read_text(encoding="utf-8")


def test_the_page_on_performance_says_what_the_logs_say() -> None:
    """If not: python benchmarks/make_performance.py --picture"""
    found = logs.read(RESULTS)
    assert make_performance.page(found) == make_performance.PAGE.read_text(encoding="utf-8")
    assert f"### {1_000_000:,} items" in make_performance.page(found)


def test_what_check_says_of_a_page_that_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Better results\n")
    monkeypatch.setattr(make_results, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["make_results.py", "--check"])
    with pytest.raises(
        SystemExit, match=r"is not what the logs say; write it with: python benchmarks/make_results\.py"
    ):
        make_results.main()
    assert page.read_text() == "# Better results\n"
    monkeypatch.setattr(sys, "argv", ["make_results.py"])
    make_results.main()
    monkeypatch.setattr(sys, "argv", ["make_results.py", "--check"])
    make_results.main()


def test_the_parameters_that_the_page_names_are_the_nets() -> None:
    text = make_results.page(logs.read(RESULTS))
    counts = [
        models.parameter_count(models.build(recipe.load(n).model, 1, 28, 10)) for n in ("compact", "report-b-mlp")
    ]
    siamese = json.loads((RESULTS / "runs" / "siamese-0" / "run.json").read_text())  # what is fitted counts, too
    for count in [*counts, sum(layer["parameters"] for layer in siamese["layers"])]:
        assert f"{count:,} parameters" in text


def test_mean_and_sd_over_seeds_by_hand(tmp_path: Path) -> None:
    write(
        tmp_path / "siamese.jsonl",
        line("default", accuracy=0.91, precision_at_1=0.8),
        line("runs/siamese-1/model.onnx", accuracy=0.93),
        line("raw pixels", precision_at_1=0.5),
    )
    write(tmp_path / "again.jsonl", line("default", accuracy=0.91004))
    found = logs.read(tmp_path)
    assert found.values("siamese", "query-gallery", "accuracy") == {0: 0.91004, 1: 0.93}
    assert found.figure("siamese", "query-gallery", "accuracy", 2) == "0.92 ± 0.01"  # sample sd: 0.0141
    assert found.figure("siamese", "query-gallery", "precision_at_1", 2) == "0.80 (seed 0)"
    assert found.single("siamese", 1, "query-gallery", "accuracy") == "0.9300"
    assert found.figure("raw pixels", "query-gallery", "precision_at_1") == "0.5000"
    assert found.figure("siamese", "pairs", "pair_loss") == "not measured yet"
    assert found.single("siamese", 2, "query-gallery", "accuracy") == "not measured yet"


def test_logs_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "siamese.jsonl", line("default", accuracy=0.95))
    write(tmp_path / "siamese-old.jsonl", line("runs/siamese-0/model.onnx", accuracy=0.94))
    with pytest.raises(logs.LogError, match=r"siamese.* says 0\.95 for accuracy of siamese, seed 0, .* says 0\.94"):
        logs.read(tmp_path).figure("siamese", "query-gallery", "accuracy")


@pytest.mark.parametrize("model", ["better", "runs/siamese/model.onnx"])
def test_a_model_without_a_seed_in_its_name_is_refused(tmp_path: Path, model: str) -> None:
    write(tmp_path / "new.jsonl", line(model))
    with pytest.raises(logs.LogError, match=r"new\.jsonl names the model .*RECIPE-SEED"):
        logs.read(tmp_path)


def test_a_log_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new.jsonl").write_text("accuracy 0.99\n")
    with pytest.raises(logs.LogError, match=r"new\.jsonl is not JSON"):
        logs.read(tmp_path)


def test_other_data_do_not_count(tmp_path: Path) -> None:
    write(tmp_path / "drawn.jsonl", line("default", accuracy=0.9) | {"data": "drawn"})
    assert logs.read(tmp_path).measured == []


def test_seed_and_settings_of_unseen_classes_come_from_the_command(tmp_path: Path) -> None:
    command = "vitrine evaluate siamese --protocol unseen-classes --epochs 8 --set looks_weight=1 --set=sharpness=0.5"
    unseen = line("siamese", "unseen-classes", map_at_r=0.4, precision_at_1=0.9)
    pixels = line("raw pixels", "unseen-classes", map_at_r=0.3, precision_at_1=0.8)
    for seed, more in ((0, ""), (1, " --seed 1"), (2, " --seed=2")):
        write(tmp_path / f"{seed}.jsonl", {"command": command + more}, unseen, unseen | {"classes": [0, 2, 4]}, pixels)
    write(tmp_path / "shipped.jsonl", {"command": "vitrine evaluate siamese --protocol unseen-classes"}, unseen)
    found = logs.read(tmp_path)
    settings = "8 epochs, looks_weight=1, sharpness=0.5"
    assert found.unseen() == [("siamese", settings), ("raw pixels", ""), ("siamese", "")]
    assert found.unseen_seeds("siamese", settings) == [0, 1, 2]
    assert found.unseen_seeds("siamese", "") == [0]
    assert found.values("siamese", "unseen-classes", "map_at_r", (0, 2, 4), settings) == {0: 0.4, 1: 0.4, 2: 0.4}
    assert f"| vitrine: siamese | {settings}; seeds 0, 1, 2 | 0.900 ± 0.000 / 0.400 ± 0.000 |" in make_results.page(
        found
    )


def test_copies_of_a_run_folder_are_read(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "mlp-3"
    epoch = {"train_accuracy": 0.8, "validation_accuracy": 0.7}
    write(run / "history.jsonl", *({**epoch, "epoch": i + 1, "seconds": s} for i, s in enumerate((5.0, 1.0, 2.0))))
    write(run / "card.json", {"metrics": {"validation_accuracy": 0.75}})
    found = logs.read(tmp_path)
    assert found.figure("mlp", "card", "validation_accuracy") == "0.7500"
    assert found.runs("mlp")[0].facts["epoch_seconds"] == 2
    assert "| `mlp`, seed 3 | 3 | 2 | 0 | 0.8000 | 0.7000 |" in make_results.page(found)


def test_without_logs_the_page_has_figures_of_others_only(tmp_path: Path) -> None:
    text = make_results.page(logs.read(tmp_path))
    assert re.findall(r"\*\*\d[^*]*\*\*", text) == ["**0.6805**", "**0.4017**", "**0.2549**", "**0.8731**", "**1.9 %**"]
    assert text.count(logs.MISSING) > 60


def test_logs_that_are_still_to_come_complete_the_page(tmp_path: Path) -> None:
    """Everything that benchmarks/README.md lists, in the form in which the commands print it."""
    for name in ("siamese", "compact", "mlp", "resnet50-longer", "report-a-siamese"):
        models = [f"runs/{name}-{seed}/model.onnx" for seed in range(3)] + ["raw pixels"]
        figures = dict.fromkeys(MEASURES, 0.5)
        write(tmp_path / f"{name}.jsonl", *(line(each, p, **figures) for each in models for p in logs.EVALUATED))
    for name in ("siamese", "compact", "mlp", "resnet50", "resnet50-longer", "report-a-siamese", "report-a-resnet50"):
        for seed in range(3):
            run = tmp_path / "runs" / f"{name}-{seed}"
            epoch = {"epoch": 1, "train_accuracy": 0.5, "validation_accuracy": 0.5, "seconds": 60.0}
            write(run / "history.jsonl", epoch)
            metrics = ("validation_accuracy", "validation_pair_loss", "validation_pair_error")
            write(run / "card.json", {"metrics": dict.fromkeys(metrics, 0.5)})
    keys = ("accuracy", "precision_at_1", "map_at_r", "success_at_1", "success_at_10", "pair_loss")
    names = ("triplet", "second view 0.1, looks 0.1")
    write(
        tmp_path / "losses.jsonl", *({"name": n, "seed": s, **dict.fromkeys(keys, 0.5)} for n in names for s in (0, 1))
    )
    write(tmp_path / "retrieval.jsonl", {"items": 70_000, "seconds": 61.2, "peak_gib": 1.4})
    race = {"seed": 0, "val_accuracy": 0.5, "later_accuracy": 0.5, "epochs": [0.4, 0.5], "seconds": 200.0}
    write(tmp_path / "report_a.jsonl", *({"name": name} | race for name in ("vitrine", "keras")))
    copied = ("report_b", "report_b_speed", "photo_round_trip", "drawn", "make_demo", "keras_report_a", "alterations")
    for name in copied:
        (tmp_path / f"{name}.jsonl").write_text((RESULTS / f"{name}.jsonl").read_text())
    conditions, *rows = logs.read(RESULTS).of("speed.jsonl")
    write(tmp_path / "speed.jsonl", conditions | {"model": "siamese"}, *rows)
    splits = ([0, 2, 4], [5, 7, 9], [3, 6, 8], None)
    unseen = line("siamese", "unseen-classes", map_at_r=0.4, precision_at_1=0.9)
    shipped = "vitrine evaluate siamese --protocol unseen-classes --epochs 8"
    chosen = f"{shipped} --set looks_weight=1 --set shape_share=0.9 --set sharpness=0.5"
    for name, command, subject in (("a", shipped, "siamese"), ("b", chosen, "siamese"), ("c", chosen, "raw pixels")):
        rows = [unseen | {"model": subject, "classes": classes} for classes in splits]
        write(tmp_path / f"unseen-{name}.jsonl", {"command": command}, *rows)

    text = make_results.page(logs.read(tmp_path))
    missing = [each for each in text.splitlines() if logs.MISSING in each.lower()]
    assert [each[:8] for each in missing] == ["made: [b"]  # the rule
    assert "recipe `resnet50`, then `resnet50-longer` | seeds 0, 1, 2; last epoch | |" in text
    assert "| second view 0.1, looks 0.1 | 0.5000 ± 0.0000 |" in text


def test_record_keeps_the_lines_of_json_under_their_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "new.jsonl"
    command = [sys.executable, "-c", "print('hello'); print('{\"model\": 1}')"]
    assert record.record(log, command) == 0
    assert record.record(log, command) == 0
    header, facts, *again = map(json.loads, log.read_text().splitlines())
    assert list(header) == ["command", "conditions"]
    assert "print" in header["command"]
    assert re.match(r"\d{4}-\d\d-\d\d, \d+ cores of .*, load .*, Python 3\..*, numpy ", header["conditions"])
    assert facts == {"model": 1}
    assert len(again) == 2
    assert "hello" in capfd.readouterr().out
    assert record.record(log, command, new=True) == 0
    assert len(log.read_text().splitlines()) == 2


def test_record_writes_nothing_where_the_command_fails(tmp_path: Path) -> None:
    log = tmp_path / "new.jsonl"
    assert record.record(log, [sys.executable, "-c", "print('{}'); raise SystemExit(3)"]) == 3
    assert not log.exists()


def test_what_the_demo_says_of_itself() -> None:
    text = """
  data             Fashion-MNIST, 70,000 items
  accuracy         0.9497  of 10,000 Fashion-MNIST test images put into the right class
  precision at 1   0.9386  of them have a nearest Fashion-MNIST training image of their class
  time             32.8 s
"""
    assert make_demo.said(text) == {"accuracy": 0.9497, "precision_at_1": 0.9386, "demo_seconds": 32.8}


def test_the_readme_says_what_the_logs_say() -> None:
    """Times that the README repeats."""
    readme = make_results.PAGE.parents[1].joinpath("README.md").read_text(encoding="utf-8")
    found = logs.read(RESULTS)
    took = {row["what"]: make_results.duration(row["milliseconds"]) for row in found.of("speed.jsonl") if "what" in row}
    first, again = found.of("make_demo.jsonl")
    lines = [
        f"| `make demo`, fresh clone | {first['seconds']:.0f} s, {first['demo_seconds']:.0f} s of them for its 70,000",
        f"| `make demo`, again | {again['seconds']:.0f} s |",
        f"a new process | {took['vitrine classify PHOTO, a new process']}, of which the photo takes"
        f" {took['classify one 600x600 photo, model loaded']} |",
        f"a new process | {took['vitrine search PHOTO, a new process']}, of which reopening and searching take"
        f" {took['reopen the catalogue and search']} |",
    ]
    assert [line for line in lines if line not in readme] == []


def test_the_losses_in_the_lesson_are_those_of_the_results() -> None:
    """docs/metric-learning.md repeats a table of docs/results.md."""
    lesson = (make_results.PAGE.with_name("metric-learning.md")).read_text(encoding="utf-8")
    rows = [row for row in lesson.splitlines() if " ± " in row and row.startswith("| ")]
    names = {row["name"] for row in logs.read(RESULTS).of("losses.jsonl")}
    assert len(rows) == sum(not name.startswith(make_results.WEIGHTS) for name in names)
    assert set(rows) <= set(make_results.PAGE.read_text(encoding="utf-8").splitlines())
