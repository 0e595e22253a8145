"""Where a catalogue on Milvus is, and how it is reached: its address, and what the configuration says of that server.

    milvus+http://host:19530/shop       milvus+https://host:19530/shop

The configuration is `milvus.toml` in the data folder, or the file that VITRINE_MILVUS names; docs/scale.md has all of
its keys. Passwords come from there or from VITRINE_MILVUS_TOKEN, and never from the address, which is shown and logged.
"""

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitrine import storage
from vitrine.errors import InputError

SCHEME = "milvus+"
PORT = 19530

_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)"
_ADDRESS = re.compile(rf"milvus\+(https?)://({_HOST})(?::([0-9]{{1,5}}))?(?:/(.*))?", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9]){0,59}_?")


@dataclass(frozen=True)
class Address:
    """url: of the server, as http://host:19530. catalogue: which one on it."""

    url: str
    catalogue: str

    @property
    def text(self) -> str:
        """As it is to be written on the command line."""
        return f"{SCHEME}{self.url}/{self.catalogue}"


def is_address(name: str) -> bool:
    """Whether that names a catalogue on Milvus, rightly or not; else it names one on this machine."""
    return name.lower().startswith(SCHEME) or "://" in name


def parse(name: str) -> Address:
    """The address that a name says. Raises InputError.

    >>> parse("milvus+http://127.0.0.1/shop")
    Address(url='http://127.0.0.1:19530', catalogue='shop')
    """
    url, catalogue = _parts(name)
    if not _NAME.fullmatch(catalogue):
        raise InputError(
            f"{name!r} cannot name a catalogue on Milvus: after the address comes a name of up to 60 Latin letters,"
            " digits and single '_', a letter first."
        )
    return Address(url, catalogue)


def parse_server(name: str) -> str:
    """The server's url in an address that names no catalogue. Raises InputError."""
    url, catalogue = _parts(name)
    if catalogue:
        raise InputError(f"{name!r} names a catalogue; name a server, as {SCHEME}{url}.")
    return url


def _parts(name: str) -> tuple[str, str]:
    if "@" in name:
        raise InputError(
            "An address holds no user and no password, for it is shown and logged; put them into VITRINE_MILVUS_TOKEN"
            " as user:password, or into milvus.toml (docs/scale.md)."
        )
    match = _ADDRESS.fullmatch(name)
    if match is None or not 0 < int(match[3] or PORT) < 65536:
        raise InputError(
            f"{name!r} is no address of a catalogue; write {SCHEME}http://HOST:{PORT}/NAME, or {SCHEME}https:// for a"
            " server with TLS."
        )
    return f"{match[1].lower()}://{match[2].lower()}:{int(match[3] or PORT)}", match[4] or ""


@dataclass(frozen=True)
class Tls:
    """Files of certificates, in PEM. ca: who signed the server's. certificate, key: ours, where the server asks for it.
    name: what the server's certificate calls it, where that is not its host.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    name: str = ""


@dataclass(frozen=True)
class Settings:
    """How a server is used. token: user:password, or an API key. seconds: how long to wait for a server that is away.
    index, build, search: Milvus's own name of the index of a new catalogue, how it is built, how it is searched.
    replicas: copies in the memory of query nodes. shards: of a new catalogue. consistency: of what is read.
    """

    token: str = ""
    database: str = ""
    seconds: float = 30.0
    index: str = "AUTOINDEX"
    build: dict[str, Any] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    replicas: int = 1
    shards: int = 1
    consistency: str = "Strong"
    tls: Tls = Tls()


_LEVELS = ("Strong", "Session", "Bounded", "Eventually")


def settings(url: str) -> Settings:
    """What the configuration says of that server. Raises InputError where it says what cannot be; StorageError."""
    token = storage.milvus_token() or ""
    path = storage.milvus_file()
    if path is None:
        return Settings(token=token)
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as TOML ({error}); docs/scale.md has an example.") from error
    servers = said.get("server", [])
    if set(said) - {"server"} or not isinstance(servers, list) or not all(isinstance(one, dict) for one in servers):
        raise InputError(f"{path} holds more than tables [[server]]; docs/scale.md has an example.")
    found = Settings()
    for one in servers:
        address = one.get("address")
        if not isinstance(address, str):
            raise InputError(f"{path} has a [[server]] without an address, as {SCHEME}http://HOST:{PORT}; add it.")
        if parse_server(address) == url:
            found = _settings(one, str(path))
    return Settings(**{**vars(found), "token": token or found.token})


def _settings(said: dict[str, Any], path: str) -> Settings:
    tls = said.get("tls", {})
    plain = {key: value for key, value in said.items() if key not in ("address", "tls")}
    _check(plain, Settings(), path, ("tls",))
    _check(tls, Tls(), f"{path}, tls", ())
    found = Settings(**{**plain, "tls": Tls(**tls)})
    if found.consistency not in _LEVELS:
        raise InputError(f"{path} says consistency = {found.consistency!r}; allowed are {', '.join(_LEVELS)}.")
    for file in (found.tls.ca, found.tls.certificate, found.tls.key):
        if file and not Path(file).is_file():
            raise InputError(f"{path} names a file of certificates that is not there: {file}.")
    ours = (found.tls.certificate, found.tls.key)
    if any(ours) and not all((*ours, found.tls.ca)):
        raise InputError(f"{path} has a certificate of ours without ca, certificate and key; name all three.")
    if not 0 < found.seconds <= 3600 or found.replicas < 1 or found.shards < 1:
        raise InputError(f"{path} has a number that cannot be; seconds go up to 3600, replicas and shards from 1.")
    return found


def _check(said: object, usual: Settings | Tls, path: str, apart: Collection[str]) -> None:
    """Raises InputError for a key that there is not, and for a value of another type."""
    known = {key: value for key, value in vars(usual).items() if key not in apart}
    if not isinstance(said, dict):
        raise InputError(f"{path} has no table there; docs/scale.md has an example.")
    for key, value in said.items():
        if key not in known:
            raise InputError(f"{path} has an unknown key {key!r}; there are {', '.join(known)}.")
        kinds = (int, float) if isinstance(known[key], float) else type(known[key])
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise InputError(f"{path} says {key} = {value!r}; it must be like {known[key]!r}.")
