"""A catalogue's map: kept, brought up to date, damaged; and `vitrine map`."""

import base64
import json
import re
import struct
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from map_items import clustered
from pictures import Cli, one_sentence
from vitrine import images, mapping, plots, storage
from vitrine.catalogue import folders, map_file
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError, StorageError
from vitrine.mapping import page, sprites


@pytest.fixture
def shop(encoder: Encoder) -> LocalCatalogue:
    catalogue = LocalCatalogue.create("shop", encoder)
    catalogue.add(clustered(60))
    return catalogue


def files() -> list[str]:
    return sorted(path.name for path in folders.folder("shop").glob("map-*"))


def vectors_of(catalogue: LocalCatalogue, ids: Sequence[int]) -> np.ndarray:
    return np.stack([catalogue.item(id).vector for id in ids])


# --- kept with the catalogue


def test_a_map_is_computed_once_and_then_kept(shop: LocalCatalogue) -> None:
    reports: list[tuple[int, int]] = []
    first = mapping.find(shop, progress=lambda done, total: reports.append((done, total)))
    assert (first.made, len(first.stored.ids), first.stored.placed, first.stored.left) == ("computed", 60, 0, 0)
    assert first.stored.trust > 0.5
    assert reports[-1][0] == reports[-1][1]
    second = mapping.find(shop)
    assert second.made == "kept"
    assert (second.stored.points == first.stored.points).all()
    assert second.stored.points.dtype == np.float32
    assert mapping.find(shop, again=True).made == "computed"
    assert mapping.find(shop, seed=first.stored.seed).made == "kept"
    other = mapping.find(shop, seed=5)
    assert (other.made, other.stored.seed) == ("computed", 5)
    assert mapping.find(shop).stored.seed == 5  # the one that is there
    assert len(files()) == 1


def test_few_changes_bring_it_up_to_date(shop: LocalCatalogue) -> None:
    before = mapping.find(shop).stored
    shop.remove([4, 5])
    came = shop.add(clustered(3, seed=9, start=60))
    now = mapping.find(shop)
    assert (now.made, now.stored.placed, now.stored.left) == ("updated", 3, 2)
    assert len(files()) == 1
    stay = np.isin(before.ids, [4, 5], invert=True)
    assert (now.stored.ids == [*before.ids[stay].tolist(), *came]).all()
    assert (now.stored.points[:-3] == before.points[stay]).all()
    for number, point in enumerate(now.stored.points[-3:]):  # each in its own group
        distances = np.linalg.norm(before.points - point, axis=1)
        assert (before.ids[distances.argmin()] - 1) % 3 == (60 + number) % 3
    assert mapping.find(shop).made == "kept"
    shop.remove(came[:1])  # what was placed may leave again
    again = mapping.find(shop).stored
    assert (again.placed, again.left, len(again.ids)) == (2, 2, 60)


def test_many_changes_compute_it_anew(shop: LocalCatalogue) -> None:
    mapping.find(shop)
    shop.add(clustered(6, seed=9, start=60))
    assert mapping.find(shop).made == "updated"  # a tenth of 60
    shop.remove([1])
    now = mapping.find(shop)
    assert (now.made, now.stored.placed, now.stored.computed) == ("computed", 0, 65)


def test_another_model_another_map(shop: LocalCatalogue) -> None:
    stored = mapping.find(shop).stored
    replace(stored, identity="0" * 32).save(folders.folder("shop"))
    assert mapping.find(shop).made == "computed"


def test_too_few(encoder: Encoder) -> None:
    with LocalCatalogue.create("few", encoder) as catalogue:
        catalogue.add(clustered(9))
        with pytest.raises(InputError, match="needs 10 items at least; the catalogue 'few' has 9"):
            mapping.find(catalogue)


