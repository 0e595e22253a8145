"""--engine: where `index sync` decodes and embeds."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vitrine.cli import output
from vitrine.errors import InputError

if TYPE_CHECKING:
    from vitrine.indexing.reading import Engine

Name = Annotated[
    Literal["here", "ray"], typer.Option("--engine", help="Where pictures are embedded: here, or on a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(
        "--ray-address", help="The head of the cluster, HOST:PORT.", show_default="a Ray is started on this machine"
    ),
]
Ship = Annotated[
    bool,
    typer.Option("--ship", help="Pictures are read here and travel, for a cluster that does not see the folder."),
]


def engine(name: str, address: str | None, ship: bool, to_the_end: bool = False) -> "Engine":
    """to_the_end: Ray may stay until this process ends.

    Raises InputError for what only a cluster needs; MissingExtraError.
    """
    if name == "ray":
        output.check_extra("pyarrow", "scale", "--engine ray needs")
        from vitrine.indexing import ray_cluster
        from vitrine.indexing.on_ray import OnRay

        ray_cluster.keep_quiet()
        output.check_extra("ray.data", "scale", "--engine ray needs")
        return OnRay(address, ship, to_the_end=to_the_end)
    if address is not None or ship:
        option = "--ship" if address is None else "--ray-address"
        raise InputError(f"{option} is for --engine ray; say that, too, or leave it out.")
    from vitrine.indexing.here import Here

    return Here()
