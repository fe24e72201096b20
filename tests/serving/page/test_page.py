"""The page from an empty window to a saved picture, and what may go wrong on the way."""

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from tests.serving.conftest import (
    Running,
    SlowEngine,
    command,
    from_file,
    offer,
    photo,
    push_pull,
    serve,
    to_file,
)
from tests.serving.page.browser import (
    PHONE,
    Page,
    at,
    download,
    drop,
    expect,
    filled,
    opened,
    paint,
    read_mask,
    shoot,
)

import infilling
from infilling.serving.settings import Settings


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
    page.emulate_media(reduced_motion="reduce")  # no wipe: the handle stays where it is
    page.click("#compare")
    handle = page.locator("#split i").bounding_box()
    assert handle
    page.mouse.move(handle["x"] + 20, handle["y"] + 20)
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
    expect(page.locator("#save")).to_be_disabled()
    page.click("#redo")
    assert download(page, lambda: page.click("#save"))[1] == data


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
    for _ in range(40):
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
    page.tap("[data-sample='galaxies.jpg']")
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
        expect(problem).to_contain_text("cannot be read: ")
        expect(problem.locator("[lang=en]")).to_contain_text("truncated")
        drop(page, to_file(photo(3)), "photo.tif")
        opened(page)
        page.click("#fill")
        expect(page.locator("#note-text")).to_contain_text("Paint over something")
        shoot(page, shots, "nothing-painted")
        page.click("#note-close")
        paint(page, (0.1, 0.2))  # beside the picture
        page.click("#fill")
        expect(page.locator("#note-text")).to_be_visible()
        expect(page.locator("#note-text")).to_contain_text("Paint over something")
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
def test_the_server_dies_in_the_middle_and_comes_back(visit: Callable[..., Page], shots: Path) -> None:
    """What was painted is still there, and the same fill goes through when there is a server again."""
    with command("patch-synthesis", "--jobs", "1") as server:
        page = visit(server)
        drop(page, to_file(photo(20, (900, 1200)), "JPEG"), "photo.jpg", "image/jpeg")
        opened(page)
        page.keyboard.press("r")
        paint(page, (0.42, 0.25), (0.58, 0.6))
        hole = read_mask(page)
        page.click("#fill")
        expect(page.locator("#busy-text")).to_contain_text("Filling", timeout=20_000)
        os.kill(server.pid, signal.SIGKILL)
        expect(page.locator("#note-text")).to_contain_text("Your work is still here")
        expect(page.locator("#busy")).to_be_hidden()
        shoot(page, shots, "server-died")
        np.testing.assert_array_equal(read_mask(page), hole)
    with command("patch-synthesis", "--port", server.url.rpartition(":")[2]):
        page.click("#note-again")
        filled(page)


@pytest.mark.slow
def test_a_token_is_asked_for(visit: Callable[..., Page], shots: Path) -> None:
    with serve(Settings(token="sesame"), [push_pull()]) as server:
        page = visit(server)
        expect(page.locator("#token-dialog")).to_be_visible()
        page.screenshot(path=shots / "token.png")
        page.fill("#token", "sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#engine-list label")).to_have_count(1)
        page = visit(server, path="/#token=sesame")
        expect(page.locator("#engine-list label")).to_have_count(1)
        expect(page.locator("#token-dialog")).to_be_hidden()
        assert page.url == server.url + "/"


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


def test_nothing_jumps_when_something_is_told(visit: Callable[..., Page]) -> None:
    engine = SlowEngine()
    with serve(Settings(jobs=1), [offer(engine)]) as server:
        page = visit(server)
        before = page.locator("#choose").bounding_box()
        drop(page, b"hello")
        expect(page.locator("#welcome-problem")).to_contain_text("not a picture")
        assert page.locator("#choose").bounding_box() == before
        drop(page, to_file(photo(8, (300, 400))))
        opened(page)
        places = """() => [...document.querySelectorAll(".tools, .bar *")].map(
            (element) => JSON.stringify(element.getBoundingClientRect()))"""
        before = page.evaluate(places)
        page.click("#fill")
        expect(page.locator("#note-text")).to_be_visible()
        assert page.evaluate(places) == before
        paint(page, (0.45, 0.4), (0.5, 0.5))
        page.click("#fill")
        assert engine.began.acquire(timeout=20)
        expect(page.locator("#busy-text")).to_contain_text("Filling")
        assert page.evaluate(places) == before
        engine.gate.set()
        filled(page)
        assert page.evaluate(places) == before


@pytest.mark.slow
def test_a_chosen_photograph_keeps_its_turn_its_profile_and_its_tags(
    shared: Running, visit: Callable[..., Page]
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera & Co"  # Orientation: to be turned right; Make
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = photo(11, (60, 100))
    image = to_file(source, "JPEG", quality=95, exif=exif, icc_profile=profile)
    page = visit(shared)
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files({"name": "IMG_0001.JPG", "mimeType": "image/jpeg", "buffer": image})
    opened(page)
    expect(page.locator("#file")).to_have_text("IMG_0001.JPG · 60 × 100")
    page.keyboard.press("r")
    paint(page, (0.48, 0.4), (0.52, 0.45))
    hole = read_mask(page)
    assert hole.shape == (100, 60)
    page.click("#fill")
    filled(page)
    name, data = download(page, lambda: page.click("#save"))
    result = Image.open(io.BytesIO(data))
    assert (name, result.format, result.size) == ("IMG_0001.filled.JPG", "JPEG", (60, 100))
    assert result.info["icc_profile"] == profile
    assert result.getexif()[0x010F] == "Camera & Co"
    assert result.getexif().get(0x0112, 1) == 1
    upright = np.rot90(from_file(image), -1).astype(float)
    change = np.abs(np.asarray(result, float) - upright).mean(-1)
    assert change[hole].mean() > 5 * change[~hole].mean()  # filled where it was painted on the turned picture


@pytest.mark.slow
def test_sixteen_bits_stay(shared: Running, visit: Callable[..., Page]) -> None:
    grey = np.random.default_rng(12).integers(0, 1 << 16, (90, 120), np.uint16)
    page = visit(shared)
    drop(page, to_file(grey), "scan.png")
    opened(page)
    paint(page, (0.48, 0.4), (0.52, 0.45))
    hole = read_mask(page)
    page.click("#fill")
    filled(page)
    result = from_file(download(page, lambda: page.click("#save"))[1])
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result[~hole], grey[~hole])
    assert (result[hole] != grey[hole]).mean() > 0.9


@pytest.mark.slow
def test_who_waits_is_told_so(visit: Callable[..., Page]) -> None:
    engine = SlowEngine()
    with serve(Settings(jobs=1), [offer(engine)]) as server:
        pages = [visit(server), visit(server), visit(server)]
        for page in pages:
            drop(page, to_file(photo(19, (60, 80))))
            opened(page)
            paint(page, (0.48, 0.4), (0.52, 0.45))
            page.click("#fill")
            if page is pages[0]:
                assert engine.began.acquire(timeout=20)
        expect(pages[1].locator("#busy-text")).to_have_text("Waiting: you are next")
        expect(pages[2].locator("#busy-text")).to_have_text("Waiting: 1 before you")
        pages[1].keyboard.press("Escape")
        expect(pages[1].locator("#live")).to_have_text("Cancelled")
        expect(pages[2].locator("#busy-text")).to_have_text("Waiting: you are next")
        engine.gate.set()
        filled(pages[2])
