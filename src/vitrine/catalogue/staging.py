"""Where a local catalogue is copied to until it is whole: the folder `.copy-NAME` beside the catalogues, which becomes
NAME at once. `copy.json` in it says what the copy is of.
"""

import json
import os
from contextlib import ExitStack, suppress

from vitrine import storage
from vitrine.catalogue import folders
from vitrine.catalogue.copying import Movable, Record
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.store import Store
from vitrine.catalogue.tables import Meta
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError

RECORD = "copy.json"


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
            return Record(str(said["source"]), str(said["model"]), str(said["identity"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CatalogueError(
                f"The unfinished copy in {self._place} does not say what it is of ({error!r}); throw it away with"
                f" `vitrine index remove {self.name} --all` and run it again."
            ) from error

    def begin(self, record: Record, encoder: Encoder) -> None:
        with folders.making_at(self._place, self.name) as made:
            storage.write_bytes(made / "model.onnx", encoder.content)
            storage.write_text(made / RECORD, json.dumps(record.to_json(), ensure_ascii=False))
            card = encoder.card
            Store.create(made / "catalogue.sqlite", Meta(card.identity, card.name, card.embedding, 0, 0, 0, 0))

    def open(self) -> LocalCatalogue:
        return LocalCatalogue.within(self._place, self.name)

    def publish(self, finished: Movable, lock: ExitStack) -> None:
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
