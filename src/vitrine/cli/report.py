"""vitrine report: a page on a training, or on several side by side."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vitrine.cli import output


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of runs, as vitrine train makes them.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The report's folder.", show_default="RUN/report; report for several runs"),
    ] = None,
    lang: Annotated[Literal["en", "uk", "ru"], typer.Option("--lang", help="Language of the page.")] = "en",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Where the data of the run are now: fashion-mnist, drawn, a folder, or a CSV.",
            show_default="as the run says",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**31 - 1, help="Chooses the items, pairs and queries that are shown.")
    ] = 0,
    no_map: Annotated[bool, typer.Option("--no-map", help="Leave out the t-SNE map, which takes longest.")] = False,
    data_dir: output.DataDir = None,
    as_json: output.Json = False,
) -> None:
    """Write a page on a training: model, curves, measures, pictures, recipe. Of several runs, one page side by side.

    Example: vitrine report runs/compact --lang uk
    """
    from vitrine import messages
    from vitrine import report as reports

    words, options = messages.load(lang), reports.Options(data, data_dir, seed, not no_map)
    if len(folders) > 1:
        made = reports.several(folders, out or Path("report"), words, output.stage, options)
    else:
        made = [reports.one(folders[0], out or folders[0] / "report", words, output.stage, options)]
    for done in made:
        for note in done.notes:
            output.say(note if len(made) == 1 else f"{done.run.folder}: {note}")
        output.list_unreadable(done.unreadable)
        if as_json:
            output.print_json(done.to_json())
    if not as_json:
        first = made[0]
        print(f"{first.page}: {first.page.stat().st_size / 1e6:.2f} MB")
        if len(made) == 1:
            print(f"{len(first.pictures)} pictures beside it")
