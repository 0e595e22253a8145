"""Where a catalogue on Milvus is copied to until it is whole: under its own name, with a note that it is unfinished,
by which nobody opens it.
"""

from contextlib import ExitStack
from typing import Any

from vitrine.catalogue import Catalogue
from vitrine.catalogue.copying import Record
from vitrine.catalogue.milvus import address as milvus_address
from vitrine.catalogue.milvus import making as milvus_making
from vitrine.catalogue.milvus.catalogue import MilvusCatalogue
from vitrine.encoder import Encoder


class MilvusStaging:
    """See `copying.Staging`. Raises InputError for what is no address."""

    def __init__(self, name: str) -> None:
        self.name = milvus_address.parse(name).text

    def record(self) -> Record | None:
        said = self._said()
        return None if said is None else Record.from_json(said, self.name)

    def begin(self, record: Record, encoder: Encoder) -> None:
        milvus_making.create(self.name, encoder, record.to_json()).close()

    def open(self) -> MilvusCatalogue:
        return milvus_making.open_(self.name, unfinished=True)

    def publish(self, finished: Catalogue, lock: ExitStack) -> None:
        if isinstance(finished, MilvusCatalogue):
            finished.finish()
        lock.close()
        finished.close()

    def existing(self) -> MilvusCatalogue | None:
        if not milvus_making.exists(self.name) or self._said() is not None:
            return None
        return milvus_making.open_(self.name)

    def _said(self) -> dict[str, Any] | None:
        if not milvus_making.exists(self.name):
            return None
        opened = milvus_making.open_(self.name, unfinished=True)
        try:
            return opened.unfinished
        finally:
            opened.close()
