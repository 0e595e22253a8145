"""A photo turned into what a model wants to see: on a ground of one shade (fashion_look.py), or as photos are
(photo_look.py).
"""

from PIL import Image

from vitrine.images import fashion_look, photo_look
from vitrine.images.arrays import Frame, Pixels, Step, array
from vitrine.spec import ImageSpec


def prepare(image: Pixels | Image.Image, spec: ImageSpec) -> Pixels:
    """What a model with `spec` sees of an image from `read` or `opened`: as large as the spec says, (h, w, c) uint8."""
    taken = _look(image, spec)
    return taken[-1].image if taken else _photo(image).image


def steps(photo: Pixels | Image.Image, spec: ImageSpec) -> list[Step]:
    """Every step that `prepare` takes, the photo itself first. An image that has the size and the ground already is
    left as it is.
    """
    return [_photo(photo), *_look(photo, spec)]


def _photo(photo: Pixels | Image.Image) -> Step:
    return Step("photo", array(photo) if isinstance(photo, Image.Image) else photo, Frame(0, 0, 1, 1))


def _look(photo: Pixels | Image.Image, spec: ImageSpec) -> list[Step]:
    return photo_look.steps(photo, spec) if spec.ground == "any" else fashion_look.steps(photo, spec)
