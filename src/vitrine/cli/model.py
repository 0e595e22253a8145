"""vitrine model: model files."""

import typer

from vitrine.cli import learn, output, wrap

app = typer.Typer(no_args_is_help=True, help="Look at model files, and make them of models of your own.")
app.command("wrap")(wrap.wrap)
app.command("learn")(learn.learn)
app.command("forget")(learn.forget)


@app.command()
def card(
    name: str = typer.Argument("default", help="A model by name, or the path of a model file."),
    as_json: output.Json = False,
) -> None:
    """What a model file says of itself: what it wants to see, what it was trained on, what was measured."""
    from vitrine import encoder, modelfile
    from vitrine.learning import sidecar

    file = modelfile.read(encoder.find(name))
    learnt = sidecar.read(file.card)
    if as_json:
        output.print_json({**file.card.to_json(), "learnt": list(learnt.names) if learnt else []})
        return
    card = file.card
    image = card.image
    print(f"{card.name}  ({len(file.content) / 1e6:.2f} MB, identity {card.identity[:8]})")
    part = "" if image.middle == 1 else f", of a photo the middle {image.middle:.0%} of each side"
    channels = "grey" if image.channels == 1 else "RGB"
    print(f"  sees       {image.width}x{image.height}, {channels}, {image.ground} ground{part}")
    classes = f"{len(card.names())} classes and" if card.names() else "no classes, but"
    print(f"  gives      {classes} an embedding of {card.embedding} numbers")
    if card.names():
        print(f"  classes    {', '.join(card.names())}  (in {', '.join(card.classes)})")
    if learnt:
        print(f"  learnt     {', '.join(f'{one.name} ({len(one.embeddings)} pictures)' for one in learnt.classes)}")
    if card.rejection:
        print(f"  rejects    as of none of its classes what has an energy below {card.rejection.threshold:g}")
    if wrapped := card.recipe.get("wrapped"):
        print(f"  wrapped    from {wrapped['file']}, output {wrapped['output']}")
    else:
        print(
            f"  trained    on {card.data.get('name')}, {card.data.get('images', 0):,} images, seed {card.seed},"
            f" {card.recipe.get('training', {}).get('epochs')} epochs"
        )
    for key, value in card.metrics.items():
        print(f"  measured   {key.replace('_', ' ')} {value:g}")
