"""vitrine serve: the HTTP API and the page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import output

if TYPE_CHECKING:
    from vitrine.encoder import Encoder

_DEMO = "fashion-mnist"
_LOCAL = ("127.0.0.1", "::1", "localhost")


def serve(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0 takes a free one.")] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="An address of this machine; 0.0.0.0 for all of them.")
    ] = "127.0.0.1",
    catalogue: Annotated[str, typer.Option("--catalogue", help="What to search.")] = _DEMO,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help="Who sends it may add and remove items; or in VITRINE_TOKEN, where no other program sees it.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", help="A name that browsers call this server by; may be repeated.", show_default=False
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    data_dir: output.DataDir = None,
) -> None:
    """Answer over HTTP, and show a page where a picture can be dropped, until Ctrl-C.

    Example: vitrine serve --catalogue shop --port 8080 --open
    """
    from vitrine import storage
    from vitrine.server import running, security

    given = token if token is not None else storage.server_token()
    checked = None if given is None else security.check_is_token(given)
    names = [security.check_is_host(name) for name in allow_host or ()]
    listening = running.listen(host, port)
    with listening:
        name, encoder = _ready(catalogue, data_dir)
        from vitrine.server.app import Settings, create_app

        app = create_app(Settings(name, checked, (host, *names)), encoder)
        address = running.url(listening)

        def started() -> None:
            output.say(f"{address} answers from the catalogue {name}; stop with Ctrl-C.")
            if host not in _LOCAL:
                output.say("Whoever reaches this machine can search in it and see its pictures, unencrypted.")
            if open_page:
                typer.launch(address)

        running.run(app, listening, started)


def _ready(name: str, data_dir: Path | None) -> "tuple[str, Encoder]":
    """The catalogue to serve and its model; the demo's is made if it is missing. Raises CatalogueError, DataError."""
    from vitrine.catalogue import by_name

    if name == _DEMO and not by_name.exists(name):
        from vitrine import demo

        name = demo.collect(output.stage, output.say, data_dir)
    with by_name.open_(name) as opened:
        return name, opened.encoder()
