from pathlib import Path

import pytest

from vitrine.errors import InputError
from vitrine.indexing import items_csv


def read(content: bytes | str) -> dict[str, tuple[int, dict[str, str | int | float]]]:
    """By the name of the picture: the line and the cells."""
    path = Path("items.csv")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    lines = items_csv.read(path, "shop").lines
    here = str(Path.cwd() / "shop")
    return {source.removeprefix(f"{here}/"): (line.number, line.cells) for source, line in lines.items()}


def test_cells_are_texts_and_numbers() -> None:
    found = read("file,price,colour\na.jpg,39.5,red\nDress/b.jpg,40, pink \nc.jpg,,\n")
    assert found == {
        "a.jpg": (2, {"price": 39.5, "colour": "red"}),
        "Dress/b.jpg": (3, {"price": 40, "colour": "pink"}),
        "c.jpg": (4, {}),
    }


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0", 0),
        ("-3", -3),
        ("0.50", 0.5),
        ("007", "007"),
        ("+5", "+5"),
        ("1e5", "1e5"),
        ("1,5", "1,5"),
        ("NaN", "NaN"),
        ("inf", "inf"),
        ("٣", "٣"),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("9" * 400 + ".5", "9" * 400 + ".5"),
        ("2026-01-31", "2026-01-31"),
        ("12 000", "12 000"),
    ],
)
def test_what_looks_like_a_plain_number_is_one(cell: str, value: object) -> None:
    ((_, cells),) = read(f'file,x\na.jpg,"{cell}"\n').values()
    assert cells == {"x": value}
    assert type(cells["x"]) is type(value)


@pytest.mark.parametrize(
    "content",
    [
        "\ufefffile,price,note\na.jpg,1.5,x\n",
        "file;price;note\r\na.jpg;1,5;x\r\n",
        "file\tprice\tnote\na.jpg\t1.5\tx",
        '"file","price","note"\n"a.jpg","1.5","x"\n',
        "\n\nprice,File,note\n\n1.5,a.jpg,x\n\n",
        "price,filename,note\n1.5,.\\a.jpg,x\n",
        "price,source,note\n1.5,./b/../a.jpg,x\n",
        "file;price;note;\na.jpg;1,5;x;\n",
        '"a, b";file;price;note\n;a.jpg;1.5;x\n',
    ],
)
def test_ways_to_write_it(content: str) -> None:
    (found,) = read(content).items()
    assert (found[0], found[1][1]) == ("a.jpg", {"price": 1.5, "note": "x"})


def test_a_separator_in_a_name_and_line_breaks_in_a_cell() -> None:
    assert read('file,"size, EU",note\n"a, b.jpg",38,"two\nlines"\nc.jpg,39,x\n') == {
        "a, b.jpg": (2, {"size, EU": 38, "note": "two\nlines"}),
        "c.jpg": (4, {"size, EU": 39, "note": "x"}),
    }


def test_of_several_columns_of_names_the_first_kind_counts() -> None:
    assert read("source,file,x\nmilan,a.jpg,1\n") == {"a.jpg": (2, {"source": "milan", "x": 1})}


def test_a_composed_name_finds_its_decomposed_picture() -> None:
    Path("items.csv").write_text("file,x\nсвій.jpg,1\n", encoding="utf-8")
    table = items_csv.read(Path("items.csv"), "shop")
    decomposed = str(Path.cwd() / "shop" / "свій.jpg".replace("й", "и\u0306"))
    key = table.source(decomposed)
    assert key is not None
    assert table.lines[key].cells == {"x": 1}
    assert table.source("/elsewhere/a.jpg") is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "line 1: it must name the columns, one of them file, filename or source"),
        (b"name,price\na.jpg,1\n", "line 1: it must name the columns.* found was 'name,price'"),
        (b"file|price\na.jpg|1\n", "line 1: it must name the columns"),
        (b"file,price,price\n", "line 1: two columns are called price"),
        (b"file,price\na.jpg,1\nb.jpg\n", "line 3: it has 1 cells, and the first line has 2"),
        (b"file,price\na.jpg,1,2\n", "line 2: it has 3 cells"),
        (b"file,price\na.jpg,1\nb.jpg,2\n./a.jpg,3\n", r"line 4: the picture ./a.jpg is in line 2 already"),
        (b"file,price\n,1\n", "line 2: the name of the picture is empty"),
        (b"file,\na.jpg,1\n", "line 2: it has a cell in a column without a name"),
        ("file,x\nплаття.jpg,1\n".encode("cp1251"), "line 2: it is not UTF-8"),
        ("file,x\na.jpg,1\n".encode("utf-16"), "line 1: it is not UTF-8"),
        (b"file,x\na.jpg,\0\n", "line 2: it holds a zero byte"),
        (b'file,x\na.jpg,1\nb.jpg,"2\n', "line 3: it is not CSV"),
        (b'file,x\na.jpg,"1"2\n', "line 2: it is not CSV"),
        (b"file,x\na.jpg," + b"x" * 200_000 + b"\n", "line 2: it is not CSV .*field limit"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(content: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        read(content)
    assert str(raised.value).startswith("items.csv")
    assert "\n" not in str(raised.value)


def test_a_csv_that_is_not_there_or_a_folder() -> None:
    for path in (Path("nowhere.csv"), Path()):
        with pytest.raises(InputError, match="cannot be read"):
            items_csv.read(path, "shop")
