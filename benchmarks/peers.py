"""What could keep and search a shop's items in place of a catalogue: each is filled, opened and searched as its own
documentation says for local use, one in a process.

    python benchmarks/peers.py NAME FOLDER [--fill]     # started by catalogue_peers.py, which measures them

FOLDER is the contestant's own; beside it lie vectors.npy, the items, and queries.npy. With --fill the items are put in;
else every line of standard input is a request, answered by a line of JSON. Nothing is imported before a contestant
needs it, so that to open one takes what it takes a user. All vectors are of length one, so all search by inner product.
"""

import importlib
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Matches = list[list[tuple[int, float, str, str]]]  # of each query: position, score, label, source; best first
K = 10
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)  # how many candidates a graph's search keeps


def label(position: int) -> str:
    return f"class {position % 10}"


def source(position: int) -> str:
    return f"{position:06d}.png"


class Contestant(ABC):
    """module, distributions: what it is imported as, and what has to be installed. ladder: the efforts that its search
    may be given, from the least; none where it compares everything.
    """

    module: str
    distributions: tuple[str, ...]
    ladder: tuple[int, ...] = ()

    @abstractmethod
    def fill(self, folder: Path, vectors: Vectors) -> None:
        """Put in all items, with label and source, so that they are there when the process has ended."""

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Open what `fill` left there, in another process."""

    @abstractmethod
    def search(self, queries: Vectors, effort: int) -> Any:
        """The best ten of each, in the contestant's own form, but with all numbers and words ready for Python."""

    @abstractmethod
    def read(self, found: Any) -> Matches:
        """What `search` returned, as (id, score, label, source) of each query's best."""


class Faiss(Contestant):
    """The base line: numbers alone."""

    module, distributions = "faiss", ("faiss-cpu",)

    def fill(self, folder: Path, vectors: Vectors) -> None:
        faiss = importlib.import_module("faiss")
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        faiss.write_index(index, str(folder / "flat.faiss"))

    def open(self, folder: Path) -> None:
        self.index = importlib.import_module("faiss").read_index(str(folder / "flat.faiss"))

    def search(self, queries: Vectors, effort: int) -> Any:
        return self.index.search(queries, K)

    def read(self, found: Any) -> Matches:
        scores, ids = (part.tolist() for part in found)
        return [
            [(id, score, label(id), source(id)) for id, score in zip(*row, strict=True)]
            for row in zip(ids, scores, strict=True)
        ]


class Vitrine(Contestant):
    module, distributions = "vitrine.catalogue.local", ("vitrine",)

    def fill(self, folder: Path, vectors: Vectors) -> None:
        from catalogue_search import fill
        from vitrine.catalogue.local import LocalCatalogue
        from vitrine.encoder import Encoder

        os.environ["VITRINE_HOME"] = str(folder)
        with LocalCatalogue.create("shop", Encoder.load()) as catalogue:
            fill(catalogue, vectors)
            catalogue.save_index()

    def open(self, folder: Path) -> None:
        from vitrine.catalogue.local import LocalCatalogue

        os.environ["VITRINE_HOME"] = str(folder)
        self.catalogue = LocalCatalogue.open("shop")

    def search(self, queries: Vectors, effort: int) -> Any:
        return self.catalogue.search(queries, K)

    def read(self, found: Any) -> Matches:
        return [[(match.id - 1, match.score, match.label, match.source) for match in row] for row in found]


class Lance(Contestant):
    """Its documentation: no index for up to about 100,000 rows; of the indexes, this is the one of highest recall."""

    module, distributions = "lancedb", ("lancedb",)

    def __init__(self, index: bool) -> None:
        self.ladder = EFFORTS if index else ()

    def fill(self, folder: Path, vectors: Vectors) -> None:
        arrow = importlib.import_module("pyarrow")
        count, dimensions = vectors.shape
        columns = {
            "id": arrow.array(range(count), arrow.int64()),
            "label": [label(i) for i in range(count)],
            "source": [source(i) for i in range(count)],
            "vector": arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), dimensions),
        }
        table = importlib.import_module("lancedb").connect(folder).create_table("items", arrow.table(columns))
        if self.ladder:
            graph = importlib.import_module("lancedb.index").HnswFlat(distance_type="dot", num_partitions=1)
            table.create_index("vector", config=graph)

    def open(self, folder: Path) -> None:
        self.table = importlib.import_module("lancedb").connect(folder).open_table("items")

    def search(self, queries: Vectors, effort: int) -> Any:
        query = self.table.search(queries if len(queries) > 1 else queries[0]).distance_type("dot").limit(K)
        columns = ["id", "label", "source", "_distance"]
        query = query.select([*columns, "query_index"] if len(queries) > 1 else columns)
        return (query.ef(effort) if self.ladder else query).to_list()

    def read(self, found: Any) -> Matches:
        rows: dict[int, list[Any]] = {}
        for row in sorted(found, key=lambda row: row["_distance"]):
            rows.setdefault(row.get("query_index", 0), []).append(row)
        return [
            [(row["id"], 1 - row["_distance"], row["label"], row["source"]) for row in rows[query]]
            for query in sorted(rows)
        ]


