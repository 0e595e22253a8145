"""vitrine model learn|forget: classes from a handful of pictures, without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import look, output
from vitrine.errors import ImageError, VitrineError

if TYPE_CHECKING:
    from vitrine.encoder import Encoder, Vectors

Name = Annotated[str, typer.Argument(help="What the class is called.", show_default=False)]

MOST_OTHERS = 400
"""Pictures of other things that are learnt from, at most; of more, so many at random."""


def learn(
    name: Name,
    paths: Annotated[
        list[str], typer.Argument(metavar="PICTURES...", help="Pictures of it, or folders of them; five are a start.")
    ],
    model: output.Model = "default",
    against: Annotated[
        Path | None,
        typer.Option("--against", help="A folder of pictures that show other things.", show_default=False),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Teach a model one more class from a handful of pictures, without training.

    The model file stays as it is: what was learnt is kept beside the models, and counts wherever this model is used.

    Example: vitrine model learn hat hat1.jpg hat2.jpg hat3.jpg hat4.jpg hat5.jpg
    """
    from vitrine.encoder import Encoder
    from vitrine.learning import sidecar

    encoder = Encoder.load(model)
    sidecar.check_name(encoder.card, name)
    shown = _shown(encoder, paths)
    sidecar.check_shown(shown)
    encoder.learn(name, shown, _others(encoder, against, shown) if against else None)
    _tell(encoder, {"learnt": name.strip(), "pictures": len(shown)}, as_json)


def forget(
    name: Name,
    model: output.Model = "default",
    as_json: output.Json = False,
) -> None:
    """Take back a class that a model has learnt by `vitrine model learn`."""
    from vitrine.encoder import Encoder

    encoder = Encoder.load(model)
    encoder.forget(name)
    _tell(encoder, {"forgot": name.strip()}, as_json)


def _tell(encoder: "Encoder", done: dict[str, str | int], as_json: bool) -> None:
    if as_json:
        output.print_json({"model": encoder.card.name, **done, "classes": list(encoder.names())})
    else:
        print(f"{encoder.card.name} now knows {', '.join(encoder.names()) or 'no classes'}.")


def _shown(encoder: "Encoder", paths: Sequence[str]) -> "Vectors":
    """(n, d). Raises ImageError where one cannot be read, after the sentences of all others."""
    from vitrine import images

    read, failed = [], []
    for source, picture in look.pictures(paths):
        try:
            if isinstance(picture, VitrineError):
                raise picture
            read.append(images.read(picture, "Standard input" if source == "-" else None, encoder.card.image))
        except VitrineError as error:
            failed.append(str(error))
    look.give_up(failed)
    return encoder.embed(read)


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
