"""Who may ask, and what a browser is told with every answer.

The server has no users: whoever reaches it may search, and on 127.0.0.1 that is every program of this machine, which
includes pages from elsewhere in a browser of this machine. Those are kept out by two headers that a page cannot choose:
`Host` (a name that an attacker points to 127.0.0.1 is not ours: DNS rebinding) and `Origin` (a page from elsewhere that
sends a form). What changes a catalogue needs a token besides.
"""

import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.errors import InputError, VitrineError
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
_TOKEN = re.compile(r"[\x21-\x7e]{8,200}")


class Guard:
    """ASGI middleware, the outermost: refuses what comes for another host or from another origin, makes problems of
    what goes wrong before a route is reached, and gives every answer its headers.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts) | {"localhost", socket.gethostname().lower()}

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
        except Exception as error:
            if started:
                raise
            await _answer(error)(scope, receive, guarded)

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
        site = headers.get("sec-fetch-site", "same-origin") if method not in ("GET", "HEAD") else "same-origin"
        if site not in ("same-origin", "none") or any(
            not _same(origin, hosts[0]) for origin in headers.getlist("origin")
        ):
            raise Refusal(
                403, "origin", "The request comes from a page of another origin; only this server's own page may ask."
            )

    def _is_ours(self, host: str) -> bool:
        """A name that was given, or any plain address: what an attacker can point at us are names."""
        name = _split(f"//{host}")[0]
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


def _same(origin: str, host: str) -> bool:
    """Whether an Origin header names that host. The scheme does not count: a proxy may have taken the s off https."""
    parts = _split(origin)
    scheme = origin.partition(":")[0].lower()
    default = {"http": 80, "https": 443}.get(scheme)
    ours = _split(f"//{host}")
    return default is not None and parts[0] != "" and (parts[0], parts[1] or default) == (ours[0], ours[1] or default)


def _split(address: str) -> tuple[str, int | None]:
    """Its host, lower case, and its port; ("", None) for what has none."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return "", None


def _add_headers(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")


def _answer(error: Exception) -> ASGIApp:
    if isinstance(error, Refusal):
        return error.response()
    return problems.of_error(error) if isinstance(error, VitrineError) else problems.unexpected(error)
