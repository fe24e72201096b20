"""What a reader of the page does, with Debian's Chromium."""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed (Debian package chromium)", allow_module_level=True)
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Page, expect  # noqa: E402

expect.set_options(timeout=20_000)

DESK = {
    "viewport": {"width": 1280, "height": 800},
    "color_scheme": "dark",
    "locale": "en-GB",
    "service_workers": "block",
}
PHONE = {
    "viewport": {"width": 390, "height": 780},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
    "color_scheme": "light",
    "locale": "vi-VN",
    "service_workers": "block",
}
DROP = """([name, type, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, { type }));
    const event = { dataTransfer: data, cancelable: true };
    const send = (kind) => window.dispatchEvent(new DragEvent(kind, event));
    send("dragenter");
    send("dragover");
    send("drop");
}"""
DROP_SEVERAL = """(files) => {
    const data = new DataTransfer();
    for (const [name, base64] of files) {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        data.items.add(new File([bytes], name, { type: "image/png" }));
    }
    window.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
}"""
OVERFLOW = """() => {
    const seen = [...document.querySelectorAll("button, select, summary, input, p, h1")]
        .filter((element) => element.checkVisibility() && !element.closest(".sr, .strip, .variants"))
        .filter((element) => element.getClientRects().length)
        .filter((element) => getComputedStyle(element).clipPath === "none");
    const { innerWidth: width } = window;
    return seen.map((element) => [element.id || element.textContent, element.getBoundingClientRect()])
        .filter(([, { left, right }]) => left < -1 || right > width + 1)
        .map(([name]) => name);
}"""
OVERLAP = """() => {
    const isInSight = (element) => { // not scrolled out of the group of tools
        const group = element.closest("#tool");
        if (!group?.getClientRects().length) return true; // it is no box of its own on a phone on its side
        return element.getBoundingClientRect().right <= group.getBoundingClientRect().right + 1;
    };
    const controls = ":is(.bar, .tools, .zoom) :is(button, summary, select, input)";
    const boxes = [...document.querySelectorAll(`${controls}, :is(.note, .variants):not([hidden])`)]
        .filter((element) => element.checkVisibility() && !element.closest(".panel") && isInSight(element))
        .map((element) => [element.id || element.title, element.getBoundingClientRect()]);
    const found = [];
    for (const [index, [name, one]] of boxes.entries()) {
        for (const [other, two] of boxes.slice(index + 1)) {
            const wide = Math.min(one.right, two.right) - Math.max(one.left, two.left);
            const high = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
            if (wide > 1 && high > 1) found.push(`${name} / ${other}`);
        }
    }
    return found;
}"""


def drop(page: Page, data: bytes, name: str = "photo.png", type: str = "image/png") -> None:
    import base64

    page.evaluate(DROP, [name, type, base64.b64encode(data).decode()])


def drop_several(page: Page, *files: tuple[str, bytes]) -> None:
    import base64

    page.evaluate(DROP_SEVERAL, [[name, base64.b64encode(data).decode()] for name, data in files])


def opened(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-state", "picture")
    expect(page.locator("#busy")).to_be_hidden()


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a share of the canvas lies in the window."""
    box = page.locator("#overlay").bounding_box()
    assert box
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def paint(page: Page, *points: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*at(page, *point), steps=4)
    page.mouse.up()


def filled(page: Page) -> None:
    expect(page.locator("#live")).to_have_text(re.compile("Filled|Đã lấp"), timeout=20_000)
    expect(page.locator("#busy")).to_be_hidden()


def shoot(page: Page, shots: Path, name: str) -> None:
    page.wait_for_timeout(150)
    page.screenshot(path=shots / f"{name}.png")
    assert page.evaluate(OVERFLOW) == [], name
    assert page.evaluate(OVERLAP) == [], name


def find_places(page: Page, *points: tuple[int, int]) -> list[tuple[float, float]]:
    """Where pixels of the picture are in the window."""
    left, top, scale = page.evaluate(
        "import('/static/modules/desk.js').then(({ view }) => [view.x, view.y, view.scale])"
    )
    stage = page.locator("#overlay").bounding_box()
    assert stage
    return [(stage["x"] + left + x * scale, stage["y"] + top + y * scale) for x, y in points]


def click_picture(page: Page, x: int, y: int) -> None:
    """Click on a pixel of the picture."""
    page.mouse.click(*find_places(page, (x, y))[0])


def download(page: Page, act: Callable[[], object]) -> tuple[str, bytes]:
    with page.expect_download() as found:
        act()
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def read_mask(page: Page) -> np.ndarray:
    """The mask that is saved, bool (H, W)."""
    _, data = download(page, lambda: (page.click("#mask-menu summary"), page.click("#save-mask")))
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")) > 127
