"""Routes of the map: where every item lies, and where a new picture falls. The map is computed in a process of its own,
so that answers do not wait for it, and its memory goes when it is done.
"""

import json
import math
import multiprocessing
import os
import signal
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse

from vitrine import projection
from vitrine.catalogue import Catalogue, Vectors, by_name, map_file
from vitrine.catalogue.map_file import StoredMap
from vitrine.errors import InputError, VitrineError
from vitrine.server import answers, schemas
from vitrine.server.desks import Desk, desks_of
from vitrine.server.problems import Refusal, documented
from vitrine.server.uploads import upload

if TYPE_CHECKING:
    from vitrine.mapping import Classes

router = APIRouter(prefix="/api/map", tags=["map"])

_NICE = 10
_WAIT = {"Retry-After": "2"}
_FORMAT = 2  # of the binary form; 1 had no neighbours and did not say so
_AGAIN = 600  # seconds after which a map that could not be kept is tried again
_UNNAMED = 2**16 - 1
_BINARY = {"description": "Where all items lie: see docs/server.md.", "content": {"application/octet-stream": {}}}


@dataclass
class _Computing:
    """A process that computes a map. generation: of the catalogue that it began with. share: 0 to 1, how far it is.
    failed: when it was found to have ended without a map, by the monotonic clock.
    """

    process: SpawnProcess
    generation: int
    share: "multiprocessing.sharedctypes.Synchronized[float]"
    failed: float | None = None


@dataclass(frozen=True)
class _Packed:
    """A map as it is sent, and what it was made of: the one that is kept, and the catalogue in that state."""

    stored: StoredMap
    state: tuple[object, ...]
    content: bytes

    @cached_property
    def tag(self) -> str:
        """Its ETag."""
        return f'"{zlib.crc32(self.content):08x}-{len(self.content):x}"'


@dataclass
class Maps:
    """What is known of the map of the catalogue of that name, by all threads. To be closed."""

    name: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _computing: _Computing | None = None
    _packed: _Packed | None = None
    _seen: tuple[tuple[object, ...], StoredMap | None] = ((), None)  # the state of the map's file, and what it holds
    _here: threading.local = field(default_factory=threading.local)

    def close(self) -> None:
        with self._lock:
            if self._computing is not None and self._computing.process.is_alive():
                self._computing.process.terminate()
                self._computing.process.join()

    def whole(self, desk: Desk) -> _Packed | float:
        """The map as it is sent, an older one while a newer is computed; while there is none, how far it is, 0 to 1.

        Raises InputError for fewer items than a map needs; Refusal where it could not be computed, or not be kept.
        """
        stored, generation = self._stored(desk)
        if stored is None or stored.generation < generation:
            share = self._compute(desk, generation)
            if stored is None:
                if share is not None:
                    return share
                stored, generation = self._stored(desk)  # it came meanwhile
        if stored is None:
            return 1.0
        with self._lock:
            packed = self._packed
        state = (generation, *desk.catalogue.changes())
        if packed is None or packed.stored is not stored or packed.state != state:
            packed = _Packed(stored, state, _pack(desk, stored, stored.generation >= generation))
            with self._lock:
                self._packed = packed
        return packed

    def place(self, desk: Desk, vectors: Vectors) -> tuple[float, float]:
        """Where a picture falls, by its embedding (1, d). Raises Refusal while there is no map."""
        from vitrine.mapping import Placing

        stored, _ = self._stored(desk)
        if stored is None:
            raise Refusal(409, "no-map", "The map is not computed yet; ask for /api/map until it is there.", _WAIT)
        kept: tuple[Catalogue, StoredMap, Placing] | None = getattr(self._here, "placing", None)
        if kept is None or kept[0] is not desk.catalogue or kept[1] is not stored:
            kept = self._here.placing = (desk.catalogue, stored, Placing(desk.catalogue, stored))
        with desk.counters.stage("place"):
            x, y = kept[2].place(vectors)[0].tolist()
        return x, y

    def _compute(self, desk: Desk, generation: int) -> float | None:
        """Have it computed, unless it is already; how far that is, None where it is done.

        Raises Refusal where there is no map at all, and the last attempt at this generation left none: the disk may be
        full, and to try with every request would keep a core busy for nothing.
        """
        if len(desk.catalogue) < projection.LEAST:
            raise InputError(
                f"A map needs {projection.LEAST} items at least; the catalogue {self.name!r} has"
                f" {len(desk.catalogue)}: add more with `vitrine index add`."
            )
        with self._lock:
            now = self._computing
            if now is not None and now.process.is_alive():
                return now.share.value
            there, _ = self._stored(desk)  # after it has ended
            if there is not None and there.generation >= generation:
                return None
            if now is not None and now.generation == generation:
                if now.failed is None:
                    now.failed = time.monotonic()
                left = now.failed + _AGAIN - time.monotonic()
                if left > 0:
                    if there is None:
                        raise self._refusal(left)
                    return None
            self._computing = _start(self.name, generation)
            return 0.0

    def _stored(self, desk: Desk) -> tuple[StoredMap | None, int]:
        """The map that is kept, None where there is none of these vectors, and the catalogue's generation."""
        moment, folder = desk.catalogue.moment(), desk.catalogue.place
        stamp = map_file.stamp(folder)
        if self._seen[0] != stamp:  # two threads may both read it, and find the same
            self._seen = (stamp, map_file.read(folder))
        stored = self._seen[1]
        return (stored if stored is not None and stored.identity == moment.identity else None), moment.generation

    def _refusal(self, left: float) -> Refusal:
        """left: seconds until it is tried again."""
        return Refusal(
            503,
            "map",
            f"The map could not be computed, or not be kept; `vitrine map --catalogue {self.name}` says why.",
            {"Retry-After": str(math.ceil(left))},
        )


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
        304: {},
        **documented(422, 503),
    },
)
async def whole(request: Request) -> Response:
    """Where every item lies, in a compact form; while that is computed, how far it is."""
    maps = maps_of(request)
    found = await desks_of(request).ask(maps.whole)
    if isinstance(found, float):
        return JSONResponse({"status": "computing", "progress": round(found, 3)}, 202, _WAIT)
    headers = {"ETag": found.tag, "Cache-Control": "private, no-cache"}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type="application/octet-stream")


