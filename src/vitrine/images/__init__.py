"""Pictures of any kind as arrays, and a photo turned into what a model wants to see.

`read` opens anything (path, bytes, PIL image, array) within stated limits: reading.py. `prepare` gives it the look that
a model's spec asks for: looks.py. What is done with arrays on either side of that is in arrays.py.
"""

from vitrine.images.arrays import Pixels, array, blank, grey, is_blank, jpeg, png, resize, thumbnail, to_pil
from vitrine.images.looks import TRIM, Frame, Step, prepare, steps
from vitrine.images.reading import (
    MAX_BYTES,
    MAX_PIXELS,
    SUFFIXES,
    Picture,
    content,
    decoders,
    keep_memory,
    opened,
    read,
)

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "TRIM",
    "Frame",
    "Picture",
    "Pixels",
    "Step",
    "array",
    "blank",
    "content",
    "decoders",
    "grey",
    "is_blank",
    "jpeg",
    "keep_memory",
    "opened",
    "png",
    "prepare",
    "read",
    "resize",
    "steps",
    "thumbnail",
    "to_pil",
]
