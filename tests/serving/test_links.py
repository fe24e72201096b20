"""What `infill serve` prints for people, and how it opens the page."""

import subprocess
import sys
from urllib.parse import urlsplit

import httpx
import pytest
from tests.serving.conftest import wait_until

from infilling.serving import links


def test_links() -> None:
    assert links.make_link("127.0.0.1", 80) == "http://127.0.0.1:80/"
    own = urlsplit(links.make_link("0.0.0.0", 8000, "a-b_c"))
    assert own.hostname not in ("0.0.0.0", None)
    assert (own.port, own.fragment) == (8000, "token=a-b_c")


def test_a_code_holds_the_link() -> None:
    """Read back by OpenCV from the printed half blocks."""
    cv2 = pytest.importorskip("cv2", reason="the extra classical is not installed")
    import numpy as np

    link = "http://192.168.1.23:8000/#token=abcdefghijklmnopqrstuv"
    light = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    lines = links.draw_code(link).splitlines()
    rows = [[light[mark][half] for mark in line] for line in lines for half in (0, 1)]
    square = np.array(rows[: len(rows[0])], np.uint8)  # the last half row is only paper
    image = np.kron(square, np.ones((6, 6), np.uint8)) * 255
    text, *_ = cv2.QRCodeDetector().detectAndDecode(image)
    assert text == link


def test_the_network_is_let_in_by_a_token() -> None:
    command = [sys.executable, "-m", "infilling", "serve", "--host", "0.0.0.0", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--engine", "mean", "-j", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = process.stdout.readline().strip()  # can be opened as it is
        assert urlsplit(url).hostname != "0.0.0.0"
        first = process.stderr.readline()
        token = first.split("#token=")[1].split()[0]
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, 30)
            assert client.get("/api/v1/info").status_code == 401
            headers = {"Authorization": f"Bearer {token}"}
            assert client.get("/api/v1/info", headers=headers).status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=30)
