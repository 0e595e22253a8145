from dataclasses import replace
from typing import Any

import pytest

from vitrine.datasets.image_folder import PLAIN_GREY
from vitrine.errors import InputError
from vitrine.spec import ImageSpec


def test_json_and_back() -> None:
    spec = ImageSpec(32, 24, 3, "light", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    assert ImageSpec.from_json(spec.to_json()) == spec
    assert spec.shape == (32, 24, 3)
    assert "middle" not in spec.to_json()  # so that identities stay
    part = replace(spec, ground="any", middle=0.9)
    assert ImageSpec.from_json(part.to_json()) == part


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": 5000},
        {"channels": 2},
        {"ground": "grey"},
        {"mean": (0.0, 0.0)},
        {"sd": (0.0,)},
        {"middle": 0.9},
    ],
)
def test_impossible_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(PLAIN_GREY, **change)


@pytest.mark.parametrize("middle", [0.0, 0.49, 1.01, float("nan")])
def test_the_middle_is_a_share(middle: float) -> None:
    with pytest.raises(InputError, match="middle"):
        ImageSpec(96, 96, 3, "any", (0.0,) * 3, (1.0,) * 3, middle)
