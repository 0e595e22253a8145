"""The map as one HTML file that needs nothing else, also without a network: to pan and zoom, to switch classes on and
off, to see what is under the pointer.

Points, classes and texts are in it as compressed binary in base64, thumbnails as JPEG sheets where they fit.
"""

import base64
import json
import zlib
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt

import vitrine
from vitrine import storage
from vitrine.catalogue.local import LocalCatalogue
from vitrine.mapping import Mapped, classes, sprites
from vitrine.progress import Progress, silent

COLOURS = (
    "#2f7ed8", "#e4632a", "#18a05f", "#d163a7", "#8a5cd0", "#d99a00", "#29b0c9", "#b5473c", "#7d8f1f", "#8b7564",
    "#5aa2f0", "#f39a6b", "#5ccf95", "#eba0cf", "#b99af0", "#e8c35a", "#7fd6e6", "#db8b83", "#b5c65a", "#bda996",
)  # fmt: skip
"""Twenty that can be seen on light and on dark ground; the second ten are the first, paler."""

REST = "#8c8c8c"
"""What is no class of its own."""

SIDES = ((2_000, 64), (10_000, 32), (100_000, 20))
"""Of at most so many items the thumbnails have so many pixels a side; of more there are none."""

LARGEST = 24_000_000
"""Bytes of thumbnails in a page; where they are more they are left out."""

_SHEET = 64  # thumbnails a side of a sheet: a browser reads one only when it is needed


def write(catalogue: LocalCatalogue, mapped: Mapped, path: Path, title: str, progress: Progress = silent) -> bool:
    """Write the page, in place of an older file, and say whether it has thumbnails. Raises StorageError, and what the
    catalogue raises.
    """
    found = classes(mapped.labels)
    side = next((side for most, side in SIDES if len(mapped.ids) <= most), 0)
    sheets = _sheets(catalogue, mapped.ids.tolist(), side, progress) if side else []
    counts = np.bincount(found.which, minlength=len(found.names)).tolist()
    facts = {
        "count": len(mapped.ids),
        "classes": [
            {"name": name, "colour": COLOURS[number] if number < found.own else REST, "count": count}
            for number, (name, count) in enumerate(zip(found.names, counts, strict=True))
        ],
        "side": side if sheets else 0,
        "sheet": _SHEET,
    }
    texts = "\n".join(
        f"{id}\t{' '.join(source.split())}" for id, source in zip(mapped.ids, mapped.sources, strict=True)
    )
    page = _template().render(
        title=title,
        version=vitrine.__version__,
        facts=_packed(json.dumps(facts).encode()),
        points=_packed(_on_grid(mapped.points).tobytes()),
        which=_packed(found.which.astype("<u2").tobytes()),
        texts=_packed(texts.encode(errors="replace")),
        sheets=[base64.b64encode(sheet).decode() for sheet in sheets],
    )
    storage.write_text(path, page)
    return bool(sheets)


def _on_grid(points: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Points (n, 2) as whole numbers, 0 to 65,535 along the longer side, the same scale along both; y downwards."""
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = 65_535 / max(float(extent.max()), 1e-9)
    across = (points[:, 0] - low[0]) * scale
    down = (low[1] + extent[1] - points[:, 1]) * scale
    return np.stack([across, down], axis=1).round().clip(0, 65_535).astype("<u2")


def _sheets(catalogue: LocalCatalogue, ids: list[int], side: int, progress: Progress) -> list[bytes]:
    """The thumbnails, so many a sheet; none where they take too much room."""
    sheets: list[bytes] = []
    size, each = 0, _SHEET * _SHEET
    for first in range(0, len(ids), each):
        part = ids[first : first + each]
        whole = sprites.sheet(sprites.tiles(catalogue, part, side), len(part), side, _SHEET)
        sheets.append(sprites.encoded(whole, "JPEG"))
        size += len(sheets[-1])
        if size > LARGEST:
            return []
        progress(first + len(part), len(ids))
    return sheets


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vitrine.mapping"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("map.html")