@router.post("/place", response_model=schemas.PlaceAnswer, responses=documented(400, 408, 409, 413, 422, 503))
async def place(
    request: Request, form: Annotated[schemas.PlaceForm, Form(media_type="multipart/form-data")]
) -> JSONResponse:
    """Where a picture that is not in the catalogue falls on the map."""
    maps = maps_of(request)

    def work(desk: Desk) -> tuple[float, float]:
        return maps.place(desk, answers.embedded(desk, upload(form.image)))

    x, y = await desks_of(request).ask(work)
    return JSONResponse({"x": x, "y": y})


def _pack(desk: Desk, stored: StoredMap, current: bool) -> bytes:
    """See docs/server.md: the length of a JSON text, the text, zeros up to a multiple of 4; points, ids, classes,
    neighbours.
    """
    from vitrine import mapping

    mapped = mapping.items(desk.catalogue, stored)
    classes = mapping.classes(mapped.labels)
    sure = mapped.confidence
    others, which = _others(classes, mapped.labels)
    facts = {
        "format": _FORMAT,
        "count": len(mapped.ids),
        "labels": _labels(classes, mapped.labels),
        "neighbours": None if sure is None else projection.NEAR,
        "other_labels": others,
        "trustworthiness": round(stored.trust, 4),
        "generation": stored.generation,
        "current": current,
    }
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
        *([] if sure is None else [sure.agree.tobytes(), sure.of.tobytes()]),
        which.tobytes(),
    ]
    return b"".join(parts)


def _labels(classes: "Classes", labels: Sequence[str | None]) -> list[Any]:
    """The classes by name, then how many others share a colour, {"others": 5}, then None for items without a class; the
    last two where there are such. The page has words for them.
    """
    others = len({label for label in labels if label is not None}) - classes.own
    return [
        *classes.names[: classes.own],
        *([{"others": others}] if others else []),
        *([None] if None in labels else []),
    ]


def _others(classes: "Classes", labels: Sequence[str | None]) -> tuple[list[str], npt.NDArray[np.uint16]]:
    """The classes that share a colour, at most 65,535, and (m,) which of them each of their m items has, by place."""
    own = {None, *classes.names[: classes.own]}
    shared = [label for label in labels if label not in own]
    names = sorted({label for label in shared if label is not None})[:_UNNAMED]
    places = {name: place for place, name in enumerate(names)}
    return names, np.array([places.get(str(label), _UNNAMED) for label in shared], "<u2")


def _start(name: str, generation: int) -> _Computing:
    context = multiprocessing.get_context("spawn")
    share = context.Value("d", 0.0)
    process = context.Process(target=_compute, args=(name, share), daemon=True)
    process.start()
    return _Computing(process, generation, share)


def _compute(name: str, share: "multiprocessing.sharedctypes.Synchronized[float]") -> None:
    """In a process of its own: compute the map, or bring it up to date; it is kept with the catalogue."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    threading.Thread(target=_end_with_server, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    from vitrine import mapping

    def progress(done: int, of: int) -> None:
        share.value = done / max(1, of)

    try:
        with by_name.open_(name) as catalogue:
            found, folder = mapping.find(catalogue, progress=progress).stored, catalogue.place
    except VitrineError as error:
        raise SystemExit(1) from error
    kept = map_file.read(folder)
    if kept is None or kept.generation < found.generation:  # `find` does not mind a full disk
        raise SystemExit(1)


def _end_with_server() -> None:
    """A server that was killed cannot end the process that computes for it."""
    server = multiprocessing.parent_process()
    if server is not None:
        connection.wait([server.sentinel])
        os._exit(1)
