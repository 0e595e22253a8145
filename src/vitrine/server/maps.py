"""Routes of the map: where every item lies, and where a new picture falls. The map is computed in a process of its own,
so that answers do not wait for it, and its memory goes when it is done.
"""

import json
import multiprocessing
import os
import signal
import struct
import threading
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse

from vitrine import projection
from vitrine.catalogue import Vectors, folders, map_file
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.map_file import StoredMap
from vitrine.errors import InputError, VitrineError
from vitrine.server import answers, schemas
from vitrine.server.desks import Desk, desks_of
from vitrine.server.problems import Refusal, documented
from vitrine.server.uploads import upload

router = APIRouter(prefix="/api/map", tags=["map"])

_NICE = 10
_WAIT = {"Retry-After": "2"}
_BINARY = {"description": "Where all items lie: see docs/server.md.", "content": {"application/octet-stream": {}}}


@dataclass
class _Computing:
    """A process that computes a map. generation: of the catalogue that it began with. share: 0 to 1, how far it is."""

    process: SpawnProcess
    generation: int
    share: "multiprocessing.sharedctypes.Synchronized[float]"


@dataclass(frozen=True)
class _Packed:
    """A map as it is sent, and what it was made of."""

    of: tuple[int, int]
    content: bytes


@dataclass
class Maps:
    """What is known of the map of the catalogue of that name, by all threads. To be closed."""

    name: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _computing: _Computing | None = None
    _packed: _Packed | None = None
    _here: threading.local = field(default_factory=threading.local)

    def close(self) -> None:
        with self._lock:
            if self._computing is not None and self._computing.process.is_alive():
                self._computing.process.terminate()
                self._computing.process.join()

    def whole(self, desk: Desk) -> bytes | float:
        """The map as it is sent, an older one while a newer is computed; while there is none, how far it is, 0 to 1.

        Raises InputError for fewer items than a map needs; Refusal where it could not be computed.
        """
        stored, generation = _stored(desk)
        if stored is None or stored.generation != generation:
            share = self._compute(desk, generation, stored is not None)
            if stored is None:
                return share
        with self._lock:
            packed = self._packed
        if packed is None or packed.of != (stored.generation, generation):
            packed = _Packed((stored.generation, generation), _pack(desk, stored))
            with self._lock:
                self._packed = packed
        return packed.content

    def place(self, desk: Desk, vectors: Vectors) -> tuple[float, float]:
        """Where a picture falls, by its embedding (1, d). Raises Refusal while there is no map."""
        from vitrine.mapping import Placing

        stored, _ = _stored(desk)
        if stored is None:
            raise Refusal(503, "map", "The map is not computed yet; ask for /api/map until it is there.", _WAIT)
        kept: tuple[LocalCatalogue, int, Placing] | None = getattr(self._here, "placing", None)
        if kept is None or kept[0] is not desk.catalogue or kept[1] != stored.generation:
            kept = self._here.placing = (desk.catalogue, stored.generation, Placing(desk.catalogue, stored))
        with desk.counters.stage("place"):
            x, y = kept[2].place(vectors)[0].tolist()
        return x, y

    def _compute(self, desk: Desk, generation: int, there: bool) -> float:
        """Have it computed, unless it is already; how far that is."""
        if len(desk.catalogue) < projection.LEAST:
            raise InputError(
                f"A map needs {projection.LEAST} items at least; the catalogue {self.name!r} has"
                f" {len(desk.catalogue)}: add more with `vitrine index add`."
            )
        with self._lock:
            now = self._computing
            if now is not None and now.process.is_alive():
                return now.share.value
            if now is not None and now.process.exitcode and now.generation == generation:
                if there:
                    return 1.0
                raise Refusal(
                    503, "map", f"The map could not be computed; `vitrine map --catalogue {self.name}` says why."
                )
            self._computing = _start(self.name, generation)
            return 0.0


def maps_of(request: Request) -> Maps:
    """The map of the application that the request came to."""
    found = request.app.state.maps
    assert isinstance(found, Maps)
    return found


@router.get(
    "",
    response_class=Response,
    responses={
        200: _BINARY,
        202: {"model": schemas.Computing, "description": "The map is being computed; ask again."},
        **documented(422, 503),
    },
)
async def whole(request: Request) -> Response:
    """Where every item lies, in a compact form; while that is computed, how far it is."""
    maps = maps_of(request)
    found = await desks_of(request).ask(maps.whole)
    if isinstance(found, float):
        return JSONResponse({"status": "computing", "progress": round(found, 3)}, 202, _WAIT)
    return Response(found, media_type="application/octet-stream")


@router.post("/place", response_model=schemas.PlaceAnswer, responses=documented(400, 408, 413, 422, 503))
async def place(
    request: Request, form: Annotated[schemas.PlaceForm, Form(media_type="multipart/form-data")]
) -> JSONResponse:
    """Where a picture that is not in the catalogue falls on the map."""
    maps = maps_of(request)

    def work(desk: Desk) -> tuple[float, float]:
        return maps.place(desk, answers.embedded(desk, upload(form.image)))

    x, y = await desks_of(request).ask(work)
    return JSONResponse({"x": x, "y": y})


def _stored(desk: Desk) -> tuple[StoredMap | None, int]:
    """The map that is kept, None where there is none of these vectors, and the catalogue's generation."""
    with desk.catalogue.reading() as store:
        meta = store.meta()
    stored = map_file.read(folders.folder(desk.catalogue.name))
    return (stored if stored is not None and stored.identity == meta.identity else None), meta.generation


def _pack(desk: Desk, stored: StoredMap) -> bytes:
    """See docs/server.md: the length of a JSON text, the text, zeros up to a multiple of 4; points, ids, classes."""
    from vitrine import mapping

    mapped = mapping.items(desk.catalogue, stored)
    classes = mapping.classes(mapped.labels)
    facts = {"count": len(mapped.ids), "labels": classes.names, "trustworthiness": round(stored.trust, 4)}
    text = json.dumps(facts, ensure_ascii=False).encode()
    ids = mapped.ids.astype("<u8")
    parts = [
        struct.pack("<I", len(text)),
        text,
        bytes(-len(text) % 4),
        mapped.points.astype("<f4").tobytes(),
        (ids & 0xFFFFFFFF).astype("<u4").tobytes(),
        (ids >> np.uint64(32)).astype("<u4").tobytes(),
        classes.which.astype("<u2").tobytes(),
    ]
    return b"".join(parts)


def _start(name: str, generation: int) -> _Computing:
    context = multiprocessing.get_context("spawn")
    share = context.Value("d", 0.0)
    process = context.Process(target=_compute, args=(name, share), daemon=True)
    process.start()
    return _Computing(process, generation, share)


def _compute(name: str, share: "multiprocessing.sharedctypes.Synchronized[float]") -> None:
    """In a process of its own: compute the map, or bring it up to date; it is kept with the catalogue."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    if hasattr(os, "nice"):
        os.nice(_NICE)
    from vitrine import mapping

    def progress(done: int, of: int) -> None:
        share.value = done / max(1, of)

    try:
        with LocalCatalogue.open(name) as catalogue:
            mapping.find(catalogue, progress=progress)
    except VitrineError as error:
        raise SystemExit(1) from error
