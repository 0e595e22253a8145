"""HEIC and HEIF, as telephones write them. AVIF is in the same container, and Pillow's own."""

import io

from PIL import Image

_AVIF = frozenset({b"avif", b"avis"})
_HEIF = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"heif", b"mif1", b"mif2", b"msf1"}
)


def is_heif(content: bytes) -> bool:
    """Whether these are the bytes of a HEIF file of other than AVIF, by the brands that it begins with."""
    if content[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(content[:4], "big"), 256)  # of the first box: its brand, a version, compatible brands
    brands = {content[8:12]} | {content[at : at + 4] for at in range(16, end, 4)}
    return not brands & _AVIF and bool(brands & _HEIF)


def opened(content: bytes) -> Image.Image:
    """The picture, not decoded yet; what its own container says of turning and mirroring will have been done, and its
    EXIF says nothing of it any more. Raises what Pillow's decoders raise.
    """
    from pillow_heif import HeifImageFile  # a tenth of a second and 26 MB of codecs, for who has such a file

    image: Image.Image = HeifImageFile(io.BytesIO(content))  # type: ignore[no-untyped-call]  # untyped in pillow_heif
    return image
