"""vitrine demo: the main job, once through."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import output

if TYPE_CHECKING:
    from vitrine.demo import Demo


def demo(
    out: Annotated[Path, typer.Option("--out", help="Where the picture goes.")] = Path("vitrine-demo"),
    data_dir: output.DataDir = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Chooses the items that are drawn.")] = 0,
    as_json: output.Json = False,
) -> None:
    """Do the main job once: take Fashion-MNIST, recognise and catalogue all 70,000 images, measure, draw look-alikes.

    A second run reuses what is there.
    """
    from vitrine import demo as job

    done = job.run(out, output.stage, output.say, data_dir, seed)
    if not as_json:
        _print(done)
    else:
        measured = done.evaluation
        output.print_json(
            {
                "data": done.data,
                "items": done.items,
                "accuracy": round(measured.accuracy, 4),
                "precision_at_1": round(measured.precision_at_1, 4),
                "seconds": round(done.seconds, 2),
            }
        )


def _print(done: "Demo") -> None:
    measured, real = done.evaluation, done.data == "fashion-mnist"
    made, kind = ("Fashion-MNIST", "Fashion-MNIST") if real else ("drawn garments", "drawn")
    print()
    print(f"  data             {made}, {done.items:,} items{f' ({done.reused:,} were there)' if done.reused else ''}")
    print(f"  accuracy         {measured.accuracy:.4f}  of {measured.n:,} {kind} test images put into the right class")
    print(
        f"  precision at 1   {measured.precision_at_1:.4f}  of them have a nearest {kind} training image of their class"
    )
    print(f"  look-alikes      {done.picture}")
    print(f"  time             {done.seconds:.1f} s")
    print(f"""
What to try next (the command lies in .venv/bin after `make demo`):
  vitrine serve --open                    (the page, with the map; or `make serve`)
  vitrine search --id 1 --catalogue {done.data} --out look-alikes.png
  vitrine classify YOUR-PHOTO.jpg --show-input seen.png
  vitrine index add YOUR-FOLDER --catalogue mine
  vitrine train compact --epochs 2        (after `make install`)""")