class Qdrant(Contestant):
    """Local mode, on disk. It warns that it is meant for up to 20,000 items; each is committed by itself."""

    module, distributions = "qdrant_client", ("qdrant-client",)

    def _add(self, client: Any, vectors: Vectors) -> None:
        models = importlib.import_module("qdrant_client.models")
        shape = models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT)
        client.create_collection("items", vectors_config=shape)
        count = range(len(vectors))
        payload = ({"label": label(i), "source": source(i)} for i in count)
        client.upload_collection("items", vectors=vectors, payload=payload, ids=count)

    def _client(self, **where: str) -> Any:
        return importlib.import_module("qdrant_client").QdrantClient(**where)

    def fill(self, folder: Path, vectors: Vectors) -> None:
        client = self._client(path=str(folder))
        self._add(client, vectors)
        client.close()

    def open(self, folder: Path) -> None:
        self.client = self._client(path=str(folder))

    def search(self, queries: Vectors, effort: int) -> Any:
        if len(queries) == 1:
            return [self.client.query_points("items", query=queries[0], limit=K)]
        request = importlib.import_module("qdrant_client.models").QueryRequest
        asked = [request(query=query, limit=K, with_payload=True) for query in queries.tolist()]
        return self.client.query_batch_points("items", requests=asked)

    def read(self, found: Any) -> Matches:
        return [
            [(point.id, point.score, point.payload["label"], point.payload["source"]) for point in response.points]
            for response in found
        ]


class QdrantMemory(Qdrant):
    """Local mode, in memory: nothing is kept, so to open it is to fill it again."""

    def fill(self, folder: Path, vectors: Vectors) -> None:
        self._add(self._client(location=":memory:"), vectors)

    def open(self, folder: Path) -> None:
        self.client = self._client(location=":memory:")
        self._add(self.client, np.load(folder.parent / "vectors.npy"))


