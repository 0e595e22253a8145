"""Who may ask, and what a browser is told with every answer.

The server has no users: whoever reaches it may search, and on 127.0.0.1 that is every program of this machine, which
includes pages from elsewhere in a browser of this machine. Those are kept out by headers that a page cannot choose:
`Host` (a name that an attacker points to 127.0.0.1 is not ours: DNS rebinding), `Origin` and `Sec-Fetch-Site` (a page
from elsewhere that sends a form, or shows our pictures). What changes a catalogue needs a token besides.
"""

import asyncio
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.errors import InputError
from vitrine.server import problems
from vitrine.server.problems import Refusal

_CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " font-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _CONTENT,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_HOST = re.compile(r"((?P<name>[A-Za-z0-9._-]+)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(:(?P<port>[0-9]{1,5}))?")
_STOPPING = Refusal(503, "busy", "The server is being stopped; ask again when it runs.", {"Retry-After": "5"})
_TOKEN = re.compile(r"[\x21-\x7e]{8,200}")


class Guard:
    """ASGI middleware: refuses what comes for another host or from another origin, makes problems of
    what goes wrong before a route is reached, and gives every answer its headers.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self.app = app
        self.hosts = {host.lower() for host in hosts} | {"localhost", socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(message)
            await send(message)

        try:
            self._check(Headers(scope=scope), scope["method"])
            await self.app(scope, receive, guarded)
        except ClientDisconnect:
            return  # nobody hears
        except (Exception, asyncio.CancelledError) as error:
            if started:
                raise
            # uvicorn cancels what takes longer than it waits at its end
            told = _STOPPING if isinstance(error, asyncio.CancelledError) else error
            await problems.of_error(told)(scope, receive, guarded)

    def _check(self, headers: Headers, method: str) -> None:
        """Raises Refusal."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise Refusal(
                421,
                "host",
                f"This server does not answer for the host {', '.join(hosts)[:100]!r}; open it by its address, or start"
                " it with --allow-host for that name.",
            )
        if not _wanted(headers, method) or not all(_same(origin, hosts[0]) for origin in headers.getlist("origin")):
            raise Refusal(
                403, "origin", "The request comes from a page of another origin; only this server's own page may ask."
            )

    def _is_ours(self, host: str) -> bool:
        """A name that was given, or any plain address: what an attacker can point at us are names."""
        name = _split(host)[0]
        if name in self.hosts or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def check_token(given: str | None, token: str | None) -> None:
    """Raises Refusal where an Authorization header does not hold the token."""
    if token is None:
        raise Refusal(
            403,
            "no-token",
            "This server only answers questions; to add and remove items, start it with --token (or VITRINE_TOKEN).",
        )
    scheme, _, word = (given or "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(word.strip().encode(), token.encode()):
        raise Refusal(
            401,
            "token",
            "Adding and removing items needs the server's token; send it as `Authorization: Bearer TOKEN`.",
            {"WWW-Authenticate": "Bearer"},
        )


def check_is_token(token: str) -> str:
    """The same. Raises InputError for what cannot be one."""
    if not _TOKEN.fullmatch(token):
        raise InputError(
            f"The token has {len(token)} characters or some that a header cannot hold; allowed are 8 to 200 letters,"
            " digits and signs of ASCII, without blanks."
        )
    return token


def check_is_host(name: str) -> str:
    """The same. Raises InputError for what no Host header could be compared with."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name of a host; give it as it stands in the browser between // and the port, as in"
            " shop.example."
        )
    return name


def _wanted(headers: Headers, method: str) -> bool:
    """Whether a browser, if it is one, asks for our own page, or for somebody who follows a link to us."""
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    site = headers.get("sec-fetch-site", "none")
    return site in ("same-origin", "none") or (method == "GET" and followed)


def _same(origin: str, host: str) -> bool:
    """Whether an Origin header names that host. The scheme does not count: a proxy may have taken the s off https."""
    scheme, _, rest = origin.partition("://")
    default = {"http": "80", "https": "443"}.get(scheme.lower())
    name, port = _split(rest)
    ours, our_port = _split(host)
    return default is not None and name != "" and (name, port or default) == (ours, our_port or default)


def _split(host: str) -> tuple[str, str]:
    """The name in a Host header, lower case, and the port, "" where there is none; ("", "") for what is no host.

    >>> _split("Shop.example.:8000"), _split("[::1]"), _split("me@shop.example")
    (('shop.example', '8000'), ('::1', ''), ('', ''))
    """
    found = _HOST.fullmatch(host)
    return ((found["ipv6"] or found["name"]).lower().rstrip("."), found["port"] or "") if found else ("", "")


def _add_headers(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")
