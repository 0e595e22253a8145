"""Training on photos: sets of classes, views, grounds, and a whole small training."""

import contextlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pictures import drawn_shape
from vitrine import images, metrics, modelfile
from vitrine.datasets import ClassNames, Dataset
from vitrine.encoder import Encoder
from vitrine.errors import DataError, InputError, RecipeError
from vitrine.spec import ImageSpec
from vitrine.training import checkpoints, loop, splitting
from vitrine.training import recipe as recipes
from vitrine.training.photo import composites, export, familiarity, fitting, units, views
from vitrine.training.photo.grounds import grounds
from vitrine.training.photo.lesson import PhotoLesson, floats
from vitrine.training.processes import ALONE
from vitrine.training.recipe import DataTable, PhotographTable, Recipe

CLASSES: ClassNames = {"en": ("disc", "bar", "ring"), "uk": ("коло", "смуга", "кільце")}
SHADES = {"disc": 0, "bar": 1, "ring": 2, "cross": 3}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(names: list[str], side: int, classes: ClassNames, colour: bool, seed: int) -> Dataset:
    generator = np.random.default_rng(seed)
    return Dataset(
        np.stack([drawn_shape(name, side, generator, colour) for name in names]),
        np.array([classes["en"].index(name) for name in names], np.int64),
        classes,
        tuple(f"{i}" for i in range(len(names))),
        "drawn",
    )


def photos(n: int = 40, seed: int = 1, side: int = 32) -> Dataset:
    """Folders as a user may have them, in their order by name."""
    return pictures(sorted(SHADES) * n, side, {"en": tuple(sorted(SHADES))}, True, seed)


def garments() -> Dataset:
    return pictures(list(CLASSES["en"]) * 40, 28, CLASSES, False, 2)


def recipe(**changes: str) -> Recipe:
    written = {
        "size": "32",
        "validation": "0.2",
        "widths": "[8, 16, 32]",
        "blocks": "[1, 1, 1]",
        "looks": "8",
        "kind": "8",
        "epochs": "10",
        "training.batch_size": "32",
        "optimiser.name": "adamw",
        "learning_rate": "5e-3",
        "photograph.size": "32",
        "early_size": "32",
        "early_garments": "8",
        "garments": "8",
        "early": "0.3",
        "ema": "0.9",
    }
    named = {key if "." in key or key != "size" else "data.size": value for key, value in written.items()}
    found = recipes.load("photo", {**named, **{key.replace("__", "."): value for key, value in changes.items()}})
    return replace(found, classes={"cross": ()})


def test_a_folder_may_mean_several_classes_or_none() -> None:
    found = units.of_folders(("boots", "hat", "shirt"), {"en": ("shirt", "sandal", "boot")}, MEANING, (), False)
    assert (found.known, found.strangers, found.open) == (3, ("hat",), True)
    assert found.sets == ((1, 2), (3,), (0,))
    targets = found.targets(torch.tensor([0, 1, 2]))
    assert targets.tolist() == [
        [False, True, True, False, False],
        [False, False, False, True, False],
        [True, False, False, False, False],
    ]


MEANING = {"boots": ("sandal", "boot"), "hat": ()}


def test_a_folder_left_out_has_no_unit() -> None:
    found = units.of_folders(("boots", "hat", "shirt"), {"en": ("shirt", "sandal", "boot")}, MEANING, (1,), True)
    assert (found.learnt, found.strangers, found.sets[1]) == (3, (), (3,))


def test_folders_are_their_own_classes_where_nothing_else_is_said() -> None:
    found = units.of_folders(("a", "b"), None, {}, (), False)
    assert (found.classes, found.sets, found.open) == ({"en": ("a", "b")}, ((0,), (1,)), False)
    assert torch.isinf(found.log_probabilities(torch.zeros(1, 2))[0, 2])


