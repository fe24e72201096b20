"""Links to a running server: for the browser here, and for the phone that is in the same network."""

import io
import socket
import threading
import time
import webbrowser

import uvicorn

ANYWHERE = ("0.0.0.0", "::")
START_SECONDS = 60.0
PROBE = ("192.0.2.1", 9)  # an address for documentation; nothing is sent to it


def make_link(host: str, port: int, token: str | None = None) -> str:
    """Return the address of the page.

    Args:
        host: a name or an address; one that stands for all addresses becomes this machine's own.
        port: of the server.
        token: goes behind a `#`, which browsers do not send; the page takes it from there.

    Example:
        >>> make_link("::1", 8000, "sesame")
        'http://[::1]:8000/#token=sesame'
    """
    if host in ANYWHERE:
        host = find_own_address() or "localhost"
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"#token={token}" if token else "")


def find_own_address() -> str | None:
    """Return the address under which others in the network reach this machine; None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(PROBE)
        except OSError:
            return None
        return str(probe.getsockname()[0])


def draw_code(link: str) -> str:
    """Return a QR code for a terminal, in half blocks."""
    import segno

    text = io.StringIO()
    segno.make(link, micro=False, error="l").terminal(out=text, compact=True)
    return text.getvalue()


def open_when_ready(server: uvicorn.Server, link: str) -> None:
    """Open the browser as soon as the server answers."""

    def wait() -> None:
        end = time.monotonic() + START_SECONDS
        while not server.started and time.monotonic() < end:
            time.sleep(0.05)
        if server.started:
            webbrowser.open(link)

    threading.Thread(target=wait, daemon=True).start()
