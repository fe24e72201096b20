"""Draw the page for the docs: a tower that is painted over, and the picture without it.

    python examples/page.py [--out docs]

Writes page.jpg and page-filled.jpg. Starts a server of its own. Needs `pip install '.[serve]' playwright` and
Chromium (Debian's package `chromium`).
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

WIDTH, HEIGHT = 1100, 760  # CSS pixels of the window
QUALITY = 82
# Strokes over the tower at the left of the rocket: the brush in pixels of the sample, points of the window.
STROKES = (
    (22, ((413, 200), (410, 350))),
    (32, ((409, 340), (404, 480))),
    (56, ((402, 490), (400, 550))),
)


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs"), help="Folder of the pictures.")
    out = parser.parse_args().out
    words = [sys.executable, "-m", "infilling", "serve", "--port", "0", "--jobs", "1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            draw(server.stdout.readline().strip(), out)
        finally:
            server.terminate()


def draw(address: str, out: Path) -> None:
    """Paint over the tower, fill, and write what the window shows before and after."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"))
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(address)
        page.click("[data-sample='rocket.jpg']")
        expect(page.locator("body")).to_have_attribute("data-state", "picture")
        for diameter, points in STROKES:
            paint(page, diameter, points)
        save(page, out / "page.jpg")
        page.click("#fill")
        expect(page.locator("#variants")).to_be_visible(timeout=60_000)
        expect(page.locator("#busy")).to_be_hidden(timeout=60_000)
        save(page, out / "page-filled.jpg")
        chromium.close()


def paint(page: "Page", diameter: int, points: tuple[tuple[int, int], ...]) -> None:
    """Paint a stroke.

    Args:
        page: the page.
        diameter: of the brush, in pixels of the picture; the nearest that its keys give.
        points: of the window.
    """
    page.focus("#overlay")
    while read_size(page) < diameter:
        page.keyboard.press("]")
    while read_size(page) > diameter:
        page.keyboard.press("[")
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=10)
    page.mouse.up()


def read_size(page: "Page") -> int:
    """Return the diameter of the brush."""
    return int(page.inner_text("#size-text").split()[0])


def save(page: "Page", path: Path) -> None:
    """Write what the window shows as a JPEG, the pointer off the picture."""
    page.mouse.move(WIDTH - 4, 4)
    page.wait_for_timeout(300)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
