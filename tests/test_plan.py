"""What a plan says, beside what was measured and beside sums done by hand."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import logs
import make_performance
from pictures import Cli, one_sentence, random_items
from vitrine.catalogue import folders, index_kinds, plan
from vitrine.catalogue.index_kinds import Kind
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.plan import Choice, Terms
from vitrine.encoder import Encoder
from vitrine.errors import InputError

SIZES = make_performance.sizes(logs.read(Path(__file__).parents[1] / "benchmarks" / "results"))
MEASURED: list[tuple[Kind, int, int, dict[str, Any]]] = [
    (kind, int(size["items"]), int(size["dimensions"]), line)
    for size in SIZES
    if size["items"] >= 1_000_000
    for line in size["found"]
    for kind in index_kinds.KINDS
    if line["what"] == kind
]


def of(index: str, items: int, dimensions: int = 187, terms: Terms | None = None) -> Choice:
    return next(choice for choice in plan.plan(items, dimensions, terms).choices if choice.index == index)


# --- beside what was measured


def test_there_are_measurements_at_one_and_ten_million() -> None:
    assert {items for _, items, _, _ in MEASURED} >= {1_000_000, 10_000_000}
    assert {kind for kind, _, _, _ in MEASURED} == set(index_kinds.KINDS)


@pytest.mark.parametrize(("kind", "items", "dimensions", "line"), MEASURED, ids=lambda value: str(value)[:12])
def test_an_index_takes_what_the_log_says(kind: Kind, items: int, dimensions: int, line: dict[str, Any]) -> None:
    """The tolerances are those that the rules tell."""
    assert plan.index_bytes(kind, items, dimensions) == pytest.approx(items * line["bytes_per_item"], rel=0.01)
    assert plan.building_bytes(kind, items, dimensions) == pytest.approx(line["peak_bytes"], rel=0.1)
    slack = 0.5 if kind == "exact" else 0.0  # s: a second or two, of which reading is the most
    assert plan.building_seconds(kind, items, dimensions) == pytest.approx(line["build_s"], rel=0.15, abs=slack)


@pytest.mark.parametrize("size", [size for size in SIZES if size["items"] >= 1_000_000], ids=lambda size: size["items"])
def test_the_rule_for_graphs_on_milvus_fits_other_graphs_of_that_kind(size: dict[str, Any]) -> None:
    """Of hnswlib and usearch with M = 32, as far as they were measured: the same links, and an id."""
    others = [line for line in size["found"] if line["what"] in ("hnswlib", "usearch")]
    assert others or size["items"] > 1_000_000
    for line in others:
        assert of("HNSW", size["items"]).bytes_per_item == pytest.approx(line["bytes_per_item"], rel=0.02)


@pytest.mark.parametrize(("thumbnail", "source"), [(450, 25), (3000, 60)])
def test_a_catalogue_takes_the_disk_that_it_says(encoder: Encoder, thumbnail: int, source: int) -> None:
    """Tables of 3,000 items of 187 numbers."""
    with LocalCatalogue.create("shop", encoder) as catalogue:
        for first in range(0, 3000, 500):
            items = random_items(500, 187, seed=first, start=first)
            catalogue.add(
                [
                    replace(
                        item,
                        source=f"{item.source:x<{source}}",
                        content=f"{number:032d}",
                        thumbnail=bytes(thumbnail),
                        label="T-shirt/top",
                        columns=None,
                    )
                    for number, item in enumerate(items)
                ]
            )
    size = (folders.folder("shop") / "catalogue.sqlite").stat().st_size
    assert 3000 * plan.table_bytes(187, thumbnail, source + 11) == pytest.approx(size, rel=0.1)


# --- by hand


def test_a_hundred_million_on_milvus() -> None:
    hnsw = of("HNSW", 100_000_000, 128)
    assert hnsw.bytes_per_item == 512 + 256 + 8
    assert hnsw.memory == 77_600_000_000
    assert hnsw.machines == 2  # of which 0.9 of 64 GB are loaded: 1.35
    assert of("HNSW", 100_000_000, 128, Terms(replicas=2)).machines == 4
    assert of("HNSW", 100_000_000, 128, Terms(replicas=2)).memory == 2 * 77_600_000_000
    assert of("IVF_SQ8", 100_000_000, 128).bytes_per_item == 128 + 8 + 8
    assert of("IVF_PQ", 100_000_000, 128).bytes_per_item == 32 + 8 + 8
    disk = of("DISKANN", 100_000_000, 128)
    assert disk.bytes_per_item == pytest.approx(0.225 * 512 + 8)
    fields = 3 * 100 + 150 + 4000
    graph = 4096 / 5  # 512 + 4 + 224 = 740 bytes
    assert disk.node_disk == pytest.approx(1e8 * (fields + graph))
    assert disk.disk == pytest.approx(1e8 * (512 + fields + graph))
    assert hnsw.disk == pytest.approx(1e8 * (512 + fields + 768))
    assert hnsw.node_disk == pytest.approx(1e8 * fields)


def test_long_vectors_take_whole_pages() -> None:
    assert of("DISKANN", 10**9, 2048).node_disk == pytest.approx(1e9 * (4450 + 3 * 4096))
    assert plan.table_bytes(2048, 0, 0) > 8192


@pytest.mark.parametrize(
    ("items", "memory", "where", "index", "machines"),
    [
        (1000, 64, "local", "exact", 1),
        (200_000, 64, "local", "exact", 1),
        (10_000_000, 64, "local", "ivf", 1),
        (10_000_000, 8, "local", "ivf-sq8", 1),
        (50_000_000, 32, "local", "ivf-sq8", 1),
        (100_000_000, 64, "local", "ivf-sq8", 1),
        (100_000_000, 32, "milvus", "HNSW", 4),
        (300_000_000, 128, "milvus", "HNSW", 3),
        (1_000_000_000, 64, "milvus", "DISKANN", 4),
        (1_000_000_000, 1024, "milvus", "HNSW", 2),
    ],
)
def test_where_to_go(items: int, memory: float, where: str, index: str, machines: int) -> None:
    found = plan.plan(items, 187, Terms(memory=memory * 1e9))
    assert (found.advice.where, found.advice.index, found.advice.machines) == (where, index, machines)
    assert found.advice in found.choices


def test_here_it_is_the_kind_that_a_catalogue_chooses() -> None:
    for items in (1000, 10**6, 10**7, 10**8):
        found = plan.plan(items, 187)
        if found.advice.where == "local":
            assert found.advice.index == index_kinds.choose(items, 187, int(plan.MEMORY * 1e9 / 2))


def test_more_items_take_more() -> None:
    sizes = [plan.plan(10**power, 187) for power in range(1, 12)]
    for less, more in pairwise(sizes):
        for one, other in zip(less.choices, more.choices, strict=True):
            assert one.memory < other.memory
            assert one.disk < other.disk
            assert one.seconds is None or other.seconds is None or one.seconds < other.seconds


@pytest.mark.parametrize(
    ("items", "dimensions", "terms", "says"),
    [
        (0, 187, Terms(), "0 items cannot be planned"),
        (10**12, 187, Terms(), "1,000,000,000,000 items"),
        (10, 1, Terms(), "A vector of 1 numbers"),
        (10, 40_000, Terms(), "A vector of 40,000 numbers"),
        (10, 187, Terms(memory=0), "of memory"),
        (10, 187, Terms(memory=float("nan")), "of memory"),
        (10, 187, Terms(replicas=0), "1 to 100 replicas"),
        (10, 187, Terms(thumbnail=-1), "Small pictures and texts"),
        (10, 187, Terms(texts=10**7), "Small pictures and texts"),
    ],
)
def test_numbers_that_cannot_be(items: int, dimensions: int, terms: Terms, says: str) -> None:
    with pytest.raises(InputError, match=says):
        plan.plan(items, dimensions, terms)


# --- the command


def test_the_docs_show_what_the_command_prints(cli: Cli) -> None:
    shown = cli("index", "plan")[1].split("\nBy these rules:\n")[0].strip("\n")
    assert f"```text\n{shown}\n```" in (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_command(cli: Cli) -> None:
    code, out, err = cli("index", "plan", "--items", 100_000_000, "--dimensions", 128)
    assert (code, err) == (0, "")
    assert "100,000,000 items of 128 numbers, machines of 64 GB" in out
    (advised,) = (line for line in out.splitlines() if "<--" in line)
    assert advised.split()[0] == "ivf-sq8"
    for number, (rule, source) in enumerate(plan.RULES, 1):
        assert f"{number:3d}. {rule} [{source}]" in out
    code, out, _ = cli("index", "plan", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["items"] for line in lines] == [10_000_000, 100_000_000, 1_000_000_000]
    assert {line["dimensions"] for line in lines} == {187}
    assert lines[2]["advice"]["index"] == "DISKANN"
    assert [choice["index"] for choice in lines[0]["choices"]] == [
        *index_kinds.KINDS,
        *("HNSW", "IVF_SQ8", "IVF_PQ", "DISKANN"),
    ]
    code, out, _ = cli("index", "plan", "--model", "compact", "--items", 5, "--items", 6, "--json")
    assert [(line["items"], line["dimensions"]) for line in map(json.loads, out.splitlines())] == [(5, 128), (6, 128)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--items", "0"], "0 items cannot be planned"),
        (["--items", "-5"], "-5 items cannot be planned"),
        (["--model", "default", "--dimensions", "128"], "not both"),
        (["--model", "none"], "There is no model 'none'"),
        (["--dimensions", "0"], "A vector of 0 numbers"),
        (["--memory", "-1"], "of memory"),
        (["--replicas", "0"], "replicas"),
        (["--thumbnail", "-1"], "Small pictures"),
    ],
)
def test_what_the_command_refuses(cli: Cli, arguments: list[str], says: str) -> None:
    code, out, err = cli("index", "plan", *arguments)
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err
