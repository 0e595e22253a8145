"""Where a catalogue is copied to until it is whole. On this machine that is the folder `.copy-NAME` beside the
catalogues, which becomes NAME at once; `copy.json` in it says what the copy is of. On Milvus: milvus/staging.py.
"""

import json
import os
from contextlib import ExitStack, suppress

from vitrine import storage
from vitrine.catalogue import Catalogue, folders
from vitrine.catalogue.copying import Record, Staging
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.milvus import address as milvus_address
from vitrine.catalogue.store import Store
from vitrine.catalogue.tables import Meta
from vitrine.encoder import Encoder

RECORD = "copy.json"


def of(name: str) -> Staging:
    """Where a copy of that name is made. Raises InputError for what is no name; MissingExtraError."""
    if milvus_address.is_address(name):
        from vitrine.catalogue.milvus.staging import MilvusStaging

        return MilvusStaging(name)
    return LocalStaging(name)


class LocalStaging:
    """See `copying.Staging`. Raises InputError for what is no name."""

    def __init__(self, name: str) -> None:
        self._place = folders.staged(name)
        self.name = folders.folder(name).name

    def record(self) -> Record | None:
        if not self._place.exists():
            return None
        try:
            said = json.loads((self._place / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            said = repr(error)
        return Record.from_json(said, self.name)

    def begin(self, record: Record, encoder: Encoder) -> None:
        with folders.making_at(self._place, self.name) as made:
            storage.write_bytes(made / "model.onnx", encoder.content)
            storage.write_text(made / RECORD, json.dumps(record.to_json(), ensure_ascii=False))
            card = encoder.card
            Store.create(made / "catalogue.sqlite", Meta(card.identity, card.name, card.embedding, 0, 0, 0, 0))

    def open(self) -> LocalCatalogue:
        return LocalCatalogue.within(self._place, self.name)

    def publish(self, finished: Catalogue, lock: ExitStack) -> None:
        if isinstance(finished, LocalCatalogue):
            finished.save_index()
        finished.close()
        if os.name == "nt":
            lock.close()  # there, what holds a lock cannot be moved
        folders.publish(self._place, folders.folder(self.name), self.name)
        with suppress(OSError):
            (folders.folder(self.name) / RECORD).unlink()

    def existing(self) -> LocalCatalogue | None:
        return LocalCatalogue.open(self.name) if folders.exists(self.name) else None
