"""How far an item's neighbours bear its label out: counted, kept with the map, drawn and exported."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from map_items import SIZE, clustered
from pictures import Cli, one_sentence
from vitrine import images, mapping, plots, projection
from vitrine.catalogue import folders, map_file
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.mapping.confidence import Confidence, confidence_of


@pytest.fixture
def shop(encoder: Encoder) -> LocalCatalogue:
    """Sixty items in three groups; the first bears the label of another group, the second none."""
    catalogue = LocalCatalogue.create("shop", encoder)
    first, second, *others = clustered(60)
    catalogue.add([replace(first, label="class 1"), replace(second, label=None), *others])
    return catalogue


def found(catalogue: LocalCatalogue) -> Confidence:
    sure = mapping.items(catalogue, mapping.find(catalogue).stored).confidence
    assert sure is not None
    return sure


def test_it_is_what_counting_by_hand_gives() -> None:
    random = np.random.default_rng(3)
    labels = [None if number % 7 == 0 else f"class {number % 3}" for number in range(50)]
    near = random.integers(-1, 50, (50, 15)).astype(np.int32)
    sure = confidence_of(labels, near)
    for item, places in enumerate(near):
        theirs = [labels[place] for place in places if place >= 0 and labels[place] is not None]
        of = len(theirs) if labels[item] is not None else 0
        assert sure.of[item] == of
        assert sure.agree[item] == (theirs.count(labels[item]) if of else 0)
        assert np.isnan(sure.share[item]) if of == 0 else sure.share[item] == np.float32(sure.agree[item] / of)


def test_a_wrong_label_stands_alone(shop: LocalCatalogue) -> None:
    sure = found(shop)
    assert (sure.agree[0], sure.of[0], sure.of[1]) == (0, 15, 0)
    assert np.isnan(sure.share[1])
    assert sure.share[2:].min() > 0.8


def test_the_neighbours_are_the_nearest_of_all(shop: LocalCatalogue) -> None:
    stored = mapping.find(shop).stored
    _, vectors, _ = shop.vectors()
    far = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(far, np.inf)
    assert stored.near is not None
    assert (np.sort(stored.near, axis=1) == np.sort(np.argsort(far, axis=1)[:, :15], axis=1)).all()


def test_of_a_sample_they_are_known_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MOST", 100)
    vectors = np.stack([item.vector for item in clustered(150)])
    near = projection.project(vectors).near
    assert near is not None
    assert near.shape == (150, 15)
    assert (near % 3 == np.arange(150)[:, None] % 3).all()  # each in its own group
    assert (near != np.arange(150)[:, None]).all()


def test_a_corrected_label_counts_at_once(shop: LocalCatalogue) -> None:
    before = found(shop)
    known = {item.id: item for item in shop.known()}
    shop.refresh([replace(known[1], label="class 0"), replace(known[2], label="class 1")])
    after = mapping.find(shop)
    assert after.made == "kept"
    sure = found(shop)
    assert (sure.agree[0], sure.of[0]) == (15, 15)
    assert sure.share[1] == 1
    assert sure.share.min() == 1
    assert before.share[0] == 0


def test_who_comes_and_goes(shop: LocalCatalogue) -> None:
    before = mapping.find(shop).stored
    assert before.near is not None
    gone = 1 + int(before.near[5, 0])  # the nearest of the sixth
    shop.remove([gone])
    came = shop.add([replace(clustered(1, seed=9, start=60)[0], label="class 2")])
    now = mapping.find(shop)
    assert now.made == "updated"
    stored = now.stored
    assert stored.near is not None
    at = {id: place for place, id in enumerate(stored.ids.tolist())}
    for id, places in zip(before.ids.tolist(), before.near, strict=True):
        if id != gone:
            then = [at.get(1 + place, -1) for place in places.tolist()]
            assert stored.near[at[id]].tolist() == then
    assert -1 in stored.near[at[6]]
    sure = found(shop)
    assert sure.of[at[6]] == 14 - sum(1 for place in before.near[5] if place == 1)  # the second has no label
    _, vectors, _ = shop.vectors()
    near = np.argsort(np.linalg.norm(vectors[:-1] - vectors[-1], axis=1))[:15]
    assert sorted(stored.near[at[came[0]]].tolist()) == sorted(near.tolist())
    assert sure.share[-1] < 0.2  # its label is of another group


def test_what_left_since_is_nobodys_neighbour(shop: LocalCatalogue) -> None:
    stored = mapping.find(shop).stored
    assert stored.near is not None
    shop.remove([3])
    mapped = mapping.items(shop, stored)
    assert mapped.confidence is not None
    assert len(mapped.confidence.of) == len(mapped.ids) == 59
    asked = [place for place in range(60) if 2 in stored.near[place] and place not in (1, 2)]
    assert asked
    for place in asked:
        expected = 14 - int(1 in stored.near[place])
        assert mapped.confidence.of[place - (place > 2)] == expected


# --- the file


def test_a_map_of_format_1_is_read(shop: LocalCatalogue, cli: Cli) -> None:
    """Its bytes are put together here as format 1 had them."""
    stored = mapping.find(shop).stored
    body = stored.ids.astype("<i8").tobytes() + stored.points.astype("<f4").tobytes()
    identity = bytes.fromhex(stored.identity)
    head = struct.pack(
        "<8sIIqQQQ16sdI", b"vitrmap\n", 1, 60, 7, stored.generation, 60, 60, identity, 0.5, zlib.crc32(body)
    )
    path = folders.folder("shop") / f"map-{stored.generation}.points"
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + body)
    read = map_file.load(path)
    assert (read.seed, read.trust, read.near) == (7, 0.5, None)
    assert (read.points == stored.points).all()
    kept = mapping.find(shop)
    assert kept.made == "kept"
    assert mapping.items(shop, kept.stored).confidence is None
    shop.add(clustered(1, seed=9, start=60))
    assert mapping.find(shop).stored.near is None  # brought up to date, it knows no more
    code, out, err = cli("map", "--catalogue", "shop", "--out", "map.png", "--colour", "confidence")
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert "vitrine map --catalogue shop --again" in err
    assert not Path("map.png").exists()
    assert cli("map", "--catalogue", "shop", "--out", "map.png", "--html", "map.html")[0] == 0
    assert cli("map", "--catalogue", "shop", "--export", "parquet", "map.parquet")[0] == 0
    assert pq.read_table("map.parquet")["confidence"].null_count == 61
    assert cli("map", "--catalogue", "shop", "--again", "--out", "map.png", "--colour", "confidence")[0] == 0


def test_neighbours_that_are_not_there_are_damage(shop: LocalCatalogue) -> None:
    stored = mapping.find(shop).stored
    assert stored.near is not None
    wrong = stored.near.copy()
    wrong[0, 0] = 60
    replace(stored, near=wrong).save(folders.folder("shop"))
    assert map_file.read(folders.folder("shop")) is None
    assert mapping.find(shop).made == "computed"


def test_another_file_is_noticed(shop: LocalCatalogue) -> None:
    folder = folders.folder("shop")
    assert map_file.stamp(folder) == ()
    mapping.find(shop)
    first = map_file.stamp(folder)
    assert map_file.stamp(folder) == first
    mapping.find(shop, seed=5)  # of the same generation, the same name and size
    assert map_file.stamp(folder) != first


# --- drawn and exported


def test_it_is_exported(shop: LocalCatalogue, cli: Cli) -> None:
    own = replace(clustered(1, seed=3, start=100)[0], columns={"confidence": "high"})
    shop.add([own])
    assert cli("map", "--catalogue", "shop", "--export", "parquet", "map.parquet")[0] == 0
    table = pq.read_table("map.parquet")
    assert table["confidence_"].to_pylist()[-1] == "high"
    column = table["confidence"].to_pylist()
    assert (column[0], column[1]) == (0.0, None)
    assert np.float32(column[2:]).tolist() == found(shop).share[2:].tolist()


def test_it_is_drawn(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(20_000, 2))
    shares = np.where(points[:, 0] > 0, 1, 0.2).astype(np.float32)
    shares[:50] = np.nan
    plots.by_share(points, shares, tmp_path / "map.png", "shop: $x$ " * 20, "of the 15 nearest")
    pixels = images.read(tmp_path / "map.png").astype(int)
    ink = pixels.min(axis=2) < 128
    assert [ink[0].any(), ink[-1].any(), ink[:, 0].any(), ink[:, -1].any()] == [False] * 4
    green = (pixels[..., 1] - pixels[..., 2] > 60)[:, :900]  # where most agree
    blue = (pixels[..., 2] - pixels[..., 1] > 30)[:, :900]  # where few do
    across = [np.nonzero(colour)[1].mean() for colour in (blue, green)]
    assert across[0] + 50 < across[1]


def test_the_command_colours_by_it(shop: LocalCatalogue, cli: Cli) -> None:
    assert cli("map", "--catalogue", "shop", "--out", "class.png")[0] == 0
    assert cli("map", "--catalogue", "shop", "--out", "sure.png", "--colour", "confidence")[0] == 0
    assert Path("class.png").read_bytes() != Path("sure.png").read_bytes()
    assert cli("map", "--catalogue", "shop", "--out", "map.png", "--colour", "red")[0] == 2


def test_few_items_have_fewer_neighbours(encoder: Encoder) -> None:
    with LocalCatalogue.create("few", encoder) as few:
        few.add(clustered(10))
        stored = mapping.find(few).stored
        assert stored.near is not None
        assert stored.near.shape == (10, 9)
        few.add(clustered(1, seed=9, start=10))
        again = mapping.find(few).stored
        assert again.near is not None
        assert again.near.shape == (11, 9)
        assert vectors_agree(few, again.near)


def vectors_agree(catalogue: LocalCatalogue, near: map_file.Near) -> bool:
    """Whether everybody's nearest is of the same group."""
    ids, vectors, _ = catalogue.vectors()
    assert vectors.shape == (len(ids), SIZE)
    return bool((near[:, 0] % 3 == np.arange(len(ids)) % 3).all())
