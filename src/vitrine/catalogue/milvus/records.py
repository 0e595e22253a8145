"""Records of a catalogue on Milvus: names, and any bytes, each changed as a whole.

A text in Milvus is of limited length. So a longer record lies in parts, under a name that is made for this version of
it; the row of the record's own name says which, and is written last. So a reader finds the old record or the new one.
"""

import base64
import json
import uuid
import zlib

from vitrine.catalogue.milvus.link import Link, Row
from vitrine.errors import CatalogueError

_PART = 45_000  # bytes, of which base64 makes 60,000 characters
_TOGETHER = 100  # parts in one request, some 6 MB
_TRIES = 5


class Records:
    """Those in one collection. What was read last is remembered, by its version."""

    def __init__(self, link: Link, collection: str, catalogue: str) -> None:
        self.collection = collection
        self._link = link
        self._catalogue = catalogue  # as it is called in sentences
        self._seen: dict[str, tuple[str, bytes]] = {}

    def get(self, name: str) -> bytes | None:
        """None where there is no such record. Raises CatalogueError where it is damaged."""
        for _ in range(_TRIES):
            head = self._head(name)
            if head is None:
                return None
            seen = self._seen.get(name)
            if seen is not None and seen[0] == head["version"]:
                return seen[1]
            content = self._content(name, head)
            if content is not None:
                self._seen[name] = head["version"], content
                return content
        raise CatalogueError(
            f"The record {name!r} of the catalogue {self._catalogue!r} is damaged; delete the catalogue with"
            f" `vitrine index remove {self._catalogue} --all` and make it anew."
        )

    def put(self, name: str, content: bytes) -> None:
        """Keep these bytes under that name, in place of others."""
        before = self._head(name)
        version = uuid.uuid4().hex
        head = {"version": version, "parts": 0, "checksum": zlib.crc32(content)}
        packed = zlib.compress(content)
        if len(packed) <= _PART // 2:
            head["content"] = base64.b64encode(packed).decode()
        else:
            parts = [packed[first : first + _PART] for first in range(0, len(packed), _PART)]
            head["parts"] = len(parts)
            for first in range(0, len(parts), _TOGETHER):
                some = enumerate(parts[first : first + _TOGETHER], first)
                self._link.upsert(self.collection, [_row(f"{version}/{number}", part) for number, part in some])
        self._link.upsert(self.collection, [{"key": name, "content": json.dumps(head), "nothing": [0.0, 0.0]}])
        self._seen[name] = version, content
        if before is not None and before["parts"]:
            self._drop_parts(before)

    def drop(self, name: str) -> None:
        """Forget a record, if there is one."""
        head = self._head(name)
        self._seen.pop(name, None)
        if head is not None:
            self._link.delete(self.collection, f"key in [{json.dumps(name)}]")
            if head["parts"]:
                self._drop_parts(head)

    def version(self, name: str) -> str:
        """A word that changes with the record; empty where there is none."""
        head = self._head(name)
        return "" if head is None else str(head["version"])

    def _head(self, name: str) -> Row | None:
        found = self._link.query(self.collection, f"key in [{json.dumps(name)}]", ["key", "content"])
        if not found:
            return None
        try:
            head: Row = json.loads(found[0]["content"])
            return {**head, "version": str(head["version"]), "parts": int(head["parts"])}
        except (ValueError, KeyError, TypeError) as error:
            raise CatalogueError(
                f"The catalogue {self._catalogue!r} holds a record {name!r} that vitrine did not write ({error!r});"
                " choose another name."
            ) from error

    def _content(self, name: str, head: Row) -> bytes | None:
        """None where it is not there whole: another may be writing."""
        if "content" in head:
            packed = base64.b64decode(head["content"])
        else:
            keys = [f"{head['version']}/{number}" for number in range(head["parts"])]
            there: dict[str, str] = {}
            for first in range(0, len(keys), _TOGETHER):
                wanted = json.dumps(keys[first : first + _TOGETHER])
                rows = self._link.query(self.collection, f"key in {wanted}", ["key", "content"])
                there |= {row["key"]: row["content"] for row in rows}
            if len(there) < len(keys):
                return None
            packed = b"".join(base64.b64decode(there[key]) for key in keys)
        try:
            content = zlib.decompress(packed)
        except zlib.error:
            return None
        return content if zlib.crc32(content) == head["checksum"] else None

    def _drop_parts(self, head: Row) -> None:
        keys = [f"{head['version']}/{number}" for number in range(head["parts"])]
        for first in range(0, len(keys), 10 * _TOGETHER):
            self._link.delete(self.collection, f"key in {json.dumps(keys[first : first + 10 * _TOGETHER])}")


def _row(key: str, part: bytes) -> Row:
    return {"key": key, "content": base64.b64encode(part).decode(), "nothing": [0.0, 0.0]}
