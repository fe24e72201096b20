"""What a reader waits for on the page: clicks with Select on a large photograph, in Chromium.

    python benchmarks/page.py PHOTO [--megapixels 12] [--format jpeg] [--jobs 2]

PHOTO is resized. Prints the milliseconds from a click to the frame that shows the mask, of the first click
and three more: once with a second between choosing Select and the first click, once without. Exit code 1 if
a first click after a second takes more than the bar. Needs `pip install '.[serve]' playwright` and Chromium
(Debian's package `chromium`).
"""

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

BAR = 500  # milliseconds
AIM = 1000  # milliseconds between choosing the tool and the first click
PLACES = ((0.5, 0.4), (0.3, 0.55), (0.6, 0.6), (0.7, 0.3))  # of the window's picture
NOTE = """() => {
    const told = document.getElementById("busy-text");
    addEventListener("pointerup", ({ timeStamp }) => (window.began = timeStamp), true);
    new MutationObserver(() => {
        if (!told.textContent.includes("%")) return;
        requestAnimationFrame(() => setTimeout(() => (window.took = performance.now() - window.began)));
    }).observe(told, { childList: true });
}"""


def main() -> None:
    """Measure on a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--format", default="jpeg", choices=["jpeg", "png"])
    parser.add_argument("--jobs", type=int, default=2, help="workers of the server")
    asked = parser.parse_args()
    file = resize(asked.photo, asked.megapixels, asked.format)
    missed = False
    for wait in (AIM, 0):
        words = [sys.executable, "-m", "infilling", "serve", "--port", "0", "--jobs", str(asked.jobs)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                took = measure(server.stdout.readline().strip(), file, asked.format, wait)
            finally:
                server.terminate()
        missed |= wait > 0 and took[0] > BAR
        shown = ", ".join(f"{each:.0f}" for each in took[1:])
        print(f"{wait} ms after Select: first click {took[0]:.0f} ms (bar {BAR}), then {shown} ms")
    sys.exit(int(missed))


def resize(path: Path, megapixels: float, format: str) -> bytes:
    """Return a file of a photograph with that many pixels."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
    data = io.BytesIO()
    image.resize((round(image.width * scale), round(image.height * scale))).save(data, format)
    return data.getvalue()


def measure(address: str, file: bytes, format: str, wait: int) -> list[float]:
    """Return the milliseconds of each click.

    Args:
        address: of the server.
        file: the picture.
        format: of the file, `jpeg` or `png`.
        wait: milliseconds between choosing Select and the first click.
    """
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"))
        page = chromium.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB")
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        upload = {"name": f"photo.{format}", "mimeType": f"image/{format}", "buffer": file}
        page.locator("#file-input").set_input_files(upload)  # type: ignore[arg-type]
        expect(page.locator("body")).to_have_attribute("data-state", "picture", timeout=60_000)
        page.wait_for_timeout(AIM)
        page.evaluate(NOTE)
        page.click("[data-tool='select']")
        page.wait_for_timeout(wait)
        took = [click(page, x, y) for x, y in PLACES]
        chromium.close()
    return took


def click(page: "Page", x: float, y: float) -> float:
    """Click at a share of the window's picture; return the milliseconds until the mask is shown."""
    box = page.locator("#overlay").bounding_box()
    assert box
    page.evaluate("delete window.took")
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    while (took := page.evaluate("window.took")) is None:
        page.wait_for_timeout(20)
    return float(took)


if __name__ == "__main__":
    main()
