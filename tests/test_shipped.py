"""What is said of the shipped model, and the pictures of it, belong to the model that is shipped."""

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
