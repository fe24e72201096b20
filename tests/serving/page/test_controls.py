"""Each control of the page does what it says."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from tests.serving.conftest import Running, photo, serve, to_file
from tests.serving.page.browser import (
    DESK,
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
from infilling.filling import engine
from infilling.serving.app import WEB
from infilling.serving.engines import offer_engines
from infilling.serving.problems import PROBLEMS
from infilling.serving.settings import Settings

WAITING = """async () => {
    const load = (name) => import(`/static/modules/${name}.js`);
    const [{ desk }, { busy }, { say }] = await Promise.all(["desk", "notice", "strings"].map(load));
    desk.running = new AbortController();
    busy(say("state.which", { place: 12, count: 24 }) + say("state.left", { left: 120 }), { share: 0.4 });
}"""

ADVISING = """async () => {
    const load = (name) => import(`/static/modules/${name}.js`);
    const [{ advise }, { say }] = await Promise.all(["notice", "strings"].map(load));
    advise(say("hint.rim", { grow: 5 }), say("hint.rim.do"), () => {});
}"""


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


def test_engine_grow_and_feather_are_the_readers_choice(visit: Callable[..., Page], shots: Path) -> None:
    """What is saved is what Python gives for the same choice, made here with the keyboard alone."""
    with serve(Settings(jobs=1), offer_engines(["push-pull", "mean"])) as server:
        page = visit(server)
        image = to_file(photo(9, (120, 160)))
        drop(page, image)
        opened(page)
        paint(page, (0.48, 0.4), (0.52, 0.45))
        _, mask = download(page, lambda: (page.click("#mask-menu summary"), page.click("#save-mask")))
        page.focus("#engines summary")
        page.keyboard.press("Enter")
        shoot(page, shots, "engines")
        assert page.locator("#engine-list .choice").all_inner_texts() == [
            "Smooth\npush-pull\nsmooth colours; fast at any size",
            "Flat\nmean\none flat colour",
        ]
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        expect(page.locator("#engine")).to_have_text("Flat")
        page.keyboard.press("Enter")
        expect(page.locator("#engine-list")).to_be_hidden()
        page.click("#options summary")
        for name, presses in (("grow", 7), ("feather", 5)):
            page.focus(f"#{name}")
            for _ in range(presses):
                page.keyboard.press("ArrowRight")
            expect(page.locator(f"#{name}-text")).to_have_text(f"{presses} px")
        page.keyboard.press("Escape")
        page.click("#fill")
        filled(page)
        _, data = download(page, lambda: page.click("#save"))
        assert data == infilling.fill(image, mask, "mean", grow=7, feather=5)


def test_every_control_has_a_name_and_every_word_enough_contrast(
    shared: Running, visit: Callable[..., Page]
) -> None:
    page = visit(shared)
    drop(page, to_file(photo(10)))
    opened(page)
    reader = page.context.new_cdp_session(page)
    roles = {"button", "slider", "radio", "combobox", "link", "application", "DisclosureTriangle"}
    names = {}
    for menu in ("engines", "mask-menu", "options", "history", "save-menu", "more"):
        page.click(f"#{menu} summary")
        for node in reader.send("Accessibility.getFullAXTree")["nodes"]:
            if node["role"]["value"] in roles and not node["ignored"]:
                names[node["nodeId"]] = node["name"]["value"]
        page.keyboard.press("Escape")
    assert len(names) > 30
    assert {id: name for id, name in names.items() if not name.strip()} == {}
    assert {"Method Smooth", "Compare", "Grow", "Undo"} <= set(names.values())
    style = shared.client.get("/static/style.css").text
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6})\w*, (#\w{6})\w*\)", style)
    for theme in (0, 1):
        colours = {name: both[theme] for name, *both in pairs} | {"on-accent": "#ffffff"}
        for word, grounds, least in (
            ("text", ("ground", "panel", "raised"), 4.5),
            ("quiet", ("ground", "panel", "raised"), 4.5),
            ("wrong", ("panel",), 4.5),
            ("on-accent", ("accent",), 4.5),
            ("focus", ("ground", "panel", "raised"), 4.5),
            ("accent", ("panel",), 3),
        ):
            for ground in grounds:
                assert contrast(colours[word], colours[ground]) >= least, (theme, word, ground)


def contrast(one: str, other: str) -> float:
    """Of two colours `#rrggbb`, from 1 to 21, as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.slow
