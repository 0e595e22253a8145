"""vitrine compare: do two pictures show the same kind of garment?"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from vitrine.cli import look, output
from vitrine.errors import ImageError, InputError

if TYPE_CHECKING:
    from vitrine.encoder import Encoder, Prediction
    from vitrine.images import Pixels

Read = TypeVar("Read")

MEASURES = {
    "cosine": "cosine similarity of the embeddings: 1 is the same; 0 and below, nothing in common",
    "class-product": "chance that both are of one class, by the probabilities of their classes: 0 to 1",
    "class-distance": "distance of the class probabilities: 0 is the same, 1.41 is sure of two different classes",
}


def compare(
    a: Annotated[str, typer.Argument(help="A picture, or - for standard input.", show_default=False)],
    b: Annotated[str, typer.Argument(help="Another picture, or -.", show_default=False)],
    model: output.ModelOrNone = None,
    lang: look.Language = "en",
    out: Annotated[
        Path | None, typer.Option("--out", help="Draw both pictures into this PNG.", show_default=False)
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Say how probably two pictures show the same kind of garment. Where one of them is a photo, the model photo is
    asked, and default where both look like Fashion-MNIST; --model names another.

    The probability is for pairs that are as often of the same kind as of different kinds, and for pictures like those
    that the model learnt from: of photos with a background or a person in them default says little.

    Example: vitrine compare boot.jpg shoe.jpg --out both.png
    """
    if a == b == "-":
        raise InputError("Only one of the two pictures can come from standard input; name a file for the other.")
    output.check_picture(out, [a, b])
    encoder, pictures = _seen(a, b, model)
    names = encoder.names(lang)
    outputs = encoder.run(encoder.prepare(pictures))
    found = encoder.comparison(outputs[:1], outputs[1:])
    assert encoder.card.similarity is not None  # or `comparison` had raised
    measure = encoder.card.similarity.measure
    shown: Sequence[Prediction | None] = encoder.predictions(outputs) if names else (None, None)
    lines = ["" if prediction is None else _line(prediction, names) for prediction in shown]
    answer = f"same kind of garment: {_percent(found.same_probability)}"
    if as_json:
        facts = {"same_probability": found.same_probability, "score": found.score, "model": encoder.card.name}
        sides = [_side(source, prediction, names) for source, prediction in zip((a, b), shown, strict=True)]
        output.print_json({**facts, "measure": measure, "distance": found.distance, "a": sides[0], "b": sides[1]})
    else:
        print(answer)
        print(f"  {found.score:.4f}  {MEASURES[measure]}")
        print(f"  {found.distance:.4f}  distance of the embeddings: 0 is the same, up to 2")
        for source, line in zip((a, b), lines, strict=True):
            print(f"{source}\n  {line}" if line else source)
    if out is not None:
        _draw(
            pictures,
            [f"{line}\n{_name(source)}".lstrip() for line, source in zip(lines, (a, b), strict=True)],
            answer,
            out,
        )


def _seen(a: str, b: str, model: str | None) -> "tuple[Encoder, list[Pixels]]":
    """Both pictures and the model that is to see them: the one that is named, or that they are for."""
    from vitrine import choosing
    from vitrine.encoder import Encoder

    if model is not None:
        encoder = Encoder.load(model)
        return encoder, _each((a, b), lambda source: look.read(source, encoder.card.image))
    opened = _each((a, b), look.opened)
    encoder = Encoder.load(choosing.choose(*opened))
    return encoder, [one.reread(encoder) for one in opened]


def _each(sources: tuple[str, str], read_one: Callable[[str], Read]) -> list[Read]:
    """Both pictures. Raises ImageError; where neither can be read, the first one's sentence is said before."""
    read, failed = [], []
    for source in sources:
        try:
            read.append(read_one(source))
        except ImageError as error:
            failed.append(str(error))
    look.give_up(failed)
    return read


def _side(source: str, prediction: "Prediction | None", names: Sequence[str]) -> dict[str, str | float | bool | None]:
    """prediction: None of a model without classes."""
    if prediction is None:
        return {"source": source, "label": None, "probability": None, "known": None}
    label, probability = names[prediction.class_index], prediction.probability
    return {"source": source, "label": label, "probability": probability, "known": prediction.known}


def _line(prediction: "Prediction", names: Sequence[str]) -> str:
    line = f"{names[prediction.class_index]}  {_percent(prediction.probability)}"
    return f"none of {look.among(names)}, most like {line}" if prediction.known is False else line


def _percent(probability: float) -> str:
    """A probability for people, who should not read that anything is certain.

    >>> [_percent(probability) for probability in (0.9732, 0.99997, 0.0)]
    ['97.3 %', 'over 99.9 %', 'under 0.1 %']
    """
    if probability > 0.999:
        return "over 99.9 %"
    return "under 0.1 %" if probability < 0.001 else f"{probability:.1%}".replace("%", " %")


def _name(source: str) -> str:
    """What to write under a picture, on one line."""
    return "standard input" if source == "-" else Path(source).name.replace("\n", " ")


def _draw(pictures: "list[Pixels]", captions: list[str], title: str, path: Path) -> None:
    from vitrine import images, plots

    tiles = [
        plots.Tile(images.small(picture, 480), caption) for picture, caption in zip(pictures, captions, strict=True)
    ]
    plots.pair(tiles[0], tiles[1], path, title)
    output.say(f"Both pictures: {path}")
