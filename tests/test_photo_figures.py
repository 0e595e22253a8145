"""The measures of benchmarks/photos.py, by hand; the pictures by code; the page that is made from its log."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import logs
import make_photos
import no_clothing
import photo_baselines
import photo_data
import photo_figures
import photo_table
import photos
from vitrine import metrics
from vitrine.datasets import fashion_mnist
from vitrine.encoder import Encoder
from vitrine.images import Picture


def logits_of(*classes: int) -> photo_figures.Vectors:
    return np.eye(10, dtype=np.float32)[list(classes)]


def test_each_class_answers_for_one_group() -> None:
    names = fashion_mnist.CLASS_NAMES["en"]
    said = {name: photo_figures.ANSWERS[i] for name, i in zip(names, photo_figures.ANSWER_OF_CLASS, strict=True)}
    assert said == {
        **{"T-shirt/top": "t-shirt", "Trouser": "pants", "Pullover": "longsleeve", "Dress": "dress"},
        **{"Coat": "outwear", "Shirt": "shirt", "Bag": "bag"},
        **dict.fromkeys(("Sandal", "Sneaker", "Ankle boot"), "shoes"),
    }


def test_the_three_kinds_of_shoes_are_all_right_and_their_probabilities_are_added() -> None:
    logits = np.log(np.array([[0.1, 0, 0, 0, 0, 0.2, 0.15, 0.25, 0.1, 0.2]]) + 1e-30)
    found = photo_figures.answer_probabilities(logits, 1.0)
    assert found[0].round(6).tolist() == [0.1, 0, 0, 0, 0, 0.15, 0.65, 0.1]
    facts = photo_figures.seven_groups(logits_of(5, 7, 9, 8), np.array([6, 6, 6, 6]))
    assert (facts["groups_n"], facts["groups_right"]) == (4, 0.75)
    assert facts["groups"]["shoes"]["right"] == 0.75
    assert facts["confusion"][6] == [0, 0, 0, 0, 0, 1, 0, 1, 1, 1]
    assert math.isnan(facts["groups"]["pants"]["right"])


def test_wilsons_interval() -> None:
    low, high = photo_figures.wilson(8, 10)  # Brown, Cai, DasGupta 2001 give 0.49 to 0.94
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert photo_figures.wilson(0, 10)[0] == 0
    assert photo_figures.wilson(10, 10)[1] == pytest.approx(1)
    assert photo_figures.wilson(0, 0) == (0, 1)


def test_a_perfect_model_is_not_at_zero_with_few_photos() -> None:
    random = np.random.default_rng(0)
    top = random.uniform(0.5, 1, 300)
    probabilities = np.stack([top, 1 - top], axis=1)
    draws = (random.random((400, 300)) > top).astype(np.int64)
    perfect = [metrics.expected_calibration_error(probabilities, labels, photo_figures.BINS) for labels in draws]
    found = photo_figures.calibration(probabilities, draws[0])
    assert found["ece"] == pytest.approx(perfect[0], abs=1e-6)
    assert found["ece_perfect"] == pytest.approx(np.mean(perfect), abs=0.003)
    assert found["ece_perfect_95"] == pytest.approx(np.percentile(perfect, 95), abs=0.006)
    assert found["ece_perfect"] > 0.05  # with 20 photos a bin
    wrong = photo_figures.calibration(probabilities, np.ones(300, np.int64))
    assert wrong["ece"] == pytest.approx(top.mean(), abs=1e-6)  # never right, so off by all that it claims
    sure = photo_figures.calibration(np.eye(2)[np.zeros(30, np.int64)], np.zeros(30, np.int64))
    assert sure == {"ece": 0, "ece_perfect": 0, "ece_perfect_95": 0}


def test_equal_scores_are_ordered_by_place() -> None:
    gallery = np.array([[0, 1], [1, 0], [1, 0], [0.6, 0.8]], np.float32)
    assert photo_figures.first(np.array([[1, 0], [0, 1]], np.float32), gallery, 3).tolist() == [[1, 2, 3], [0, 3, 1]]


def test_the_share_of_look_alikes_is_a_mean_over_queries() -> None:
    found = photo_figures.shares_of_group(np.array([0, 0, 6]), np.array([[0, 0], [0, 6], [0, 1]]))
    assert found == {"look_alikes": 0.5, "look_alikes_n": 3, "look_alikes_by": {"t-shirt": 0.75, "shoes": 0.0}}


def test_new_classes_are_learnt_where_they_lie_apart_and_not_where_they_do_not() -> None:
    random = np.random.default_rng(0)
    centres = 8 * np.eye(6, 16)

    def around(label: int, n: int) -> photo_figures.Vectors:
        vectors: photo_figures.Vectors = (centres[label] + random.normal(size=(n, 16))).astype(np.float32)
        return vectors

    known = np.concatenate([around(i, 100) for i in range(3)])
    asked = np.concatenate([around(i, 40) for i in range(6)])
    labels = np.repeat([-1, -1, -1, 0, 1, 2], 40)
    fresh = np.ones(len(labels), np.bool_)
    found = photo_figures.new_classes(known, asked, labels, fresh, draws=5)
    assert found["together_recall"] > 0.95
    assert found["together_precision"] > 0.95
    assert found["new_recall"] > 0.95
    assert found["new_precision"] > 0.95
    twice = np.concatenate([around(0, 60), around(0, 60)])
    same = photo_figures.new_classes(known, twice, np.repeat([-1, 0], 60), np.ones(120, np.bool_))
    assert same["new_recall"] < 0.4
    assert found == photo_figures.new_classes(known, asked, labels, fresh, draws=5)
    assert found["new_precision_fresh"] == found["new_precision"]


def test_a_new_class_is_told_from_photos_that_nothing_was_learnt_from() -> None:
    random = np.random.default_rng(0)
    far, near = np.array([5.0, 0, 0, 0]), np.array([0, 5.0, 0, 0])
    known = (far + random.normal(size=(50, 4))).astype(np.float32)
    new = (near + random.normal(size=(30, 4))).astype(np.float32)
    taken = (near + random.normal(size=(10, 4))).astype(np.float32)  # others, but as the new class
    labels = np.repeat([-1, 0, -1], [50, 30, 10])
    vectors = np.concatenate([known, new, taken])
    easy = photo_figures.new_classes(known, vectors, labels, np.repeat([True, False], [80, 10]), draws=5)
    assert easy["new_precision"] < 0.8 < 0.95 < easy["new_precision_fresh"]
    hard = photo_figures.new_classes(known, vectors, labels, np.repeat([False, True], [80, 10]), draws=5)
    assert hard["new_precision_fresh"] < 0.5  # ten that count as sixty


def test_pictures_that_were_learnt_from_are_not_asked_about() -> None:
    answered, true = np.array([True, True, False, True]), np.array([True, True, True, False])
    assert photo_figures._hits(answered, true, np.array([0])) == (0.5, 0.5)
    assert photo_figures._hits(np.zeros(4, np.bool_), true, np.array([], np.int64)) == (0, 0)
    heavy = np.array([1.0, 1, 1, 3])
    assert photo_figures._hits(answered, true, np.array([0]), heavy) == (0.5, 0.25)


def test_the_pictures_by_code_are_the_same_each_time_and_all_different() -> None:
    drawn = no_clothing.pictures(each=4)
    assert list(drawn) == ["noise", "text", "digits", "landscapes", "textures"]
    told = [picture.tobytes() for each in drawn.values() for picture in each]
    assert len(set(told)) == 20
    again = no_clothing.pictures(each=4)
    assert told == [picture.tobytes() for each in again.values() for picture in each]
    assert all(picture.mode == "RGB" for each in drawn.values() for picture in each)
    assert not {one.tobytes() for each in no_clothing.pictures(each=1, seed=1).values() for one in each} & set(told)


def test_an_altered_copy_is_most_of_the_photo() -> None:
    photo = np.linspace(0, 255, 100 * 80 * 3).reshape(100, 80, 3).astype(np.uint8)
    for seed in range(20):
        copy = photo_data.altered(photo, np.random.default_rng(seed))
        assert 85 <= copy.shape[0] <= 100
        assert 68 <= copy.shape[1] <= 80
        assert copy.dtype == np.uint8
        assert np.corrcoef(copy.mean(axis=(1, 2)), np.arange(len(copy)))[0, 1] > 0.9
    assert np.array_equal(
        photo_data.altered(photo, np.random.default_rng(3)), photo_data.altered(photo, np.random.default_rng(3))
    )


def test_report_bs_way_and_the_crude_cut_out() -> None:
    photo = np.full((90, 60, 3), 250, np.uint8)
    photo[30:60, 20:40] = 50
    squeezed = photo_baselines.report_b(photo)
    assert squeezed.shape == (28, 28, 1)
    assert (squeezed[0, 0, 0], squeezed[14, 14, 0]) == (5, 205)
    cut = photo_baselines.cut_out(photo)  # 30 high, 20 wide, on black
    assert (cut[14, 14, 0], cut[14, 0, 0], cut[0, 14, 0]) == (205, 0, 205)
    assert (cut[14] > 0).sum() == 19
    assert photo_baselines.cut_out(np.full((9, 9, 1), 7, np.uint8)).shape == (28, 28, 1)


@pytest.mark.slow
def test_report_bs_net_is_trained_once_and_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vitrine.datasets import drawn_garments
    from vitrine.training import recipe

    short = recipe.load("report-b-mlp", {"seed": "0", "epochs": "2"})
    monkeypatch.setattr(recipe, "load", lambda name, overrides: short)
    train = drawn_garments.load(train=400, test=10).train
    model = photo_baselines.trained_report_b(train, tmp_path / "run")
    content = model.read_bytes()
    assert photo_baselines.trained_report_b(train, tmp_path / "run").read_bytes() == content
    model.unlink()  # as where it was stopped before the end
    assert Encoder.load(photo_baselines.trained_report_b(train, tmp_path / "run")).card.name == "report-b-mlp"


def test_answers_are_kept_until_the_pictures_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_data, "KEPT", tmp_path / "kept")
    encoder = Encoder.load("compact")
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((28, 28), 60 * i, np.uint8)).save(path)
    found = photo_data.answers(encoder, "two", paths)
    assert np.array_equal(found.logits, encoder.run(encoder.prepare(paths)).logits)
    again = photo_data.answers(encoder, "two", paths)
    assert np.array_equal(found.embeddings, again.embeddings)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    Image.fromarray(np.full((28, 28), 255, np.uint8)).save(paths[1])
    photo_data.answers(encoder, "two", paths)
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KEPT", tmp_path / "kept"), ("CHUNK", 2), ("BLOCK", 4)):
        monkeypatch.setattr(photo_data, name, value)
    encoder = Encoder.load("compact")
    items = np.random.default_rng(0).integers(0, 256, (10, 28, 28, 1)).astype(np.uint8)
    asked: list[int] = []

    def make(i: int) -> Picture:
        asked.append(i)
        if i == 6 and asked.count(6) == 1:
            raise KeyboardInterrupt
        item: Picture = items[i]
        return item

    with pytest.raises(KeyboardInterrupt):
        photo_data.made_answers(encoder, "items", 10, make)
    found = photo_data.made_answers(encoder, "items", 10, make)
    assert asked == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9]
    assert np.allclose(found.embeddings, encoder.embed(list(items)), atol=1e-5)
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_a_bridge_of_class_centres_leads_to_the_class_that_the_photo_model_finds() -> None:
    default = Encoder.load("default")
    random = np.random.default_rng(0)
    items = random.integers(0, 256, (20, 28, 28, 1)).astype(np.uint8)
    catalogue = photo_baselines.Catalogue(default, default.run(items).embeddings, np.arange(20) % 10)
    vectors = photo_baselines.class_centres(default, catalogue)([items[3]])
    assert vectors.shape == (1, default.card.embedding)
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-5)


def test_a_point_of_the_curve_is_a_log_or_a_model_of_so_many_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {"photo": 0.7, **dict.fromkeys(photos.BESIDE, 0.3)}
    lines = [{**LINE, "name": name, "seed": 0, "groups_right": value} for name, value in right.items()]
    (tmp_path / "300.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = list(photos._curve(f"300={tmp_path / '300.jsonl'}", None))  # type: ignore[arg-type]  # reads no photo
    assert [(line["name"], line["photos"], line["curve_right"]) for line in found] == [("300 photos", 300, 0.7)]
    again = [*found, {**found[0], "curve_right": 0.8}]
    with pytest.raises(logs.LogError, match="differ on curve_right of 300 photos, seed 0"):
        photo_table.curve(again)
    model = Encoder.load("compact")
    table = {"model": {"name": "photo"}, "data": {"limit": 400, "leave_out": [1, 7]}}
    other = Encoder.from_content(model.content, replace(model.card, recipe=table))
    monkeypatch.setattr(Encoder, "load", lambda path: other)
    with pytest.raises(SystemExit, match=r"trained with data\.limit 400; say 400=m\.onnx"):
        list(photos._curve("300=m.onnx", None))  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match=r"was shown hats, shorts or skirts; .* --data\.leave_out \[1, 7, 8\]"):
        photos._check_unseen(other)


LINE = {"name": "photo", "identity": "12345678", "sample": None}


def test_the_table_says_mean_and_sd_and_whether_it_is_reached() -> None:
    groups = {name: {"n": 4, "right": 1.0, "low": 0.5, "high": 1.0} for name in photo_figures.GROUPS}
    lines = [
        {**LINE, "seed": i, "groups_right": r, "groups_n": 28, "groups": groups} for i, r in ((0, 0.95), (1, 0.93))
    ]
    lines += [{**LINE, "seed": 0, "ece": 0.06, "groups_n": 28}]
    lines += [{**LINE, "name": "photo" + photo_table.UNSEEN, "seed": 0, "others_auroc": 0.9, "others_n": 51}]
    lines += [{"name": "300 photos", "seed": s, "photos": 300, "curve_right": 0.5, "sample": None} for s in (0, 1)]
    text = photo_table.text(lines).splitlines()
    assert text[0] == "seven groups, right: asked at least 0.92"
    assert text[1].split() == ["photo", "0.9400", "±", "0.0141", "2", "seeds,", "n", "28", "reached"]
    assert [line.split()[-2:] for line in text if "0.0600" in line] == [["not", "reached"]]
    assert [line.split()[-1] for line in text if "0.9000" in line] == ["reached"]  # 0.85 is asked of it
    assert text[-1].split() == ["300", "photos", "0.5000", "±", "0.0000"]


def test_lines_that_contradict_each_other_are_refused() -> None:
    lines = [{**LINE, "seed": 0, "ece": value} for value in (0.04, 0.06)]
    with pytest.raises(logs.LogError, match=r"differ on ece of photo, seed 0: 0\.04 and 0\.06"):
        photo_table.values(lines, "photo", "ece")


def test_the_page_says_what_the_log_says() -> None:
    """If not: python benchmarks/make_photos.py"""
    found = logs.read(Path(make_photos.__file__).with_name("results"))
    assert make_photos.page(found) == make_photos.PAGE.read_text(encoding="utf-8")


def test_a_page_without_a_log_has_no_figures(tmp_path: Path) -> None:
    assert make_photos.page(logs.read(tmp_path)).lower().count(logs.MISSING) == len(photo_table.ASKED) + 4


def test_a_log_of_a_sample_makes_no_page(tmp_path: Path) -> None:
    (tmp_path / "photos.jsonl").write_text(json.dumps({**LINE, "seed": 0, "sample": 300, "ece": 0.1}) + "\n")
    with pytest.raises(logs.LogError, match="--sample"):
        make_photos.page(logs.read(tmp_path))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "nothing"], "There is no model 'nothing'"),
        (["--model", "compact", "--model", "compact"], "the same name and seed"),
        (["--model", "compact", "--only", "curve", "--curve", "300"], "--curve wants N=PATH"),
    ],
)
def test_what_cannot_be_measured_ends_with_a_sentence(
    words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, toy_photos: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["photos.py", *words])
    with pytest.raises(SystemExit) as ended:
        photos.main()
    assert sentence in str(ended.value)


def test_without_photos_it_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VITRINE_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"There is no folder .*clothing-photos/train; set VITRINE_DATA"):
        photo_data.load("train")


def test_a_whole_run_on_toys(
    monkeypatch: pytest.MonkeyPatch, toy_photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--model", "compact", "--unseen", "compact", "--curve", "30=compact", "--json"]
    monkeypatch.setattr(sys, "argv", ["photos.py", *words])
    photos.main()
    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in printed.splitlines()]
    names = list(dict.fromkeys(line["name"] for line in lines))
    bridges = [f"compact; {name}" for name in photo_baselines.BRIDGES]
    assert names == [
        "compact",
        "default",
        "compact" + photo_table.UNSEEN,
        *bridges,
        "crude cut-out, then default",
        "30 photos",
    ]
    keys = {key for line in lines for key in line}
    assert keys >= {asked.key for asked in photo_table.ASKED} | set(photo_table.COUNTS.values())
    others = {line["name"]: line["others_n"] for line in lines if "others_n" in line}
    assert others == {"compact": 6, "default": 6, "compact" + photo_table.UNSEEN: 27}  # and those of train/
    (tmp_path / "photos.jsonl").write_text(printed)
    page = make_photos.page(logs.read(tmp_path))
    assert logs.MISSING not in page.replace(f'"{logs.MISSING}"', "")
    by_group = page.split("## By group")[1].split("What ")[0]
    assert {row.count("|") for row in by_group.splitlines() if row.startswith("|")} == {len(photo_figures.GROUPS) + 2}


def test_answers_of_several_seeds_are_averaged_as_probabilities(
    monkeypatch: pytest.MonkeyPatch, toy_photos: Path
) -> None:
    one = Encoder.load("compact")
    again = Encoder(replace(one.card, seed=one.card.seed + 1), one.content, one._session)
    said = {one.card.seed: logits_of(3, 3) * 9, again.card.seed: logits_of(6, 3) * 2}  # of a shirt and a dress
    labels = np.array([list(photo_figures.GROUPS).index(name) for name in ("shirt", "dress")])
    monkeypatch.setattr(photos, "_seven", lambda encoder, _: (said[encoder.card.seed], labels))
    data = photos.Data.load(None)
    assert [line["groups_right"] for line in photos._averaged([one, again], data)] == [0.5]  # the surer one decides
    said[one.card.seed] = logits_of(3, 3) * 0.1
    (line,) = photos._averaged([one, again], data)
    assert (line["name"], line["groups_right"]) == ("compact, 2 seeds' answers averaged", 1)
    assert not list(photos._averaged([one], data))


@pytest.fixture
def toy_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven photos of noise a folder in train/, two in validation/; and forty drawn garments as Fashion-MNIST."""
    from vitrine.datasets import drawn_garments

    random = np.random.default_rng(0)
    for part, count in (("train", 7), ("validation", 2)):
        for name in (*photo_figures.GROUPS, *photo_figures.OTHERS):
            folder = tmp_path / "data" / "clothing-photos" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (40, 30, 3)).astype(np.uint8)).save(folder / f"{i}.png")
    splits = drawn_garments.load(train=30, test=10)
    monkeypatch.setattr(fashion_mnist, "load", lambda: splits)
    monkeypatch.setenv("VITRINE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(photo_data, "KEPT", tmp_path / "kept")
    few = no_clothing.pictures(each=2)
    monkeypatch.setattr(no_clothing, "pictures", lambda: few)
    return tmp_path
