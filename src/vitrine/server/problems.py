"""Every error as RFC 9457 problem+json, in the sentence that the command line would print."""

import http
import json
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response

from vitrine.errors import CatalogueError, ImageError, InputError, ItemError, StorageError, VitrineError

_STATUS: tuple[tuple[type[VitrineError], int, str], ...] = (  # the first that fits
    (ImageError, 422, "image"),
    (InputError, 422, "input"),
    (ItemError, 404, "item"),
    (CatalogueError, 503, "catalogue"),
    (StorageError, 507, "storage"),
    (VitrineError, 503, "model"),
)
_CODES = {400: "malformed", 404: "not-found", 405: "method", 422: "input"}


class Refusal(HTTPException):
    """What the server refuses for a reason of its own. code: for programs."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.code = code

    def response(self) -> Response:
        return problem(self.status_code, self.code, self.detail, self.headers)


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """See `schemas.Problem`."""
    title = http.HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    return Response(json.dumps(body, ensure_ascii=False), status, headers, "application/problem+json")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How the OpenAPI schema tells of problems with those statuses."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": http.HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Whatever goes wrong inside of a route is answered as a problem."""
    app.add_exception_handler(VitrineError, _ours)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _http)


def of_error(error: VitrineError) -> Response:
    status, code = next((status, code) for kind, status, code in _STATUS if isinstance(error, kind))
    return problem(status, code, str(error), {"Retry-After": "1"} if status == 503 else None)


def unexpected(error: Exception) -> Response:
    """A mistake of ours: its traceback goes to standard error, never to the client."""
    traceback.print_exception(error, file=sys.stderr)
    return problem(
        500, "internal", "vitrine made a mistake; what it was is in the server's standard error, please report it."
    )


async def _ours(_: Request, error: Exception) -> Response:
    assert isinstance(error, VitrineError)
    return of_error(error)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    details = {
        400: "The form cannot be read; send multipart/form-data with its parts as RFC 7578 has them.",
        404: "There is nothing at this address; /openapi.json lists what there is.",
        405: "This address does not take that method; /openapi.json lists what it takes.",
    }
    detail = details.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    methods = request.app.openapi()["paths"].get(request.url.path, {})
    if error.status_code == 405 and methods:  # the router only knows of one of several
        headers["Allow"] = ", ".join(sorted(method.upper() for method in methods))
    return problem(error.status_code, _CODES.get(error.status_code, "http"), detail, headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(422, "input", " ".join(_sentence(one) for one in error.errors()[:3]))


def _sentence(error: Mapping[str, Any]) -> str:
    """One of pydantic's complaints, as a sentence of ours.

    >>> _sentence({"type": "greater_than_equal", "loc": ("body", "k"), "input": "0", "ctx": {"ge": 1}, "msg": ""})
    'k is 0; it must be at least 1.'
    """
    where = ".".join(str(part) for part in error["loc"][1:]) or "The form"
    facts = error.get("ctx", {})
    given = error.get("input")
    shown = given if isinstance(given, str) and len(given) <= 40 else type(given).__name__
    shown = str(given) if isinstance(given, int | float) else shown
    reasons = {
        "missing": f"{where} is missing; send it.",
        "extra_forbidden": f"There is no field {where}; /openapi.json lists those that there are.",
        "greater_than_equal": f"{where} is {shown}; it must be at least {facts.get('ge')}.",
        "less_than_equal": f"{where} is {shown}; it must be at most {facts.get('le')}.",
        "too_long": f"{where} comes {facts.get('actual_length')} times; allowed are {facts.get('max_length')}.",
        "string_pattern_mismatch": f"{where} is {shown!r}; it must be an item's id, 12, or one with a weight, 12:0.5.",
    }
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "it must be")
    return reasons.get(str(error["type"]), f"{where} is {shown!r}; {message[:1].lower()}{message[1:]}.")
