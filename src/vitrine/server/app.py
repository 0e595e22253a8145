"""The application: routes, the guards around them, the threads behind them."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

import vitrine
from vitrine.encoder import Encoder
from vitrine.server import about, asking, items, maps, problems, schemas, static_files
from vitrine.server.counters import Counters, Counting
from vitrine.server.desks import Desks
from vitrine.server.heads import Heads
from vitrine.server.limits import Gate, Limits
from vitrine.server.security import Guard

_ABOUT = (
    "What a garment in a picture is, what looks like it, and whether two show the same kind. Pictures are sent as the"
    " part `image` of a form (multipart/form-data); errors are RFC 9457 problems."
)
_SILENT: TelemetryConfig = {  # whatever OpenTelemetry finds in the environment
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


@dataclass(frozen=True)
class Settings:
    """catalogue: its name. token: what lets items be added and removed, None for nobody. hosts: names that the server
    answers for, beside plain addresses, localhost and the machine's own name.
    """

    catalogue: str
    token: str | None = None
    hosts: Collection[str] = ()
    limits: Limits = field(default_factory=Limits)


def create_app(settings: Settings, encoder: Encoder | None = None) -> FastAPI:
    """An application for that catalogue, which is opened when the first request comes. encoder: its model, where it is
    loaded already.
    """
    counters = Counters()
    desks = Desks(settings.catalogue, settings.limits, counters, encoder)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.maps.close()
        desks.close()

    app = FastAPI(
        title="vitrine",
        version=vitrine.__version__,
        description=_ABOUT,
        docs_url=None,  # these pages fetch their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=living,
        telemetry=_SILENT,
    )
    app.state.desks, app.state.counters, app.state.token = desks, counters, settings.token
    app.state.maps = maps.Maps(settings.catalogue)
    problems.install(app)
    for router in (asking.router, items.router, maps.router, about.router):
        app.include_router(router)
    static_files.serve(app, static_files.read())
    app.add_middleware(Gate, limits=settings.limits)  # the last that is added is the outermost
    app.add_middleware(Guard, hosts=settings.hosts)
    app.add_middleware(Counting, counters=counters)
    app.add_middleware(Heads)
    app.openapi = lambda: app.openapi_schema or _described(app)  # type: ignore[method-assign]  # FastAPI's own way; made when asked for
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI schema, with the shape of problems in it."""
    schema = FastAPI.openapi(app)
    components = schema["components"]["schemas"]
    components["Problem"] = schemas.Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    return schema
