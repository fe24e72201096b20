"""A network that was downloaded: offered by the page without a word, filled with there and over REST."""

import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.filling import published
from tests.serving.conftest import command, from_file, to_file
from tests.serving.page.browser import Page, download, drop, filled, opened, paint

COLOUR = (200, 90, 40)
TABLE = """
from dataclasses import replace
from infilling.filling.models import MODELS
MODELS["lama"] = replace(MODELS["lama"], sha256={sha256!r}, size={size}, url={url!r})
"""  # every Python process runs it at its start: the command, the server, its workers


@pytest.fixture
def lama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Download `lama` with the command, from a server on the loopback that has a synthetic one."""
    (tmp_path / "www").mkdir()
    data = published.lama(tmp_path / "www" / "lama.onnx").read_bytes()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "www")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/lama.onnx"
        row = TABLE.format(sha256=hashlib.sha256(data).hexdigest(), size=len(data), url=url)
        (tmp_path / "sitecustomize.py").write_text(row)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        monkeypatch.setenv("INFILLING_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        subprocess.run([sys.executable, "-m", "infilling", "models", "download", "lama"], check=True)
        server.shutdown()


def test_a_downloaded_network_fills_on_the_page_and_over_rest(lama: None, visit: Callable[..., Page]) -> None:
    image = np.full((240, 320, 3), COLOUR, np.uint8)
    mask = np.zeros((240, 320), bool)
    mask[118:122, 158:162] = True  # the middle, which the page shows at 0.4 of its height
    image[mask] = 0
    with command(None) as server, httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        page = visit(server)
        drop(page, to_file(image))
        opened(page)
        paint(page, (0.48, 0.4), (0.52, 0.4))
        page.click("#engines summary")
        page.click("#engine-list label:has-text('lama')")
        page.click("#fill")
        filled(page)
        found = from_file(download(page, lambda: page.click("#save"))[1])
        answer = client.post(
            "/api/v1/fill", files={"image": to_file(image), "mask": to_file(mask)}, data={"engine": "lama"}
        )
    assert answer.headers["x-infilling-engine"] == "lama"
    for result in (found, from_file(answer.content)):
        assert np.abs(result[mask][:, :3].astype(int) - COLOUR).max() <= 1