@pytest.mark.parametrize(
    ("meaning", "said"),
    [({"c": ("x",)}, "there is none"), ({"a": ("coat",)}, "known are x, y"), ({}, "in \\[classes\\]")],
)
def test_what_folders_mean_must_be_known(meaning: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        units.of_folders(("a", "b"), {"en": ("x", "y")}, meaning, (), False)


def test_the_loss_of_a_set_is_that_of_its_joint_probability() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    found = units.of_folders(("a", "b", "c"), {"en": ("x", "y")}, {"a": ("x", "y"), "b": ("x",), "c": ()}, (), False)
    p = [math.exp(v) for v in (1.0, 2.0, 0.5, 0.0)]
    loss = units.set_loss(found.log_probabilities(logits), found.targets(torch.tensor([0])))
    assert float(loss) == pytest.approx(-math.log((p[0] + p[1]) / sum(p)), abs=1e-6)
    energy = metrics.energy(found.class_logits(logits).numpy())[0]
    assert energy == pytest.approx(math.log((p[0] + p[1]) / (p[2] + p[3])), abs=1e-6)  # the odds of being known


def test_a_window_of_everything_is_the_picture() -> None:
    whole = PhotographTable(least=1, stretch=1, turn=0, mirrored=0)
    small = torch.rand((2, 3, 20, 20), generator=seeded())
    picture = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(views.windows(picture, 20, whole, seeded()), small, atol=1e-5)
    mirrored = views.windows(picture, 20, replace(whole, mirrored=1.0), seeded())
    assert torch.allclose(mirrored, small.flip(3), atol=1e-5)


def test_what_is_finer_than_the_pixels_is_averaged() -> None:
    """Stripes of one pixel, seen at half the size, are grey wherever the window lies."""
    stripes = (torch.arange(64) % 2).float().expand(8, 3, 64, 64)
    table = PhotographTable(least=0.9, stretch=1, turn=0, mirrored=0)
    found = views.windows(stripes, 32, table, seeded())
    assert float((found - 0.5).abs().mean()) < 0.1


def test_no_light_changes_nothing_and_light_stays_in_range() -> None:
    picture = torch.rand((4, 3, 16, 16), generator=seeded()) * 0.98 + 0.01
    table = PhotographTable(light=0, colourless=0, blurred=0)
    assert torch.allclose(views.lit(picture, table, seeded()), picture, atol=1e-4)
    changed = views.lit(picture, PhotographTable(light=0.8), seeded())
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert float((changed - picture).abs().mean()) > 0.02


def test_mixing_says_how_much_is_own() -> None:
    picture = torch.arange(8.0)[:, None, None, None].expand(8, 3, 24, 24)
    found, others, own = views.mixed(picture, 1.0, seeded(3))
    for i in range(8):
        assert float((found[i, 0] == i).float().mean()) >= float(own[i]) - 1e-6
        assert set(found[i].flatten().tolist()) <= {float(i), float(others[i])}
    assert float(own.min()) < 0.9
    assert float(views.mixed(picture, 0.0, seeded())[2].min()) == 1


def test_composites_show_the_garment_on_the_ground() -> None:
    grey = torch.zeros((1, 1, 28, 28))
    grey[..., 8:20, 8:20] = 1
    ground = torch.full((1, 3, 56, 56), 0.5)
    found = composites.composed(grey, ground, seeded(1))
    assert found.shape == ground.shape
    assert float((found[..., :3, :3] - 0.5).abs().max()) < 0.01  # the corner is ground
    assert float((found[..., 20:36, 20:36] - 0.5).abs().mean()) > 0.02
    assert composites.enlarged(grey, 56, seeded()).shape == ground.shape


def test_a_limit_takes_of_each_folder_its_share_and_leaves_what_is_held_out() -> None:
    every = photos(40)
    some = every[np.flatnonzero((every.labels != 1) | (np.arange(len(every)) % 16 < 4))]  # 40, 10, 40, 40
    table = DataTable(validation=0.2)
    whole, held = splitting.split(some, table, 0, photos=True)
    parts = [splitting.split(some, replace(table, limit=limit), 0, photos=True) for limit in (13, 26, 1000)]
    assert [len(training) for training, _ in parts] == [13, 26, len(whole)]
    assert {validation.sources for _, validation in parts} == {held.sources}
    assert parts[0][0].counts().tolist() == [4, 1, 4, 4]
    assert parts[1][0].counts().tolist() == [8, 2, 8, 8]
    assert set(parts[0][0].sources) < set(parts[1][0].sources) < set(whole.sources)
    assert splitting.split(some, replace(table, limit=13), 0, photos=True)[0].sources == parts[0][0].sources
    assert splitting.split(some, replace(table, limit=13), 1, photos=True)[0].sources != parts[0][0].sources
    for limit in (1, 2):
        with pytest.raises(DataError, match="No training images would be left of the class"):
            splitting.split(some, replace(table, limit=limit), 0, photos=True)


def test_some_photo_of_a_class_must_be_held_out(tmp_path: Path) -> None:
    every = photos(10)
    few = every[np.flatnonzero((every.labels == 1) | (np.arange(len(every)) < 8))]  # 10 of cross, 2 of each other
    with pytest.raises(DataError, match=r"No photo of drawn that shows one of the classes .* now 0\.2"):
        loop.train(recipe(), few, tmp_path / "run", beside=garments())
    assert not (tmp_path / "run").exists()


def test_what_few_photos_do_not_tell_is_not_in_the_embedding() -> None:
    rows = torch.randn((5, 40), generator=seeded(), dtype=torch.float64)
    assert fitting._components(rows, 8).axes.shape == (40, 4)
    assert fitting._components(rows.repeat(4, 1) + 0.1 * torch.randn((20, 40), generator=seeded()), 8).axes.shape == (
        40,
        8,
    )
    views = rows[:, None] + 0.1 * torch.randn((5, 6, 40), generator=seeded(), dtype=torch.float64)
    found = fitting._discriminants(views, 8)
    assert found.axes.shape == (40, 4)
    likeness = found(views[:, 0]) @ found(views[:, 1]).T
    assert likeness.argmax(1).tolist() == [0, 1, 2, 3, 4]


def test_a_few_photos_do_not_make_a_model_sure() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 3000)
    likely = generator.normal(size=(3000, 3))
    logits = (likely + np.eye(3)[truth]).astype(np.float32)  # by Bayes the softmax of these is right
    sets = np.eye(3, dtype=np.bool_)[truth]
    assert export._temperature(3 * logits, sets) == pytest.approx(3, rel=0.1)
    sure = np.array([[4, 0, 0], [0, 3, 0]], np.float32)  # both right: the likeliest temperature is 0
    assert 0.5 < export._temperature(sure, np.eye(3, dtype=np.bool_)[:2]) < 1


