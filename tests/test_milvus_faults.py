"""What can go wrong with a Milvus server: each in one sentence, in bounded time, and nothing acknowledged is lost."""

import http.server
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import grpc
import numpy as np
import pytest
from fastapi.testclient import TestClient

from milvus_fixtures import Milvus, free_port, running
from pictures import Cli
from vitrine import storage
from vitrine.catalogue import Item, by_name
from vitrine.catalogue.milvus import link as milvus_link
from vitrine.catalogue.milvus import making as milvus_making
from vitrine.catalogue.milvus import tables as milvus_tables
from vitrine.catalogue.milvus import writer as milvus_writer
from vitrine.catalogue.milvus.catalogue import MilvusCatalogue
from vitrine.catalogue.milvus.model import record_of
from vitrine.catalogue.milvus.tables import items_of, records_of
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError, MissingExtraError
from vitrine.modelfile import ModelCard
from vitrine.server.app import Settings, create_app

FILES = Path(__file__).parent / "files" / "tls"
SIZE = Encoder.load("default").card.embedding
QUERY = np.eye(1, SIZE, dtype=np.float32)


def items(count: int, start: str = "s") -> list[Item]:
    vectors = np.random.default_rng(0).normal(size=(count, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [Item(f"{start}{i}", f"class {i % 3}", f"c{i}", vector, b"png") for i, vector in enumerate(vectors)]


Place = Callable[[], AbstractContextManager[int]]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Milvus]:
    """A server for these tests, which leave catalogues behind that whoever lists them all is told of."""
    yield from running(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def made(milvus: Milvus, encoder: Encoder) -> Iterator[MilvusCatalogue]:
    with milvus_making.create(milvus.name(), encoder) as catalogue:
        yield catalogue


# --- nobody, or somebody else, answers


@contextmanager
def plain_http() -> Iterator[int]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def silence() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@contextmanager
def nothing() -> Iterator[int]:
    yield free_port()


@contextmanager
def answering(code: grpc.StatusCode, text: str, tls: Sequence[tuple[bytes, bytes]] = ()) -> Iterator[int]:
    """A gRPC server that answers every call so. tls: key and certificate."""

    class Refusing(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc is untyped
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            def refuse(_: object, context: grpc.ServicerContext) -> None:
                context.abort(code, text)

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Refusing(),))
    place = "127.0.0.1:0"
    port = server.add_secure_port(place, grpc.ssl_server_credentials(tls)) if tls else server.add_insecure_port(place)
    server.start()
    yield port
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (nothing, "Nothing answers at http://127.0.0.1:"),
        (plain_http, "is no Milvus server"),
        (silence, "No Milvus server answers at http://127.0.0.1:"),
        (lambda: answering(grpc.StatusCode.UNIMPLEMENTED, "unknown service"), "is no Milvus server"),
        (lambda: answering(grpc.StatusCode.UNAUTHENTICATED, "auth check failure"), "does not let us in"),
        (lambda: answering(grpc.StatusCode.PERMISSION_DENIED, "no"), "put user:password, or an API key"),
    ],
)
def test_who_does_not_answer_as_milvus(
    cli: Cli, place: Callable[[], AbstractContextManager[int]], sentence: str
) -> None:
    with place() as port, within(15):
        code, out, err = cli("index", "info", f"milvus+http://127.0.0.1:{port}/shop")
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


@contextmanager
def answering_by_tls() -> Iterator[int]:
    """As `answering`, to who trusts its certificate."""
    key, certificate = ((FILES / name).read_bytes() for name in ("key.pem", "certificate.pem"))
    with answering(grpc.StatusCode.UNAUTHENTICATED, "auth check failure", [(key, certificate)]) as port:
        yield port


