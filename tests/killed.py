"""What is killed at a random moment by test_catalogue_faults.py: programs that write into a catalogue, in processes of
their own, and what they would have made of it.
"""

import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from pictures import random_items
from vitrine.catalogue import Item, by_name, copying, kept_index, staging
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.milvus import writer as milvus_writer
from vitrine.encoder import Encoder
from vitrine.indexing import folder as folders
from vitrine.indexing import here
from vitrine.indexing import rebuild as rebuilding

State = dict[int, Item]  # by id


def states(seed: int, size: int) -> Iterator[tuple[list[Item], list[int], State]]:
    """Endless writes: what each adds and what it removes, and what is there after it. All by the seed."""
    random = Random(seed)
    there: State = {}
    last, number = 0, 0
    while True:
        number += 1
        if there and random.random() < 0.3:
            gone = random.sample(sorted(there), random.randint(1, len(there)))
            there = {id: item for id, item in there.items() if id not in gone}
            yield [], gone, there
            continue
        added = random_items(random.randint(1, 30), size, seed=seed * 10_000 + number, start=random.randrange(60))
        sources = {item.source for item in added}
        there = {id: item for id, item in there.items() if item.source not in sources}
        there |= {last + place: item for place, item in enumerate(added, 1)}
        last += len(added)
        yield added, [], there


def write(home: str, seed: int, size: int, told: Connection) -> None:
    """Write until killed, into the catalogue "shop"; after each write that came back, say so, and make the index ready,
    which it writes again and again and, as much is removed, builds anew.
    """
    os.environ["VITRINE_HOME"] = home
    kept_index._BEHIND = 0
    with LocalCatalogue.open("shop") as catalogue:
        for added, gone, _ in states(seed, size):
            if gone:
                catalogue.remove(gone)
            else:
                catalogue.add(added)
            told.send_bytes(b"done")
            catalogue.save_index()


def sync(home: str, folder: str, told: Connection) -> None:
    """Bring the catalogue "shop" to agree with the folder, in small batches."""
    os.environ["VITRINE_HOME"] = home
    here.BATCH = 4
    with LocalCatalogue.open("shop") as catalogue:
        told.send_bytes(b"begun")
        folders.FolderSync(catalogue.encoder(), Path(folder)).run(catalogue)
        told.send_bytes(b"done")


def rebuild(home: str, model: str, told: Connection) -> None:
    """Move the catalogue "shop" to that model, in small batches."""
    os.environ["VITRINE_HOME"] = home
    rebuilding.BATCH = 4
    encoder = Encoder.load(model)
    with LocalCatalogue.open("shop") as catalogue:
        told.send_bytes(b"begun")
        rebuilding.rebuild(catalogue, encoder)
        told.send_bytes(b"done")


def copy(home: str, source: str, name: str, finish: bool, told: Connection) -> None:
    """Copy that catalogue, in small batches."""
    os.environ["VITRINE_HOME"] = home
    copying.BATCH = 4
    milvus_writer.BEAT, milvus_writer.DEAD = 0.3, 2.0
    with by_name.open_(source) as catalogue:
        told.send_bytes(b"begun")
        copying.copy(catalogue, staging.of(name), finish)
        told.send_bytes(b"done")
