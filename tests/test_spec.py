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


@pytest.mark.parametrize(
    "change",
    [{"height": 0}, {"width": 5000}, {"channels": 2}, {"ground": "grey"}, {"mean": (0.0, 0.0)}, {"sd": (0.0,)}],
)
def test_impossible_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(PLAIN_GREY, **change)