def test_the_brush_has_a_size(shared: Running, visit: Callable[..., Page]) -> None:
    """By slider, by keys and by Shift and wheel; the dot on the mask has that diameter."""
    page = visit(shared)
    drop(page, to_file(photo(13, (300, 400))))
    opened(page)

    def size() -> int:
        return int(page.locator("#size-text").inner_text().removesuffix(" px"))

    first = size()
    page.keyboard.press("]")
    larger = size()
    assert larger > first
    page.keyboard.press("[")
    assert size() == first
    page.mouse.move(*at(page, 0.5, 0.4))
    zoom = page.locator("#zoom-full").inner_text()
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Shift")
    expect(page.locator("#size-text")).not_to_have_text(f"{first} px")
    assert size() > first
    assert page.locator("#zoom-full").inner_text() == zoom
    page.locator("#size").fill("80")
    wanted = size()
    assert wanted > first
    paint(page, (0.5, 0.4))
    mask = read_mask(page)
    assert abs(int(mask.any(0).sum()) - wanted) <= 1
    assert abs(int(mask.any(1).sum()) - wanted) <= 1


@pytest.mark.slow
def test_the_picture_moves_under_the_brush(shared: Running, visit: Callable[..., Page]) -> None:
    """Space and drag, the middle button and the hand move it and paint nothing; then it is fitted again."""
    page = visit(shared)
    drop(page, to_file(photo(14, (600, 800))))
    opened(page)
    page.locator("#size").fill("20")
    scale = int(page.locator("#zoom-full").inner_text().removesuffix(" %")) / 100

    def drag(button: Literal["left", "middle"] = "left") -> None:
        x, y = at(page, 0.5, 0.45)
        page.mouse.move(x, y)
        page.mouse.down(button=button)
        page.mouse.move(x + 60, y - 40, steps=3)
        page.mouse.up(button=button)

    def dot() -> np.ndarray:
        """Paint at the middle of the window; where that is in the picture, (y, x)."""
        page.mouse.move(*at(page, 0.5, 0.45))
        page.mouse.down()
        page.mouse.up()
        place = np.argwhere(read_mask(page)).mean(0)
        page.keyboard.press("Control+z")
        return place

    before = dot()
    page.focus("#overlay")
    page.keyboard.down("Space")
    drag()
    page.keyboard.up("Space")
    assert not read_mask(page).any()
    np.testing.assert_allclose(dot() - before, [40 / scale, -60 / scale], atol=1.5)
    drag("middle")
    page.keyboard.press("h")
    drag()
    page.keyboard.press("b")
    assert not read_mask(page).any()
    np.testing.assert_allclose(dot() - before, [120 / scale, -180 / scale], atol=2)
    page.click("#zoom-fit")
    np.testing.assert_allclose(dot(), before, atol=1)
    page.click("#zoom-full")
    expect(page.locator("#zoom-full")).to_have_text("100 %")


