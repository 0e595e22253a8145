"""The index beside the truth, in the files index-N.faiss of a catalogue's folder: as of the N-th write, caught up from
the truth where it is older, and made anew where it is missing, damaged or worn.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vitrine import storage
from vitrine.catalogue import index_kinds
from vitrine.catalogue.index_kinds import Block, Kind
from vitrine.catalogue.store import Store
from vitrine.catalogue.tables import Meta
from vitrine.catalogue.vector_index import VectorIndex
from vitrine.errors import CatalogueError, StorageError

_BEHIND = 2000  # items that may come or go before the index is written again: to catch up on them takes some 20 ms
_GARBAGE = 0.25  # so much of an index may be items that are gone, before it is made anew


class KeptIndex:
    """The index of one catalogue, kept in memory and in its file. Every call is for inside of `Store.reading`, and may
    raise Unsound. meta: what the truth says of itself there.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._place = store.path.parent
        self._index: VectorIndex | None = None

    def candidates(self, meta: Meta) -> Iterator[VectorIndex]:
        """The index; and, for whoever finds that it is one of other items, one that is made anew."""
        yield self._current(meta)
        self._index = self._build(meta)
        yield self._index

    def ready(self, meta: Meta) -> VectorIndex:
        """The index, made ready for the next opening: brought up to date, made anew where it is worn, and written where
        its file has fallen behind.
        """
        index = self._current(meta)
        if _worn(index, meta):
            index = self._index = self._build(meta)
        elif index.unsaved > _BEHIND:
            self._write(index)
        return index

    def check(self) -> bool:
        """Read the whole file. False where it is damaged, or cannot be used for another reason; then it is made
        anew.
        """
        try:
            for path in self._place.glob("index-*.faiss"):
                VectorIndex.load(path, whole=True)
        except CatalogueError:
            self._index = self._build(self._store.meta())
            return False
        return True

    def forget(self) -> None:
        """Let go of what is in memory: the truth is another now."""
        self._index = None

    def _current(self, meta: Meta) -> VectorIndex:
        """The index as of the last write: the one in memory or the one in the file, caught up, else a new one."""
        index, self._index = self._index, None  # what is half caught up is lost
        if index is None or not self._catch_up(index, meta):
            index = self._read()
            if index is None or not self._catch_up(index, meta):
                index = self._build(meta)
        self._index = index
        return index

    def _read(self) -> VectorIndex | None:
        """The index in the file, if there is a sound one."""
        for path in sorted(self._place.glob("index-*.faiss")):
            with suppress(CatalogueError):
                index = VectorIndex.load(path)
                if path == self._path_of(index.generation):
                    return index
        return None

    def _catch_up(self, index: VectorIndex, meta: Meta) -> bool:
        """Put in and take out what came and went since that index was made; False where that cannot be told, or is
        more work than a new one.
        """
        if index.dimensions != meta.dimensions or index.generation > meta.generation:
            return False
        if index.generation < meta.generation:
            gone = self._store.removed_since(index.generation)
            if gone is None:
                return False
            index.remove(gone)
            if meta.items > 2 * len(index):
                return False
            for block in self._store.blocks(index.last):
                index.add(block.ids, block.vectors)
            index.generation = meta.generation
        return len(index) == meta.items

    def _build(self, meta: Meta) -> VectorIndex:
        """An index of the items as they are, written into its file."""

        def blocks() -> Iterator[Block]:
            return ((block.ids, block.vectors) for block in self._store.blocks())

        index = VectorIndex.build(kind_for(meta), meta.dimensions, blocks, meta.items)
        index.generation = meta.generation
        self._write(index)
        return index

    def _write(self, index: VectorIndex) -> None:
        """Write the index into its file, in place of older ones, if the disk lets us: without it the next opening
        takes longer, no more.
        """
        path = self._path_of(index.generation)
        with suppress(StorageError, RuntimeError, OSError):
            index.save(path, index.generation)
            for old in self._place.glob("index-*.faiss"):
                if old != path:
                    old.unlink()

    def _path_of(self, generation: int) -> Path:
        return self._place / f"index-{generation}.faiss"


def kind_for(meta: Meta) -> Kind:
    """The kind of index for that catalogue: the one that was asked for, or by its size."""
    for kind in index_kinds.KINDS:
        if kind == meta.index:
            return kind
    return index_kinds.choose(meta.items, meta.dimensions, storage.memory() // 2)


def _worn(index: VectorIndex, meta: Meta) -> bool:
    """Whether a new index would be better."""
    return index.kind != kind_for(meta) or index.garbage > _GARBAGE or index.outgrown
