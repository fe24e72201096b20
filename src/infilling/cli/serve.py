"""`infill serve`: the page to paint holes on, and REST."""

import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Device, Jobs, Verbose, engines_option
from infilling.errors import DependencyError, StorageError, describe_error, install_hint
from infilling.machine import MEBIBYTE
from infilling.serving.settings import LOOPBACK, MOST_JOBS, Settings

if TYPE_CHECKING:
    from infilling.serving.server import Server

USUAL = Settings()


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets the network in.")
    ] = USUAL.host,
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8000,
    engine: Annotated[
        list[str] | None,
        engines_option(
            help="An engine to offer; the first is the default. Repeatable.",
            show_default="all that can be used here",
        ),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    jobs: Annotated[
        int | None,
        Jobs(
            max=256,
            help="Fills at the same time, each in a process of its own.",
            show_default=f"one per core, {MOST_JOBS} at most",
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=0, max=10_000, metavar="N", help="Fills that may wait.")
    ] = USUAL.queue,
    per_client: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Requests at the same time from one address.",
            show_default="all places but one in sixteen",
        ),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, metavar="N", help="Pixels of the largest picture and mask.")
    ] = USUAL.max_pixels,
    max_megabytes: Annotated[
        int, typer.Option(min=1, max=4096, metavar="N", help="MiB of the largest upload.")
    ] = USUAL.max_bytes // MEBIBYTE,
    max_memory: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="MiB that one fill may take; 0 for no limit. None on a GPU."),
    ] = (USUAL.worker_memory or 0) // MEBIBYTE,
    timeout: Annotated[
        float, typer.Option(min=1, max=86_400, metavar="SECONDS", help="Time for a fill, waiting included.")
    ] = int(USUAL.fill_seconds),
    token: Annotated[
        str | None,
        typer.Option(
            help="Bearer token that callers must send.",
            show_default="$INFILLING_TOKEN; a new one where the network is let in",
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everyone in who can reach the address.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name by which callers may call the server, besides addresses and localhost. Repeatable.",
        ),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="A proxy in front, whose X-Forwarded-For names the callers. Repeatable."
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="A web origin whose pages may call. Repeatable."),
    ] = None,
    device: Device = "auto",
    verbose: Verbose = False,
) -> None:
    """Serve the page to paint holes on, and REST.

    REST speaks the dialects of OpenAI (images.edit) and IOPaint (inpaint) besides its own; see /docs.
    Prints the address. SIGTERM and Ctrl-C give the fills that run a few seconds, then end everything.
    """
    try:
        from infilling.serving import app, server
    except ModuleNotFoundError as error:
        raise DependencyError(f"serve needs {error.name}: {install_hint('serve')}") from error

    settings = Settings(
        engines=tuple(engine or ()),
        jobs=jobs,
        queue=queue,
        per_client=per_client,
        max_pixels=max_pixels,
        max_bytes=max_megabytes * MEBIBYTE,
        worker_memory=max_memory * MEBIBYTE or None,
        fill_seconds=timeout,
        token=_choose_token(token, no_token, host in LOOPBACK),
        host=host,
        allow_hosts=tuple(allow_host or ()),
        proxies=tuple(proxy or ()),
        origins=tuple(cors or ()),
        device=device,
    )
    try:
        listener = server.open_socket(host, port)
    except OSError as error:
        raise StorageError(f"cannot listen on {host}:{port}: {describe_error(error)}") from error
    with listener:
        application = app.make_app(settings)
        if warning := server.describe_exposure(host, settings):
            console.say(f"warning: {warning}")
        port = listener.getsockname()[1]
        running = server.make_server(application, host=host, port=port, log_level="warning")
        _show_links(running, host, port, settings.token, open_browser)
        logging.basicConfig(format="%(levelname)s: %(message)s")
        running.run(sockets=[listener])


def _choose_token(token: str | None, no_token: bool, is_local: bool) -> str | None:
    """Return the token that callers must send; None lets everyone in."""
    from infilling.serving.server import read_token

    if no_token and token:
        raise typer.BadParameter("give --token or --no-token, not both", param_hint="--no-token")
    if no_token:
        return None
    secret = read_token(token)
    return secret if secret or is_local else secrets.token_urlsafe(16)


def _show_links(running: "Server", host: str, port: int, token: str | None, open_browser: bool) -> None:
    """Print the address; say how another machine of the network opens the page; open the browser here."""
    from infilling.serving import links

    if host not in LOOPBACK:
        link = links.make_link(host, port, token)
        console.say(f"open {link} on a phone or another machine in this network, or scan:")
        with suppress(UnicodeEncodeError):  # a terminal that has no blocks
            console.say(links.draw_code(link))
    console.put(links.make_link(host, port).removesuffix("/"))
    if open_browser:
        here = "127.0.0.1" if host in links.ANYWHERE else host
        links.open_when_ready(running, links.make_link(here, port, token))