def test_grounds_differ_and_come_again_by_seed() -> None:
    some = grounds(16, 32, 5)
    assert some.shape == (16, 32, 32, 3)
    assert np.array_equal(some, grounds(16, 32, 5))
    assert not np.array_equal(some, grounds(16, 32, 6))
    assert len({image.tobytes() for image in some}) == 16


def drawn_features(n: int, seed: int) -> torch.Tensor:
    """Features (n, 12), the first 8 of the last map: about two places, spread along one direction."""
    generator = seeded(seed)
    middles = torch.eye(12)[torch.arange(n) % 2] * 4 + torch.eye(12)[8] * 2
    spread = torch.cat([torch.full((4,), 0.05), torch.full((1,), 1.0), torch.full((7,), 0.05)])
    return middles + spread * torch.randn((n, 12), generator=generator)


TWO_FOLDERS = units.of_folders(("a", "b", "hat"), {"en": ("a", "b")}, {"hat": ()}, (), True)
WITHOUT_HATS = units.of_folders(("a", "b", "hat"), {"en": ("a", "b")}, {"hat": ()}, (2,), True)


def test_the_distance_is_mahalanobis_own() -> None:
    rows = drawn_features(400, 1)
    fitted = familiarity.fit(rows, torch.arange(400) % 2, 8, WITHOUT_HATS)
    assert fitted.axes.shape == (12, 11)  # as many as can be: it is the whole covariance
    asked = drawn_features(6, 2) + 0.3 * torch.randn((6, 12), generator=seeded(3))
    found = -fitted.respects(asked, torch.zeros((6, 2)))[:, 0]
    even, target = familiarity.evened(rows.double(), 8), familiarity.evened(asked.double(), 8)
    means = torch.stack([even[0::2].mean(0), even[1::2].mean(0)])
    apart = even - means[torch.arange(400) % 2]
    covariance = apart.T @ apart / 400
    covariance += familiarity.SHRINKAGE * covariance.diagonal().mean() * torch.eye(12)
    precision = torch.linalg.inv(covariance)
    for i in range(6):
        squares = [float((target[i] - mean) @ precision @ (target[i] - mean)) for mean in means]
        assert float(found[i]) == pytest.approx(math.sqrt(min(squares)), rel=1e-3)


