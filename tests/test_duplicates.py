"""Groups of the same picture, against plain loops; and `vitrine index duplicates`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import Cli, one_sentence, random_items, save_folder
from vitrine import images
from vitrine.catalogue import Item, Vectors, duplicates
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.errors import InputError


@pytest.fixture
def catalogue(encoder: Encoder) -> LocalCatalogue:
    return LocalCatalogue.create("shop", encoder)


def by_loops(vectors: Vectors, threshold: float) -> list[int]:
    leader: list[int] = []
    for place, vector in enumerate(vectors):
        scores = [(one, float(vectors[one] @ vector)) for one in range(place) if leader[one] == one]
        leader.append(next((one for one, score in scores if score >= threshold), place))
    return leader


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 0.9, 0.999, 1.1])
def test_leaders_are_those_of_plain_loops(threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_ROWS", 7)
    monkeypatch.setattr(duplicates, "_COLUMNS", 11)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(20, 4))[random.integers(0, 20, 200)] + random.normal(size=(200, 4)) * 0.1
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    told: list[int] = []
    found = duplicates.leaders(vectors, threshold, lambda done, total: told.append(done))
    assert found.tolist() == by_loops(vectors, threshold)
    assert told == sorted(told)
    assert told[-1] == 200
    assert len(duplicates.leaders(vectors[:0], threshold)) == 0


def turned(item: Item, other: Item, score: float, source: str) -> Item:
    """An item that scores so much with the first one, moved towards the other."""
    across = other.vector - (item.vector @ other.vector) * item.vector
    across /= np.linalg.norm(across)
    vector = score * item.vector + (1 - score**2) ** 0.5 * across
    return replace(item, source=source, content=source, vector=vector.astype(np.float32))


def test_exact_copies_and_near_ones(catalogue: LocalCatalogue, encoder: Encoder) -> None:
    a, b, c = random_items(3, encoder.card.embedding)
    near = turned(a, b, 0.998, "near a")
    there = [a, b, near, c, replace(a, source="copy of a"), replace(near, source="copy of near a")]
    ids = dict(zip((item.source for item in there), catalogue.add(there), strict=True))
    (group,) = duplicates.find(catalogue)
    assert (group.first.id, group.first.source) == (ids["s0"], "s0")
    assert [(one.source, one.exact) for one in group.others] == [
        ("copy of a", True),
        ("near a", False),
        ("copy of near a", False),
    ]
    assert [one.score for one in group.others] == pytest.approx([1, 0.998, 0.998], abs=1e-6)
    groups = duplicates.find(catalogue, 0.9985)
    assert [[group.first.source, *(one.source for one in group.others)] for group in groups] == [
        ["s0", "copy of a"],
        ["near a", "copy of near a"],
    ]


def test_what_is_alike_only_by_way_of_another_is_not_in_one_group(catalogue: LocalCatalogue, encoder: Encoder) -> None:
    a, b = random_items(2, encoder.card.embedding)
    angle = np.arccos(0.998)
    catalogue.add([a, *(turned(a, b, np.cos(step * angle), f"step {step}") for step in range(1, 40))])
    groups = duplicates.find(catalogue)
    assert [len(group.others) for group in groups] == [1] * 20  # each step with the next, not all forty
    for group in groups:
        first = catalogue.item(group.first.id).vector
        assert all(catalogue.item(one.id).vector @ first >= duplicates.THRESHOLD - 1e-6 for one in group.others)


def test_the_same_vector_counts_at_a_threshold_of_1(catalogue: LocalCatalogue, encoder: Encoder) -> None:
    there = random_items(50, encoder.card.embedding)
    catalogue.add(there)
    assert duplicates.find(catalogue, 1) == []
    catalogue.add([replace(item, source=f"again {item.source}", content="other " + item.content) for item in there])
    assert len(duplicates.find(catalogue, 1)) == 50
    with pytest.raises(InputError, match=r"threshold is 1.5"):
        duplicates.find(catalogue, 1.5)


# --- the command


@pytest.fixture
def shop(cli: Cli, drawn: Splits, tmp_path: Path) -> Path:
    """Twenty pictures, a copy of one of them, and one that was saved as a JPEG."""
    folder = tmp_path / "shop"
    save_folder(drawn.test[:20], folder)
    boot = folder / "Ankle boot" / "0009.png"
    (folder / "copy.png").write_bytes(boot.read_bytes())
    Image.open(folder / "Bag" / "0008.png").save(folder / "smaller.jpg", quality=95)
    assert cli("index", "sync", folder)[0] == 0
    return folder


def test_the_command_lists_groups(cli: Cli, shop: Path) -> None:
    code, out, _ = cli("index", "duplicates", "shop", "--out", "sheet.png", "--json")
    assert code == 0
    *groups, last = [json.loads(line) for line in out.splitlines()]
    assert (last["items"], last["groups"], last["exact"], last["picture"]) == (22, len(groups), 1, "sheet.png")
    assert last["near"] == sum(len(group["items"]) - 1 for group in groups) - 1
    names = [{Path(item["source"]).name for item in group["items"]} for group in groups]
    assert {"0009.png", "copy.png"} in names
    assert {"0008.png", "smaller.jpg"} in names
    assert images.read(Path("sheet.png")).shape[1] > 300
    code, out, _ = cli("index", "duplicates", "shop", "--threshold", 1)
    assert code == 0
    assert "1.0000  exact" in out
    assert "shop: 1 group with 1 exact copies and 0 near-duplicates (from 1) among 22 items." in out


def test_none_draw_no_picture(cli: Cli, shop: Path) -> None:
    (shop / "copy.png").unlink()
    cli("index", "sync", shop)
    code, out, _ = cli("index", "duplicates", "shop", "--threshold", 1, "--out", "sheet.png", "--json")
    assert (code, json.loads(out)["picture"], Path("sheet.png").exists()) == (0, None, False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "There is no catalogue 'nothing'"),
        (["shop", "--out", "sheet.jpg"], "does not end in .png"),
    ],
)
def test_what_cannot_be_done(cli: Cli, shop: Path, arguments: list[str], says: str) -> None:
    code, out, err = cli("index", "duplicates", *arguments)
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err
    assert cli("index", "duplicates", "shop", "--threshold", 2)[0] == 2
