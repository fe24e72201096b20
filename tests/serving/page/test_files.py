"""Files in and out: formats, sharing, several pictures with one mask, and what goes over the line."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Request
from tests.pictures.prints import add_watermark
from tests.serving.conftest import Running, from_file, photo, serve, to_file
from tests.serving.page.browser import (
    DESK,
    Page,
    click_picture,
    download,
    drop,
    drop_several,
    expect,
    filled,
    find_places,
    opened,
    paint,
    read_mask,
    shoot,
)

import infilling
from infilling.serving.app import WEB
from infilling.serving.engines import offer_engines
from infilling.serving.settings import Settings

NOTE_FIELDS = """() => {
    const send = window.fetch;
    window.fetch = (path, request) => {
        if (request.body instanceof FormData) window.fields = [...request.body.keys()];
        return send(path, request);
    };
}"""
REFUSE_GIF = """() => {
    const read = window.createImageBitmap;
    window.createImageBitmap = (blob) =>
        blob.type === "image/gif" ? Promise.reject(new Error("no")) : read(blob);
}"""
KEPT = """async () => {
    const cache = await caches.open("infilling-page");
    return (await cache.keys()).map(({ url }) => new URL(url).pathname);
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve(Settings(jobs=1), offer_engines(["push-pull", "mean"])) as running:
        yield running


@pytest.fixture(scope="module")
def copying() -> Iterator[Running]:
    """A server with an engine that copies texture and one that does not."""
    with serve(Settings(jobs=1), offer_engines(["patch-synthesis", "push-pull"])) as running:
        yield running


def test_a_picture_is_uploaded_once(server: Running, visit: Callable[..., Page]) -> None:
    """Fills send the mask alone, and writing the file sends ids; after a restart all is sent again."""
    page = visit(server)
    image = to_file(np.random.default_rng(1).integers(0, 256, (150, 200, 3), np.uint8))
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request) if request.method == "POST" else None)
    drop(page, image)
    opened(page)
    masks = []
    for x in (0.42, 0.5, 0.58):
        paint(page, (x, 0.4))
        masks.append(read_mask(page))
        page.click("#fill")
        filled(page)
        expect(page.locator("#fill-text")).to_have_text("Fill again")
    page.click("#fill")
    expect(page.locator("#variant-list .thumb")).to_have_count(2)
    expect(page.locator("#busy")).to_be_hidden()
    saved = download(page, lambda: page.click("#save"))[1]
    sent = [(each.url.rpartition("/")[2], int(each.all_headers()["content-length"])) for each in requests]
    uploads = [size for name, size in sent if name == "pictures"]
    fills = [size for name, size in sent if name == "fill"]
    assert len(uploads) == 1
    assert uploads[0] >= len(image)
    assert len(fills) == 5
    assert sum(fills) < len(image) / 2
    wanted = image
    for mask, engine in zip(masks, ("push-pull", "push-pull", "mean"), strict=True):
        wanted = infilling.fill(wanted, to_file(mask), engine)
    np.testing.assert_array_equal(from_file(saved), from_file(wanted))
    for id in list(server.service.pictures._held):  # as if the server had been started again
        server.service.pictures.forget(id)
    assert download(page, lambda: page.click("#save"))[1] == saved


@pytest.mark.slow
def test_a_server_without_uploads_gets_the_whole_picture(server: Running, visit: Callable[..., Page]) -> None:
    page = visit(server)
    page.route("**/api/v1/pictures", lambda route: route.fulfill(status=404, json={"code": "not-found"}))
    image = to_file(photo(2, (60, 80)))
    drop(page, image)
    opened(page)
    for x in (0.47, 0.53):
        paint(page, (x, 0.4))
        mask = read_mask(page)
        page.click("#fill")
        filled(page)
        image = infilling.fill(image, to_file(mask), "push-pull")
    saved = download(page, lambda: page.click("#save"))[1]
    np.testing.assert_array_equal(from_file(saved), from_file(image))


