"""vitrine index copy: a catalogue into another back end, or under another name."""

from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import output

if TYPE_CHECKING:
    from vitrine.catalogue.copying import Copied


def copy(
    source: Annotated[str, typer.Argument(help="The catalogue to copy.", show_default=False)],
    destination: Annotated[str, typer.Argument(help="The name of the copy.", show_default=False)],
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Leave the copy unfinished: a later run brings over what has changed.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Copy a catalogue with its model, ids and times. It can be searched and written meanwhile. The copy takes its name
    when all of it has been read again and agrees. Run it again after a stop: it goes on.

    Example: vitrine index copy shop milvus+http://host:19530/shop
    """
    from vitrine.catalogue import by_name, copying, staging

    with by_name.open_(source) as opened:
        place = staging.of(destination)
        try:
            with output.stage(f"Copy {source} to {destination}") as progress:
                done = copying.copy(opened, place, not prepare, progress)
        except KeyboardInterrupt:
            output.say(f"Stopped. {source} is as it was; run the same command again to go on.")
            raise
    if as_json:
        output.print_json({"source": source, "catalogue": destination, **vars(done)})
    else:
        print(_sentence(source, destination, done))


def _sentence(source: str, destination: str, done: "Copied") -> str:
    if done.already:
        return f"{destination} is a copy of {source} already: {done.items:,} items, {done.checksum}."
    counts = [f"{done.copied:,} copied", f"{done.kept:,} kept from before"]
    counts += [f"{done.removed:,} removed"] if done.removed else []
    counts += [f"{done.updated:,} with other columns or label"] if done.updated else []
    end = "" if done.finished else " It is unfinished: run it without --prepare to give it its name."
    return (
        f"{destination}: {done.items:,} items ({', '.join(counts)}), read again and the same as in {source}"
        f" ({done.checksum}).{end}"
    )
