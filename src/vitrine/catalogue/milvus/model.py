"""The model that made a catalogue on Milvus: its file is a record on the server, with a copy on each machine."""

from contextlib import suppress
from pathlib import Path

from vitrine import encoder as encoders
from vitrine import storage
from vitrine.catalogue.milvus.records import Records
from vitrine.catalogue.milvus.tables import State
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, ModelFileError


def record_of(identity: str) -> str:
    """The name of the record."""
    return f"model-{identity}"


def encoder(records: Records, state: State, place: Path, name: str) -> Encoder:
    """The model, from the copy at `place`, else from the server, else one of that identity that is known here.

    Raises CatalogueError where there is none of these, or the record is of another model; StorageError.
    """
    path = place / f"model-{state.identity}.onnx"
    found = _copy(path, state) or _fetched(records, state, path, name) or encoders.of_identity(state.identity)
    if found is None:
        raise CatalogueError(
            f"The catalogue {name!r} was made by the model {state.model} ({state.identity[:8]}), whose file is neither"
            " on the server nor known here; put it into the folder data/models (docs/contract.md)."
        )
    return found


def _copy(path: Path, state: State) -> Encoder | None:
    with suppress(ModelFileError):
        found = Encoder.load(path)
        return found if found.card.identity == state.identity else None
    return None


def _fetched(records: Records, state: State, path: Path, name: str) -> Encoder | None:
    content = records.get(record_of(state.identity))
    if content is None:
        return None
    storage.write_bytes(path, content)
    found = Encoder.load(path)
    if found.card.identity != state.identity:
        raise CatalogueError(
            f"The model that lies with the catalogue {name!r} is not the one that made it; move the catalogue to a"
            f" model anew with `vitrine index rebuild {name} --model MODEL`."
        )
    return found
