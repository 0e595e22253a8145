"""The connection to a Milvus server, with patience for one that is away for a moment; what it refuses: refusals.py.

The only file that imports pymilvus, which comes with the extra [scale].
"""

import copy
import importlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from operator import methodcaller
from typing import Any, TypeVar

from vitrine import storage
from vitrine.catalogue.milvus.address import Address, Settings
from vitrine.catalogue.milvus.refusals import OPENING, Away, gone, refusal, unloaded
from vitrine.errors import CatalogueError, MissingExtraError, VitrineError

Answer = TypeVar("Answer")
Row = dict[str, Any]

LARGEST_TEXT = 65_535  # bytes of a VARCHAR, and of a JSON
MOST = 16_384  # that Milvus answers at once

_CALL = 30.0  # seconds for an answer; the first: OPENING
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between two attempts
_GRPC = {  # else it waits longer and longer before it looks whether a server is back
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.use_local_subchannel_pool": 1,
}


class Link:
    """A server and one catalogue's collections on it. Calls are repeated until `Settings.seconds` are over."""

    def __init__(self, address: Address, settings: Settings) -> None:
        """Raises MissingExtraError without pymilvus; CatalogueError where no Milvus answers there, or not to us."""
        self.address = address
        self.settings = settings
        self._pymilvus = _pymilvus()
        self.client = self._connected()

    def _connected(self) -> Any:
        options: dict[str, Any] = {"grpc_options": _GRPC, "secure": self.address.url.startswith("https")}
        tls = self.settings.tls
        files = {"client_pem_path": tls.certificate, "client_key_path": tls.key}
        files["ca_pem_path" if tls.certificate else "server_pem_path"] = tls.ca  # pymilvus's two ways
        options |= {key: value for key, value in {**files, "server_name": tls.name}.items() if value}
        try:
            return self._pymilvus.MilvusClient(
                uri=self.address.url,
                token=self.settings.token,
                db_name=self.settings.database,
                timeout=OPENING,
                dedicated=True,  # else it takes any connection to that host and port, one without TLS, too
                **options,
            )
        except Exception as error:  # gRPC's, pymilvus's, and of files of certificates
            raise refusal(error, self.address, opening=True) from error

    def impatient(self, seconds: float) -> "Link":
        """The same link, which does not wait so long for a server that is away. Not to be closed."""
        other = copy.copy(self)
        other.settings = replace(self.settings, seconds=min(seconds, self.settings.seconds))
        return other

    def close(self) -> None:
        with suppress(Exception):
            self.client.close()

    # --- calls

    def call(self, what: Callable[[Any], Answer]) -> Answer:
        """What `what` answers, called with the client; again and again while the server is away, so it must do no harm
        twice. Raises CatalogueError.
        """
        end, pause = time.monotonic() + self.settings.seconds, _PAUSE
        while True:
            try:
                return what(self.client)
            except VitrineError:
                raise
            except Exception as error:
                refused = refusal(error, self.address)
                if not isinstance(refused, Away):
                    raise refused from error
                if time.monotonic() + pause > end:
                    raise gone(error, self.address, self.settings.seconds) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @property
    def types(self) -> Any:
        """Milvus's types of fields."""
        return self._pymilvus.DataType

    def create(
        self, collection: str, schema: Any, indexes: list[tuple[str, str, dict[str, Any]]], properties: dict[str, str]
    ) -> None:
        """A new collection, or what is missing of one that was begun. indexes: field, Milvus's name of the kind, how it
        is built; one with any is loaded.
        """
        if not self.has(collection):
            try:
                self.call(
                    lambda client: client.create_collection(
                        collection,
                        schema=schema,
                        properties=properties,
                        num_shards=self.settings.shards,
                        consistency_level=self.settings.consistency,
                        timeout=_CALL,
                    )
                )
            except CatalogueError:
                if not self.has(collection):  # else an attempt before this one has done it, unheard
                    raise
        for field, kind, build in indexes:
            self._index(collection, field, kind, build)
        if indexes:
            self.load(collection)

    def _index(self, collection: str, field: str, kind: str, build: dict[str, Any]) -> None:
        """An index for a field that has none."""
        if self.call(lambda client: client.list_indexes(collection, field_name=field, timeout=_CALL)):
            return
        prepared = self.client.prepare_index_params()
        options = {"metric_type": "IP", "params": build} if kind != "INVERTED" else {}
        prepared.add_index(field_name=field, index_type=kind, **options)
        self.call(lambda client: client.create_index(collection, prepared, timeout=_CALL, sync=False))

    def load(self, collection: str) -> None:
        self.call(
            lambda client: client.load_collection(
                collection, replica_number=self.settings.replicas, timeout=max(_CALL, self.settings.seconds)
            )
        )

    def reindex(self, collection: str, kind: str, build: dict[str, Any]) -> None:
        """Another index for the vectors, which is there after the next `load`. Nothing can be searched meanwhile."""
        self.call(lambda client: client.release_collection(collection, timeout=_CALL))
        for name in self.call(lambda client: client.list_indexes(collection, field_name="vector", timeout=_CALL)):
            self.call(methodcaller("drop_index", collection, name, timeout=_CALL))
        self._index(collection, "vector", kind, build)

    def fields(self, collection: str) -> set[str]:
        """The names of a collection's fields."""
        said = self.call(lambda client: client.describe_collection(collection, timeout=_CALL))
        return {field["name"] for field in said["fields"]}

    def collections(self) -> list[str]:
        """The names of all collections of the database."""
        return list(self.call(lambda client: client.list_collections(timeout=_CALL)))

    def has(self, collection: str) -> bool:
        return bool(self.call(lambda client: client.has_collection(collection, timeout=_CALL)))

    def rename(self, old: str, new: str) -> bool:
        """Whether it was us who gave the collection that name: of two who try, one does."""
        try:
            self.call(lambda client: client.rename_collection(old, new, timeout=_CALL))
        except CatalogueError:
            return self.has(new) and not self.has(old)  # the first attempt may have done it, unheard
        return True

    def drop(self, collection: str) -> None:
        """Delete a collection; a missing one is fine."""
        if self.has(collection):
            with suppress(CatalogueError):
                self.call(lambda client: client.drop_collection(collection, timeout=_CALL))
            if self.has(collection):
                self.call(lambda client: client.drop_collection(collection, timeout=_CALL))

    def upsert(self, collection: str, rows: list[Row]) -> None:
        self._loaded(collection, lambda client: client.upsert(collection, rows, timeout=_CALL))

    def delete(self, collection: str, condition: str) -> None:
        self._loaded(collection, lambda client: client.delete(collection, filter=condition, timeout=_CALL))

    def query(self, collection: str, condition: str, fields: list[str], most: int = MOST) -> list[Row]:
        """The rows that meet the condition, at most so many, in any order."""
        return [
            dict(row)
            for row in self._loaded(
                collection,
                lambda client: client.query(
                    collection,
                    filter=condition,
                    output_fields=fields,
                    limit=most,
                    consistency_level=self.settings.consistency,
                    timeout=_CALL,
                ),
            )
        ]

    def search(self, collection: str, vectors: Any, most: int, condition: str, fields: list[str]) -> list[list[Row]]:
        """For each of the vectors (q, d) at most so many rows, best first, with their `id` and `distance`."""
        found = self._loaded(
            collection,
            lambda client: client.search(
                collection,
                list(vectors),
                limit=most,
                filter=condition,
                output_fields=fields,
                search_params={"params": self._effort(most)},
                consistency_level=self.settings.consistency,
                anns_field="vector",
                timeout=_CALL,
            ),
        )
        return [[{"id": hit["id"], "distance": hit["distance"], **hit["entity"]} for hit in hits] for hits in found]

    def _effort(self, most: int) -> dict[str, Any]:
        """What is configured for searches. Milvus refuses to look at fewer than are asked for, by these two names."""
        said = self.settings.search
        low = {key: most for key in ("ef", "search_list") if isinstance(said.get(key), int) and said[key] < most}
        return {**said, **low}

    def all(self, collection: str, condition: str, fields: list[str], batch: int) -> Iterator[Row]:
        """Every row that meets the condition, by id. A server that is away meanwhile is asked again from the last id
        on.
        """
        last: int | None = None
        heard = time.monotonic()
        while True:
            after = condition if last is None else f"({condition}) and id > {last}"
            query = methodcaller(
                "query_iterator",
                collection,
                batch_size=batch,
                filter=after,
                output_fields=fields,
                consistency_level=self.settings.consistency,
                timeout=_CALL,
            )
            reader = self._loaded(collection, query)
            try:
                while rows := reader.next():
                    for row in rows:
                        yield dict(row)
                        last = row["id"]
                    heard = time.monotonic()
                return
            except Exception as error:
                refused = refusal(error, self.address)
                if not isinstance(refused, Away) and not unloaded(error):
                    raise refused from error
                if time.monotonic() > heard + self.settings.seconds:
                    raise gone(error, self.address, self.settings.seconds) from error
            finally:
                with suppress(Exception):
                    reader.close()
            time.sleep(_PAUSE)

    def _loaded(self, collection: str, what: Callable[[Any], Answer]) -> Answer:
        """As `call`; where the server has started anew, the collection is loaded first."""

        def loaded(client: Any) -> Answer:
            try:
                return what(client)
            except Exception as error:
                if not unloaded(error):
                    raise
                client.load_collection(collection, replica_number=self.settings.replicas, timeout=_CALL)
                return what(client)

        return self.call(loaded)


def _pymilvus() -> Any:
    storage.hush_grpc()
    try:
        found = importlib.import_module("pymilvus")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"A catalogue on Milvus needs {error.name}, which is not installed; install it with: pip install"
            " 'vitrine[scale]' (in this repository: make install)."
        ) from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)  # what goes wrong is told in one sentence
    return found
