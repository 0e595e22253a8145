"""The page's files: read once, at start, from a list that the program makes itself. No request names a file. The map's
canvas, which `vitrine map --html` has too, lies with the map.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import FastAPI, Request, Response

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class StaticFile:
    """A file of the page. tag: its ETag."""

    content: bytes
    kind: str
    tag: str


def read() -> dict[str, StaticFile]:
    """Address -> file, of all files in static/ and its folders; index.html is also at /. The canvas is at /canvas/."""
    found = dict(_within(resources.files("vitrine.server") / "static", "/"))
    found |= _within(resources.files("vitrine.mapping") / "canvas", "/canvas/")
    return {**found, "/": found["/index.html"]}


def serve(app: FastAPI, files: dict[str, StaticFile]) -> None:
    """One route for each of the files."""
    for address, file in files.items():
        app.add_api_route(address, _route(file), methods=["GET"], include_in_schema=False)


def _within(folder: Traversable, address: str) -> Iterator[tuple[str, StaticFile]]:
    for entry in folder.iterdir():
        suffix = f".{entry.name.rpartition('.')[2]}"
        if entry.is_dir():
            yield from _within(entry, f"{address}{entry.name}/")
        elif suffix in _KINDS:
            content = entry.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            yield f"{address}{entry.name}", StaticFile(content, _KINDS[suffix], tag)


def _route(file: StaticFile) -> Callable[[Request], Awaitable[Response]]:
    async def route(request: Request) -> Response:
        headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=file.kind)

    return route