class Milvus(Contestant):
    module, distributions = "pymilvus", ("pymilvus", "milvus-lite")

    def __init__(self, kind: str, settings: dict[str, int], ladder: tuple[int, ...] = ()) -> None:
        self.kind, self.settings, self.ladder = kind, settings, ladder

    def fill(self, folder: Path, vectors: Vectors) -> None:
        milvus = importlib.import_module("pymilvus")
        client = milvus.MilvusClient(str(folder / "items.db"))
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", milvus.DataType.INT64, is_primary=True)
        schema.add_field("vector", milvus.DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        for column in ("label", "source"):
            schema.add_field(column, milvus.DataType.VARCHAR, max_length=64)
        index = client.prepare_index_params()
        index.add_index("vector", index_type=self.kind, metric_type="IP", params=self.settings)
        client.create_collection("items", schema=schema, index_params=index)
        for first in range(0, len(vectors), 1000):
            rows = enumerate(vectors[first : first + 1000], first)
            items = [{"id": i, "vector": row, "label": label(i), "source": source(i)} for i, row in rows]
            client.insert("items", items)
        client.flush("items")
        client.close()

    def open(self, folder: Path) -> None:
        self.client = importlib.import_module("pymilvus").MilvusClient(str(folder / "items.db"))
        self.client.load_collection("items")

    def search(self, queries: Vectors, effort: int) -> Any:
        params = {"metric_type": "IP", "params": {"ef": effort} if self.ladder else {}}
        told = ["label", "source"]
        found = self.client.search("items", list(queries), limit=K, output_fields=told, search_params=params)
        return [list(row) for row in found]  # as lists, the answers are taken apart

    def read(self, found: Any) -> Matches:
        return [
            [(hit["id"], hit["distance"], hit["entity"]["label"], hit["entity"]["source"]) for hit in row]
            for row in found
        ]


class Graph(Contestant):
    """An index that knows numbers only: labels and sources lie beside it, in two lists."""

    ladder = EFFORTS

    def write_words(self, folder: Path, count: int) -> None:
        words = [[word(i) for i in range(count)] for word in (label, source)]
        (folder / "words.json").write_text(json.dumps(words))

    def read_words(self, folder: Path) -> None:
        self.labels, self.sources = json.loads((folder / "words.json").read_text())

    def told(self, ids: Sequence[Sequence[int]], distances: Sequence[Sequence[float]]) -> Matches:
        return [
            [(id, 1 - distance, self.labels[id], self.sources[id]) for id, distance in zip(*row, strict=True)]
            for row in zip(ids, distances, strict=True)
        ]

    def read(self, found: Any) -> Matches:
        matches: Matches = found
        return matches


class Hnswlib(Graph):
    module, distributions = "hnswlib", ("hnswlib",)

    def fill(self, folder: Path, vectors: Vectors) -> None:
        index = importlib.import_module("hnswlib").Index("ip", vectors.shape[1])
        index.init_index(len(vectors), M=16, ef_construction=200)
        index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
        index.save_index(str(folder / "items.hnsw"))
        self.write_words(folder, len(vectors))

    def open(self, folder: Path) -> None:
        dimensions = np.load(folder.parent / "queries.npy", mmap_mode="r").shape[1]
        self.index = importlib.import_module("hnswlib").Index("ip", dimensions)
        self.index.load_index(str(folder / "items.hnsw"))
        self.read_words(folder)

    def search(self, queries: Vectors, effort: int) -> Any:
        self.index.set_ef(effort)
        ids, distances = self.index.knn_query(queries, K, num_threads=1)
        return self.told(ids.tolist(), distances.tolist())


class Usearch(Graph):
    """All as it is by default, but for the numbers: bytes or halves would not reach the recall of the others."""

    module, distributions = "usearch.index", ("usearch",)

    def fill(self, folder: Path, vectors: Vectors) -> None:
        index = importlib.import_module("usearch.index").Index(ndim=vectors.shape[1], metric="ip", dtype="f32")
        index.add(np.arange(len(vectors)), vectors, threads=1)
        index.save(str(folder / "items.usearch"))
        self.write_words(folder, len(vectors))

    def open(self, folder: Path) -> None:
        self.index = importlib.import_module("usearch.index").Index.restore(str(folder / "items.usearch"), view=True)
        self.read_words(folder)

    def search(self, queries: Vectors, effort: int) -> Any:
        self.index.expansion_search = effort
        found = self.index.search(queries, K, threads=1)
        shape = (len(queries), -1)
        return self.told(found.keys.reshape(shape).tolist(), found.distances.reshape(shape).tolist())


CONTESTANTS: dict[str, Callable[[], Contestant]] = {
    "faiss exact": Faiss,
    "vitrine": Vitrine,
    "lancedb": lambda: Lance(index=False),
    "lancedb hnsw": lambda: Lance(index=True),
    "qdrant local": Qdrant,
    "qdrant memory": QdrantMemory,
    "milvus lite flat": lambda: Milvus("FLAT", {}),
    "milvus lite hnsw": lambda: Milvus("HNSW", {"M": 16, "efConstruction": 200}, EFFORTS),
    "hnswlib + lists": Hnswlib,
    "usearch + lists": Usearch,
}


def filled(contestant: Contestant, folder: Path) -> dict[str, float]:
    """Seconds by the clock and of the processor; to import the library is not counted."""
    importlib.import_module(contestant.module)
    vectors = np.load(folder.parent / "vectors.npy")
    cpu, wall = time.process_time(), time.perf_counter()
    contestant.fill(folder, vectors)
    return {"add_s": time.perf_counter() - wall, "add_cpu_s": time.process_time() - cpu}


def answered(contestant: Contestant, queries: Vectors, request: dict[str, int]) -> dict[str, Any]:
    """Seconds of the processor, all threads together, and by the clock, for queries `size` at a time."""
    parts = [queries[i : i + request["size"]] for i in range(request["first"], request["last"], request["size"])]
    cpu, wall = time.process_time(), time.perf_counter()
    found = [contestant.search(part, request["effort"]) for part in parts]
    reply: dict[str, Any] = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    reply["cpu_so_far"] = time.process_time()  # of the process since its start
    if request["show"]:
        reply["answers"] = [row for part in found for row in contestant.read(part)]
    return reply


def main() -> None:
    contestant, folder = CONTESTANTS[sys.argv[1]](), Path(sys.argv[2])
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)  # whatever a library prints goes to standard error
        try:
            if "--fill" in sys.argv:
                print(json.dumps(filled(contestant, folder)), file=replies)
                return
            contestant.open(folder)
            queries = np.load(folder.parent / "queries.npy")
            for line in sys.stdin:
                print(json.dumps(answered(contestant, queries, json.loads(line))), file=replies, flush=True)
        except Exception as error:  # whatever it is, the others go on
            print(json.dumps({"error": f"{type(error).__name__}: {error}".splitlines()[0]}), file=replies, flush=True)


if __name__ == "__main__":
    main()
