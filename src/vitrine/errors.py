"""Everything that vitrine raises on purpose, as one small tree.

    VitrineError
    ├── InputError            what the caller gave cannot be used
    │   ├── ImageError        one picture: unreadable, too large, empty
    │   └── RecipeError       a recipe: unknown key, wrong type, impossible value
    ├── DataError             a data set: missing, damaged, without pictures
    │   └── DownloadError     it is not here and cannot be fetched
    ├── ModelFileError        a model file: not ours, too new, damaged
    ├── CatalogueError        a catalogue: missing, made by another model, damaged
    │   └── ItemError         it has no item of that id
    ├── ClusterError          a Ray cluster: not there, not usable, gone
    ├── StorageError          the disk: read-only, full, no permission
    └── MissingExtraError     an optional part of vitrine is not installed

Each message is one sentence or two: what came, what is allowed, what to do next. The edges translate: the command line
prints it and exits with 2, the server answers with a problem of status 4xx or 5xx.
"""


class VitrineError(Exception):
    """Base of every error that vitrine raises on purpose; its text is fit to be shown to a user."""


class InputError(VitrineError):
    """What the caller gave cannot be used."""


class ImageError(InputError):
    """A picture cannot be read, is too large, or is empty."""


class RecipeError(InputError):
    """A recipe has an unknown key, a wrong type or an impossible value."""


class DataError(VitrineError):
    """A data set is missing, damaged or without pictures."""


class DownloadError(DataError):
    """A data set is not here and cannot be downloaded."""


class ModelFileError(VitrineError):
    """A model file is not one of ours, too new, or damaged."""


class CatalogueError(VitrineError):
    """A catalogue is missing, damaged, or made by another model."""


class ItemError(CatalogueError):
    """A catalogue has no item of that id."""


class ClusterError(VitrineError):
    """A Ray cluster is not there, cannot be used, or broke off."""


class StorageError(VitrineError):
    """The disk refused: read-only, full, or no permission."""


class MissingExtraError(VitrineError):
    """An optional part of vitrine is not installed."""