def test_tls(cli: Cli, milvus: Milvus) -> None:
    """As far as it goes without a Milvus server that has it: we get through to one that refuses us."""

    def ask(port: int, tls: str) -> str:
        text = f'[[server]]\naddress = "milvus+https://127.0.0.1:{port}"\n{tls}'
        storage.write_text(storage.data_folder() / "milvus.toml", text)
        with within(15):
            code, _, err = cli("index", "info", f"milvus+https://127.0.0.1:{port}/shop")
        assert (code, err.count("\n")) == (2, 1)
        return err

    with answering_by_tls() as port:
        trusted = f'tls = {{ ca = "{FILES / "certificate.pem"}", name = "milvus.test" }}'
        assert "does not let us in" in ask(port, trusted)
        assert "do not agree on TLS" in ask(port, "")
        assert "names a file of certificates that is not there: none.pem" in ask(port, 'tls = { ca = "none.pem" }')
    assert "do not agree on TLS" in ask(milvus.port, "")


def test_a_database_that_there_is_not(cli: Cli, milvus: Milvus) -> None:
    text = f'[[server]]\naddress = "{milvus.server}"\ndatabase = "nowhere"'
    storage.write_text(storage.data_folder() / "milvus.toml", text)
    code, _, err = cli("index", "info", milvus.name())
    assert (code, err.count("\n")) == (2, 1)
    assert "has no database of that name (database 'nowhere' does not exist); make it there" in err


def test_without_pymilvus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingExtraError, match=r"needs pymilvus.*pip install 'vitrine\[scale\]'"):
        by_name.open_("milvus+http://127.0.0.1:1/shop")


# --- a server that goes, and one that comes back


def patient(catalogue: MilvusCatalogue, seconds: float) -> None:
    catalogue._link.settings = replace(catalogue._link.settings, seconds=seconds)


def test_a_server_that_stays_away(milvus_alone: Milvus, encoder: Encoder) -> None:
    with milvus_making.create(milvus_alone.name(), encoder) as catalogue:
        catalogue.add(items(5))
        patient(catalogue, 1)
        milvus_alone.kill()
        for ask in (
            lambda: catalogue.search(QUERY, 3),
            lambda: catalogue.add(items(1)),
            catalogue.info,
            catalogue.vectors,
        ):
            with within(8), pytest.raises(CatalogueError, match="does not answer"):
                ask()
        milvus_alone.start()
        assert len(catalogue.search(QUERY, 9)[0]) == 5


def test_a_search_waits_for_a_server_that_starts_anew(milvus_alone: Milvus, encoder: Encoder) -> None:
    with milvus_making.create(milvus_alone.name(), encoder) as catalogue:
        patient(catalogue, 120)
        catalogue.add(items(50))
        before = catalogue.search(QUERY, 9)
        milvus_alone.kill()
        later = threading.Timer(1, milvus_alone.start)
        later.start()
        assert catalogue.search(QUERY, 9) == before
        later.join()
        rows = catalogue.known()
        assert next(rows).source == "s0"
        assert len(list(rows)) == 49


def test_the_page_outlives_a_server_that_starts_anew(milvus_alone: Milvus, encoder: Encoder) -> None:
    text = f'[[server]]\naddress = "{milvus_alone.server}"\nseconds = 1'
    storage.write_text(storage.data_folder() / "milvus.toml", text)
    with milvus_making.create(milvus_alone.name(), encoder) as catalogue:
        catalogue.add(items(5))
    app = create_app(Settings(catalogue.name))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert len(client.post("/api/search", data={"like": "1"}).json()["matches"]) == 4
        milvus_alone.kill()
        with within(20):
            refused = client.post("/api/search", data={"like": "1"})
        assert (refused.status_code, refused.json()["code"]) == (503, "catalogue")
        assert client.get("/healthz").status_code == 200
        milvus_alone.start()
        assert len(client.post("/api/search", data={"like": "1"}).json()["matches"]) == 4


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_where_the_server_is_killed_again_and_again(
    milvus_alone: Milvus, encoder: Encoder
) -> None:
    acknowledged: dict[int, str] = {}
    with milvus_making.create(milvus_alone.name(), encoder) as catalogue:
        patient(catalogue, 120)
        ended = threading.Event()

        def torment() -> None:
            for pause in (0.2, 0.35, 0.1, 0.5):
                time.sleep(pause)
                milvus_alone.kill()
                time.sleep(pause / 2)
                milvus_alone.start()
            ended.set()

        torturer = threading.Thread(target=torment)
        torturer.start()
        number = 0
        while not ended.is_set() or number < 6:
            batch = [replace(one, content=f"{number}") for one in items(40, f"batch {number} ")]
            batch[0] = replace(batch[0], source="the same")  # replaces that of the batch before
            ids = catalogue.add(batch)
            acknowledged = {id: source for id, source in acknowledged.items() if source != "the same"}
            acknowledged |= dict(zip(ids, (one.source for one in batch), strict=True))
            number += 1
        torturer.join()
        assert {item.id: item.source for item in catalogue.known()} == acknowledged
        assert len(catalogue) == len(acknowledged)
        assert not catalogue.check().found
    with milvus_making.open_(catalogue.name) as again:
        assert {item.id: item.source for item in again.known()} == acknowledged
        assert again.info().labels == 3


