"""vitrine recognises garments in pictures and finds look-alikes."""

__version__ = "0.1.0"
