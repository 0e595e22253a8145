"""The map as one HTML file that needs nothing else, also without a network: the canvas of the server's page, with its
data. Pan and zoom, classes on and off, what is under the pointer, a lasso, colour by class or confidence.

Points, classes and texts are in it as compressed binary in base64, thumbnails as JPEG sheets where they fit.
"""

import base64
import json
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import vitrine
from vitrine import storage
from vitrine.catalogue import Catalogue
from vitrine.mapping import Classes, Mapped, classes, scripts, sprites
from vitrine.page_template import page_template
from vitrine.progress import Progress, silent

Colour = Literal["class", "confidence"]

SIDES = ((2_000, 64), (10_000, 32), (100_000, 20))
"""Of at most so many items the thumbnails have so many pixels a side; of more there are none."""

LARGEST = 24_000_000
"""Bytes of thumbnails in a page; where they are more they are left out."""

_SHEET = 64  # thumbnails a side of a sheet: a browser reads one only when it is needed


def write(
    catalogue: Catalogue,
    mapped: Mapped,
    path: Path,
    title: str,
    colour: Colour = "class",
    progress: Progress = silent,
) -> bool:
    """Write the page, in place of an older file, and say whether it has thumbnails. colour: what it shows at first.
    Raises StorageError, and what the catalogue raises.
    """
    found = classes(mapped.labels)
    side = next((side for most, side in SIDES if len(mapped.ids) <= most), 0)
    sheets = _sheets(catalogue, mapped.ids.tolist(), side, progress) if side else []
    texts = "\n".join(
        f"{id}\t{' '.join(source.split())}" for id, source in zip(mapped.ids, mapped.sources, strict=True)
    )
    sure = mapped.confidence
    page = page_template("vitrine.mapping", "map.html").render(
        title=title,
        version=vitrine.__version__,
        facts=_packed(json.dumps(_facts(found, mapped, side if sheets else 0, colour)).encode()),
        points=_packed(_on_grid(mapped.points).tobytes()),
        which=_packed(found.which.astype("<u2").tobytes()),
        sure=_packed(b"" if sure is None else sure.agree.tobytes() + sure.of.tobytes()),
        texts=_packed(texts.encode(errors="replace")),
        sheets=[base64.b64encode(sheet).decode() for sheet in sheets],
        script=scripts.joined("templates/map.js"),
    )
    storage.write_text(path, page)
    return bool(sheets)


def _facts(found: Classes, mapped: Mapped, side: int, colour: Colour) -> dict[str, Any]:
    """What the page's script is told. side: of a thumbnail, 0 where there are none."""
    counts = np.bincount(found.which, minlength=len(found.names)).tolist()
    kinds = ["class" if number < found.own else "others" for number in range(len(found.names))]
    if None in mapped.labels:
        kinds[-1] = "none"
    return {
        "count": len(mapped.ids),
        "classes": [
            {"name": name, "kind": kind, "count": count}
            for name, kind, count in zip(found.names, kinds, counts, strict=True)
        ],
        "side": side,
        "sheet": _SHEET,
        "sure": mapped.confidence is not None,
        "colour": colour,
    }


def _on_grid(points: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Points (n, 2) as whole numbers, 0 to 65,535 along the longer side, the same scale along both; y downwards."""
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = 65_535 / max(float(extent.max()), 1e-9)
    across = (points[:, 0] - low[0]) * scale
    down = (low[1] + extent[1] - points[:, 1]) * scale
    return np.stack([across, down], axis=1).round().clip(0, 65_535).astype("<u2")


def _sheets(catalogue: Catalogue, ids: list[int], side: int, progress: Progress) -> list[bytes]:
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