# --- a writer that dies


def add_and_die(name: str, step: str, home: str) -> None:
    """In a process of its own: be killed in the middle of an add."""
    os.environ["VITRINE_HOME"] = home
    milvus_writer.BEAT = 0.1
    with milvus_making.open_(name) as catalogue:
        writing = catalogue._writing

        def die(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        if step == "before it counts":
            mock.patch.object(writing._writer, "check", die).start()
        elif step == "in the middle":
            plain = writing._link.upsert

            def half(collection: str, rows: list[milvus_link.Row]) -> None:
                plain(collection, rows[: len(rows) // 2])
                if "__items_" in collection:
                    die()

            mock.patch.object(writing._link, "upsert", half).start()
        else:
            mock.patch.object(writing, "settle", die).start()
            mock.patch.object(writing, "_ready", writing.state).start()
        with writing._writer.alone():
            writing.add([*items(10, "new "), replace(items(1)[0], label="replaced")])


_LATER = [pytest.param(step, marks=pytest.mark.slow) for step in ("before it counts", "before it is tidied")]


@pytest.mark.parametrize("step", ["in the middle", *_LATER])
def test_a_writer_that_is_killed_leaves_all_or_nothing(
    made: MilvusCatalogue, home: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_writer, "DEAD", 1.0)
    ids = made.add(items(5))
    dying = multiprocessing.get_context("spawn").Process(target=add_and_die, args=(made.name, step, str(home)))
    dying.start()
    dying.join()
    assert dying.exitcode == -signal.SIGKILL
    counts = step == "before it is tidied"
    for _ in range(2):  # as it was left, and put in order
        there = {item.source: item for item in made.known()}
        assert len(there) == len(made) == (15 if counts else 5)
        assert there["s0"].label == ("replaced" if counts else "class 0")
        assert len(made.search(QUERY, 50)[0]) == len(there)
        assert len(made.vectors()[0]) == len(there)
        with within(10), made.sole_writer():
            pass
    (id,) = made.add([replace(items(1)[0], source="after")])
    assert id > max(ids)
    assert id not in [item.id for item in there.values()]
    assert not made.check().found


def test_who_was_away_for_too_long_writes_no_more(made: MilvusCatalogue) -> None:
    with made.sole_writer():
        token = made._writer._token or ""
        short = made._short
        assert made._link.rename(milvus_tables.writer_of(short, token), milvus_tables.writer_of(short, "other"))
        with pytest.raises(CatalogueError, match="has taken over writing"):
            made.add(items(3))
        assert len(made) == 0
    assert made._link.rename(milvus_tables.writer_of(short, "other"), milvus_tables.writer_of(short))
    assert made.add(items(3)) == [1, 2, 3]


# --- what is not a catalogue, or not one of today


def test_other_formats(made: MilvusCatalogue) -> None:
    state = json.loads(made._records.get("state") or b"")
    made._records.put("state", json.dumps({**state, "format_version": 99}).encode())
    with pytest.raises(CatalogueError, match="has format 99, newer than this vitrine knows"):
        by_name.open_(made.name)
    for content in (b"[]", b"{}", b"{", json.dumps({**state, "surprise": 1}).encode()):
        made._records.put("state", content)
        with pytest.raises(CatalogueError, match="does not say what it is"):
            by_name.open_(made.name)
    by_name.delete(made.name)
    assert not by_name.exists(made.name)


def test_a_damaged_record(made: MilvusCatalogue) -> None:
    head = made._link.query(made._records.collection, 'key in ["state"]', ["content"])[0]
    said = {**json.loads(head["content"]), "checksum": 1}
    made._link.upsert(made._records.collection, [{"key": "state", "content": json.dumps(said), "nothing": [0, 0]}])
    with pytest.raises(CatalogueError, match=r"The record 'state' .* is damaged"):
        by_name.open_(made.name)
    made._link.upsert(made._records.collection, [{"key": "state", "content": "x", "nothing": [0, 0]}])
    with pytest.raises(CatalogueError, match="that vitrine did not write"):
        by_name.open_(made.name)


def test_a_damaged_item_is_named(made: MilvusCatalogue) -> None:
    made.add(items(5))
    rows = made._link.query(items_of(made._short, 1), "id in [3]", [*milvus_tables.WHOLE, "cells"])
    made._link.upsert(items_of(made._short, 1), [{**rows[0], "source": "another"}])
    found = made.check()
    assert [(one.id, one.source) for one in found.lost] == [(3, "another")]
    with pytest.raises(CatalogueError, match=r"The item 3 of .* is damaged"):
        list(made.entries())


def test_somebody_elses_collection(milvus: Milvus, encoder: Encoder, made: MilvusCatalogue) -> None:
    name = milvus.name()
    client, short = made._link.client, name.rpartition("/")[2]
    client.create_collection(records_of(short), dimension=4)
    with pytest.raises(CatalogueError, match="it is not a catalogue of vitrine's"):
        by_name.open_(name)
    with pytest.raises(CatalogueError, match="it is not a catalogue of vitrine's"):
        by_name.create(name, encoder)
    client.drop_collection(items_of(made._short, 1))
    with pytest.raises(CatalogueError, match="has lost its collection"):
        by_name.open_(made.name)
    client.create_collection(items_of(made._short, 1), dimension=4)
    with pytest.raises(CatalogueError, match="has no field added"):
        by_name.open_(made.name)


def test_an_item_that_is_too_large(made: MilvusCatalogue) -> None:
    one = items(1)[0]
    for wrong, what in (
        (replace(one, source="x" * 66_000), "66,000 bytes of source"),
        (replace(one, columns={"text": "y" * 66_000}), "bytes of columns"),
        (replace(one, label="a\U0010ffff"), "are no characters"),
    ):
        with pytest.raises(CatalogueError, match=what):
            made.add([*items(3, "other "), wrong])
    assert len(made) == 0
    assert made.add([replace(one, thumbnail=b"z" * 200_000)]) == [1]
    assert len(made.item(1).thumbnail) == 200_000
    made.remove([1])
    assert made._records.get("thumbnail-1") is None


def test_a_model_that_nobody_has(made: MilvusCatalogue, encoder: Encoder, home: Path) -> None:
    assert made.encoder().content == encoder.content
    identity = "0" * 32
    made._writing.keep(replace(made._writing.state(), identity=identity, model="lost"))
    with pytest.raises(CatalogueError, match=r"made by the model lost \(00000000\), whose file is neither"):
        made.encoder()
    made._records.put(record_of(identity), encoder.content)
    with pytest.raises(CatalogueError, match="is not the one that made it"):
        made.encoder()


def test_the_model_comes_from_the_server(made: MilvusCatalogue, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrine.encoder.of_identity", lambda identity: None)
    for path in made.place.iterdir():
        path.unlink()
    first = made.encoder()
    (copy,) = made.place.glob("model-*.onnx")
    copy.write_bytes(b"damaged")
    card: ModelCard = made.encoder().card
    assert card == first.card
    assert copy.read_bytes() == first.content


def test_pages_that_milvus_does_not_reach(made: MilvusCatalogue) -> None:
    made.add(items(3))
    assert made.search(QUERY, 10, offset=10**6) == [[]]
    made._writing.keep(replace(made._writing.state(), items=20_000))
    with pytest.raises(InputError, match="Milvus finds the best 16,384 at most; these are 18,010"):
        made.search(QUERY, 10, offset=18_000)
