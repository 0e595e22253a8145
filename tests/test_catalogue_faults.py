"""The power fails, the disk is full or read-only: what was acknowledged is there."""

import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

import killed
from pictures import best, random_items
from vitrine.catalogue import Item, folders
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.errors import StorageError
from vitrine.indexing.folder import FolderSync, add_folder
from vitrine.indexing.rebuild import rebuild

SIZE = Encoder.load("default").card.embedding


@pytest.fixture(scope="module")
def server() -> Any:
    """A process that has imported everything, and whose copies are killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed"])
    return context


@pytest.fixture
def catalogue(encoder: Encoder) -> LocalCatalogue:
    return LocalCatalogue.create("shop", encoder)


def kill(server: Any, target: Any, arguments: tuple[object, ...], wait: float) -> int:
    """Start it, let it work for that many seconds after its first word, kill it; how many words it said."""
    receiving, sending = server.Pipe(duplex=False)
    process = server.Process(target=target, args=(*arguments, sending))
    process.start()
    sending.close()
    assert receiving.poll(60), "it never began"
    time.sleep(wait)
    process.kill()
    process.join()
    return words(receiving)


def words(receiving: Connection) -> int:
    count = 0
    with suppress(EOFError):
        while True:
            receiving.recv_bytes()
            count += 1
    return count


def check(there: killed.State, catalogue: LocalCatalogue) -> None:
    """The catalogue holds exactly that, and answers so."""
    ids, vectors, sources = catalogue.vectors()
    assert ids.tolist() == sorted(there)
    assert sources == [there[id].source for id in sorted(there)]
    assert not catalogue.check().found
    for id, vector in zip(ids.tolist(), vectors, strict=True):
        assert (vector == there[id].vector).all()
    query = random_items(1, SIZE, seed=99)[0].vector
    wanted = best(there, query)[:10]
    assert [match.id for match in catalogue.search(query[None], 10)[0]] == [id for id, _ in wanted]
    assert catalogue.info().items == len(there)
    prices = sum(item.columns is not None for item in there.values())
    assert catalogue.columns() == ({"price": prices, "colour": prices} if prices else {})


def kill_writers(server: Any, home: Path, seeds: range) -> None:
    for seed in seeds:
        done = kill(server, killed.write, (str(home), seed, SIZE), Random(seed).uniform(0, 0.4))
        states = [state for _, (_, _, state) in zip(range(done + 1), killed.states(seed, SIZE), strict=False)]
        with LocalCatalogue.open("shop") as opened:
            held = sorted(opened.vectors()[0].tolist())
            assert held in (sorted(states[-1]), sorted(states[-2])), f"seed {seed}: {done} writes were acknowledged"
            check(states[-1] if held == sorted(states[-1]) else states[-2], opened)
        check_nothing_else_is_left()
        folders.delete("shop")
        LocalCatalogue.create("shop", Encoder.load("default")).close()


def test_a_killed_writer_leaves_what_it_acknowledged(server: Any, catalogue: LocalCatalogue, home: Path) -> None:
    kill_writers(server, home, range(5))


@pytest.mark.slow
def test_killed_writers_leave_what_they_acknowledged(server: Any, catalogue: LocalCatalogue, home: Path) -> None:
    kill_writers(server, home, range(100, 220))


def test_a_killed_sync_goes_on(server: Any, catalogue: LocalCatalogue, home: Path, tmp_path: Path) -> None:
    kill_syncs(server, home, tmp_path / "photos", 5)


@pytest.mark.slow
def test_killed_syncs_go_on(server: Any, catalogue: LocalCatalogue, home: Path, tmp_path: Path) -> None:
    kill_syncs(server, home, tmp_path / "photos", 80)


def kill_syncs(server: Any, home: Path, photos: Path, times: int) -> None:
    """A shop changes its folder, and each sync but the last is killed: items whose picture stayed stay; at the end all
    is as if nothing had happened.
    """
    random = Random(times)
    encoder = Encoder.load("default")
    photos.mkdir()
    for number in range(60):
        save(photos / f"{number:03d}.png", random.randrange(10**6))
    with LocalCatalogue.open("shop") as opened:
        before = {item.source: item.content for item in opened.known()}
    for _ in range(times):
        change(photos, random)
        kill(server, killed.sync, (str(home), str(photos)), random.uniform(0, 0.5))
        with LocalCatalogue.open("shop") as opened:
            assert not opened.check().found
            now = {item.source: item.content for item in opened.known()}
        stayed = {source: content for source, content in before.items() if content == content_of(Path(source))}
        assert stayed.items() <= now.items()
        before = now
    with LocalCatalogue.open("shop") as opened:
        FolderSync(encoder, photos).run(opened)
        ids, vectors, sources = opened.vectors()
        assert sorted(sources) == sorted(map(str, photos.glob("*.png")))
        assert np.abs(vectors - encoder.embed([Path(source) for source in sources])).max() < 1e-5
        prices = {item.source: item.columns for item in opened.known()}
        assert prices == {source: {"price": int(Path(source).stem)} for source in sources}
        assert FolderSync(encoder, photos).run(opened).changed == 0
        query = vectors[0]
        wanted = best(
            {int(id): Item("", None, "", vector, b"") for id, vector in zip(ids, vectors, strict=True)}, query
        )
        assert [match.id for match in opened.search(query[None], 5)[0]] == [id for id, _ in wanted[:5]]
    check_nothing_else_is_left()


def test_a_killed_rebuild_leaves_one_model_or_the_other(
    server: Any, catalogue: LocalCatalogue, home: Path, tmp_path: Path
) -> None:
    kill_rebuilds(server, home, tmp_path / "photos", 5)


@pytest.mark.slow
def test_killed_rebuilds_leave_one_model_or_the_other(
    server: Any, catalogue: LocalCatalogue, home: Path, tmp_path: Path
) -> None:
    kill_rebuilds(server, home, tmp_path / "photos", 60)


def kill_rebuilds(server: Any, home: Path, photos: Path, times: int) -> None:
    """From one model to another and back, each time killed: all vectors are of the model that the catalogue names."""
    photos.mkdir()
    for number in range(40):
        save(photos / f"{number}.png", number)
    models = {encoder.card.identity: encoder for encoder in map(Encoder.load, ("default", "compact"))}
    files = sorted(photos.glob("*.png"))
    wanted = {identity: encoder.embed(files) for identity, encoder in models.items()}
    names = dict(zip(models, ("default", "compact"), strict=True))
    with LocalCatalogue.open("shop") as opened:
        add_folder(opened, opened.encoder(), photos)
        now = opened.info().identity
    moved = 0
    for number in range(times):
        (other,) = set(models) - {now}
        kill(server, killed.rebuild, (str(home), names[other]), Random(number).uniform(0, 0.4))
        with LocalCatalogue.open("shop") as opened:
            now = opened.info().identity
            assert opened.encoder().card.identity == now
            assert not opened.check().found
            _, vectors, sources = opened.vectors()
            assert sources == [str(path) for path in files]
            assert vectors == pytest.approx(wanted[now], abs=1e-6)
            assert opened.search(wanted[now][:1], 1)[0][0].source == sources[0]
        moved += now == other
    assert times < 50 or 0 < moved < times
    (other,) = set(models) - {now}
    with LocalCatalogue.open("shop") as opened:
        rebuild(opened, models[other])
        assert opened.vectors()[1] == pytest.approx(wanted[other], abs=1e-6)
    check_nothing_else_is_left()


def check_nothing_else_is_left() -> None:
    """What was being written when a program was killed goes with the next write, once it is old."""
    place = folders.folder("shop")
    for part in place.glob(".*.part"):
        os.utime(part, (0, 0))
    with LocalCatalogue.open("shop") as opened, opened.sole_writer():
        generation = opened._store.meta().generation
    names = {path.name for path in place.iterdir()} - {"catalogue.sqlite-wal", "catalogue.sqlite-shm"}
    indexes = {name for name in names if name.startswith("index-")}
    assert names - indexes == {"catalogue.sqlite", "model.onnx", "writer.lock"}
    assert indexes <= {f"index-{number}.faiss" for number in range(generation + 1)}
    assert [path.name for path in place.parent.iterdir()] == ["shop"]


def save(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (28, 28), np.uint8)
    Image.fromarray(pixels).save(path)


def content_of(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32] if path.exists() else None


def change(photos: Path, random: Random) -> None:
    """Some pictures are painted over, some go, some come."""
    there = sorted(photos.glob("*.png"))
    painted, gone = random.sample(there, 8), random.sample(there, 5)
    new = [photos / f"{random.randrange(100, 1000)}.png" for _ in range(8)]
    for path in (*painted, *new):
        save(path, random.randrange(10**6))
    for path in gone:
        path.unlink()
    lines = [f"{path.name},{int(path.stem)}" for path in sorted(photos.glob("*.png"))]
    (photos / "items.csv").write_text("\n".join(["file,price", *lines]))


def test_a_second_writer_is_told_at_once_and_a_reader_reads(
    server: Any, catalogue: LocalCatalogue, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one program holds the catalogue, another cannot write a single item, and can search."""
    catalogue.add(random_items(5, SIZE))
    script = (
        "import sys, vitrine.catalogue.access\nvitrine.catalogue.access.SECONDS_TO_WAIT = 0.1\nimport vitrine.cli\n"
        "sys.argv = ['vitrine', *sys.argv[1:]]\nvitrine.cli.main()"
    )
    command = [sys.executable, "-c", script, "index", "remove", "shop"]
    with catalogue.sole_writer():
        for arguments in (["1"], ["--all"]):
            done = subprocess.run([*command, *arguments], capture_output=True, text=True)
            assert done.returncode == 2
            assert "Another program is writing to the catalogue" in done.stderr
        with LocalCatalogue.open("shop") as reader:
            assert len(reader.search(random_items(1, SIZE)[0].vector[None], 9)[0]) == 5
        catalogue.remove([1])
    done = subprocess.run(
        [sys.executable, "-c", script, "index", "remove", "shop", "2"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "shop: 1 removed, 3 left.\n")


# --- the disk


FULL = """
import resource, sys
from vitrine.catalogue.local import LocalCatalogue
from pictures import random_items
with LocalCatalogue.open("shop") as catalogue:
    limit = sum(path.stat().st_size for path in catalogue._place.glob("catalogue.sqlite*")) + 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    number = 0
    while True:
        catalogue.add(random_items(20, VECTOR_SIZE, seed=number, start=20 * number))
        number += 1
        print(number, flush=True)
"""


def test_a_file_that_may_not_grow(catalogue: LocalCatalogue, home: Path) -> None:
    """The system refuses a write in the middle: one sentence, and what was acknowledged is there."""
    catalogue.close()
    script = FULL.replace("VECTOR_SIZE", str(SIZE))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "StorageError: Cannot use" in done.stderr
    assert "What was in the catalogue is still there." in done.stderr
    whole = len(done.stdout.split())
    assert whole > 0
    with LocalCatalogue.open("shop") as opened:
        assert opened.info().items == 20 * whole
        check({i + 1: item for i, item in enumerate(batches(whole))}, opened)
        assert len(opened.add(random_items(3, SIZE, start=10**6))) == 3


def batches(count: int) -> list[Item]:
    return [item for number in range(count) for item in random_items(20, SIZE, seed=number, start=20 * number)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four MB, in memory. Who may not make one skips, loudly; where CI is set that fails."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if made.returncode:
        reason = f"NOT RUN: needs a disk of its own, which only root may make ({made.stderr.strip()})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(catalogue: LocalCatalogue, number: int) -> int:
    """Add batches from that number on until the disk is full; the number of the one that was refused."""
    while True:
        try:
            catalogue.add(random_items(20, SIZE, seed=number, start=20 * number))
        except StorageError as error:
            if "the disk is full" in str(error) or "the disk refuses" in str(error):
                return number
            raise
        number += 1


def test_a_full_disk_and_a_read_only_one(small_disk: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_HOME", str(small_disk))
    catalogue = LocalCatalogue.create("shop", encoder)
    whole = fill(catalogue, 0)
    assert whole > 3
    there = {i + 1: item for i, item in enumerate(batches(whole))}
    check(there, catalogue)  # its index finds no room, and is not needed
    catalogue.close()
    with LocalCatalogue.open("shop") as opened:
        check(there, opened)
        whole = fill(opened, whole)
        there = {i + 1: item for i, item in enumerate(batches(whole))}
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with LocalCatalogue.open("shop") as opened:
        check(there, opened)
        with pytest.raises(StorageError, match="read-only"):
            opened.remove([1])
    subprocess.run(["mount", "-o", "remount,rw,size=20m", str(small_disk)], check=True)
    with LocalCatalogue.open("shop") as opened:
        check(there, opened)
        assert opened.remove(list(there)) == len(there)