def test_few_directions_are_kept_and_the_rest_counts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, groups = drawn_features(400, 1), torch.arange(400) % 2
    whole = familiarity.fit(rows, groups, 8, WITHOUT_HATS)
    monkeypatch.setattr(familiarity, "RANK", 3)
    few = familiarity.fit(rows, groups, 8, WITHOUT_HATS)
    assert few.axes.shape == (12, 3)
    asked = drawn_features(50, 2)
    found = torch.stack([one.respects(asked, torch.zeros((50, 2)))[:, 0] for one in (whole, few)])
    assert float(torch.corrcoef(found)[0, 1]) > 0.8


def test_what_is_unusual_in_one_respect_is_not_familiar() -> None:
    fitted = familiarity.fit(drawn_features(400, 1), torch.arange(400) % 2, 8, TWO_FOLDERS)
    usual, sure = drawn_features(100, 2), torch.tensor([[3.0, 0.0, -3.0]]).expand(100, 3)
    sure = sure + 0.5 * torch.randn((100, 3), generator=seeded(4))
    fitted.measure_usual(usual, sure)
    assert float(fitted.respects(usual, sure).mean(0).sub(fitted.usual[:, 0]).abs().max()) < 1e-4
    assert float(fitted(usual, sure).median()) > -1
    far = usual + 2 * torch.eye(12)[3]
    assert float(fitted(far, sure).max()) < -3  # far from everything
    assert float(fitted(usual, sure.flip(1)).max()) < -3  # near, but the stranger is likelier


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished small training."""
    folder = tmp_path_factory.mktemp("photo") / "run"
    loop.train(recipe(), photos(side=40), folder, beside=garments())
    return folder


def test_a_small_training_learns_classes_and_what_is_none(run: Path) -> None:
    model = Encoder.load(run / "model.onnx")
    assert model.card.classes == CLASSES
    assert (model.card.image.ground, model.card.image.height, model.card.image.middle) == ("any", 32, 0.95)
    assert model.card.activation
    assert model.card.rejection
    assert model.card.rejection.score == "energy"
    fresh = photos(20, seed=9)
    outputs = model.run(fresh.images)
    names = [fresh.class_names["en"][label] for label in fresh.labels]
    known = np.array([name != "cross" for name in names])
    right = [
        CLASSES["en"][best] == name
        for best, name, kept in zip(outputs.logits.argmax(axis=1), names, known, strict=True)
        if kept
    ]
    assert np.mean(right) > 0.7  # a third by chance
    energies = metrics.energy(outputs.logits)
    assert metrics.auroc(energies[known], energies[~known]) > 0.75
    assert abs(float(energies[known].mean())) < 2  # in standard deviations from what is usual
    nothing = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    assert metrics.auroc(energies[known], metrics.energy(model.run(nothing).logits)) > 0.95
    assert np.allclose(np.linalg.norm(outputs.embeddings, axis=1), 1, atol=1e-5)
    assert model.card.metrics["validation_auroc"] > 0.6
    background = modelfile.read_background(modelfile.read(run / "model.onnx"))
    assert background is not None
    assert len(background) == model.card.metrics["validation_images"]  # without the strangers


def test_its_activation_adds_up_to_the_evidence(run: Path) -> None:
    model = Encoder.load(run / "model.onnx")
    some = photos(3, seed=4).images
    found = model.activation(some)
    assert found.shape[:2] == (len(some), 3)
    assert np.isfinite(found).all()
    # the mean over the places, but for a number for each class and one for each picture, is the logits
    rest = model.run(some).logits - found.mean(axis=(2, 3))
    assert np.allclose(
        rest - rest.mean(axis=1, keepdims=True), (rest - rest.mean(axis=1, keepdims=True))[:1], atol=0.05
    )


@pytest.mark.slow
def test_an_unbroken_training_and_a_resumed_one_end_alike(tmp_path: Path) -> None:
    short = recipe(epochs="2")

    class Stop(Exception):
        pass

    def stop(line: loop.Epoch) -> None:
        raise Stop

    loop.train(short, photos(10), tmp_path / "whole", beside=garments())
    with pytest.raises(Stop):
        loop.train(short, photos(10), tmp_path / "broken", beside=garments(), watch=loop.Watch(epoch=stop))
    loop.train(short, photos(10), tmp_path / "broken", beside=garments(), resume=True)
    whole, broken = (Encoder.load(tmp_path / name / "model.onnx").run(photos(2).images) for name in ("whole", "broken"))
    assert np.array_equal(whole.logits, broken.logits)
    assert np.array_equal(whole.embeddings, broken.embeddings)


@pytest.mark.slow
def test_own_classes_start_from_a_photo_models_weights(run: Path, tmp_path: Path) -> None:
    alone = replace(
        recipe(beside='""', nothing="0", epochs="1", weights=str(run / "model.onnx"), learning_rate="1e-9"), classes={}
    )
    result = loop.train(alone, photos(10), tmp_path / "own")
    assert result.card.classes == {"en": tuple(sorted(SHADES))}
    assert result.card.rejection is None
    assert (result.card.metrics["validation_images"], type(result.card.metrics["validation_images"])) == (8, int)
    body = checkpoints.load(tmp_path / "own").tensors["network.stages.0.0.first.0.weight"]
    learnt = checkpoints.load(run).tensors["averaged.stages.0.0.first.0.weight"]
    assert torch.allclose(body, learnt, atol=1e-3)  # they were kept in 16 bits, and learnt hardly


class Sure(torch.nn.Module):
    """Says of every image that it shows the first unit."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([9.0, 0.0, 0.0, 0.0]).repeat(len(images), 1)


