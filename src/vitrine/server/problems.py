"""Every error as RFC 9457 problem+json, in the sentence that the command line would print."""

import errno
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
_NAMED = 60  # characters of a field's name that are repeated
_CODES = {400: "malformed", 404: "not-found", 405: "method", 422: "input"}


_PATTERNS = {name: "it must be an item's id, 12, or one with a weight, 12:0.5" for name in ("like", "unlike")} | {
    "label": "allowed are signs that can be shown, in one line"
}


class Refusal(HTTPException):
    """What the server refuses for a reason of its own. code: for programs."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.code = code


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
    app.add_exception_handler(Refusal, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _http)


def of_error(error: Exception) -> Response:
    """What is none of ours is our mistake: its traceback goes to standard error, never to the client."""
    if isinstance(error, Refusal):
        return problem(error.status_code, error.code, error.detail, error.headers)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return problem(507, "storage", "A disk of the server is full; free some space there, and send it again.")
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            return problem(status, code, str(error), {"Retry-After": "1"} if status == 503 else None)
    traceback.print_exception(error, file=sys.stderr)
    return problem(
        500, "internal", "vitrine made a mistake; what it was is in the server's standard error, please report it."
    )


async def _ours(_: Request, error: Exception) -> Response:
    return of_error(error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    if isinstance(error.__cause__, OSError):  # while a form was read, which may lie on the disk
        return of_error(error.__cause__)
    details = {
        400: f"The form cannot be read ({str(error.detail).rstrip('.')}); send multipart/form-data (RFC 7578).",
        404: "There is nothing at this address; /openapi.json lists what there is.",
        405: "This address does not take that method; /openapi.json lists what it takes.",
    }
    detail = details.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed(request, headers.get("Allow", ""))
    return problem(error.status_code, _CODES.get(error.status_code, "http"), detail, headers)


def _allowed(request: Request, known: str) -> str:
    """What an address takes. known: what the router says, which is one of several."""
    methods = {method.upper() for method in request.app.openapi()["paths"].get(request.scope["path"], {})} | {known}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(422, "input", " ".join(_sentence(one) for one in error.errors()[:3]))


def _sentence(error: Mapping[str, Any]) -> str:
    """One of pydantic's complaints, as a sentence of ours.

    >>> _sentence({"type": "greater_than_equal", "loc": ("body", "k"), "input": "0", "ctx": {"ge": 1}, "msg": ""})
    'k is 0; it must be at least 1.'
    """
    where = ".".join(str(part) for part in error["loc"][1:])[:_NAMED] or "The form"
    facts = error.get("ctx", {})
    shown = _shown(error.get("input"))
    given, pattern = shown.strip("'"), _PATTERNS.get(where.partition(".")[0], "it has another form")
    reasons = {
        "missing": f"{where} is missing; send it.",
        "extra_forbidden": f"There is no field {where}; /openapi.json lists those that there are.",
        "greater_than_equal": f"{where} is {given}; it must be at least {facts.get('ge')}.",
        "less_than_equal": f"{where} is {given}; it must be at most {facts.get('le')}.",
        "too_long": f"{where} comes {facts.get('actual_length')} times; allowed are {facts.get('max_length')}.",
        "string_pattern_mismatch": f"{where} is {shown}; {pattern}.",
        "int_parsing": f"{where} is {shown}; it must be a whole number.",
        "int_from_float": f"{where} is {shown}; it must be a whole number.",
        "float_parsing": f"{where} is {shown}; it must be a number.",
        "bool_parsing": f"{where} is {shown}; it must be true or false.",
        "value_error": f"{where} is {shown}; it must be a file, a part with a filename.",  # only files have such
    }
    message = str(error["msg"]).replace("Input should be", "it must be")
    return reasons.get(str(error["type"]), f"{where} is {shown}; {message[:1].lower()}{message[1:]}.")


def _shown(given: object) -> str:
    """What came, for a sentence.

    >>> _shown("many"), _shown("x" * 50), _shown(None), _shown(0.5)
    ("'many'", 'a text of 50 characters', 'nothing', '0.5')
    """
    if isinstance(given, str):
        return repr(given) if len(given) <= 40 else f"a text of {len(given):,} characters"
    if isinstance(given, int | float):
        return str(given)
    return "nothing" if given is None else "something else"
