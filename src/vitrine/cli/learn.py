"""vitrine model learn|forget: classes from a handful of pictures, without training."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from vitrine.cli import look, output
from vitrine.errors import ImageError, InputError, VitrineError

if TYPE_CHECKING:
    from vitrine.encoder import Encoder, Vectors

_Given = Path | bytes
_Found = tuple[str, _Given | VitrineError]
_T = TypeVar("_T")

Name = Annotated[str, typer.Argument(help="What the class is called.", show_default=False)]

MOST_OTHERS = 400
"""Pictures of other things that are learnt from, at most; of more, so many at random."""


def learn(
    name: Name,
    paths: Annotated[
        list[str], typer.Argument(metavar="PICTURES...", help="Pictures of it, or folders of them; five are a start.")
    ],
    model: output.ModelOrNone = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="A folder of pictures that show other things.", show_default=False),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Teach a model one more class from a handful of pictures, without training. Photos are taught to the model photo,
    what looks like Fashion-MNIST to default, as classify asks them; --model names another.

    The model file stays as it is: what was learnt is kept beside the models, and counts wherever this model is used.

    Example: vitrine model learn hat hat1.jpg hat2.jpg hat3.jpg hat4.jpg hat5.jpg
    """
    import numpy as np

    from vitrine import choosing, images
    from vitrine.encoder import Encoder
    from vitrine.learning import sidecar

    failed: list[str] = []
    found = look.pictures(paths)
    first = list(_each(islice(found, 0 if model is not None else choosing.SAMPLE), choosing.Opened.read, failed))
    encoder = Encoder.load(choosing.for_most(first) if model is None else model)
    sidecar.check_name(encoder.card, name)  # before many pictures are read
    seen = [one.seen_by(encoder) for one in first]
    spec = encoder.card.image
    seen += _each(found, lambda picture, called: images.prepare(images.read(picture, called, spec), spec), failed)
    look.give_up(failed)
    shown = encoder.run(np.stack(seen)).embeddings
    sidecar.check_shown(shown)
    encoder.learn(name, shown, _others(encoder, against, shown) if against else None)
    _tell(encoder, {"learnt": name.strip(), "pictures": len(shown)}, as_json)


def forget(
    name: Name,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="A model by name, or the path of a model file.",
            show_default="photo or default, whichever learnt it",
        ),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Take back a class that a model has learnt by `vitrine model learn`."""
    from vitrine.encoder import Encoder

    encoder = Encoder.load(_who_learnt(name) if model is None else model)
    encoder.forget(name)
    _tell(encoder, {"forgot": name.strip()}, as_json)


def _each(found: Iterable[_Found], read: Callable[[_Given, str | None], _T], failed: list[str]) -> Iterator[_T]:
    """What can be read of the pictures; why not goes to `failed`."""
    for source, picture in found:
        try:
            if isinstance(picture, VitrineError):
                raise picture
            yield read(picture, look.called(source))
        except VitrineError as error:
            failed.append(str(error))


def _who_learnt(name: str) -> str:
    """Which of the models that are chosen by what pictures are has learnt that class.

    Raises InputError where none has, or both have; ModelFileError.
    """
    from vitrine import choosing, encoder, modelfile
    from vitrine.learning import sidecar

    found, known = [], {}
    for model in (choosing.DEFAULT, *([choosing.PHOTO] if choosing.photo_is_there() else [])):
        learnt = sidecar.read(modelfile.read(encoder.find(model)).card)
        known[model] = learnt.names if learnt else ()
        if name.strip().casefold() in (one.casefold() for one in known[model]):
            found.append(model)
    if not found:
        classes = "; ".join(f"{model}: {', '.join(names) or 'none'}" for model, names in known.items())
        raise InputError(f"{name.strip()!r} is no class that was learnt ({classes}); name another model with --model.")
    if len(found) > 1:
        raise InputError(
            f"{' and '.join(found)} have both learnt {name.strip()}; say which is to forget it with --model."
        )
    return found[0]


def _tell(encoder: "Encoder", done: dict[str, str | int], as_json: bool) -> None:
    if as_json:
        output.print_json({"model": encoder.card.name, **done, "classes": list(encoder.names())})
    else:
        print(f"{encoder.card.name} now knows {', '.join(encoder.names()) or 'no classes'}.")


def _others(encoder: "Encoder", folder: Path, shown: "Vectors") -> "Vectors":
    """(m, d), without pictures that show the class. Raises DataError where there is no such folder."""
    import numpy as np

    from vitrine import images
    from vitrine.datasets import image_folder

    files, unreadable = image_folder.scan(folder)
    chosen = np.sort(np.random.default_rng(0).permutation(len(files))[:MOST_OTHERS])
    found = np.empty((len(chosen), *encoder.card.image.shape), np.uint8)
    count = 0
    with output.stage(f"Look at {folder}") as progress:
        for done, place in enumerate(chosen, 1):
            try:
                picture = images.read(files[place], spec=encoder.card.image)
            except ImageError as error:
                unreadable.append(image_folder.Unreadable(files[place], str(error)))
                continue
            found[count] = images.prepare(picture, encoder.card.image)
            count += 1
            progress(done, len(chosen))
    output.list_unreadable(unreadable)
    vectors = encoder.run(found[:count]).embeddings
    different: Vectors = vectors[(vectors @ shown.T).max(axis=1, initial=-1) < 1 - 1e-5]
    return different
