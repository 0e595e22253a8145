"""Any catalogue by its name: a plain one is on this machine (folders.py), milvus+http://host:19530/name on Milvus.

What Milvus needs is loaded only where such a name comes.
"""

from pathlib import Path

from vitrine.catalogue import Catalogue, folders
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.milvus import address as milvus_address
from vitrine.encoder import Encoder
from vitrine.errors import InputError
from vitrine.progress import Progress


def check(name: str) -> None:
    """Raises InputError for what is no name."""
    if milvus_address.is_address(name):
        milvus_address.parse(name)
    else:
        folders.folder(name)


def exists(name: str) -> bool:
    """Whether there is a catalogue of that name. Raises InputError for what is no name; CatalogueError where the server
    does not answer; MissingExtraError.
    """
    if milvus_address.is_address(name):
        from vitrine.catalogue.milvus import making as milvus_making

        return milvus_making.exists(name)
    return folders.exists(name)


def create(name: str, encoder: Encoder) -> Catalogue:
    """A new, empty catalogue for that model's embeddings. Raises CatalogueError when there is one; StorageError;
    InputError for what is no name; MissingExtraError.
    """
    if milvus_address.is_address(name):
        from vitrine.catalogue.milvus import making as milvus_making

        return milvus_making.create(name, encoder)
    return LocalCatalogue.create(name, encoder)


def open_(name: str) -> Catalogue:
    """The catalogue of that name. Raises CatalogueError: there is none, it is not ours, it is too new, it is damaged,
    the server does not answer; InputError for what is no name; MissingExtraError.
    """
    if milvus_address.is_address(name):
        from vitrine.catalogue.milvus import making as milvus_making

        return milvus_making.open_(name)
    return LocalCatalogue.open(name)


def load(path: Path, name: str, encoder: Encoder, progress: Progress) -> None:
    """A new catalogue of what is in a Parquet file; see `parquet.load`. Raises as that, and as `create`."""
    from vitrine.catalogue import parquet

    if milvus_address.is_address(name):
        from vitrine.catalogue.milvus import making as milvus_making

        milvus_making.fill(name, encoder, parquet.entries(path, encoder, progress), parquet.facts_of(path).last)
    else:
        parquet.load(path, name, encoder, progress)


def delete(name: str, only_empty: bool = False) -> None:
    """Delete a whole catalogue, a damaged one too; or only if it holds no items. Raises CatalogueError when there is
    none, or somebody else writes; StorageError; InputError; MissingExtraError.
    """
    if milvus_address.is_address(name):
        from vitrine.catalogue.milvus import making as milvus_making

        milvus_making.delete(name, only_empty)
    else:
        folders.delete(name, only_empty)


def names(server: str | None = None) -> list[str]:
    """The catalogues on this machine, or on a server, as milvus+http://host:19530. Raises as `open_`."""
    if server is None:
        return folders.names()
    if not milvus_address.is_address(server):
        raise InputError(f"{server!r} is no server; name one as milvus+http://HOST:19530, or none for this machine.")
    from vitrine.catalogue.milvus import making as milvus_making

    return milvus_making.names(server)


def check_here(name: str, what: str) -> None:
    """Raises InputError for a catalogue on Milvus, which cannot do that. what: a verb and what instead."""
    if milvus_address.is_address(name):
        milvus_address.parse(name)
        raise InputError(f"{name!r} is on Milvus, and cannot be {what}.")
