"""vitrine index plan: what so many items take, and where they should lie."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrine.cli import output
from vitrine.errors import InputError

if TYPE_CHECKING:
    from vitrine.catalogue.plan import Choice, Plan

SIZES = (10_000_000, 100_000_000, 1_000_000_000)


def plan(
    items: Annotated[
        list[int] | None,
        typer.Option("--items", help="How many; may be repeated.", show_default="10 million, 100 million, 1 billion"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="The model that makes the vectors, by name or path.", show_default="default"),
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option("--dimensions", help="Numbers of a vector, instead of a model.", show_default=False)
    ] = None,
    memory: Annotated[float, typer.Option("--memory", help="GB of memory of a machine.")] = 64.0,
    replicas: Annotated[int, typer.Option("--replicas", help="Copies in memory, on Milvus.")] = 1,
    thumbnail: Annotated[int, typer.Option("--thumbnail", help="Bytes of a small picture.")] = 3000,
    texts: Annotated[int, typer.Option("--texts", help="Bytes of an item's source, label and columns.")] = 100,
    as_json: output.Json = False,
) -> None:
    """Compute what so many items take: bytes per vector, memory, disk, machines, and the kind of index, here and on
    Milvus. The rules are printed with the answer.

    Example: vitrine index plan --items 100000000
    """
    from vitrine.catalogue import plan as planning

    if model is not None and dimensions is not None:
        raise InputError("Give --model or --dimensions, not both: the one says the other.")
    numbers = dimensions if dimensions is not None else _dimensions(model or "default")
    terms = planning.Terms(1e9 * memory, replicas, thumbnail, texts)
    plans = [planning.plan(count, numbers, terms) for count in items or SIZES]
    for one in plans:
        if as_json:
            output.print_json(_facts(one, terms))
        else:
            _show(one, memory)
    if not as_json:
        print("\nBy these rules:")
        for number, (rule, source) in enumerate(planning.RULES, 1):
            print(f"{number:3d}. {rule} [{source}]")


def _dimensions(model: str) -> int:
    from vitrine.encoder import Encoder

    return Encoder.load(model).card.embedding


def _facts(one: "Plan", terms: object) -> dict[str, Any]:
    from vitrine.catalogue import plan as planning

    return {
        "items": one.items,
        "dimensions": one.dimensions,
        **vars(terms),
        "advice": {**vars(one.advice), "why": one.why},
        "choices": [vars(choice) for choice in one.choices],
        "rules": [{"rule": rule, "source": source} for rule, source in planning.RULES],
    }


def _show(one: "Plan", memory: float) -> None:
    print(f"\n{one.items:,} items of {one.dimensions} numbers, machines of {memory:g} GB\n")
    print(
        f"  {'index':16s} {'bytes an item':>13s} {'memory':>10s} {'building':>10s} {'on one core':>12s} {'disk':>10s}"
        f" {'query nodes':>12s} {'machines':>9s}"
    )
    for choice in one.choices:
        print(_line(choice) + ("   <--" if choice == one.advice else ""))
    print(f"\n  {one.why[0].upper()}{one.why[1:]}.")


def _line(choice: "Choice") -> str:
    name = choice.index if choice.where == "local" else f"Milvus {choice.index}"
    building = "" if choice.building is None else _size(choice.building)
    spent = "" if choice.seconds is None else _time(choice.seconds)
    machines = "no" if choice.machines is None else f"{choice.machines:,}"
    nodes = _size(choice.node_disk) if choice.node_disk else ""
    return (
        f"  {name:16s} {choice.bytes_per_item:>13,.0f} {_size(choice.memory):>10s} {building:>10s} {spent:>12s}"
        f" {_size(choice.disk):>10s} {nodes:>12s} {machines:>9s}"
    )


def _size(count: int) -> str:
    """Bytes for people.

    >>> _size(2_100_000_000), _size(25_000_000)
    ('2.1 GB', '25 MB')
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count / 1e6:,.0f} MB"


def _time(seconds: float) -> str:
    """Time for people.

    >>> _time(5), _time(600), _time(9000)
    ('5 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"
