"""Anything that can be done to a catalogue, in any order, against a plain dictionary."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from PIL import Image

from pictures import random_items
from vitrine.catalogue import Columns, Item, filters, folders, kept_index, vector_index
from vitrine.catalogue.index_kinds import KINDS
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.indexing.folder import FolderSync

ENCODER = Encoder.load("default")
SIZE = ENCODER.card.embedding
NAMES = st.sampled_from([f"{place}{name}.png" for place in ("", "Dress/", "Coat/") for name in "abé"])
CONDITIONS: dict[str, Callable[[Item], bool]] = {
    "label = 'Dress'": lambda item: item.label == "Dress",
    "price < 3": lambda item: bool(item.columns) and float((item.columns or {}).get("price", 9)) < 3,
    "not price < 3": lambda item: bool(item.columns) and float((item.columns or {}).get("price", 0)) >= 3,
    "price is null and source contains 's'": lambda item: not item.columns and "s" in item.source,
}


@dataclass(frozen=True)
class Picture:
    """A file as it is to be found in the catalogue."""

    seed: int
    vector: npt.NDArray[np.float32]


class Machine(RuleBasedStateMachine):
    """`there`: what the catalogue must hold, by source. `files`: what lies in the folder. `prices`: what its CSV
    says.
    """

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        os.environ["VITRINE_HOME"] = str(self.home)
        self.folder = self.home / "photos"
        (self.folder / "Dress").mkdir(parents=True)
        (self.folder / "Coat").mkdir()
        self.there: dict[str, Item] = {}
        self.files: dict[str, Picture] = {}
        self.prices: dict[str, int] | None = None
        self.catalogue = LocalCatalogue.create("shop", ENCODER)
        self.following = FolderSync(ENCODER, self.folder)

    def teardown(self) -> None:
        self.catalogue.close()
        shutil.rmtree(self.home)

    # --- by hand

    @rule(seed=st.integers(0, 10**6), start=st.integers(0, 9), count=st.integers(1, 6))
    def add(self, seed: int, start: int, count: int) -> None:
        items = random_items(count, SIZE, seed, start)
        ids = self.catalogue.add(items)
        assert ids == sorted(set(ids))
        self.there |= {item.source: item for item in items}

    @rule(data=st.data())
    @precondition(lambda self: self.there)
    def remove(self, data: st.DataObject) -> None:
        gone = data.draw(st.lists(st.sampled_from(sorted(self.there)), min_size=1, unique=True))
        assert self.catalogue.remove(self.catalogue.ids(gone).values()) == len(gone)
        self.there = {source: item for source, item in self.there.items() if source not in gone}

    @rule(data=st.data(), price=st.integers(0, 5))
    @precondition(lambda self: self.there)
    def refresh(self, data: st.DataObject, price: int) -> None:
        source = data.draw(st.sampled_from(sorted(self.there)))
        (known,) = [item for item in self.catalogue.known(source) if item.source == source]
        columns: Columns | None = {"price": price, "size": "S"} if price else None
        self.catalogue.refresh([replace(known, columns=columns, label=f"label {price}")])
        self.there[source] = replace(self.there[source], columns=columns, label=f"label {price}")

    # --- a folder

    @rule(name=NAMES, seed=st.integers(0, 3))
    def paint(self, name: str, seed: int) -> None:
        path = self.folder / name
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (28, 28), np.uint8)).save(path)
        self.files[name] = Picture(seed, ENCODER.embed([path])[0])

    @rule(data=st.data())
    @precondition(lambda self: len(self.files) > 1)
    def unlink(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)))
        (self.folder / name).unlink()
        del self.files[name]

    @rule(prices=st.dictionaries(NAMES, st.integers(0, 5)))
    def write_csv(self, prices: dict[str, int]) -> None:
        self.prices = prices
        lines = ["file;price", *(f"{name};{price}" for name, price in prices.items())]
        (self.folder / "items.csv").write_text("\n".join(lines), encoding="utf-8")

    @rule(again=st.booleans())
    @precondition(lambda self: self.files)
    def sync(self, again: bool) -> None:
        following = self.following if again else FolderSync(ENCODER, self.folder)
        report = following.run(self.catalogue)
        assert not report.unreadable
        assert report.added + report.replaced + report.unchanged == len(self.files)
        before = self.there
        self.there = {source: item for source, item in before.items() if not source.startswith(str(self.folder))}
        for name, picture in self.files.items():
            source = str(self.folder / name)
            columns = before[source].columns if source in before else None
            if self.prices is not None:
                columns = {"price": self.prices[name]} if name in self.prices else None
            label = name.split("/")[0] if "/" in name else None
            self.there[source] = Item(source, label, "", picture.vector, b"", columns)
        assert FolderSync(ENCODER, self.folder).run(self.catalogue).changed == 0

    # --- the disk

    @rule(kind=st.sampled_from(["auto", *KINDS]))
    def index(self, kind: str) -> None:
        self.catalogue.use_index(kind)

    @rule(lose_index=st.booleans())
    def reopen(self, lose_index: bool) -> None:
        self.catalogue.save_index()
        self.catalogue.close()
        if lose_index:
            for path in folders.folder("shop").glob("index-*"):
                path.unlink()
        self.catalogue = LocalCatalogue.open("shop")

    # --- what must hold

    @rule(
        seed=st.integers(0, 99),
        k=st.integers(1, 8),
        offset=st.integers(0, 8),
        threshold=st.none() | st.floats(-0.2, 0.2),
        where=st.none() | st.sampled_from(sorted(CONDITIONS)),
    )
    def search(self, seed: int, k: int, offset: int, threshold: float | None, where: str | None) -> None:
        query = random_items(1, SIZE, seed)[0].vector
        condition = filters.parse(where, ["price"]) if where else None
        found = self.catalogue.search(query[None], k, threshold, condition, offset)[0]
        chosen = {source: item for source, item in self.there.items() if not where or CONDITIONS[where](item)}
        scores = {source: float(item.vector @ query) for source, item in chosen.items()}
        wanted = sorted(scores.values(), reverse=True)[offset : offset + k]
        wanted = [score for score in wanted if threshold is None or score >= threshold]
        assert [match.score for match in found] == pytest.approx(wanted, abs=1e-5)
        for match in found:
            item = self.there[match.source]
            assert match.score == pytest.approx(scores[match.source], abs=1e-5)
            assert (match.label, match.columns) == (item.label, item.columns)

    @invariant()
    def holds_what_it_must(self) -> None:
        known = {item.source: item for item in self.catalogue.known()}
        assert known.keys() == self.there.keys()
        assert all(known[source].columns == item.columns for source, item in self.there.items())
        counts: dict[str, int] = {}
        for item in self.there.values():
            for name in item.columns or {}:
                counts[name] = counts.get(name, 0) + 1
        assert self.catalogue.columns() == counts
        info = self.catalogue.info()
        assert info.items == len(self.there)
        assert info.labels == len({item.label for item in self.there.values()} - {None})

    @rule()
    def is_sound(self) -> None:
        assert not self.catalogue.check().found
        ids, vectors, sources = self.catalogue.vectors()
        assert len(set(ids.tolist())) == len(ids)
        for vector, source in zip(vectors, sources, strict=True):
            assert np.abs(vector - self.there[source].vector).max() < 1e-5


def run(examples: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_HOME", "")  # put back at the end, whatever the machine sets
    monkeypatch.setattr(vector_index, "_TAIL", 5)  # so that a few items come into the base
    monkeypatch.setattr(kept_index, "_BEHIND", 3)  # and few changes into the file
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_catalogue_is_a_dictionary_that_can_be_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    run(12, 20, monkeypatch)


@pytest.mark.slow
def test_a_catalogue_is_a_dictionary_that_can_be_searched_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    run(150, 40, monkeypatch)