@pytest.mark.slow
def test_strokes_are_undone_and_done_again(shared: Running, visit: Callable[..., Page]) -> None:
    page = visit(shared)
    drop(page, to_file(photo(15, (300, 400))))
    opened(page)
    masks = [read_mask(page)]
    for place in (0.4, 0.5):
        paint(page, (place, 0.3), (place, 0.5))
        masks.append(read_mask(page))
    page.keyboard.down("Alt")
    paint(page, (0.35, 0.4), (0.55, 0.4))  # takes away from both
    page.keyboard.up("Alt")
    masks.append(read_mask(page))
    assert masks[3].sum() < masks[2].sum()
    for name in ("invert", "clear"):
        page.click("#mask-menu summary")
        page.click(f"#{name}")
        masks.append(read_mask(page))
    np.testing.assert_array_equal(masks[4], ~masks[3])
    assert not masks[5].any()
    for earlier in reversed(masks[:-1]):
        page.click("#undo")
        np.testing.assert_array_equal(read_mask(page), earlier)
    expect(page.locator("#undo")).to_be_disabled()
    for later in masks[1:]:
        page.keyboard.press("Control+Shift+z")
        np.testing.assert_array_equal(read_mask(page), later)
    expect(page.locator("#redo")).to_be_disabled()


@pytest.mark.slow
def test_masks_from_files(shared: Running, visit: Callable[..., Page]) -> None:
    """Bright is marked, or what is transparent; one of another size is refused with both sizes."""
    page = visit(shared)
    drop(page, to_file(photo(16, (60, 80))))
    opened(page)

    def load(array: np.ndarray) -> None:
        with page.expect_file_chooser() as chooser:
            page.click("#mask-menu summary")
            page.click("#load-mask")
        chooser.value.set_files({"name": "mask.png", "mimeType": "image/png", "buffer": to_file(array)})

    wanted = np.zeros((60, 80), bool)
    wanted[10:30, 20:50] = True
    load(np.dstack([photo(17, (60, 80)), np.where(wanted, 0, 255).astype(np.uint8)]))
    expect(page.locator("#undo")).to_be_enabled()
    np.testing.assert_array_equal(read_mask(page), wanted)
    load(~wanted)
    expect(page.locator("#live")).not_to_have_text("")
    np.testing.assert_array_equal(read_mask(page), ~wanted)
    load(np.zeros((50, 80), bool))
    expect(page.locator("#note-text")).to_contain_text("80 × 50")
    expect(page.locator("#note-text")).to_contain_text("80 × 60")
    np.testing.assert_array_equal(read_mask(page), ~wanted)


@pytest.mark.slow
def test_a_pen_that_presses_harder_paints_wider(shared: Running, visit: Callable[..., Page]) -> None:
    page = visit(shared)
    drop(page, to_file(photo(18, (300, 400))))
    opened(page)
    pen = page.context.new_cdp_session(page)

    def stroke(force: float) -> int:
        way = (("mousePressed", 0.45), ("mouseMoved", 0.5), ("mouseMoved", 0.55), ("mouseReleased", 0.55))
        for kind, x in way:
            place = dict(zip(("x", "y"), at(page, x, 0.4), strict=True))
            told = {"type": kind, "button": "left", "buttons": 1, "pointerType": "pen", "force": force}
            pen.send("Input.dispatchMouseEvent", {**told, **place, "clickCount": 1})
        painted = int(read_mask(page).any(1).sum())
        page.keyboard.press("Control+z")
        return painted

    light, firm = stroke(0.2), stroke(1.0)
    assert 0 < light < 0.7 * firm


@pytest.mark.slow
def test_language_and_colours_are_remembered(
    shared: Running, visit: Callable[..., Page], shots: Path
) -> None:
    page = visit(shared)
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#more summary")
    page.select_option("#language", "vi")
    page.select_option("#theme", "light")
    expect(page.locator("h1")).to_have_text("Xoá một thứ khỏi bức ảnh")
    shoot(page, shots, "settings-vi-light")
    assert page.evaluate(ground) != dark
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("document.documentElement.lang") == "vi"
    assert page.evaluate(ground) != dark


