"""`infill serve`: the page to paint holes on, and REST."""

import logging
from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Device, Verbose, engine_names
from infilling.errors import DependencyError, StorageError, install_hint


def serve(
    host: Annotated[str, typer.Option("--host", help="Where to listen; 0.0.0.0 for everyone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 takes a free one.")] = 8000,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            "-e",
            metavar="NAME|FILE|RUN",
            autocompletion=engine_names,
            help="An engine to offer; the first is the default. Repeatable.",
            show_default="all that can be used here",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Fills at the same time.", show_default="one a core, 4 at most"
        ),
    ] = None,
    queue: Annotated[int, typer.Option("--queue", min=0, help="Requests that may wait.")] = 32,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, metavar="N", help="Of a picture.")
    ] = 100_000_000,
    max_megabytes: Annotated[
        int, typer.Option("--max-megabytes", min=1, metavar="N", help="Of an upload.")
    ] = 64,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="SECONDS", help="For a fill, waiting included.")
    ] = 300,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", help="What callers must send as a bearer token.", show_default="$INFILLING_TOKEN"
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", metavar="ORIGIN", help="A web origin whose pages may call. Repeatable."),
    ] = None,
    device: Device = "auto",
    verbose: Verbose = False,
) -> None:
    """Serve the page to paint holes on, and REST.

    REST speaks the dialects of OpenAI (images.edit) and IOPaint (inpaint) besides its own; /docs tells.
    Prints the address. SIGTERM and Ctrl-C finish the fills that run.
    """
    try:
        from infilling.serving import server
        from infilling.serving.app import make_app
        from infilling.serving.settings import MEBIBYTE, Settings
    except ModuleNotFoundError as error:
        raise DependencyError(f"serve needs {error.name}: {install_hint('serve')}") from error

    settings = Settings(
        engines=tuple(engine or ()),
        jobs=jobs,
        queue=queue,
        max_pixels=max_pixels,
        max_bytes=max_megabytes * MEBIBYTE,
        fill_seconds=timeout,
        token=server.read_token(token),
        origins=tuple(cors or ()),
        device=device,
    )
    try:
        listener = server.open_socket(host, port)
    except OSError as error:
        raise StorageError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    with listener:
        app = make_app(settings)
        if warning := server.warn(host, settings):
            console.say(f"warning: {warning}")
        name = f"[{host}]" if ":" in host else host
        console.put(f"http://{name}:{listener.getsockname()[1]}")
        logging.basicConfig(format="%(levelname)s: %(message)s")
        server.make_server(app, host=host, port=port, log_level="warning").run(sockets=[listener])
