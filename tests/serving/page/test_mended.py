"""Faults that the page once had, each by the steps that showed it."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.serving.conftest import Running, photo, to_file
from tests.serving.page.browser import (
    PHONE,
    Page,
    at,
    click_picture,
    download,
    drop,
    drop_several,
    expect,
    filled,
    opened,
    paint,
    shoot,
)

LEAVES = """() => {
    const event = new Event("beforeunload", { cancelable: true });
    window.dispatchEvent(event);
    return event.defaultPrevented ? "asked" : "left";
}"""
LIGHTEST = """(canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((most, value, place) => (place % 4 < 3 ? Math.max(most, value) : most), 0);
}"""
SMALL = """() => [...document.querySelectorAll("button, summary, input, select, a.brand, label")]
    .filter((element) => element.checkVisibility() && !["checkbox", "radio"].includes(element.type))
    .map((element) => [element.id || element.textContent, element.getBoundingClientRect()])
    .filter(([, { width, height }]) => width && (width < 43.5 || height < 43.5))
    .map(([name, { width, height }]) => `${name}: ${width} x ${height}`)"""


def test_leaving_is_asked_about_when_something_would_be_lost(
    shared: Running, visit: Callable[..., Page]
) -> None:
    """An unfilled mask and an unsaved fill are something; a mask painted after saving is, the fill is not."""
    page = visit(shared)
    drop(page, to_file(photo(1, (150, 200))))
    opened(page)
    assert page.evaluate(LEAVES) == "left"
    expect(page.locator("#save")).to_be_disabled()
    expect(page.locator("#copy")).to_be_disabled()
    expect(page.locator("#compare")).to_be_disabled()
    paint(page, (0.45, 0.4))
    assert page.evaluate(LEAVES) == "asked"
    page.click("#fill")
    filled(page)
    assert page.evaluate(LEAVES) == "asked"
    download(page, lambda: page.click("#save"))
    expect(page.locator("#save-icon")).to_have_attribute("href", "#i-check")
    expect(page.locator("#busy-text")).to_contain_text("Saved")
    assert page.evaluate(LEAVES) == "left"
    paint(page, (0.55, 0.4))
    expect(page.locator("#save-icon")).to_have_attribute("href", "#i-check")  # the file has what is filled
    assert page.evaluate(LEAVES) == "asked"
    page.click("#undo")
    assert page.evaluate(LEAVES) == "left"
    page.click("#undo")
    assert page.evaluate(LEAVES) == "asked"  # painted, and not filled any more
    page.click("#undo")
    assert page.evaluate(LEAVES) == "left"  # as it was opened


def test_a_mask_that_is_dropped_is_asked_about(
    shared: Running, visit: Callable[..., Page], shots: Path
) -> None:
    page = visit(shared)
    drop(page, to_file(photo(2, (60, 80))), "sea.png")
    opened(page)
    mask = np.zeros((60, 80), bool)
    mask[10:30, 20:50] = True
    drop(page, to_file(mask), "second.png")
    expect(page.locator("#ask-text")).to_contain_text("second.png looks like a mask")
    shoot(page, shots, "picture-or-mask")
    page.click("#ask-answers [value='mask']")
    expect(page.locator("#undo")).to_be_enabled()
    expect(page.locator("#file")).to_have_text("sea.png · 80 × 60")
    drop(page, to_file(mask), "second.png")
    page.click("#ask-answers [value='picture']")
    expect(page.locator("#file")).to_have_text("second.png · 80 × 60")
    drop(page, to_file(photo(3, (60, 80))), "third.png")
    expect(page.locator("#file")).to_have_text("third.png · 80 × 60")  # no mask: no question


def test_several_files_are_all_opened(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    """They stand on a strip; closing one asks if something would be lost."""
    page = visit(shared)
    good = [(f"{n}.png", to_file(photo(n, (60, 80)))) for n in (1, 2, 3)]
    drop_several(page, good[0], ("bad.png", b"hello"), *good[1:])
    expect(page.locator("#file")).to_have_text("3.png · 80 × 60")
    expect(page.locator("#note-text")).to_have_text("Not opened: bad.png")
    items = page.locator("#shelf .thumb")
    expect(items).to_have_count(3)
    opened(page)
    paint(page, (0.5, 0.4))
    page.click("#fill")
    filled(page)
    items.nth(0).click()
    expect(page.locator("#file")).to_have_text("1.png · 80 × 60")
    expect(page.locator("#save")).to_be_disabled()
    shoot(page, shots, "shelf")
    items.nth(2).click()
    expect(page.locator("#variants")).to_be_visible()
    page.focus("#overlay")
    page.keyboard.down("Tab")
    tag, shelf = (page.locator(name).bounding_box() for name in ("#original", "#shelf"))
    assert tag
    assert shelf
    assert tag["y"] >= shelf["y"] + shelf["height"]  # not behind it
    page.keyboard.up("Tab")
    page.locator("#shelf .shut").nth(2).click()
    expect(page.locator("#ask-text")).to_contain_text("not saved")
    page.keyboard.press("Escape")
    expect(items).to_have_count(3)
    page.locator("#shelf .shut").nth(2).click()
    page.click("#ask-answers [value='close']")
    expect(page.locator("#file")).to_have_text("2.png · 80 × 60")
    expect(items).to_have_count(2)


@pytest.mark.slow
def test_the_stage_has_a_focus_frame_only_for_the_keyboard(
    shared: Running, visit: Callable[..., Page]
) -> None:
    page = visit(shared)
    page.keyboard.press("Tab")
    drop(page, to_file(photo(4, (60, 80))))
    opened(page)
    frame = "getComputedStyle(document.getElementById('canvases'), '::after').content"
    assert page.evaluate("document.activeElement.id") == "overlay"
    assert page.evaluate(frame) == "none"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(frame) == '""'


@pytest.mark.slow
def test_an_opaque_picture_has_no_rim(shared: Running, visit: Callable[..., Page]) -> None:
    """A black picture on the dark ground: nothing lighter than both anywhere along its edges."""
    page = visit(shared)
    drop(page, to_file(np.zeros((251, 333, 3), np.uint8)))
    opened(page)
    for zoom in ("#zoom-out", "#zoom-in", "#zoom-full"):
        page.click(zoom)
        page.wait_for_timeout(100)
        lightest = page.locator("#picture").evaluate(LIGHTEST)
        assert lightest == 0, zoom


@pytest.mark.slow
def test_a_brush_fits_a_finger(shared: Running, visit: Callable[..., Page]) -> None:
    """24 to 32 window pixels on a phone, on small and large pictures; what the reader chooses stays."""
    page = visit(shared, PHONE | {"locale": "en-GB"})

    def measure() -> float:
        before = page.locator("#size-text").inner_text()
        data = download(page, lambda: (page.tap("#mask-menu summary"), page.tap("#save-mask")))[1]
        mask = np.asarray(Image.open(io.BytesIO(data)).convert("L")) > 127
        scale = page.evaluate("import('/static/modules/desk.js').then(({ view }) => view.scale)")
        assert int(before.removesuffix(" px")) == pytest.approx(mask.any(0).sum(), abs=1)
        return float(mask.any(0).sum() * scale)

    for size in ((150, 200), (1200, 1600)):
        drop(page, to_file(photo(5, size)))
        expect(page.locator("#file")).to_contain_text(f"{size[1]} × {size[0]}")
        opened(page)
        page.touchscreen.tap(*at(page, 0.5, 0.4))
        assert 24 <= measure() <= 32, size
    page.locator("#size").fill("70")
    chosen = page.evaluate("import('/static/modules/desk.js').then(({ tools }) => tools.diameter)")
    drop(page, to_file(photo(6, (300, 400))))
    expect(page.locator("#file")).to_contain_text("400 × 300")
    page.touchscreen.tap(*at(page, 0.5, 0.4))
    assert measure() == pytest.approx(chosen, rel=0.1)


@pytest.mark.slow
def test_what_is_touched_is_large_enough(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    """44 px and more, on phones held either way; the first menu is no list of keys."""
    page = visit(shared, PHONE | {"locale": "en-GB"})
    assert page.evaluate(SMALL) == []
    page.tap("[data-sample='galaxies.jpg']")
    opened(page)
    page.touchscreen.tap(*at(page, 0.5, 0.4))
    page.tap("#fill")
    filled(page)
    for width, height in ((390, 780), (320, 640), (844, 390), (667, 375)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(100)
        assert page.evaluate(SMALL) == [], (width, height)
        for menu in ("engines", "mask-menu", "options", "history", "save-menu", "more"):
            page.tap(f"#{menu} summary")
            assert page.evaluate(SMALL) == [], (width, height, menu)
            box = page.locator(f"#{menu} .panel").bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height
            assert menu != "more" or page.locator(f"#{menu} kbd").count() == 0
            page.keyboard.press("Escape")
        shoot(page, shots, f"phone-{width}-{height}")
    drop(page, to_file(photo(4, (60, 80))))
    expect(page.locator("#shelf .thumb")).to_have_count(2)
    assert page.evaluate(SMALL) == []
    page.locator("#shelf .shut").last.tap()
    expect(page.locator("#shelf")).to_be_hidden()  # the first picture is in sight again
    seen = page.locator("#overlay").evaluate(
        "() => import('/static/modules/desk.js').then(({ view }) => view.work.height * view.fitting)"
    )
    assert seen > 200  # of 375 px: the picture has the room, not the tools


@pytest.mark.slow
def test_a_sample_that_fails_says_so_and_can_be_tried_again(
    shared: Running, visit: Callable[..., Page]
) -> None:
    page = visit(shared)
    page.route("**/samples/rocket.jpg", lambda route: route.fulfill(status=500, body="no"))
    page.click("[data-sample='rocket.jpg']")
    expect(page.locator("#welcome-problem")).to_contain_text("sample cannot be loaded")
    page.unroute("**/samples/rocket.jpg")
    page.click("#welcome-again")
    opened(page)


@pytest.mark.slow
def test_an_address_is_refused_with_a_word(shared: Running, visit: Callable[..., Page]) -> None:
    page = visit(shared)
    paste = """(text) => {
        const clipboardData = new DataTransfer();
        clipboardData.setData("text/plain", text);
        window.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }"""
    page.evaluate(paste, "just words")
    expect(page.locator("#welcome-problem")).to_have_text("")
    page.evaluate(paste, "https://example.org/sea.jpg")
    expect(page.locator("#welcome-problem")).to_contain_text("Addresses are not opened")


def test_keys_are_listed_on_a_question_mark(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(shared)
    page.keyboard.press("?")
    expect(page.locator("#keys-dialog")).to_be_visible()
    assert page.locator("#keys dt").count() > 15
    tools = page.locator("[data-tool]").evaluate_all("(all) => all.map((tool) => tool.dataset.keys)")
    assert set(tools) <= set(page.locator("#keys kbd").all_inner_texts())
    shoot(page, shots, "keys")
    page.keyboard.press("Escape")
    drop(page, to_file(photo(7)))
    opened(page)
    for name in ("brush", "undo", "fill", "save", "zoom-in", "compare"):
        element = page.locator(f"#{name}, [data-tool='{name}']").first
        assert element.get_attribute("title"), name
        assert "(" in (element.get_attribute("title") or ""), name


def test_tools_have_room_on_a_phone_on_its_side(
    shared: Running, visit: Callable[..., Page], shots: Path
) -> None:
    """All of them are below the bar, and the picture is beside them."""
    for width, height in ((844, 390), (667, 375)):
        page = visit(shared, PHONE | {"locale": "en-GB", "viewport": {"width": width, "height": height}})
        drop(page, to_file(photo(7)))
        opened(page)
        shoot(page, shots, f"side-{width}")
        bar = page.locator(".bar").bounding_box()
        tools = page.locator(".tools").bounding_box()
        assert bar
        assert tools
        assert tools["y"] >= bar["y"] + bar["height"]
        assert tools["y"] + tools["height"] <= height
        edge = "import('/static/modules/desk.js').then(({ view }) => view.x + view.work.width * view.scale)"
        assert page.evaluate(edge) <= tools["x"]


def test_the_focus_is_not_lost(shared: Running, visit: Callable[..., Page]) -> None:
    """A button that was pressed by a key has the focus again; what is gone or disabled leaves it."""
    page = visit(shared)
    drop_several(page, *((f"{seed}.png", to_file(photo(seed, (150, 200)))) for seed in (1, 2)))
    expect(page.locator("#file")).to_contain_text("2.png")

    def press(place: str, key: str = "Enter") -> None:
        page.focus(place)
        page.keyboard.press(key)

    press("#shelf .thumb >> nth=0")
    expect(page.locator("#shelf .thumb >> nth=0")).to_be_focused()
    paint(page, (0.5, 0.4))
    press("#fill")
    filled(page)
    expect(page.locator("#fill")).to_be_focused()
    for _ in range(2):
        press("#undo")
    expect(page.locator("#undo")).to_be_disabled()
    expect(page.locator("#overlay")).to_be_focused()
    press("#mask-menu summary")
    press("#invert")
    expect(page.locator("#overlay")).to_be_focused()


def test_what_is_said_to_be_done_goes_with_the_next_change(
    shared: Running, visit: Callable[..., Page]
) -> None:
    page = visit(shared)
    image = np.full((150, 200, 3), 200, np.uint8)
    image[40:90, 60:110] = (200, 30, 30)
    drop(page, to_file(image))
    opened(page)
    page.keyboard.press("s")
    click_picture(page, 80, 60)
    expect(page.locator("#busy-text")).to_contain_text("of the picture is marked")
    expect(page.locator("#undo")).to_be_enabled()
    page.keyboard.press("i")
    expect(page.locator("#busy")).to_be_hidden(timeout=1000)


def test_long_words_stay_in_their_button(shared: Running, visit: Callable[..., Page]) -> None:
    page = visit(shared, PHONE | {"viewport": {"width": 820, "height": 1180}, "locale": "fr-FR"})
    drop(page, to_file(photo(1, (150, 200))))
    opened(page)
    paint(page, (0.5, 0.4))
    page.click("#fill")
    expect(page.locator("#fill-text")).to_have_text("Remplir encore")
    assert page.evaluate(
        "() => document.querySelector('#fill').scrollWidth <= document.querySelector('#fill').clientWidth"
    )
