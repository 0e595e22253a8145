"""What /metrics tells, for Prometheus. No label comes from a request: routes are named as they are written here."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE"})


class Counters:
    """requests, seconds: by method, route and status. stages: where the time of an answer goes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "vitrine_requests", "Answered requests.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "vitrine_request_seconds",
            "From a request's first byte to its answer's last.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "vitrine_stage_seconds",
            "Time of a thread in decoding, in the model, in the search, in finding out where the model looked.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.inside = Gauge("vitrine_requests_inside", "Requests that are being answered.", registry=self.registry)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time that this takes as a stage of an answer."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages.labels(name).observe(time.perf_counter() - start)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class Counting:
    """ASGI middleware: counts every request."""

    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self.app = app
        self.counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 499  # as nginx has it: the client left before there was an answer

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.counters.inside.inc()
        try:
            await self.app(scope, receive, counted)
        finally:
            self.counters.inside.dec()
            method, route = _named(scope)
            self.counters.requests.labels(method, route, str(status)).inc()
            self.counters.seconds.labels(method, route).observe(time.perf_counter() - start)


def _named(scope: Scope) -> tuple[str, str]:
    """The method and the route as it is written in the program; "other" for what is none of ours."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    return method, str(getattr(scope.get("route"), "path", "other"))


def counters_of(request: Request) -> Counters:
    found = request.app.state.counters
    assert isinstance(found, Counters)
    return found
