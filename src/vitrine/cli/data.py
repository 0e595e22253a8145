"""vitrine data: what data there is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import output
from vitrine.errors import DataError, ImageError

if TYPE_CHECKING:
    from vitrine.images import Pixels

app = typer.Typer(no_args_is_help=True, help="Look at data sets and check them.")


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="fashion-mnist, drawn, a folder of pictures, or a CSV with file, label.")
    ] = "fashion-mnist",
    data_dir: output.DataDir = None,
    out: Annotated[Path, typer.Option("--out", help="Where to draw the first 25 images.")] = Path("first-25.png"),
    as_json: output.Json = False,
) -> None:
    """Print how many images each class has and draw the first 25 with their names.

    Example: vitrine data show drawn --out drawn.png
    """
    from vitrine import plots
    from vitrine.datasets import UNLABELLED, by_name

    with output.stage(f"Load {name}") as progress:
        loaded = by_name.load(name, data_dir, progress=progress)
    train, test = loaded.splits.train, loaded.splits.test
    names = train.class_names["en"]
    captions = [
        names[label] if label != UNLABELLED else Path(source).name[:18]
        for label, source in zip(train.labels[:25], train.sources[:25], strict=True)
    ]
    pictures = train.images[:25] if name in by_name.NAMES else list(map(_drawn, train.sources[:25], train.images[:25]))
    plots.grid(
        [plots.Tile(image, caption) for image, caption in zip(pictures, captions, strict=True)],
        out,
        5,
        f"The first {min(25, len(train))} training images of {name}",
    )
    counts = {
        each: {"train": int(a), "test": int(b)} for each, a, b in zip(names, train.counts(), test.counts(), strict=True)
    }
    if as_json:
        output.print_json(
            {
                "data": name,
                "train": len(train),
                "test": len(test),
                "size": list(train.images.shape[1:]),
                "classes": counts,
                "unreadable": len(loaded.unreadable),
                "picture": str(out),
            }
        )
    else:
        _print_counts(name, counts, len(train), len(test))
        print(f"The first {min(25, len(train))}: {out}")
    output.list_unreadable(loaded.unreadable)


def _drawn(source: str, image: "Pixels") -> "Pixels":
    """A small copy of a file, in its colours; what was made of it to count it, where it cannot be read any more."""
    from vitrine import images

    try:
        return images.small(images.opened(Path(source)), 160)
    except ImageError:
        return image


def _print_counts(name: str, counts: dict[str, dict[str, int]], train: int, test: int) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(name), title_justify="left")
    table.add_column("class")
    table.add_column("training", justify="right")
    table.add_column("test", justify="right")
    for each, count in counts.items():
        table.add_row(Text(each), f"{count['train']:,}", f"{count['test']:,}")
    table.add_section()
    table.add_row("all", f"{train:,}", f"{test:,}")
    output.console().print(table)


@app.command()
def verify(data_dir: output.DataDir = None, as_json: output.Json = False) -> None:
    """Check the four Fashion-MNIST files against their official MD5; exit code 2 when one is missing or wrong."""
    from vitrine.datasets import fashion_mnist

    checks = fashion_mnist.verify(data_dir)
    for check in checks:
        if as_json:
            output.print_json(
                {
                    "file": check.file.name,
                    "path": str(check.path) if check.path else None,
                    "md5": check.file.md5,
                    "problem": check.problem,
                }
            )
        else:
            print(
                f"{'ok ' if check.problem is None else 'NOT'} "
                f" {check.path or check.file.name}{'' if check.problem is None else ': ' + check.problem}"
            )
    wrong = [check.file.name for check in checks if check.problem is not None]
    if wrong:
        raise DataError(
            f"{len(wrong)} of the 4 files of Fashion-MNIST {'is' if len(wrong) == 1 else 'are'} missing or wrong:"
            f" {', '.join(wrong)}. Any command that uses the data downloads them into the cache, or name their folder"
            " with --data-dir."
        )
