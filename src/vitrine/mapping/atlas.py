"""The map as a Parquet file for Embedding Atlas (`embedding-atlas FILE --x x --y y`) and any other program: one row an
item with id, source, label, x, y, confidence and the columns of the CSV. Needs pyarrow, which comes with the extra
[parquet].
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vitrine import storage
from vitrine.mapping import Mapped

_OWN = ("id", "source", "label", "x", "y", "confidence")
Cell = str | int | float | None


def export(mapped: Mapped, path: Path) -> None:
    """Write the Parquet file, in place of an older one. Raises StorageError."""
    columns: dict[str, pa.Array] = {
        "id": pa.array(mapped.ids),
        "source": pa.array(mapped.sources, pa.string()),
        "label": pa.array(mapped.labels, pa.string()),
        "x": pa.array(mapped.points[:, 0]),
        "y": pa.array(mapped.points[:, 1]),
        "confidence": _shares(mapped),
    }
    taken = set(_OWN)
    for own in sorted({name for cells in mapped.columns for name in cells}):
        name = own
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        columns[name] = _column([cells.get(own) for cells in mapped.columns])
    # opened here, for pyarrow takes no path that is not UTF-8
    with storage.writing(path) as part, open(part, "wb") as file:
        pq.write_table(pa.table(columns), file, compression="zstd")


def _shares(mapped: Mapped) -> pa.Array:
    """How confident the labels are; null where that is not known."""
    if mapped.confidence is None:
        return pa.nulls(len(mapped.ids), pa.float32())
    return pa.array(mapped.confidence.share, pa.float32(), from_pandas=True)  # NaN is null


def _column(cells: list[Cell]) -> pa.Array:
    """Whole numbers, numbers, or texts: the narrowest that holds all of them."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds == {int} and all(cell is None or -(2**63) <= int(cell) < 2**63 for cell in cells):
        return pa.array(cells, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
    return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
