"""A look at a few of a catalogue's items."""

from vitrine.catalogue.store import Store


def thumbnails(store: Store, most: int) -> list[bytes]:
    """The small pictures of at most so many items, at even distances by id."""
    meta = store.meta()
    places = sorted({1 + i * meta.last // most for i in range(most)}) if meta.items else []
    select = "SELECT id, image FROM thumbnails WHERE id >= ? ORDER BY id LIMIT 1"
    found = [store.connection.execute(select, (place,)).fetchone() for place in places]
    return list(dict(row for row in found if row is not None).values())
