"""Pictures of any kind as arrays, and a photo turned into what a model wants to see.

`read` opens anything (path, bytes, PIL image, array) within stated limits: reading.py. `prepare` gives it the look that
a model's spec asks for: looks.py. What is done with arrays on either side of that is in arrays.py.
"""

from vitrine.images.arrays import (
    Frame,
    Pixels,
    Step,
    array,
    blank,
    grey,
    is_blank,
    jpeg,
    png,
    resize,
    small,
    thumbnail,
    to_pil,
)
from vitrine.images.crop import Crop
from vitrine.images.fashion_look import TRIM
from vitrine.images.grounds import Ground, looks_like_fashion_mnist, plain_ground
from vitrine.images.looks import prepare, steps
from vitrine.images.reading import (
    MAX_BYTES,
    MAX_PIXELS,
    SUFFIXES,
    Picture,
    content,
    decoders,
    is_enough,
    keep_memory,
    opened,
    read,
)

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "TRIM",
    "Crop",
    "Frame",
    "Ground",
    "Picture",
    "Pixels",
    "Step",
    "array",
    "blank",
    "content",
    "decoders",
    "grey",
    "is_blank",
    "is_enough",
    "jpeg",
    "keep_memory",
    "looks_like_fashion_mnist",
    "opened",
    "plain_ground",
    "png",
    "prepare",
    "read",
    "resize",
    "small",
    "steps",
    "thumbnail",
    "to_pil",
]