def test_a_disk_that_refuses_costs_time_only(shop: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise StorageError("full")

    monkeypatch.setattr(storage, "write_bytes", refuse)
    assert mapping.find(shop).made == "computed"
    assert files() == []


def test_stopped_it_leaves_nothing(shop: LocalCatalogue) -> None:
    def stop(done: int, total: int, /) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    before = {path.name for path in folders.folder("shop").iterdir()}
    with pytest.raises(KeyboardInterrupt):
        mapping.find(shop, progress=stop)
    assert {path.name for path in folders.folder("shop").iterdir()} == before
    assert mapping.find(shop).made == "computed"


def test_the_file_is_as_documented(shop: LocalCatalogue) -> None:
    stored = mapping.find(shop, seed=7).stored
    path = folders.folder("shop") / f"map-{stored.generation}.points"
    content = path.read_bytes()
    head = struct.unpack_from("<8sIIqQQQ16sdI", content)
    assert head[:7] == (b"vitrmap\n", 2, 60, 7, stored.generation, 60, 60)
    assert head[7].hex() == shop.info().identity
    assert head[8] == stored.trust
    assert head[9] == zlib.crc32(content[80:])
    assert struct.unpack_from("<I", content, 76) == (zlib.crc32(content[:76]),)
    assert np.frombuffer(content, "<i8", 60, 80).tolist() == stored.ids.tolist()
    assert (np.frombuffer(content, "<f4", 120, 80 + 480).reshape(60, 2) == stored.points).all()
    assert struct.unpack_from("<I", content, 80 + 960) == (15,)
    assert stored.near is not None
    assert (np.frombuffer(content, "<i4", 900, 80 + 964).reshape(60, 15) == stored.near).all()
    assert len(content) == 80 + 964 + 3600


@pytest.mark.parametrize("place", [0, 9, 30, 77, 100, 700, -1])
def test_damage_is_found_and_mended(shop: LocalCatalogue, place: int) -> None:
    mapping.find(shop)
    path = folders.folder("shop") / files()[0]
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(CatalogueError, match="compute it anew"):
        map_file.load(path)
    assert mapping.find(shop).made == "computed"
    assert map_file.load(path).ids.tolist() == list(range(1, 61))


@pytest.mark.parametrize("length", [0, 40, 100, 800])
def test_truncated(shop: LocalCatalogue, length: int) -> None:
    mapping.find(shop)
    path = folders.folder("shop") / files()[0]
    path.write_bytes(path.read_bytes()[:length])
    assert mapping.find(shop).made == "computed"


def test_placing_by_the_catalogues_index(shop: LocalCatalogue) -> None:
    stored = mapping.find(shop).stored
    late = shop.add(clustered(3, seed=9, start=60))  # these are not on the map
    placing = mapping.Placing(shop, stored)
    found = placing.place(vectors_of(shop, late))
    for number, point in enumerate(found):
        nearest = stored.ids[np.linalg.norm(stored.points - point, axis=1).argmin()]
        assert (nearest - 1) % 3 == (60 + number) % 3
    of_nothing = replace(stored, ids=stored.ids + 1000)
    with pytest.raises(CatalogueError, match="vitrine map --catalogue shop"):
        mapping.Placing(shop, of_nothing).place(vectors_of(shop, late))


def test_classes() -> None:
    found = mapping.classes([f"c{i:02d}" for i in range(30) for _ in range(30 - i)] + [None])
    assert (found.own, len(found.names), found.names[-2:]) == (20, 22, ["10 other classes", "no class"])
    assert found.which.tolist()[-2:] == [20, 21]
    assert mapping.classes([None, None]).names == ["no class"]


# --- drawn and exported


def test_a_large_collection_is_drawn(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    which = random.integers(0, 12, 30_000)
    points = random.normal(size=(30_000, 2)) + 6 * np.stack([which % 4, which // 4], axis=1)
    names = [f"class {number}" for number in range(11)] + ["no class"]
    plots.collection(points, which, names, 11, tmp_path / "map.png", "shop: $x$ " * 20)
    pixels = images.read(tmp_path / "map.png")
    ink = pixels.min(axis=2) < 128
    edges = [ink[0].any(), ink[-1].any(), ink[:, 0].any(), ink[:, -1].any()]
    assert edges == [False] * 4
    assert (pixels == (0x00, 0x72, 0xB2)).all(axis=2).any()
    assert 0.05 < (pixels[100:900, 100:900] < 250).any(axis=2).mean() < 0.7  # points, and room between them


def unpacked(html: str, id: str) -> bytes:
    block = re.search(rf'id="{id}">([^<]*)</script>', html)
    assert block is not None
    return zlib.decompress(base64.b64decode(block[1]))


def test_the_page_holds_everything(shop: LocalCatalogue, tmp_path: Path) -> None:
    odd = replace(
        clustered(1, seed=3, start=100)[0],
        source="</script><b>\t&\n",
        label="<i>&\udcff".encode(errors="replace").decode(),
    )
    shop.add([odd])
    mapped = mapping.items(shop, mapping.find(shop).stored)
    assert page.write(shop, mapped, tmp_path / "map.html", "A <title> & more")
    html = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert "<title>A &lt;title&gt; &amp; more</title>" in html
    assert not re.search(r'(src|href)="http|@import|url\(', html)
    facts = json.loads(unpacked(html, "data-facts"))
    assert (facts["count"], facts["side"], facts["colour"], facts["sure"]) == (61, 64, "class", True)
    assert [one["name"] for one in facts["classes"]] == ["<i>&?", "class 0", "class 1", "class 2"]
    which = np.frombuffer(unpacked(html, "data-which"), "<u2")
    assert [facts["classes"][one]["name"] for one in which] == list(mapped.labels)
    grid = np.frombuffer(unpacked(html, "data-points"), "<u2").reshape(-1, 2).astype(float)
    scale = 65_535 / np.ptp(mapped.points, axis=0).max()
    assert np.abs(np.diff(grid[:, 0]) - np.diff(mapped.points[:, 0]) * scale).max() < 2
    assert np.abs(np.diff(grid[:, 1]) + np.diff(mapped.points[:, 1]) * scale).max() < 2  # downwards
    assert mapped.confidence is not None
    sure = np.frombuffer(unpacked(html, "data-sure"), np.uint8).reshape(2, 61)
    assert (sure == [mapped.confidence.agree, mapped.confidence.of]).all()
    texts = unpacked(html, "data-texts").decode().split("\n")
    assert (len(texts), texts[0], texts[60]) == (61, "1\ts0", "61\t</script><b> &")
    sheet = re.search(r'id="sheet-0">([^<]*)<', html)
    assert sheet is not None
    assert images.read(base64.b64decode(sheet[1])).shape == (64, 64 * 64, 1)


def test_too_many_thumbnails_are_left_out(
    shop: LocalCatalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = mapping.items(shop, mapping.find(shop).stored)
    monkeypatch.setattr(page, "LARGEST", 100)
    assert not page.write(shop, mapped, tmp_path / "map.html", "shop")
    html = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert json.loads(unpacked(html, "data-facts"))["side"] == 0
    assert "sheet-0" not in html


def test_sprites_keep_shape_and_colour() -> None:
    wide, red = Image.new("L", (40, 10), 200), Image.new("RGB", (5, 5), (255, 0, 0))
    whole = sprites.sheet([sprites.fitted(one, 8) for one in (wide, red, wide)], 3, 8, 2)
    assert (whole.mode, whole.size) == ("RGB", (16, 16))
    assert whole.getpixel((12, 4)) == (255, 0, 0)
    assert whole.getpixel((4, 4)) == (200, 200, 200)
    assert [sprites.columns(count) for count in (0, 1, 2, 4, 5, 70_000)] == [1, 1, 2, 2, 3, 265]


# --- the command


def test_the_command(cli: Cli, shop: LocalCatalogue) -> None:
    code, out, err = cli("map", "--catalogue", "shop", "--seed", 3, "--out", "map.png", "--html", "map.html", "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["items"], told["made"], told["seed"], told["picture"], told["page"]) == (
        60, "computed", 3, "map.png", "map.html",
    )  # fmt: skip
    assert 0.5 < told["trustworthiness"] <= 1
    assert Path("map.png").stat().st_size > 10_000
    assert Path("map.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    code, out, err = cli("map", "--catalogue", "shop")
    assert code == 0
    assert "map of 60 items, as it was kept in" in out
    assert "--out map.png" in err
    assert "computed in" in cli("map", "--catalogue", "shop", "--again")[1]


def test_parquet_for_embedding_atlas(cli: Cli, shop: LocalCatalogue) -> None:
    shop.add([replace(clustered(1, seed=3, start=100)[0], columns={"price": 1.5, "x": "own", "colour": "red"})])
    code, out, _ = cli("map", "--catalogue", "shop", "--export", "parquet", "map.parquet", "--json")
    assert (code, json.loads(out)["export"]) == (0, "map.parquet")
    table = pq.read_table("map.parquet")
    assert table.column_names == ["id", "source", "label", "x", "y", "confidence", "colour", "price", "x_"]
    stored = mapping.find(shop).stored
    assert table["id"].to_pylist() == stored.ids.tolist()
    assert np.float32(table["x"].to_pylist()).tolist() == stored.points[:, 0].tolist()
    assert (table["x_"].to_pylist()[-1], table["price"].to_pylist()[:2]) == ("own", [None, 1.0])
    assert set(table["label"].to_pylist()) == {"class 0", "class 1", "class 2"}


def test_a_folder_for_the_embedding_projector(cli: Cli, shop: LocalCatalogue) -> None:
    shop.add([replace(clustered(1, seed=3, start=100)[0], source="a\tb\nc", label=None)])
    assert cli("map", "--catalogue", "shop", "--export", "tensorboard", "out")[0] == 0
    names = ("tensors.tsv", "map.tsv", "metadata.tsv")
    lines = {name: (Path("out") / name).read_text(encoding="utf-8").splitlines() for name in names}
    tensors = np.array([line.split("\t") for line in lines["tensors.tsv"]], np.float64)
    ids, vectors, _ = shop.vectors()
    assert np.abs(tensors - vectors).max() < 1e-4
    assert np.array([line.split("\t") for line in lines["map.tsv"]], np.float64).shape == (61, 2)
    assert lines["metadata.tsv"][0] == "id\tlabel\tsource"
    assert [line.split("\t")[0] for line in lines["metadata.tsv"][1:]] == [str(id) for id in ids]
    assert lines["metadata.tsv"][-1] == "61\t\ta b c"
    config = (Path("out") / "projector_config.pbtxt").read_text()
    dimension = int(re.findall(r"single_image_dim: (\d+)", config)[0])
    assert images.read(Path("out") / "sprite.png").shape[:2] == (8 * dimension, 8 * dimension)
    assert re.findall(r'tensor_path: "(.*)"', config) == ["tensors.tsv", "map.tsv"]
    assert cli("map", "--catalogue", "shop", "--export", "tensorboard", "out")[0] == 0  # over its own
    (Path("out") / "thesis.txt").touch()
    code, _, err = cli("map", "--catalogue", "shop", "--export", "tensorboard", "out")
    assert (code, one_sentence(err)) == (2, True)
    assert "thesis.txt" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "map.jpg"], "does not end in .png"),
        (["--html", "map.png"], "does not end in .html"),
        (["--export", "csv", "x"], "There is no export 'csv'"),
        (["--export", "parquet", "x.csv"], "does not end in .parquet"),
        (["--export", "tensorboard", "file"], "file is a file"),
        (["--catalogue", "none"], "There is no catalogue 'none'"),
        (["--out", "file/map.png"], "a file is in the way"),
    ],
)
def test_what_cannot_be_done(cli: Cli, shop: LocalCatalogue, arguments: list[str], says: str) -> None:
    Path("file").touch()
    code, out, err = cli("map", "--catalogue", "shop", *arguments)
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_without_pyarrow(cli: Cli, shop: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    code, _, err = cli("map", "--catalogue", "shop", "--export", "parquet", "x.parquet")
    assert (code, one_sentence(err)) == (2, True)
    assert "pip install 'vitrine[parquet]'" in err
    assert files() == []  # nothing was computed in vain
