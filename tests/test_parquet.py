"""A catalogue into a Parquet file and back; and what other files may get wrong."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pictures import Cli, one_sentence, random_items
from vitrine.catalogue import Item, folders, parquet
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder

ODD: list[dict[str, str | int | float] | None] = [
    {"price": 5, "size": "S", "ID": "x", "id": 7},
    {"price": 39.5, "size": 38, "number": 2**62},
    {"size": "007", "größe": "ü", "price": -1, "number": 0},
    {"size": 39.5, "price": 1e-7},
    None,
]


@pytest.fixture
def there(encoder: Encoder) -> list[Item]:
    items = random_items(len(ODD), encoder.card.embedding)
    return [replace(item, columns=columns, thumbnail=b"png") for item, columns in zip(items, ODD, strict=True)]


@pytest.fixture
def shop(encoder: Encoder, there: list[Item]) -> Path:
    """A catalogue "shop" in which ids are missing, and its file."""
    with LocalCatalogue.create("shop", encoder) as catalogue:
        catalogue.add(random_items(3, encoder.card.embedding, seed=1, start=100))
        catalogue.remove([1, 2, 3])
        catalogue.add(there)
        catalogue.remove(catalogue.add(random_items(1, encoder.card.embedding, seed=2, start=200)))
        assert parquet.export(catalogue, Path("shop.parquet")) == len(there)
    return Path("shop.parquet")


def whole(name: str) -> dict[int, Item]:
    with LocalCatalogue.open(name) as opened:
        return {one.id: opened.item(one.id) for one in opened.known()}


def same(left: Item, right: Item) -> bool:
    return replace(left, vector=right.vector) == right and bool((left.vector == right.vector).all())


def test_there_and_back(shop: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_BATCH", 2)
    told: list[tuple[int, int]] = []
    parquet.load(shop, "again", encoder, lambda done, total: told.append((done, total)))
    assert told[-1] == (len(ODD), len(ODD))
    before, after = whole("shop"), whole("again")
    assert list(after) == [4, 5, 6, 7, 8]
    assert all(same(item, after[id]) for id, item in before.items())
    with LocalCatalogue.open("shop") as old, LocalCatalogue.open("again") as new:
        assert old.columns() == new.columns()
        assert not new.check().found
        query = before[4].vector[None]
        assert old.search(query, 5) == new.search(query, 5)
        with old.reading() as a, new.reading() as b:
            assert [row.added for row in a.rows()] == [row.added for row in b.rows()]
        assert new.add(random_items(1, encoder.card.embedding, start=300)) == [10]  # 9 was given to an item that went


def test_other_programs_find_plain_columns(shop: Path) -> None:
    table = pq.read_table(shop)
    size = table.schema.field("vector").type.list_size
    assert table.schema.names == [
        *("id", "source", "label", "content", "added", "vector", "thumbnail"),
        *("ID_", "größe", "id__", "number", "price", "size"),
    ]
    assert table["price"].to_pylist() == [5, 39.5, -1, 1e-7, None]
    assert table["size"].to_pylist() == ["S", "38", "007", "39.5", None]
    assert table["number"].to_pylist() == [None, 2**62, 0, None, None]
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, size)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(ODD)), abs=1e-5)
    assert str(table.schema.field("added").type) == "timestamp[ms, tz=UTC]"
    said = json.loads(table.schema.metadata[b"vitrine"])
    assert (said["format_version"], said["model"], said["items"], said["last"]) == (1, "siamese", 5, 9)


LARGE = 98765432109876543  # float64 has only every sixteenth number there


@pytest.mark.parametrize(
    ("cells", "written"),
    [
        ([LARGE, 0.5], [str(LARGE), "0.5"]),
        ([LARGE, -(2**63)], [LARGE, -(2**63)]),
        ([2**53, 0.5], [2**53, 0.5]),
        (["S", LARGE, 1e16, 1e-7], ["S", str(LARGE), "10000000000000000.0", "0.0000001"]),
        (["1" * 20, 5], ["1" * 20, "5"]),  # a CSV has texts for what is larger
        (["1" * 20, "1" * 400], ["1" * 20, "1" * 400]),
        (["1e+16", "1" * 400, 0.5], ["1e+16", "1" * 400, "0.5"]),
    ],
)
def test_a_column_comes_back_as_it_was(encoder: Encoder, cells: list[str | int | float], written: list[Any]) -> None:
    items = random_items(len(cells), encoder.card.embedding)
    with LocalCatalogue.create("shop", encoder) as catalogue:
        catalogue.add([replace(item, columns={"ean": cell}) for item, cell in zip(items, cells, strict=True)])
        parquet.export(catalogue, Path("shop.parquet"))
    assert pq.read_table("shop.parquet")["ean"].to_pylist() == written
    parquet.load(Path("shop.parquet"), "again", encoder)
    assert [item.columns for item in whole("again").values()] == [{"ean": cell} for cell in cells]


def test_an_empty_catalogue(encoder: Encoder) -> None:
    with LocalCatalogue.create("empty", encoder) as catalogue:
        assert parquet.export(catalogue, Path("empty.parquet")) == 0
    parquet.load(Path("empty.parquet"), "again", encoder)
    assert whole("again") == {}


def changed(path: Path, change: Callable[[Any], Any]) -> Path:
    """The file after another program has changed the table."""
    pq.write_table(change(pq.read_table(path)), path)
    return path


def test_what_other_programs_change_is_taken(shop: Path, encoder: Encoder) -> None:
    def change(table: Any) -> Any:
        table = table.drop_columns(["thumbnail", "size"]).append_column(
            "cluster", pa.array([3, None, 1, 0, 2], pa.int8())
        )
        table = table.append_column("weight", pa.array([1.5, float("nan"), None, 0, 2]))
        names = sorted(table.schema.names)
        table = table.select(names).cast(
            pa.schema(
                [pa.field(n, pa.large_string() if n == "source" else table.schema.field(n).type) for n in names],
                metadata=table.schema.metadata,
            )
        )
        return table.slice(0, 4)

    parquet.load(changed(shop, change), "again", encoder)
    after = whole("again")
    assert [item.columns for item in after.values()] == [
        {"ID": "x", "id": 7, "price": 5.0, "cluster": 3, "weight": 1.5},
        {"number": 2**62, "price": 39.5},
        {"größe": "ü", "number": 0, "price": -1.0, "cluster": 1},
        {"price": 1e-7, "cluster": 0, "weight": 0.0},
    ]
    from vitrine import images

    assert images.read(after[4].thumbnail).shape == (28, 28, 1)


def told(change: Callable[[dict[str, Any]], object]) -> Callable[[Any], Any]:
    """A table with other metadata."""

    def changed(table: Any) -> Any:
        said = json.loads(table.schema.metadata[b"vitrine"])
        change(said)
        return table.replace_schema_metadata({b"vitrine": json.dumps(said)})

    return changed


def put(name: str, values: Any) -> Callable[[Any], Any]:
    """A table with another column in place of that one."""
    return lambda table: table.set_column(
        table.schema.get_field_index(name), name, values(table[name].combine_chunks())
    )


def vectors(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def changed(column: Any) -> Any:
        flat = change(column.flatten().to_numpy().reshape(len(column), -1).copy())
        return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])

    return put("vector", changed)


def first(value: Any) -> Callable[[Any], Any]:
    return lambda column: pa.array([value, *column.to_pylist()[1:]], column.type)


def with_nan(table: Any) -> Any:
    table[2, 3] = np.nan
    return table


WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (lambda table: table.replace_schema_metadata(None), "was not written by `vitrine index export`"),
    (told(lambda said: said.update(format_version=2)), "has format 2, newer than this vitrine knows (1)"),
    (told(lambda said: said.pop("identity")), "metadata that makes no sense"),
    (told(lambda said: said.update(columns=[])), "metadata that makes no sense"),
    (told(lambda said: said.update(identity="0" * 32)), "is not among those known here"),
    (told(lambda said: said.update(dimensions=5)), "5 numbers), not of siamese"),
    (vectors(lambda table: table[:, :-1]), "numbers; its model makes"),
    (vectors(lambda table: table * 2), "not of length 1"),
    (vectors(with_nan), "not of length 1, or not finite"),
    (put("id", first(5)), "Two of the items have the id 5"),
    (put("id", first(0)), "ids go from 1 to 2^62"),
    (put("id", first(2**63 - 1)), "ids go from 1 to 2^62"),
    (told(lambda said: said.update(last=2**80)), "metadata that makes no sense"),
    (told(lambda said: said.update(format_version=float("inf"))), "metadata that makes no sense"),
    (lambda table: table.replace_schema_metadata({b"vitrine": b"[" * 100_000}), "metadata that makes no sense"),
    (put("id", first(None)), "has items without id"),
    (put("source", first("s1")), "Two of the items have the source 's1'"),
    (put("source", first(None)), "has items without source"),
    (put("added", lambda column: pa.array([2**62] * len(column), column.type)), "was added at no time that there is"),
    (put("content", lambda column: pa.array([[1]] * len(column))), "cannot be read as Parquet"),
    (lambda table: table.drop_columns(["vector"]), "has no column vector"),
    (lambda table: table.append_column("list", pa.array([[1]] * len(table))), "a column list of list"),
]


@pytest.mark.parametrize(("change", "says"), WRONG)
def test_what_cannot_be_imported(cli: Cli, shop: Path, change: Callable[[Any], Any], says: str) -> None:
    changed(shop, change)
    code, out, err = cli("index", "import", shop, "--catalogue", "again")
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err
    assert folders.names() == ["shop"]
    assert [path.name for path in folders.folder("shop").parent.iterdir()] == ["shop"]


def test_a_damaged_file_is_told(cli: Cli, shop: Path) -> None:
    sound = shop.read_bytes()
    random = np.random.default_rng(0)
    harmed = [sound[:-1], sound[: len(sound) // 2], b"", b"PAR1", b"no parquet" * 100]
    for place in random.integers(4, len(sound) - 8, 30):
        harmed.append(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
    before = whole("shop")
    for content in harmed:
        shop.write_bytes(content)
        code, _, err = cli("index", "import", shop, "--catalogue", "again")
        if code == 0:  # the byte means nothing
            assert all(same(item, before[id]) for id, item in whole("again").items())
            assert len(whole("again")) == len(before)
            folders.delete("again")
        else:
            assert (code, one_sentence(err)) == (2, True)
            assert folders.names() == ["shop"]


# --- the commands


def test_the_commands(cli: Cli, shop: Path) -> None:
    code, out, _ = cli("index", "export", "shop", "small.parquet", "--no-thumbnails", "--json")
    assert code == 0
    assert json.loads(out) == {
        "catalogue": "shop",
        "file": "small.parquet",
        "items": 5,
        "bytes": Path("small.parquet").stat().st_size,
    }
    assert "thumbnail" not in pq.read_schema("small.parquet").names
    code, out, _ = cli("index", "import", "small.parquet", "--catalogue", "again")
    assert (code, out) == (0, "again: 5 items from small.parquet.\n")
    assert len([*folders.folder("again").glob("index-*.faiss")]) == 1
    assert cli("index", "export", "shop", "x.parquet")[1].startswith("shop: 5 items in x.parquet (0.")
    assert cli("index", "export", "shop", ".parquet")[0] == 0  # a hidden file


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: names that are no text are Linux's")
def test_names_that_are_no_text(cli: Cli, shop: Path) -> None:
    place = Path(os.fsdecode(b"b\xff"))
    file = place / os.fsdecode(b"\xfe.parquet")
    assert cli("index", "export", "shop", file)[0] == 0
    assert file.read_bytes()[:4] == b"PAR1"
    assert cli("index", "import", file, "--catalogue", "again")[0] == 0
    assert whole("again").keys() == whole("shop").keys()
    file.write_bytes(b"no parquet")
    code, _, err = cli("index", "import", file, "--catalogue", "x")
    assert (code, one_sentence(err)) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["export", "shop", "shop.csv"], "does not end in .parquet"),
        (["export", "none", "x.parquet"], "There is no catalogue 'none'"),
        (["export", "shop", "folder/x.parquet"], "a file is in the way"),
        (["import", "none.parquet", "--catalogue", "x"], "There is no file none.parquet"),
        (["import", "shop.parquet", "--catalogue", "shop"], "There is a catalogue 'shop' already"),
        (["import", "shop.parquet", "--catalogue", "a/b"], "cannot name a catalogue"),
        (["import", "shop.parquet", "--catalogue", "x", "--model", "compact"], "not of compact"),
        (["import", "shop.parquet", "--catalogue", "x", "--model", "none"], "There is no model 'none'"),
    ],
)
def test_what_cannot_be_done(cli: Cli, shop: Path, arguments: list[str], says: str) -> None:
    Path("folder").touch()
    before = shop.read_bytes()
    code, out, err = cli("index", *arguments)
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err
    assert {path.name for path in Path().iterdir()} == {"shop.parquet", "folder"}
    assert shop.read_bytes() == before
    assert folders.names() == ["shop"]


def test_a_damaged_catalogue_is_not_exported(cli: Cli, shop: Path) -> None:
    import sqlite3
    from contextlib import closing

    before = shop.read_bytes()
    with closing(sqlite3.connect(folders.folder("shop") / "catalogue.sqlite")) as connection:
        connection.execute("UPDATE thumbnails SET image = x'00' WHERE id = 6")
        connection.commit()
    code, _, err = cli("index", "export", "shop", shop)
    assert (code, one_sentence(err)) == (2, True)
    assert "1 item is lost: 6 (s2)" in err
    assert shop.read_bytes() == before


def test_without_pyarrow(cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    code, _, err = cli("index", "export", "shop", "x.parquet")
    assert (code, one_sentence(err)) == (2, True)
    assert "pip install 'vitrine[parquet]'" in err
