"""Routes that tell of the server itself: its model, its catalogue, whether it is well."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from vitrine.server import answers, schemas
from vitrine.server.counters import counters_of
from vitrine.server.desks import desks_of
from vitrine.server.problems import documented

router = APIRouter(tags=["about"])


@router.get("/api/model", response_model=schemas.ModelAnswer, responses=documented(503))
async def model(request: Request) -> JSONResponse:
    """What the catalogue's model says of itself."""
    return JSONResponse(await desks_of(request).ask(answers.model))


@router.get("/api/catalogue", response_model=schemas.CatalogueAnswer, responses=documented(503))
async def catalogue(request: Request) -> JSONResponse:
    """What the catalogue holds."""
    writable = request.app.state.token is not None
    return JSONResponse(await desks_of(request).ask(lambda desk: answers.about(desk, writable)))


@router.get("/healthz", response_model=schemas.Health)
async def health() -> JSONResponse:
    """The server runs."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", response_model=schemas.Ready, responses=documented(503))
async def ready(request: Request) -> JSONResponse:
    """The catalogue and its model are there and can be searched."""
    return JSONResponse({"status": "ready", "items": await desks_of(request).ask(answers.ready)})


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus's text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
async def metrics(request: Request) -> Response:
    """Requests, their times, where the time of an answer goes, the process's memory."""
    return Response(counters_of(request).text(), media_type="text/plain; version=0.0.4")
