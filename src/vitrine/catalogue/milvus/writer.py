"""Who writes to a catalogue on Milvus: one at a time.

Milvus has no locks. But of two who rename a collection only one succeeds: so an empty collection is the token, and who
has renamed it holds it. The holder shows that it is alive by a record that changes every few seconds; where it does not
change for longer, the holder is dead, and another renames the token on. No clock is compared with another machine's.

A new catalogue has no token yet. Whoever makes it makes one that is held from the start, under a name of its own, and
looks then: where there is another's, too, it takes its own away again. Of two who do so at least one sees the other.
"""

import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from vitrine.catalogue.milvus.link import Link
from vitrine.catalogue.milvus.records import Records
from vitrine.catalogue.milvus.tables import create_records, writer_of
from vitrine.errors import CatalogueError

SECONDS_TO_WAIT = 5.0  # for another writer
BEAT = 2.0  # seconds between two signs of life
DEAD = 20.0  # seconds without one

_LOOK, _LOOKS = 0.2, 5  # seconds between two looks at the token; so many until there is none
_RECORD = "alive"


class Writer:
    """The token of one catalogue, as one opened catalogue sees it."""

    def __init__(self, link: Link, records: Records, name: str) -> None:
        self._link, self._records, self._name = link, records, name
        self._token: str | None = None
        self._ended = threading.Event()

    @property
    def held(self) -> bool:
        return self._token is not None

    @contextmanager
    def alone(self, new: bool = False) -> Iterator[None]:
        """While it lasts, nobody else writes, and what is read is what was written last, whatever is configured. new:
        make the token, where there is none. Raises CatalogueError when somebody else writes.
        """
        configured = self._link.settings
        self._link.settings = replace(configured, consistency="Strong")
        try:
            with self._held(new):
                yield
        finally:
            self._link.settings = configured

    @contextmanager
    def _held(self, new: bool) -> Iterator[None]:
        self._token = self._take(new)
        self._ended = threading.Event()
        beating = threading.Thread(target=self._beat, args=(self._token, self._ended), daemon=True)
        beating.start()
        try:
            yield
        finally:
            self._ended.set()
            beating.join()
            token, self._token = self._token, None
            with suppress(CatalogueError):  # then the next one waits until this one counts as dead
                self._link.impatient(BEAT).rename(writer_of(self._name, token), writer_of(self._name))

    def end(self) -> None:
        """Take the token away for good, with its catalogue."""
        if self._token is not None:
            self._link.drop(writer_of(self._name, self._token))

    def check(self) -> None:
        """To be called before what is written counts. Raises CatalogueError where another has taken over: this program
        was away for so long that it counted as dead.
        """
        if self._token is None or not self._link.has(writer_of(self._name, self._token)):
            raise CatalogueError(
                f"Another program has taken over writing to {self._link.address.text!r}, as this one was silent for"
                f" {DEAD:g} s; nothing of this step was added: run it again."
            )

    def _take(self, new: bool) -> str:
        token = uuid.uuid4().hex
        own, start = writer_of(self._name, token), time.monotonic()
        seen, since = self._sign(), start
        while True:
            holder = self._holder(1 if new else _LOOKS)
            if holder is None and new:
                if self._made(own):
                    return token
                time.sleep(random.uniform(0, 5 * _LOOK))  # another makes it just now
                continue
            if holder is None:
                raise CatalogueError(
                    f"The catalogue {self._link.address.text!r} was deleted (or replaced) meanwhile; open it again."
                )
            now = time.monotonic()
            free = holder == writer_of(self._name)
            if (free or now - since > DEAD) and self._link.rename(holder, own):
                return token
            if not free:
                sign = self._sign()
                if sign != seen:
                    seen, since = sign, now
                    if now - start > SECONDS_TO_WAIT:
                        raise CatalogueError(
                            f"Another program is writing to the catalogue {self._link.address.text!r}; wait for it to"
                            " end and run it again."
                        )
            time.sleep(_LOOK)

    def _made(self, own: str) -> bool:
        """Whether there is now a token of ours, and no other."""
        create_records(self._link, own, is_token=True)
        if self._tokens() == [own]:
            return True
        self._link.drop(own)
        return False

    def _holder(self, looks: int) -> str | None:
        """The token's name now; None where there is none."""
        for look in range(looks):  # between two names it may be missing from a list
            if look:
                time.sleep(_LOOK)
            if found := self._tokens():
                return found[0]
        return None

    def _tokens(self) -> list[str]:
        start = writer_of(self._name)
        return sorted(one for one in self._link.collections() if one == start or one.startswith(f"{start}_"))

    def _sign(self) -> str:
        with suppress(CatalogueError):  # there are no records yet, or no more; what else is wrong, others say
            return self._records.version(_RECORD)
        return ""

    def _beat(self, token: str, ended: threading.Event) -> None:
        records = Records(self._link.impatient(BEAT), self._records.collection, self._link.address.text)
        while True:
            with suppress(CatalogueError):  # the writing itself says what is wrong
                records.put(_RECORD, token.encode())
            if ended.wait(BEAT):
                return