IMAGE = ImageSpec(32, 32, 3, "any", (0.5,) * 3, (0.3,) * 3)


def lesson_of(side: int = 32, **changes: str) -> PhotoLesson:
    found = loop._lesson(recipe(**changes), photos(10, side=side), garments(), IMAGE, "cpu", ALONE)
    assert isinstance(found, PhotoLesson)
    return found


def test_what_is_fitted_sees_of_a_photo_what_the_model_is_asked_about() -> None:
    lesson = lesson_of(40, data__middle="0.8")
    seen = fitting._sized(lesson, floats(lesson.photos, "cpu"), 32) * lesson.sd + lesson.mean
    middle, whole = (images.resize(lesson.photos.numpy(), each) for each in (replace(IMAGE, middle=0.8), IMAGE))
    off, far = (np.abs(seen.permute(0, 2, 3, 1).numpy() * 255 - each).mean() for each in (middle, whole))
    assert off < 1 < 3 < far


def test_sides_early_and_late() -> None:
    lesson = lesson_of(photograph__size="48", early="0.25", late="0.5", late_size="64")
    seen: list[tuple[int, ...]] = []
    lesson.network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[2:])))
    for passed in (0, 0.24, 0.25, 0.49, 0.5, 0.99):
        lesson.learn(torch.arange(8), passed, seeded(), contextlib.nullcontext())
    assert seen == [(32, 32)] * 2 + [(48, 48)] * 2 + [(64, 64)] * 2


