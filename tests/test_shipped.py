"""What is said of the shipped model, and the pictures of it, belong to the model that is shipped."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrine import evaluation
from vitrine.datasets import Splits
from vitrine.encoder import Encoder

IMAGES = Path(__file__).parents[1] / "docs" / "images"


def test_the_figures_of_the_shipped_model(real_splits: Splits, encoder: Encoder) -> None:
    """A little under what these 1,000 test images gave when the model was shipped. All of them: docs/results.md."""
    part = real_splits.test[:1000]
    among = evaluation.leave_one_out(encoder, part)
    original = evaluation.find_original(encoder, Splits(part[np.empty(0, np.intp)], part), count=400)
    pairs = evaluation.pairs(encoder, part)
    reached = {
        name: (round(float(value), 4), least)
        for name, value, least in (
            ("accuracy", among.accuracy or 0, 0.95),  # 0.957
            ("precision at 1", among.precision_at_1 or 0, 0.945),  # 0.954
            ("MAP@R", among.map_at_r or 0, 0.89),  # 0.899
            ("original first among 1,000", original.success_at_1 or 0, 0.87),  # 0.8925
            ("- pair loss", -(pairs.pair_loss or 9), -0.085),  # 0.078
        )
    }
    assert {name: pair for name, pair in reached.items() if pair[0] < pair[1]} == {}


@pytest.fixture(scope="module")
def photos(real_data: Path) -> Path:
    """Folders of real photos. Without them a test is skipped, loudly; where CI is set it fails."""
    folder = real_data / "clothing-photos" / "train"
    if folder.is_dir():
        return folder
    reason = "NOT RUN: needs real photos; set VITRINE_DATA to a folder that holds clothing-photos/"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def test_the_figures_of_the_shipped_photo_model(real_splits: Splits, photos: Path) -> None:
    """Some of the photos that it learnt from or was calibrated on, and Fashion-MNIST's. What counts: docs/photos.md."""
    encoder = Encoder.load("photo")
    told = [encoder.classify(sorted((photos / folder).iterdir())[:30]) for folder in ("pants", "hat")]
    pants = [one.label == "Trouser" and one.known is True for one in told[0]]
    hats = [one.known is False for one in told[1]]
    test = real_splits.test[:500]
    told_right = np.array([one.class_index for one in encoder.classify(list(test.images[..., 0]))]) == test.labels
    assert np.mean(pants) > 0.8
    assert np.mean(hats) > 0.8
    assert np.mean(told_right) > 0.87


@pytest.mark.parametrize(
    ("picture", "models", "command"),
    [
        ("neighbours.png", ("default",), "vitrine demo, in an empty VITRINE_HOME"),
        ("altered.png", ("default", "compact"), "python benchmarks/lesson.py"),
        ("ways.png", ("default", "compact"), "python benchmarks/lesson.py"),
    ],
)
def test_the_pictures_are_of_the_shipped_models(picture: str, models: tuple[str, ...], command: str) -> None:
    cards = [Encoder.load(model).card for model in models]
    wanted = ", ".join(f"{card.name} {card.identity}" for card in cards)
    with Image.open(IMAGES / picture) as shown:
        assert shown.info["Model"] == wanted, f"draw docs/images/{picture} again: {command}"
