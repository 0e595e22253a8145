"""Routes that ask: what is this, what looks like it, are these two alike?"""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse

from vitrine.errors import InputError
from vitrine.server import answers, schemas
from vitrine.server.answers import Look, Upload, Wanted
from vitrine.server.desks import desks_of
from vitrine.server.problems import documented
from vitrine.server.uploads import upload, uploads

router = APIRouter(prefix="/api", tags=["questions"])

_MULTIPART = "multipart/form-data"


@router.post("/classify", response_model=schemas.ClassifyAnswer, responses=documented(400, 408, 413, 422, 503))
async def classify(
    request: Request, form: Annotated[schemas.ClassifyForm, Form(media_type=_MULTIPART)]
) -> JSONResponse:
    """What garment a picture shows."""
    look, picture = Look(form.lang, form.show_input), upload(form.image, form.crop)
    return JSONResponse(await desks_of(request).ask(lambda desk: answers.classify(desk, picture, look)))


@router.post("/explain", response_model=schemas.ExplainAnswer, responses=documented(400, 408, 413, 422, 503))
async def explain(request: Request, form: Annotated[schemas.ExplainForm, Form(media_type=_MULTIPART)]) -> JSONResponse:
    """Where in a picture the model looked when it said what garment that shows."""
    look, picture = Look(form.lang), upload(form.image, form.crop)
    return JSONResponse(await desks_of(request).ask(lambda desk: answers.explain(desk, picture, look)))


@router.post("/search", response_model=schemas.SearchAnswer, responses=documented(400, 404, 408, 413, 422, 503))
async def search(request: Request, form: Annotated[schemas.SearchForm, Form(media_type=_MULTIPART)]) -> JSONResponse:
    """What looks like a picture, like an item, or like several and unlike others. Of a picture it also says what it
    shows.
    """
    wanted = Wanted(
        pictures=list(answers.weighted(uploads(form.image, form.crop), form.image_weight)),
        unlike_pictures=uploads(form.unlike_image),
        like=[_weighted(text) for text in form.like],
        unlike=[_weighted(text) for text in form.unlike],
        k=form.k,
        offset=form.offset,
        threshold=form.threshold,
        where=form.where,
    )
    look = Look(form.lang, form.show_input)
    return JSONResponse(await desks_of(request).ask(lambda desk: answers.search(desk, wanted, look)))


@router.post("/compare", response_model=schemas.CompareAnswer, responses=documented(400, 404, 408, 413, 422, 503))
async def compare(request: Request, form: Annotated[schemas.CompareForm, Form(media_type=_MULTIPART)]) -> JSONResponse:
    """How probably two pictures show the same kind of garment."""
    sides: list[Upload | int] = [*uploads(form.image), *form.id]
    return JSONResponse(await desks_of(request).ask(lambda desk: answers.compare(desk, sides, Look(form.lang))))


def _weighted(text: str) -> tuple[int, float]:
    """12 or 12:0.5. Raises InputError."""
    id, _, weight = text.partition(":")
    if int(id) >= 2**63:
        raise InputError(f"{id} is no item's id; they are below 2^63.")
    return int(id), float(weight or 1)
