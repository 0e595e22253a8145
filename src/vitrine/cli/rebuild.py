"""vitrine index rebuild: a catalogue moved to another model."""

from typing import Annotated

import typer

from vitrine.cli import output


def rebuild(
    name: Annotated[str, typer.Argument(help="The catalogue.")],
    model: Annotated[str, typer.Option("--model", help="The new model, by name or path.", show_default=False)],
    as_json: output.Json = False,
) -> None:
    """Embed all items of a catalogue anew, by another model. Until that is done it is searched by the old one, and
    nobody can add or remove; then all of it changes at once. Run it again after a stop: it goes on.

    Example: vitrine index rebuild shop --model compact
    """
    from vitrine.catalogue import by_name
    from vitrine.encoder import Encoder
    from vitrine.indexing.rebuild import rebuild

    encoder = Encoder.load(model)
    with by_name.open_(name) as opened:
        before = opened.info()
        try:
            with output.stage(f"Embed {name} by {encoder.card.name}") as progress:
                done = rebuild(opened, encoder, progress)
        except KeyboardInterrupt:
            output.say(f"Stopped. {name} still has its old model; run the same command again to go on.")
            raise
        opened.save_index()
        info = opened.info()
    moved = before.identity != info.identity
    if as_json:
        facts = {"catalogue": name, "items": done.items, "model": info.model, "identity": info.identity}
        output.print_json({**facts, "moved": moved, "kept": done.kept, "thumbnails": done.thumbnails})
    elif not moved:
        print(f"{name} is of the model {info.model} ({info.identity[:8]}) already.")
    else:
        print(f"{name}: {done.items:,} items moved from the model {before.model} to {info.model}.")
    if done.thumbnails:
        output.say(
            f"{done.thumbnails:,} of them were embedded from their small pictures, as their files are gone or changed;"
            " docs/catalogue.md says what that costs."
        )
