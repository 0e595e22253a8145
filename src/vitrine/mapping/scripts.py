"""A few modules of JavaScript as one text. A page that is opened from a file may not import from other files, so the
modules of the canvas are put one after the other into it; on the server they are files.

Only what these modules need is understood: imports by name from files beside or below, at the beginning of a line, and
`export` before a declaration. Names at the top of a module must differ from those of all others.
"""

import re
from importlib import resources
from importlib.resources.abc import Traversable
from posixpath import dirname, join, normpath

_IMPORT = re.compile(r'^import \{ [\w, ]+ \} from "(\.{1,2}/[\w./]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|let|class|function|async function) )", re.MULTILINE)
_DECLARED = re.compile(r"^(?:const|let|class|function\*?|async function) (\w+)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*|.*\bimport\(.*|.*</script.*", re.MULTILINE)


def joined(path: str) -> str:
    """That module of this package, by its path, with all that it imports before it, each once.

    Raises ValueError for what is not understood, and for a name that is there twice.
    """
    texts: dict[str, str] = {}
    _gather(resources.files("vitrine.mapping"), path, texts)
    whole = "\n".join(texts.values())
    left = _LEFT.search(whole)
    if left is not None:
        raise ValueError(f"{path}: a page of one file cannot have {left[0]!r}")
    names = _DECLARED.findall(whole)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: {', '.join(twice)} is there twice; one of both needs another name")
    return whole


def _gather(root: Traversable, path: str, texts: dict[str, str]) -> None:
    """Put the module's text behind those of all that it imports."""
    if path in texts:
        return
    source = root.joinpath(path).read_text(encoding="utf-8")
    for imported in _IMPORT.findall(source):
        _gather(root, normpath(join(dirname(path), imported)), texts)
    texts[path] = _EXPORT.sub("", _IMPORT.sub("", source))
