"""Routes of items: what there is of one, its picture, adding and removing."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from vitrine.catalogue import content_hash
from vitrine.server import answers, schemas
from vitrine.server.answers import Shown
from vitrine.server.desks import desks_of
from vitrine.server.problems import documented
from vitrine.server.security import check_token
from vitrine.server.uploads import uploads

router = APIRouter(prefix="/api/items", tags=["items"])

Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="An item's id.", examples=[12])]
Version = Annotated[
    str | None,
    Query(max_length=64, description="`version` of /api/catalogue: with it the answer may be kept for ever."),
]
_bearer = HTTPBearer(auto_error=False, description="The server's token; without one nothing can be changed.")
_PICTURES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {"image/png": {}, "image/jpeg": {}}}
}


def allowed(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """Raises Refusal where the request does not hold the token."""
    check_token(request.headers.get("authorization"), request.app.state.token)


@router.get("/{id}", response_model=schemas.ItemAnswer, responses=documented(404, 422, 503))
async def item(request: Request, id: Id) -> JSONResponse:
    """What the catalogue knows of an item."""
    return JSONResponse(await desks_of(request).ask(lambda desk: answers.item(desk, id)))


@router.get("/{id}/image", response_class=Response, responses={**_PICTURES, 304: {}, **documented(404, 422, 503)})
async def image(request: Request, id: Id) -> Response:
    """The file that the item came from, made anew, at most 1,600 pixels a side; where that is gone or changed, the
    small copy. The header `Vitrine-Picture` says which: `original` or `thumbnail`.
    """
    shown = await desks_of(request).ask(lambda desk: answers.picture(desk, id))
    return _shown(request, shown, keep=False)


@router.get("/{id}/thumbnail", response_class=Response, responses={**_PICTURES, 304: {}, **documented(404, 422, 503)})
async def thumbnail(request: Request, id: Id, v: Version = None) -> Response:
    """The item's small copy: 28 pixels for an image of a data set, 96 to 191 for others."""
    shown = await desks_of(request).ask(lambda desk: answers.thumbnail(desk, id))
    return _shown(request, shown, keep=v is not None)


@router.post(
    "",
    response_model=schemas.AddAnswer,
    responses=documented(400, 401, 403, 408, 413, 422, 503, 507),
    dependencies=[Depends(allowed)],
)
async def add(
    request: Request, form: Annotated[schemas.AddForm, Form(media_type="multipart/form-data")]
) -> JSONResponse:
    """Add pictures, all or none. Kept of each are a small copy and what the model says of it."""
    sent = uploads(form.image)
    return JSONResponse(await desks_of(request).ask(lambda desk: answers.add(desk, sent, form.label), writes=True))


@router.delete(
    "",
    response_model=schemas.RemoveAnswer,
    responses=documented(401, 403, 404, 422, 503, 507),
    dependencies=[Depends(allowed)],
)
async def remove(
    request: Request,
    id: Annotated[
        list[schemas.Id], Query(min_length=1, max_length=schemas.REMOVED, description="An item; may be repeated.")
    ],
) -> JSONResponse:
    """Take items out of the catalogue; their files, if any, stay where they are."""
    return JSONResponse(await desks_of(request).ask(lambda desk: answers.remove(desk, id), writes=True))


def _shown(request: Request, shown: Shown, keep: bool) -> Response:
    """A picture, or 304 for who has it. keep: an id of one catalogue always means the same picture."""
    tag = f'"{content_hash(shown.content)}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, max-age=31536000, immutable" if keep else "private, no-cache",
        "Vitrine-Picture": "original" if shown.original else "thumbnail",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(shown.content, headers=headers, media_type=shown.kind)
