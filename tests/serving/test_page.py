"""The page in a real browser: Debian's Chromium. Pictures of each state go to $INFILLING_SCREENSHOTS."""

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.serving.conftest import Running, SlowEngine, offer, photo, push_pull, serve, to_file

import infilling
from infilling.serving.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed (Debian package chromium)", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect  # noqa: E402

DESK = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark", "locale": "en-GB"}
PHONE = {
    "viewport": {"width": 390, "height": 780},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
    "color_scheme": "light",
    "locale": "vi-VN",
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
OVERFLOW = """() => {
    const seen = [...document.querySelectorAll("button, select, summary, input, p, h1")]
        .filter((element) => element.checkVisibility() && !element.closest(".sr"))
        .filter((element) => element.getClientRects().length)
        .filter((element) => getComputedStyle(element).clipPath === "none");
    const { innerWidth: width } = window;
    return seen.map((element) => [element.id || element.textContent, element.getBoundingClientRect()])
        .filter(([, { left, right }]) => left < -1 || right > width + 1)
        .map(([name]) => name);
}"""
OVERLAP = """() => {
    const controls = ":is(.bar, .tools, .zoom) :is(button, summary, select, input), .note:not([hidden])";
    const boxes = [...document.querySelectorAll(controls)]
        .filter((element) => element.checkVisibility() && !element.closest(".panel"))
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("INFILLING_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`visit(server)` opens the page; what goes wrong in its scripts fails the test."""
    contexts, wrong = [], []

    def open_page(server: Running, kind: dict[str, object] = DESK, path: str = "/") -> Page:
        context = browser.new_context(**kind)  # type: ignore[arg-type]
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda told: wrong.append(told.text) if "Content Security" in told.text else None)
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith((server.url, "blob:", "data:")) else wrong.append(asked.url)
            ),
        )
        page.goto(server.url + path)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def drop(page: Page, data: bytes, name: str = "photo.png", type: str = "image/png") -> None:
    import base64

    page.evaluate(DROP, [name, type, base64.b64encode(data).decode()])


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