def test_languages_have_the_same_words(shared: Running) -> None:
    words = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (WEB / "strings").iterdir()}
    table = (WEB / "modules" / "strings.js").read_text(encoding="utf-8").partition("}")[0]
    listed = re.findall(r"(\w+): \"", table)
    assert sorted(words) == sorted(listed)
    english = words.pop("en")
    for language, there in words.items():
        assert list(english) == list(there), language
        for name, text in english.items():
            assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", there[name])), (language, name)
            assert there[name].strip(), (language, name)
    page = shared.client.get("/").text
    scripts = "".join(
        path.read_text(encoding="utf-8") for path in [WEB / "app.js", *(WEB / "modules").iterdir()]
    )
    used = re.findall(r'data-(?:text|label|tip|more)="([^"]+)"', page)
    used += re.findall(r'say\("([^"]+)"', scripts) + re.findall(r'"((?:problem|key|done)\.\w+)"', scripts)
    engines = engine.list_engines().items()
    titles = {name: entry.title for name, entry in engines if entry.model is None or entry.model.url is None}
    assert {name: english[f"engine.{name}"] for name in titles} == titles
    used += [f"engine.{name}{more}" for name in titles for more in ("", ".what")]
    assert set(used) <= set(english)
    put_together = "ask. done. engine. extend. find. key. problem. said. state. warning."
    assert [
        name for name in english if name not in used and not name.startswith(tuple(put_together.split()))
    ] == []


def test_every_problem_of_the_server_has_a_sentence() -> None:
    """But what is answered by an action, and "invalid", which says which value is at fault."""
    text = (WEB / "modules" / "notice.js").read_text(encoding="utf-8")
    block = text.partition("const SENTENCES = {")[2].partition("}")[0]
    codes = set(re.findall(r'^  "?([a-z-]+)"?:', block, re.MULTILINE))
    assert codes == PROBLEMS.keys() - {"unauthorized", "unknown-picture", "invalid"} | {"gone", "repeated"}


@pytest.mark.slow
def test_copy_and_paste(shared: Running, visit: Callable[..., Page]) -> None:
    page = visit(shared)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    image = photo(6, (60, 80))
    drop(page, to_file(image))
    opened(page)
    page.keyboard.press("Control+c")
    expect(page.locator("#note-text")).to_have_text("Nothing has been filled yet.")
    paint(page, (0.5, 0.4))
    page.click("#fill")
    filled(page)
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


@pytest.mark.slow
def test_what_is_dragged_over_the_page_may_be_dropped(
    shared: Running, visit: Callable[..., Page], shots: Path
) -> None:
    page = visit(shared)
    page.evaluate("window.dispatchEvent(new DragEvent('dragenter'))")
    expect(page.locator("#veil")).to_be_visible()
    shoot(page, shots, "dragged-over")
    page.evaluate("window.dispatchEvent(new DragEvent('dragleave'))")
    expect(page.locator("#veil")).to_be_hidden()


@pytest.mark.slow
def test_nothing_overlaps_at_any_width(shared: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(shared, DESK | {"color_scheme": "light", "locale": "vi-VN"})
    page.click("[data-sample='galaxies.jpg']")
    opened(page)
    for width in (1600, 1241, 961, 960, 801, 800, 521, 520, 360, 320):
        page.set_viewport_size({"width": width, "height": 700})
        shoot(page, shots, f"width-{width:04}")


@pytest.mark.slow
@pytest.mark.parametrize("language", ["de", "es", "fr", "zh"])
def test_every_language_has_room(
    shared: Running, visit: Callable[..., Page], shots: Path, language: str
) -> None:
    page = visit(shared, DESK | {"locale": language})
    assert page.evaluate("document.documentElement.lang") == language
    page.click("[data-sample='galaxies.jpg']")
    opened(page)
    paint(page, (0.5, 0.4))
    page.click("#fill")
    expect(page.locator("#variants")).to_be_visible()
    for width in (1440, 1240, 1101, 390, 320):
        page.set_viewport_size({"width": width, "height": 780})
        shoot(page, shots, f"{language}-{width}")
    page.evaluate(WAITING)
    shoot(page, shots, f"{language}-waiting")
    page.evaluate(ADVISING)
    shoot(page, shots, f"{language}-advised")
