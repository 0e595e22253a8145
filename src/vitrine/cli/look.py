"""vitrine classify: pictures in, names out."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vitrine.cli import output
from vitrine.errors import ImageError, InputError, VitrineError

if TYPE_CHECKING:
    from vitrine.choosing import Models, Opened
    from vitrine.encoder import Encoder, Prediction
    from vitrine.images import Crop, Pixels
    from vitrine.spec import ImageSpec

_DRAWN = 600  # pixels: about how long the longer side of a picture is drawn
_TILE = 2.2  # inches: so wide that what is written over and under two steps fits

Language = Annotated[Literal["en", "uk", "ru"], typer.Option("--lang", help="Language of the class names.")]
CropOption = Annotated[
    str | None,
    typer.Option(
        "--crop",
        metavar="X,Y,W,H",
        help="Only this part of the picture, in pixels of the upright picture.",
        show_default=False,
    ),
]


def classify(
    paths: Annotated[list[str], typer.Argument(help="Pictures, folders of pictures, or - for standard input.")],
    model: output.ModelOrNone = None,
    lang: Language = "en",
    as_json: output.Json = False,
    show_input: Annotated[
        Path | None,
        typer.Option(
            "--show-input", help="Draw what the model saw of the first picture, step by step.", show_default=False
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option("--explain", help="Draw where the model looked in the first picture.", show_default=False),
    ] = None,
    crop: CropOption = None,
) -> None:
    """Say what garment each picture shows. The model default is asked about what looks like Fashion-MNIST, photo about
    any other picture; --model names one for all.

    Example: vitrine classify shirt.jpg photos/ --lang uk

    Example: vitrine classify street.jpg --crop 310,120,400,600 --show-input seen.png
    """
    _check_pictures(show_input, explain, paths)
    part = parsed(crop)
    from vitrine.choosing import Models

    asked = _Asked(model, Models())
    if model is not None:
        asked.models.of(model).class_names()  # what cannot answer is said once
    failed: list[str] = []
    drawing = _Drawing(show_input, explain)
    for source, picture in pictures(paths):
        try:
            if isinstance(picture, VitrineError):
                raise picture
            encoder, image = asked.read(picture, called(source), part)
            prediction = encoder.classify([image])[0]
        except VitrineError as error:
            failed.append(str(error))
            continue
        names = encoder.class_names(lang)
        if as_json:
            output.print_json(
                {
                    "source": source,
                    "model": encoder.card.name,
                    "class_index": prediction.class_index,
                    "label": names[prediction.class_index],
                    "probability": prediction.probability,
                    "probabilities": list(prediction.probabilities),
                    "known": prediction.known,
                }
            )
        else:
            _print_prediction(source, prediction, names)
        try:
            drawing.draw(image, picture if part else None, encoder, prediction, names)
        except VitrineError as error:
            failed.append(str(error))
    if not as_json:
        asked.tell()
    give_up(failed)


@dataclass
class _Asked:
    """The models that are asked: the one that is named, or for each picture the one that it is for. pictures: how many
    each was shown.
    """

    named: str | None
    models: "Models"
    pictures: Counter[str] = field(default_factory=Counter)

    def read(self, picture: "Path | bytes", name: str | None, crop: "Crop | None") -> "tuple[Encoder, Pixels]":
        """The picture, and the model that is to see it. Raises ImageError; ModelFileError."""
        from vitrine import choosing, images

        if self.named is not None:
            encoder = self.models.of(self.named)
            return encoder, images.read(picture, name, encoder.card.image, crop=crop)
        opened = choosing.Opened.read(picture, name, crop=crop)
        chosen = choosing.choose(opened)
        self.pictures[chosen] += 1
        encoder = self.models.of(chosen)
        return encoder, opened.reread(encoder)

    def tell(self) -> None:
        """Where the answers are of two models, say so."""
        from vitrine.choosing import DEFAULT, PHOTO

        if len(self.pictures) > 1:
            output.say(
                f"Photos were shown to the model {PHOTO} ({self.pictures[PHOTO]:,}), what looks like Fashion-MNIST to"
                f" {DEFAULT} ({self.pictures[DEFAULT]:,}); --model names one for all."
            )


@dataclass
class _Drawing:
    """What is drawn of the first picture that can be read, and into which files; None where it is not wanted."""

    show_input: Path | None
    explain: Path | None

    def draw(
        self,
        image: "Pixels",
        whole: "Path | bytes | None",
        encoder: "Encoder",
        prediction: "Prediction",
        names: Sequence[str],
    ) -> None:
        """whole: what the image is a part of. Nothing, from the second call on. Raises StorageError."""
        show_input, explain = self.show_input, self.explain
        self.show_input = self.explain = None
        label = names[prediction.class_index]
        none = f"none of {among(names)}" if prediction.known is False else None
        if show_input:
            _draw_steps(image, whole, encoder, none or label, show_input)
        if explain:
            title = f"{label}, {prediction.probability:.1%}"
            _draw_heat(image, encoder, f"N{none[1:]}; the nearest is {title}" if none else title, explain)


def _check_pictures(show_input: Path | None, explain: Path | None, paths: list[str]) -> None:
    """Raises InputError for what cannot be drawn into."""
    for out in (show_input, explain):
        output.check_picture(out, paths)
    if show_input and explain and show_input.absolute() == explain.absolute():
        raise InputError(f"{explain} is named by --show-input and by --explain; name two files.")


def pictures(paths: Sequence[str]) -> Iterator[tuple[str, "Path | bytes | VitrineError"]]:
    """Each picture with what to call it, or why there is none; folders are walked, - is standard input."""
    from vitrine.datasets import image_folder

    for path in paths:
        try:
            if path == "-" or not os.path.isdir(path):
                yield path, given(path)
            else:
                files, refused = image_folder.scan(Path(path))
                yield from ((str(file), file) for file in files)
                yield from ((str(entry.path), ImageError(entry.reason)) for entry in refused)
        except VitrineError as error:
            yield path, error


def given(source: str) -> "Path | bytes":
    """The picture of that name, to be read; for - what standard input holds. Raises ImageError for what names none."""
    from vitrine import images

    if not source:
        raise ImageError("A picture's name is empty; name a picture.")
    if "://" in source:
        raise ImageError(f"{source} is a web address; vitrine reads files only: save the picture and name that file.")
    return sys.stdin.buffer.read(images.MAX_BYTES + 1) if source == "-" else Path(source)


def read(source: str, spec: "ImageSpec", crop: "Crop | None" = None) -> "Pixels":
    """The picture of that name, or that standard input holds, for a model with that spec. Raises ImageError."""
    from vitrine import images

    return images.read(given(source), called(source), spec, crop=crop)


def opened(source: str) -> "Opened":
    """The same for a model that is not known yet. Raises ImageError."""
    from vitrine import choosing

    return choosing.Opened.read(given(source), called(source))


def called(source: str) -> str | None:
    """What to call the picture in an error; None for its own name."""
    return "Standard input" if source == "-" else None


def parsed(crop: str | None) -> "Crop | None":
    """Raises InputError."""
    from vitrine import images

    return None if crop is None else images.Crop.parse(crop)


def _print_prediction(source: str, prediction: "Prediction", names: tuple[str, ...]) -> None:
    print(source)
    if prediction.known is False:
        print(f"  {unknown(names)}; most like")
    shares = prediction.probabilities
    best = sorted(range(len(names)), key=lambda i: -shares[i])[:3]
    width = max(len(name) for name in names)
    for i in best:
        print(f"  {names[i]:{width}s} {shares[i]:6.1%} {output.bar(shares[i])}".rstrip())


def unknown(names: Sequence[str]) -> str:
    """What is said of a picture that is of none of the model's classes.

    >>> unknown(["coat", "dress"]), unknown(["coat"])
    ('does not look like any of its two classes', 'does not look like its one class')
    """
    return f"does not look like {'any of ' if len(names) > 1 else ''}{among(names)}"


def among(names: Sequence[str]) -> str:
    """All of a model's classes, in words.

    >>> among(["coat"] * 10), among(["coat"] * 12)
    ('its ten classes', 'its 12 classes')
    """
    written = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    number = written[len(names) - 1] if len(names) <= len(written) else f"{len(names):,}"
    return f"its {number} {'class' if len(names) == 1 else 'classes'}"


def _draw_steps(image: "Pixels", whole: "Path | bytes | None", encoder: "Encoder", label: str, path: Path) -> None:
    """whole: what the image is a part of."""
    from vitrine import images, plots

    steps = [(step.name, step.image) for step in images.steps(image, encoder.card.image)]
    if whole is not None:
        steps[:1] = [("photo", images.read(whole, spec=encoder.card.image)), ("cropped", image)]
    tiles = [
        plots.Tile(shown, f"{number}. {name}\n{shown.shape[1]}x{shown.shape[0]}")
        for number, (name, shown) in enumerate(steps, 1)
    ]
    plots.grid(tiles, path, len(tiles), f"What the model saw: {label}", side=_TILE)
    output.say(f"What the model saw: {path}")


def _draw_heat(image: "Pixels", encoder: "Encoder", title: str, path: Path) -> None:
    from vitrine import explaining, images, plots

    seen = images.steps(image, encoder.card.image)[-1]
    found = explaining.explain(encoder, seen.image)
    whole = images.to_pil(image)
    photo = images.array(whole.reduce(max(1, max(whole.size) // _DRAWN)))
    heat = explaining.over(found.heat, seen.frame, *photo.shape[:2])
    where = f"where the model looked ({found.way})" if heat.any() else "no place counted more than the others"
    tiles = [
        plots.Tile(photo, "the picture"),
        plots.Tile(explaining.painted(photo, heat), where),
        plots.Tile(seen.image, f"what the model saw, {seen.image.shape[1]}x{seen.image.shape[0]}"),
    ]
    scale = explaining.colours([step / 255 for step in range(256)])
    plots.heat(tiles, scale, ("counts little", "counts most"), path, title)
    output.say(f"Where the model looked: {path}")


def give_up(failed: list[str]) -> None:
    """What could not be read ends the command with exit code 2, after all others were answered."""
    sentences = list(dict.fromkeys(failed))  # of a model, each once
    for sentence in sentences[:-1]:
        output.say(f"vitrine: {sentence}")
    if sentences:
        raise ImageError(sentences[-1])
