"""What pymilvus and gRPC raise, as sentences."""

import socket

from vitrine.catalogue.milvus.address import Address
from vitrine.errors import CatalogueError, InputError, VitrineError

OPENING = 5.0  # seconds for a first answer

_AWAY = (
    *("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "Fail connecting", "server unavailable", "closed channel"),
    *("Retry timeout", "Retry run out", "should create connect", "not ready", "collection is closed", "Socket closed"),
)
_NOT_MILVUS = ("UNIMPLEMENTED", "http1", "Missing :te")
_NOBODY = ("Connection refused", "errors resolving", "No route to host", "Network is unreachable")
_DENIED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "auth check failure", "permission deny", "PermissionDenied")
_NO_COLLECTION, _NOT_LOADED = 100, 101


class Away(VitrineError):
    """The server does not answer, for now. Never leaves this package: `Link.call` makes a CatalogueError of it."""


def refusal(error: Exception, address: Address, opening: bool = False) -> VitrineError:
    """A sentence for what was raised; Away where it may pass. opening: nothing was heard of that server yet."""
    text, url = _whole(error), address.url
    if any(sign in text for sign in _DENIED):
        return CatalogueError(
            f"The Milvus server at {url} does not let us in ({_first(error)}); put user:password, or an API key,"
            " into VITRINE_MILVUS_TOKEN or milvus.toml (docs/scale.md)."
        )
    if getattr(error, "code", None) == _NO_COLLECTION or "can't find collection" in text:
        return CatalogueError(
            f"The catalogue {address.text!r} was deleted (or replaced) meanwhile, or is not whole; see"
            f" `vitrine index list milvus+{url}`."
        )
    if "database" in text and any(sign in text for sign in ("not found", "not exist")):
        return CatalogueError(
            f"The Milvus server at {url} has no database of that name ({_first(error)}); make it there, or name another"
            " in milvus.toml (docs/scale.md)."
        )
    if opening:
        return CatalogueError(_nobody(text, url, error))
    if "wait for loading" in text:
        return CatalogueError(
            f"The Milvus server at {url} is still loading the catalogue {address.text!r}, or building its index,"
            " which takes long where it is large; run it again later."
        )
    if any(sign in text for sign in _AWAY):
        return Away(text)
    if isinstance(error, (OverflowError, UnicodeError)):
        return InputError(f"This cannot be sent to Milvus ({error}); name something else.")
    return CatalogueError(f"The Milvus server at {url} refused ({_first(error)}); see its log.")


def gone(error: Exception, address: Address, seconds: float) -> CatalogueError:
    """The server is away, and was waited for so many seconds."""
    return CatalogueError(
        f"The Milvus server at {address.url} does not answer ({_first(error)}), for {seconds:g} s by now; see that it"
        " runs, and run it again: what was acknowledged is in the catalogue."
    )


def unloaded(error: Exception) -> bool:
    """Whether the collection is to be loaded first, as after a start of the server."""
    return getattr(error, "code", None) == _NOT_LOADED or "not loaded" in str(error)


def _nobody(text: str, url: str, error: Exception) -> str:
    if any(sign in text for sign in _NOBODY):
        return f"Nothing answers at {url}; start Milvus there, or name another address."
    if "handshake" in text or "SSL" in text or "credentials" in text:
        return (
            f"What answers at {url} and we do not agree on TLS; write milvus+http for a server without it, or see"
            " to the certificates in milvus.toml (docs/scale.md)."
        )
    if any(sign in text for sign in _NOT_MILVUS) or _speaks_http(url):
        return (
            f"What answers at {url} is no Milvus server ({_first(error)}); name the port that Milvus has for gRPC,"
            " mostly 19530."
        )
    return (
        f"No Milvus server answers at {url} within {OPENING:g} s ({_first(error)}); see that it runs, that the"
        " address is right, and whether it wants milvus+https."
    )


def _speaks_http(url: str) -> bool:
    """Whether a web server answers there; Milvus speaks another version of HTTP."""
    scheme, _, place = url.partition("://")
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1) as asked:
            asked.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return scheme == "http" and asked.recv(7) == b"HTTP/1."
    except OSError:
        return False


def _whole(error: BaseException) -> str:
    """What it says, and what those say that it came from."""
    said: list[str] = []
    at: BaseException | None = error
    while at is not None and len(said) < 8:
        said.append(f"{type(at).__name__} {at}")
        at = at.__cause__ or at.__context__
    return "; ".join(said)


def _first(error: Exception) -> str:
    """The heart of it, on one line and not too long."""
    text = str(getattr(error, "message", "") or error)
    details = getattr(error, "details", None)
    if callable(details):
        text = str(details() or text)
    line = " ".join(text.split()).strip(" .")
    return line if len(line) <= 160 else f"{line[:157]}..."