@pytest.mark.parametrize(("share", "least", "most"), [("0.9", 0.8, 1), ("0", 0, 0.6)])
@pytest.mark.slow
def test_a_teacher_is_believed_for_its_share(share: str, least: float, most: float) -> None:
    lesson = lesson_of()
    lesson.recipe = replace(lesson.recipe, loss=replace(lesson.recipe.loss, taught=float(share)))
    lesson.teachers = [Sure()]
    optimiser = torch.optim.AdamW(lesson.network.parameters(), lr=5e-3)
    generator = seeded()
    for _ in range(30):
        loss, _ = lesson.learn(torch.arange(40), 0.9, generator, contextlib.nullcontext())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    images = torch.rand((50, 3, 32, 32), generator=generator)
    found = lesson.units.log_probabilities(lesson.network(images)).exp()[:, 0].mean()
    assert least <= float(found.detach()) <= most


@pytest.mark.slow
def test_a_run_beside_this_one_teaches(run: Path) -> None:
    taught = recipe(epochs="1", teachers='["run"]', taught="0.5", early="0", late="1")
    result = loop.train(taught, photos(side=40), run.parent / "taught", beside=garments())
    assert list(result.card.recipe["model"]["teachers"]) == ["run"]
    plain = loop.train(
        recipe(epochs="1", early="0", late="1"), photos(side=40), run.parent / "plain", beside=garments()
    )
    assert result.history[0].train_loss != plain.history[0].train_loss
    with pytest.raises(InputError, match=r"learns from a finished run in .*none-such"):
        loop.train(recipe(teachers='["none-such"]', taught="0.5"), photos(side=40), run.parent / "x", beside=garments())
    wider = recipe(teachers='["run"]', taught="0.5", widths="[8, 16, 48]")
    with pytest.raises(InputError, match=r"another network; name another in model\.teachers"):
        loop.train(wider, photos(side=40), run.parent / "x", beside=garments())
    with pytest.raises(InputError, match=r"was trained on other images"):
        loop.train(taught, photos(30, side=40), run.parent / "x", beside=garments())
    assert not (run.parent / "x").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"teachers": '["run"]'},
        {"taught": "0.5"},
        {"teachers": '["../run"]', "taught": "0.5"},
        {"teachers": "[1]", "taught": "0.5"},
        {"teachers": '["run"]', "taught": "1.5"},
    ],
)
def test_teachers_that_cannot_be(changes: dict[str, str]) -> None:
    with pytest.raises(RecipeError, match=r"model\.teachers|loss\.taught"):
        recipe(**changes)


def test_weights_of_another_shape_are_refused(run: Path, tmp_path: Path) -> None:
    wider = recipe(widths="[8, 16, 48]", weights=str(run / "model.onnx"))
    with pytest.raises(InputError, match=r"model\.widths"):
        loop.train(wider, photos(10), tmp_path / "run", beside=garments())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.name": "mlp"}, "data.beside"),
        ({"model.looks": "0"}, "model.looks"),
        ({"data.size": "16"}, "data.size 32"),
        ({"data.middle": "0.9", "data.kept": "96"}, r"data\.kept \(96\) above data\.size"),
        ({"data.middle": "0.4"}, r"data\.middle"),
    ],
)
def test_recipes_that_cannot_be(changes: dict[str, str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipes.load("photo", changes)