def download(page: Page, act: Callable[[], object]) -> tuple[str, bytes]:
    with page.expect_download() as found:
        act()
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def test_drop_paint_fill_compare_undo_save(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(shared)
    shoot(page, shots, "empty-dark")
    image = to_file(photo(1, (340, 512)), "JPEG", quality=85, dpi=(72, 72))
    drop(page, image, "Ferien am Meer.jpg", "image/jpeg")
    opened(page)
    shoot(page, shots, "open")
    paint(page, (0.45, 0.4), (0.5, 0.5))
    shoot(page, shots, "painted")
    _, mask = download(page, lambda: (page.click("#mask-menu summary"), page.click("#save-mask")))
    page.click("#fill")
    filled(page)
    shoot(page, shots, "filled")
    page.click("#compare")
    page.mouse.move(*at(page, 0.5, 0.43))
    page.mouse.down()
    page.mouse.move(*at(page, 0.35, 0.43), steps=3)
    page.mouse.up()
    assert page.locator("#split").get_attribute("aria-valuenow") == "35"
    shoot(page, shots, "compare")
    page.keyboard.press("Escape")
    expect(page.locator("#split")).to_be_hidden()
    name, data = download(page, lambda: page.click("#save"))
    assert name == "Ferien am Meer.filled.jpg"
    result = Image.open(io.BytesIO(data))
    assert (result.format, result.size, result.info["dpi"]) == ("JPEG", (512, 340), (72, 72))
    assert data == infilling.fill(image, mask, "push-pull")
    page.click("#undo")
    expect(page.locator("#redo")).to_be_enabled()
    name, untouched = download(page, lambda: page.keyboard.press("Control+s"))
    assert untouched == image
    page.click("#redo")
    assert download(page, lambda: page.click("#save"))[1] == data


@pytest.mark.slow
def test_tools_shape_the_mask(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(shared)
    drop(page, to_file(photo(2, (300, 400))))
    opened(page)

    def count() -> float:
        _, data = download(page, lambda: (page.click("#mask-menu summary"), page.click("#save-mask")))
        return float((np.asarray(Image.open(io.BytesIO(data)).convert("L")) > 127).mean())

    assert count() == 0
    page.keyboard.press("r")
    paint(page, (0.42, 0.35), (0.52, 0.45))
    rectangle = count()
    assert 0.01 < rectangle < 0.2
    page.keyboard.press("l")
    paint(page, (0.55, 0.3), (0.6, 0.3), (0.6, 0.4), (0.55, 0.4))
    lasso = count()
    assert lasso > rectangle
    page.keyboard.press("e")
    paint(page, (0.45, 0.4), (0.5, 0.4))
    erased = count()
    assert erased < lasso
    page.keyboard.press("i")
    assert abs(count() - (1 - erased)) < 0.01
    shoot(page, shots, "inverted")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert count() == lasso
    page.keyboard.press("x")
    assert count() == 0
    size = page.locator("#size-text").inner_text()
    page.keyboard.press("]")
    assert page.locator("#size-text").inner_text() != size
    page.mouse.move(*at(page, 0.5, 0.5))
    zoom = page.locator("#zoom-full").inner_text()
    page.mouse.wheel(0, -300)
    expect(page.locator("#zoom-full")).not_to_have_text(zoom)
    mask = np.zeros((300, 400), bool)
    mask[:150] = True
    with page.expect_file_chooser() as chooser:
        page.click("#mask-menu summary")
        page.click("#load-mask")
    chooser.value.set_files({"name": "mask.png", "mimeType": "image/png", "buffer": to_file(mask)})
    expect(page.locator("#undo")).to_be_enabled()
    assert count() == 0.5


def test_keyboard_only(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(shared)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.sample") == "rocket.jpg":
            break
    page.keyboard.press("Enter")
    opened(page)
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.down("Space")
    for _ in range(6):
        page.keyboard.press("ArrowUp")
    page.keyboard.up("Space")
    shoot(page, shots, "keyboard")
    page.keyboard.press("Enter")
    filled(page)
    page.keyboard.down("Tab")
    expect(page.locator("#original")).to_be_visible()
    page.wait_for_timeout(300)
    shoot(page, shots, "original")
    page.keyboard.up("Tab")
    expect(page.locator("#original")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "overlay"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "overlay", "a short Tab moves on"
    reached = []
    for _ in range(30):
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.tool"))
        page.keyboard.press("Tab")
    assert {"undo", "fill", "zoom-in", "size", "brush"} <= set(reached)
    page.keyboard.press("Control+z")
    expect(page.locator("#redo")).to_be_enabled()


@pytest.mark.slow
def test_a_phone(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(shared, PHONE)
    assert page.evaluate("document.documentElement.lang") == "vi"
    shoot(page, shots, "phone-empty")
    page.tap("[data-sample='coffee.jpg']")
    opened(page)
    page.touchscreen.tap(*at(page, 0.5, 0.4))
    shoot(page, shots, "phone-painted")
    page.tap("#options summary")
    shoot(page, shots, "phone-options")
    page.tap("#options summary")
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        spots = [dict(zip(("x", "y"), at(page, *point), strict=True)) for point in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    before = page.locator("#zoom-full").inner_text()
    send("touchStart", (0.4, 0.4), (0.6, 0.4))
    for step in range(1, 5):
        send("touchMove", (0.4 - step * 0.05, 0.4), (0.6 + step * 0.05, 0.4))
    send("touchEnd")
    page.wait_for_timeout(100)
    assert page.locator("#zoom-full").inner_text() != before
    page.tap("#fill")
    filled(page)
    shoot(page, shots, "phone-filled")
    page.tap("#more summary")
    shoot_menu = page.locator("#more .panel").bounding_box()
    assert shoot_menu
    assert shoot_menu["x"] >= 0
    assert shoot_menu["x"] + shoot_menu["width"] <= 390
    page.screenshot(path=shots / "phone-menu.png")


def test_problems_are_told_where_they_arise(visit: Callable[..., Page], shots: Path) -> None:
    with serve(Settings(max_bytes=300_000, max_pixels=200_000), [push_pull()]) as server:
        page = visit(server)
        problem = page.locator("#welcome-problem")
        drop(page, bytes(400_000))
        expect(problem).to_contain_text("0.4 MB")
        shoot(page, shots, "too-large")
        drop(page, to_file(np.zeros((500, 500), np.uint8)))
        expect(problem).to_contain_text("megapixels")
        drop(page, b"hello")
        expect(problem).to_contain_text("not a picture")
        drop(page, to_file(photo(3))[:300])
        expect(problem).to_contain_text("damaged")
        drop(page, to_file(photo(3)), "photo.tif")
        opened(page)
        page.click("#fill")
        expect(page.locator("#note-text")).to_contain_text("Paint over something")
        shoot(page, shots, "nothing-painted")
        page.click("#note-close")
        page.keyboard.press("i")
        page.click("#fill")
        expect(page.locator("#note-text")).to_contain_text("Leave something")


@pytest.mark.slow
def test_a_picture_that_the_browser_cannot_show(shared: Running, visit: Callable[..., Page]) -> None:
    page = visit(shared)
    drop(page, to_file(photo(4, (90, 120)), "TIFF"), "scan.tiff", "image/tiff")
    opened(page)
    paint(page, (0.45, 0.4), (0.5, 0.45))
    page.click("#fill")
    filled(page)
    name, data = download(page, lambda: page.click("#save"))
    assert name == "scan.filled.tiff"
    assert Image.open(io.BytesIO(data)).format == "TIFF"


def test_cancel_and_the_server_going_away(visit: Callable[..., Page], shots: Path) -> None:
    engine = SlowEngine()
    with serve(Settings(jobs=1), [offer(engine)]) as server:
        page = visit(server)
        page.click("[data-sample='rocket.jpg']")
        opened(page)
        paint(page, (0.45, 0.4), (0.5, 0.5))
        page.click("#fill")
        assert engine.began.acquire(timeout=20)
        expect(page.locator("#busy-text")).to_contain_text("Filling")
        shoot(page, shots, "filling")
        page.click("#cancel")
        expect(page.locator("#live")).to_have_text("Cancelled")
        engine.gate.set()
    page.click("#fill")
    expect(page.locator("#note-text")).to_contain_text("Your work is still here")
    expect(page.locator("#note-again")).to_be_visible()
    expect(page.locator("#undo")).to_be_enabled()
    shoot(page, shots, "server-gone")


@pytest.mark.slow
def test_a_token_is_asked_for(visit: Callable[..., Page], shots: Path) -> None:
    with serve(Settings(token="sesame"), [push_pull()]) as server:
        page = visit(server)
        expect(page.locator("#token-dialog")).to_be_visible()
        page.screenshot(path=shots / "token.png")
        page.fill("#token", "sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#engine option")).to_have_count(1)


def test_languages_have_the_same_words(shared: Running) -> None:
    english, vietnamese = (shared.client.get(f"/static/strings/{name}.json").json() for name in ("en", "vi"))
    assert english.keys() == vietnamese.keys()
    for name, text in english.items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", vietnamese[name])), name
    page = shared.client.get("/").text
    for name in re.findall(r'data-(?:text|label|tip)="([^"]+)"', page):
        assert name in english


@pytest.mark.slow
def test_twelve_megapixels_stay_smooth(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(shared)
    small = Image.fromarray(photo(5, (300, 400)))
    data = io.BytesIO()
    small.resize((4000, 3000)).save(data, "JPEG", quality=85)
    drop(page, data.getvalue(), "large.jpg", "image/jpeg")
    opened(page)
    # Frames that come while a stroke is painted: no scripts of ours may hold them up for long.
    page.evaluate(
        """() => {
            window.frames_ = [];
            let last = performance.now();
            const note = (now) => {
                window.frames_.push(now - last);
                last = now;
                requestAnimationFrame(note);
            };
            requestAnimationFrame(note);
        }"""
    )
    paint(page, *((0.3 + 0.01 * step, 0.3 + 0.1 * (step % 2)) for step in range(20)))
    frames = page.evaluate("window.frames_.slice(2)")
    print(f"median frame {np.median(frames):.0f} ms, worst {max(frames):.0f} ms, {len(frames)} frames")
    assert np.median(frames) < 100
    page.click("#fill")
    expect(page.locator("#live")).to_contain_text("Filled", timeout=60_000)
    shoot(page, shots, "large-filled")
    _, saved = download(page, lambda: page.click("#save"))
    assert Image.open(io.BytesIO(saved)).size == (4000, 3000)


@pytest.mark.slow
def test_nothing_overlaps_at_any_width(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(shared, DESK | {"color_scheme": "light", "locale": "vi-VN"})
    page.click("[data-sample='coffee.jpg']")
    opened(page)
    for width in (1600, 1241, 1100, 901, 800, 761, 700, 521, 480, 360):
        page.set_viewport_size({"width": width, "height": 700})
        shoot(page, shots, f"width-{width:04}")


@pytest.mark.slow
def test_copy_and_paste(shared: Running, visit: Callable[..., Page]) -> None:
    page = visit(shared)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    image = photo(6, (60, 80))
    drop(page, to_file(image))
    opened(page)
    page.keyboard.press("Control+c")
    expect(page.locator("#live")).to_have_text("Copied")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.keyboard.press("Control+v")
    opened(page)
    expect(page.locator("#file")).to_contain_text("80 × 60")


@pytest.mark.slow
def test_several_fills_are_undone_one_by_one(shared: Running, visit: Callable[..., Page]) -> None:
    page = visit(shared)
    drop(page, to_file(photo(7, (300, 400))))
    opened(page)
    saved = []
    for place in (0.4, 0.5, 0.6):
        paint(page, (place, 0.35), (place, 0.45))
        page.click("#fill")
        expect(page.locator("#fill")).to_be_enabled()
        expect(page.locator("#busy")).to_be_hidden()
        saved.append(download(page, lambda: page.click("#save"))[1])
    assert len(set(saved)) == 3
    for earlier in (saved[1], saved[0]):
        page.click("#undo")  # the fill
        page.click("#undo")  # what was painted for it
        assert download(page, lambda: page.click("#save"))[1] == earlier
