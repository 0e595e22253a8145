"""The map over HTTP: a process computes it, and it is sent in a compact form."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from starlette.testclient import TestClient

from vitrine import mapping
from vitrine.catalogue import folders, map_file
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.server import maps
from vitrine.server.app import Settings, create_app

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Sent:
    """A map as it was sent."""

    facts: dict[str, Any]
    points: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]
    classes: npt.NDArray[np.uint16]
    agree: npt.NDArray[np.uint8]
    of: npt.NDArray[np.uint8]
    others: list[str]

    @property
    def labels(self) -> list[str | None]:
        """Of each item."""
        said = [self.facts["labels"][number] for number in self.classes]
        others = iter(self.others)
        return [next(others) if isinstance(one, dict) else one for one in said]


def decoded(content: bytes) -> Sent:
    """By the letter of the documentation."""
    (length,) = struct.unpack_from("<I", content)
    facts = json.loads(content[4 : 4 + length])
    at = 4 + length + (-length) % 4
    assert content[4 + length : at].strip(b"\0") == b""
    n = facts["count"]
    points = np.frombuffer(content, "<f4", 2 * n, at).reshape(n, 2)
    low, high = np.frombuffer(content, "<u4", 2 * n, at + 8 * n).reshape(2, n).astype(np.int64)
    classes = np.frombuffer(content, "<u2", n, at + 16 * n)
    assert facts["format"] == 2
    near = np.zeros((2, n), np.uint8)
    if facts["neighbours"] is not None:
        near = np.frombuffer(content, np.uint8, 2 * n, at + 18 * n).reshape(2, n)
    rest = np.frombuffer(content, "<u2", -1, at + 18 * n + (facts["neighbours"] is not None) * 2 * n)
    assert len(rest) == sum(isinstance(facts["labels"][number], dict) for number in classes)
    others = [facts["other_labels"][number] for number in rest]
    return Sent(facts, points, low + (high << 32), classes, near[0], near[1], others)


def whole(client: TestClient, generation: int = 0) -> Sent:
    """The map, once there is one that is no older."""
    for _ in range(600):
        response = client.get("/api/map")
        if response.status_code == 200:
            sent = decoded(response.content)
            if sent.facts["current"] and sent.facts["generation"] >= generation:
                return sent
        else:
            assert response.status_code == 202, response.text
            assert response.headers["Retry-After"] == "2"
        time.sleep(0.1)
    pytest.fail("no map within a minute")


@pytest.fixture
def app_maps(served: Path) -> Iterator[tuple[TestClient, maps.Maps]]:
    """A client, and what its server knows of maps."""
    app = create_app(Settings("shop", TOKEN))
    with TestClient(app, "http://127.0.0.1") as connected:
        yield connected, app.state.maps


@pytest.fixture
def client(app_maps: tuple[TestClient, maps.Maps]) -> TestClient:
    return app_maps[0]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[maps._Computing]:
    """Every process that was started."""
    started: list[maps._Computing] = []
    real = maps._start

    def start(name: str, generation: int) -> maps._Computing:
        started.append(real(name, generation))
        return started[-1]

    monkeypatch.setattr(maps, "_start", start)
    return started


def blocked() -> Path:
    """No map can be written: a folder lies where its file would. (A superuser may write into a read-only folder.)"""
    with LocalCatalogue.open("shop") as catalogue, catalogue.reading() as store:
        place = folders.folder("shop") / f"map-{store.meta().generation}.points"
    (place / "in the way").mkdir(parents=True)
    return place


def test_it_is_computed_and_then_there(client: TestClient, starts: list[maps._Computing]) -> None:
    first = client.get("/api/map")
    assert first.status_code == 202
    assert first.json() == {"status": "computing", "progress": 0.0}
    sent = whole(client)
    assert len(starts) == 1
    with LocalCatalogue.open("shop") as catalogue:
        found = mapping.find(catalogue)
        assert found.made == "kept"
        items = mapping.items(catalogue, found.stored)
    assert np.array_equal(sent.ids, items.ids)
    assert np.array_equal(sent.points, items.points)
    assert sent.labels == items.labels
    assert sent.facts["other_labels"] == []
    assert items.confidence is not None
    assert sent.facts["neighbours"] == 15
    assert np.array_equal(sent.agree, items.confidence.agree)
    assert np.array_equal(sent.of, items.confidence.of)
    assert sent.facts["trustworthiness"] == pytest.approx(found.stored.trust, abs=1e-4)
    assert (sent.facts["generation"], sent.facts["current"]) == (found.stored.generation, True)


def test_who_has_it_is_not_sent_it_again(client: TestClient) -> None:
    whole(client)
    tag = client.get("/api/map").headers["ETag"]
    again = client.get("/api/map", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/api/map", headers={"If-None-Match": '"0-0"'}).status_code == 200


def test_a_label_that_is_corrected_is_sent(client: TestClient) -> None:
    before = whole(client)
    tag = client.get("/api/map").headers["ETag"]
    with LocalCatalogue.open("shop") as catalogue:
        first = next(item for item in catalogue.known() if item.id == 1)
        catalogue.refresh([replace(first, label="corrected")])
    answer = client.get("/api/map", headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["ETag"] != tag
    after = decoded(answer.content)
    assert after.facts["generation"] == before.facts["generation"]
    assert after.facts["labels"][after.classes[0]] == "corrected"
    assert (after.agree[0], after.of[0]) == (0, 15)
    assert np.array_equal(after.points, before.points)


def test_an_older_map_is_sent_without_neighbours_until_it_is_computed_anew(client: TestClient) -> None:
    before = whole(client)
    stored = map_file.read(folders.folder("shop"))
    assert stored is not None
    replace(stored, near=None).save(folders.folder("shop"))  # as an older vitrine wrote it
    older = decoded(client.get("/api/map").content)
    assert older.facts["neighbours"] is None
    assert np.array_equal(older.points, before.points)
    with LocalCatalogue.open("shop") as catalogue:
        mapping.find(catalogue, again=True)
    assert decoded(client.get("/api/map").content).facts["neighbours"] == 15


def test_classes_without_a_colour_are_counted_not_named() -> None:
    labels = [f"class {number:02d}" for number in range(25)] * 2 + ["no class", None]
    said = maps._labels(mapping.classes(labels), labels)
    assert len(said) == 22
    assert said[20:] == [{"others": 6}, None]
    assert "no class" not in said[20:]
    plain = ["b", "a"]
    assert maps._labels(mapping.classes(plain), plain) == ["a", "b"]


def test_an_item_of_a_class_without_a_colour_says_which(client: TestClient) -> None:
    random = np.random.default_rng(0)
    with LocalCatalogue.open("shop") as catalogue:
        known = catalogue.item(1)
        vectors = random.standard_normal((60, known.vector.size)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        labels = [None if number % 10 == 9 else f"class {number % 27:02d}" for number in range(60)]
        catalogue.add(
            [
                replace(known, source=f"s{number}", label=label, vector=vector)
                for number, (label, vector) in enumerate(zip(labels, vectors, strict=True))
            ]
        )
        wanted = {id: catalogue.item(id).label for id in range(1, 111)}
    sent = whole(client)
    assert len(sent.facts["other_labels"]) > 5
    assert {"others": len(sent.facts["other_labels"])} in sent.facts["labels"]
    assert dict(zip(sent.ids.tolist(), sent.labels, strict=True)) == wanted


def test_too_few_items_are_refused(client: TestClient) -> None:
    ids = list(range(1, 51))
    removed = client.delete("/api/items", params={"id": ids[:-5]}, headers=BEARER)
    assert removed.status_code == 200, removed.text
    refused = client.get("/api/map")
    assert (refused.status_code, refused.json()["code"]) == (422, "input")
    assert "has 5" in refused.json()["detail"]


@pytest.mark.usefixtures("alone")  # else it is placed as it is searched with
def test_a_picture_is_placed_where_the_library_places_it(client: TestClient, photo: Path, encoder: Encoder) -> None:
    files = {"image": (photo.name, photo.read_bytes())}
    early = client.post("/api/map/place", files=files)
    assert (early.status_code, early.json()["code"], early.headers["Retry-After"]) == (409, "no-map", "2")
    whole(client)
    placed = client.post("/api/map/place", files=files).json()
    with LocalCatalogue.open("shop") as catalogue:
        stored = mapping.find(catalogue).stored
        x, y = mapping.Placing(catalogue, stored).place(encoder.embed([photo]))[0]
    assert (placed["x"], placed["y"]) == pytest.approx((x, y), rel=1e-3, abs=1e-3)


def test_an_item_that_is_added_comes_to_the_map(client: TestClient, photo: Path, starts: list[maps._Computing]) -> None:
    before = whole(client)
    added = client.post("/api/items", files={"image": (photo.name, photo.read_bytes())}, headers=BEARER)
    assert added.status_code == 200, added.text
    stale = decoded(client.get("/api/map").content)
    assert (stale.facts["current"], stale.facts["generation"]) == (False, before.facts["generation"])
    assert np.array_equal(stale.ids, before.ids)
    after = whole(client, before.facts["generation"] + 1)
    assert set(after.ids.tolist()) - set(before.ids.tolist()) == {51}
    assert after.facts["labels"][after.classes[after.ids.tolist().index(51)]] is None
    assert len(starts) == 2


def test_the_process_ends_with_the_application(
    app_maps: tuple[TestClient, maps.Maps], starts: list[maps._Computing]
) -> None:
    client, known = app_maps
    assert client.get("/api/map").status_code == 202
    known.close()
    assert not starts[0].process.is_alive()
    assert map_file.read(folders.folder("shop")) is None  # it had no time to finish


def test_a_map_that_cannot_be_kept_is_tried_once(client: TestClient, starts: list[maps._Computing]) -> None:
    blocked()
    assert client.get("/api/map").status_code == 202
    starts[0].process.join(60)
    assert starts[0].process.exitcode == 1
    for _ in range(3):
        refused = client.get("/api/map")
        assert (refused.status_code, refused.json()["code"]) == (503, "map")
        assert 500 < int(refused.headers["Retry-After"]) <= 600
    assert len(starts) == 1


def test_an_older_map_is_still_sent_where_a_newer_cannot_be_kept(
    client: TestClient, photo: Path, starts: list[maps._Computing]
) -> None:
    before = whole(client)
    client.post("/api/items", files={"image": (photo.name, photo.read_bytes())}, headers=BEARER)
    blocked()
    while len(starts) == 1:  # the first may take a moment to end
        assert client.get("/api/map").status_code == 200
    starts[1].process.join(60)
    for _ in range(3):
        sent = decoded(client.get("/api/map").content)
        assert np.array_equal(sent.ids, before.ids)
        assert not sent.facts["current"]
    assert len(starts) == 2


def test_a_map_that_could_not_be_kept_is_tried_again_later(
    client: TestClient, starts: list[maps._Computing], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = blocked()
    client.get("/api/map")
    starts[0].process.join(60)
    assert client.get("/api/map").status_code == 503
    (place / "in the way").rmdir()
    place.rmdir()
    monkeypatch.setattr(maps, "_AGAIN", 0)
    whole(client)
    assert len(starts) == 2


KILLED = """
import multiprocessing, sys, time
from vitrine.server import maps

def forever(name, share):
    import threading
    threading.Thread(target=maps._end_with_server, daemon=True).start()
    time.sleep(60)

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=forever, args=("", None), daemon=True)
    child.start()
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="NOT RUN: needs /proc to see that the process has ended")
def test_the_process_does_not_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    with subprocess.Popen([sys.executable, str(tmp_path / "killed.py")], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        time.sleep(3)  # until it waits for the server's end
        assert alive(child)
        os.kill(server.pid, signal.SIGKILL)
    for _ in range(100):
        if not alive(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("it goes on")


def alive(process: int) -> bool:
    """Whether it runs; one that has ended and is nobody's does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