@pytest.mark.slow
def test_saving_in_another_format(server: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(server)
    drop(page, to_file(photo(3, (120, 160))), "sea.png")
    opened(page)
    paint(page, (0.5, 0.4))
    page.click("#fill")
    filled(page)
    sizes = {}
    for quality in ("95", "20"):
        page.click("#save-menu summary")
        page.select_option("#format", "jpeg")
        page.locator("#quality").fill(quality)
        if quality == "95":
            shoot(page, shots, "save-menu")
        name, data = download(page, lambda: page.click("#save-as"))
        assert (name, Image.open(io.BytesIO(data)).format) == ("sea.filled.jpg", "JPEG")
        sizes[quality] = len(data)
    assert sizes["20"] < 0.6 * sizes["95"]
    page.click("#save-menu summary")
    page.select_option("#format", "webp")
    page.keyboard.press("Escape")
    name, data = download(page, lambda: page.click("#save"))
    assert (name, Image.open(io.BytesIO(data)).format) == ("sea.filled.webp", "WEBP")
    half = np.full((120, 160, 1), 255, np.uint8)
    half[:, 120:] = 90
    drop(page, to_file(np.dstack([photo(3, (120, 160)), half])), "clear.png")
    expect(page.locator("#file")).to_contain_text("clear.png")
    opened(page)
    paint(page, (0.5, 0.4))
    page.click("#fill")
    filled(page)
    page.click("#save-menu summary")
    page.select_option("#format", "jpeg")
    page.click("#save-as")
    expect(page.locator("#note-text")).to_contain_text("JPEG keeps no transparency")


@pytest.mark.slow
def test_one_mask_for_all(server: Running, visit: Callable[..., Page], shots: Path) -> None:
    """Pictures of the same size lose the same thing; one of another size stays as it is."""
    page = visit(server)
    images = [to_file(photo(n, (60, 80))) for n in (1, 2)]
    odd = to_file(photo(3, (50, 80)))
    drop_several(page, ("odd.png", odd), *((f"{n}.png", data) for n, data in enumerate(images)))
    expect(page.locator("#file")).to_contain_text("1.png")
    opened(page)
    page.check("#shared")
    paint(page, (0.5, 0.4))
    mask = to_file(read_mask(page))
    page.click("#fill")
    filled(page)
    expect(page.locator("#busy")).to_be_hidden()
    shoot(page, shots, "one-mask-for-all")
    saved: list[Path] = []
    page.on("download", lambda each: saved.append(each.path()))
    page.click("#save-menu summary")
    page.click("#save-all")
    expect(page.locator("#live")).to_have_text("Saved 2 pictures")
    page.wait_for_timeout(100)
    assert [path.read_bytes() for path in saved] == [
        infilling.fill(each, mask, "push-pull") for each in images
    ]
    page.click("#save-menu summary")
    expect(page.locator("#save-all")).to_be_disabled()
    page.keyboard.press("Escape")
    items = page.locator("#shelf .thumb")
    items.nth(0).click()
    expect(page.locator("#file")).to_contain_text("odd.png")
    expect(page.locator("#save")).to_be_disabled()


@pytest.mark.slow
def test_a_watermark_is_taken_out_of_all_pictures(
    server: Running, visit: Callable[..., Page], shots: Path
) -> None:
    """Five open pictures show what they have in common; one fill takes it out of each."""
    pictures, truth, _, _ = add_watermark(1, 5, 1.0, "logo")
    page = visit(server)
    drop_several(page, *((f"{n}.png", to_file(each)) for n, each in enumerate(pictures[:4])))
    expect(page.locator("#file")).to_contain_text("3.png")
    opened(page)

    def find() -> None:
        page.click("#mask-menu summary")
        page.click("[data-finder='watermark']")

    find()
    expect(page.locator("#note-text")).to_contain_text("Open 5 or more pictures")
    drop(page, to_file(pictures[4]), "4.png")
    expect(page.locator("#file")).to_contain_text("4.png")
    opened(page)
    find()
    expect(page.locator("#busy-text")).to_contain_text("of the picture is marked")
    shoot(page, shots, "watermark")
    expect(page.locator("#shared")).to_be_checked()
    mask = read_mask(page)
    assert mask[truth].mean() > 0.95
    page.click("#fill")
    filled(page)
    page.locator("#shelf .thumb").nth(0).click()
    expect(page.locator("#file")).to_contain_text("0.png")
    saved = from_file(download(page, lambda: page.click("#save"))[1])
    assert (saved[~mask] == pictures[0][~mask]).all()
    assert np.abs(saved[truth].astype(int) - 255).mean() > 50


@pytest.mark.slow
def test_sharing(server: Running, visit: Callable[..., Page]) -> None:
    """Where the browser can hand files to other programs, there is a button for it."""
    page = visit(server)
    drop(page, to_file(photo(4, (60, 80))), "sea.png")
    opened(page)
    page.click("#save-menu summary")
    shown = page.evaluate(
        "Boolean(navigator.canShare?.({ files: [new File(['x'], 'a.png', { type: 'image/png' })] }))"
    )
    assert page.locator("#share").is_visible() == shown
    page.context.add_init_script(
        """navigator.canShare = () => true;
        navigator.share = async ({ files: [{ name, type, size }] }) => { shared = [name, type, size]; };"""
    )
    page.reload()
    page.wait_for_selector("html[data-ready]")
    drop(page, to_file(photo(4, (60, 80))), "sea.png")
    opened(page)
    paint(page, (0.5, 0.4))
    page.click("#fill")
    filled(page)
    page.click("#save-menu summary")
    page.click("#share")
    expect(page.locator("#save-icon")).to_have_attribute("href", "#i-check")
    name, type, size = page.evaluate("shared")
    assert (name, type) == ("sea.filled.png", "image/png")
    assert size > 1000


def test_extending_the_canvas(server: Running, visit: Callable[..., Page], shots: Path) -> None:
    """To a ratio, by handles, and by keys; known pixels stay, undo goes back to the picture as it was."""
    page = visit(server)
    image, exif = photo(5, (120, 160)), Image.Exif()
    exif[0x010E] = "a sea"
    drop(page, to_file(image, "JPEG", quality=95, exif=exif), "sea.jpg", "image/jpeg")
    opened(page)
    page.click("#mask-menu summary")
    page.click("#extend")
    size = page.locator("#extend-size")
    expect(size).to_have_text("208 × 156")
    page.click("#ratios button:has-text('16:9')")
    expect(size).to_have_text("213 × 120")
    shoot(page, shots, "extend")
    handle = page.locator("#frame [data-side='top']")
    box = handle.bounding_box()
    assert box
    scale = page.evaluate("import('/static/modules/desk.js').then(({ view }) => view.scale)")
    page.mouse.move(box["x"] + 22, box["y"] + 22)
    page.mouse.down()
    page.mouse.move(box["x"] + 22, box["y"] + 22 - 10 * scale, steps=3)
    page.mouse.up()
    expect(size).to_have_text("213 × 130")
    handle.focus()
    page.keyboard.press("ArrowUp")
    expect(size).to_have_text("213 × 138")
    page.click("#extend-go")
    expect(page.locator("#file")).to_have_text("sea.jpg · 213 × 138")
    expect(page.locator("#busy")).to_be_hidden()
    expect(page.locator("#note-text")).to_have_text("Wide borders are guesses.")
    shoot(page, shots, "extended")
    name, data = download(page, lambda: page.click("#save"))
    result = Image.open(io.BytesIO(data))
    assert (name, result.format, result.size) == ("sea.filled.jpg", "JPEG", (213, 138))
    assert result.getexif()[0x010E] == "a sea"
    inner = np.asarray(result.convert("RGB"), float)[18:, 26 : 26 + 160]
    assert np.abs(inner - from_file(to_file(image, "JPEG", quality=95))).mean() < 4
    page.click("#undo")
    expect(page.locator("#file")).to_have_text("sea.jpg · 160 × 120")
    expect(page.locator("#save")).to_be_disabled()


@pytest.mark.slow
def test_masks_by_colour_and_transparency_are_combined(server: Running, visit: Callable[..., Page]) -> None:
    page = visit(server)
    image = np.full((60, 80, 4), (40, 90, 160, 255), np.uint8)
    image[10:20, 10:30, :3] = (200, 40, 40)
    image[40:50, 50:70, 3] = 0
    red, clear = image[..., 0] == 200, image[..., 3] == 0
    drop(page, to_file(image))
    opened(page)

    def choose(mode: str, button: str) -> None:
        page.click("#mask-menu summary")
        page.select_option("#mode", mode)
        page.click(button)

    choose("replace", "#find-colour")
    click_picture(page, 20, 15)
    expect(page.locator("#live")).to_contain_text("4.2 % of the picture is marked")
    np.testing.assert_array_equal(read_mask(page), red)
    choose("add", "#find-transparent")
    np.testing.assert_array_equal(read_mask(page), red | clear)
    choose("subtract", "#find-colour")
    click_picture(page, 20, 15)
    np.testing.assert_array_equal(read_mask(page), clear)
    page.keyboard.press("Control+z")
    choose("intersect", "#find-colour")
    click_picture(page, 20, 15)
    np.testing.assert_array_equal(read_mask(page), red)


def test_a_thing_is_selected_and_the_selection_changed(
    server: Running, visit: Callable[..., Page], shots: Path
) -> None:
    """A click selects, the next one elsewhere adds, one on what is selected takes away; each is undone."""
    rows, columns = np.mgrid[:120, :160]
    left = (rows - 50) ** 2 + (columns - 55) ** 2 < 20**2
    right = (rows - 50) ** 2 + (columns - 115) ** 2 < 20**2
    noise = np.random.default_rng(1).integers(0, 12, (120, 160, 3))
    image = np.where((left | right)[..., None], (200, 40, 40), (40, 90, 160)) + noise
    page = visit(server)
    drop(page, to_file(image.astype(np.uint8)))
    opened(page)

    def overlap(wanted: np.ndarray) -> float:
        found = read_mask(page)
        return float((found & wanted).sum() / (found | wanted).sum())

    def find(x: int, y: int) -> None:
        with page.expect_response("**/api/v1/mask/object"):
            click_picture(page, x, y)
        expect(page.locator("#busy-text")).to_contain_text("of the picture is marked")

    with page.expect_response("**/api/v1/mask/object"):  # the server reads the picture while the reader aims
        page.keyboard.press("s")
    assert not read_mask(page).any()
    page.keyboard.press("Escape")
    find(55, 50)
    first = overlap(left)
    assert max(first, overlap(left | right)) > 0.8
    shoot(page, shots, "selected")
    find(115, 50)
    both = read_mask(page)
    page.keyboard.press("Control+z")
    assert overlap(left) == first
    page.keyboard.press("Control+Shift+z")
    np.testing.assert_array_equal(read_mask(page), both)


@pytest.mark.slow
def test_scratches_are_found(server: Running, visit: Callable[..., Page]) -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    page = visit(server)
    drop(page, to_file(image))
    opened(page)
    page.click("#mask-menu summary")
    page.click("[data-finder='scratches']")
    expect(page.locator("#note-text")).to_have_text("Nothing was found.")
    image[20:100, 80:82] = 255
    drop(page, to_file(image), "scratched.png")
    expect(page.locator("#file")).to_contain_text("scratched.png")
    page.click("#mask-menu summary")
    page.click("[data-finder='scratches']")
    expect(page.locator("#undo")).to_be_enabled()
    assert read_mask(page)[30:90, 80:82].mean() > 0.9


@pytest.mark.slow
def test_the_page_can_be_installed(server: Running, visit: Callable[..., Page]) -> None:
    """Chromium finds nothing amiss; the icons are the drawing, at the sizes that the manifest says."""
    page = visit(server, DESK | {"service_workers": "allow"})
    session = page.context.new_cdp_session(page)
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [error["errorId"] for error in errors] in ([], ["in-incognito"])  # which tests are
    page.goto(f"{server.url}/static/icon.svg")
    for side in (192, 512):
        image = Image.open(WEB / f"icon-{side}.png")
        assert image.size == (side, side)
        page.set_viewport_size({"width": side, "height": side})
        drawn = Image.open(io.BytesIO(page.screenshot(omit_background=True)))
        difference = np.asarray(drawn.convert("RGBA"), int) - np.asarray(image.convert("RGBA"), int)
        assert np.abs(difference).mean() < 1
    listed = {icon["src"]: icon["sizes"] for icon in json.loads((WEB / "manifest.json").read_text())["icons"]}
    assert (listed["icon-192.png"], listed["icon-512.png"]) == ("192x192", "512x512")


@pytest.mark.slow
def test_the_page_opens_without_its_server(visit: Callable[..., Page]) -> None:
    """The service worker keeps the page's own files, all of them, and nothing else."""
    with serve(Settings(jobs=1)) as running:
        page = visit(running, DESK | {"service_workers": "allow"})
        page.evaluate("navigator.serviceWorker.ready.then(() => 1)")
        drop(page, to_file(photo(6, (60, 80))), "sea.png")
        opened(page)
        paint(page, (0.5, 0.4))
        page.click("#fill")
        filled(page)
        download(page, lambda: page.click("#save"))
        kept = page.evaluate(KEPT)
    files = {path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.is_file()}
    assert set(kept) == {"/", *(f"/static/{name}" for name in files - {"index.html", "sw.js", "docs.css"})}
    page.reload()
    page.wait_for_selector("html[data-ready]")
    expect(page.locator("#welcome-problem")).to_contain_text("The server does not answer")
    page.click("[data-sample='galaxies.jpg']")
    opened(page)


def test_where_to_copy_from_is_a_second_brush(copying: Running, visit: Callable[..., Page]) -> None:
    """It changes the fill, is painted and undone apart from the hole, and is refused in the page's words."""
    pixels = np.full((120, 160, 3), (200, 40, 40), np.uint8)
    pixels[:, 100:] = (40, 60, 200)
    page = visit(copying)
    drop(page, to_file(pixels))
    opened(page)
    centre = find_places(page, (40, 60), (135, 60), (-20, 60))
    page.mouse.click(*centre[0])
    hole = read_mask(page)
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    page.evaluate(NOTE_FIELDS)
    page.mouse.click(*centre[2])  # beside the picture: no source
    page.click("#fill")
    filled(page)
    assert "source" not in page.evaluate("fields")
    page.mouse.click(*centre[1])
    np.testing.assert_array_equal(read_mask(page), hole)
    page.keyboard.press("Escape")
    page.click("#fill")
    expect(page.locator("#variant-list button")).to_have_count(2)
    assert {"mask", "source", "engine"} <= set(page.evaluate("fields"))
    _, data = download(page, lambda: page.click("#save"))
    np.testing.assert_allclose(from_file(data)[60, 40, :3], (40, 60, 200), atol=2)
    page.click("[data-engine='push-pull']")
    expect(page.locator("#note-text")).to_contain_text("Copy texture")


@pytest.mark.parametrize("ending", ["gif", "heic"])
def test_what_only_the_server_reads_is_opened(
    server: Running, visit: Callable[..., Page], ending: str
) -> None:
    page = visit(server)
    file = io.BytesIO()
    image = Image.fromarray(photo(3, (90, 120)))
    if ending == "heic":
        heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
        heif.from_pillow(image).save(file)
    else:
        image.save(file, "GIF")
        page.evaluate(REFUSE_GIF)
    drop(page, file.getvalue(), f"phone.{ending}", f"image/{ending}")
    expect(page.locator("#file")).to_contain_text("120 × 90")
    opened(page)
