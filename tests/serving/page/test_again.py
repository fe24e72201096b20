"""A second try at the same hole: variants, engines, history, and the fills that need no button."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.serving.conftest import Running, SlowEngine, offer, photo, serve, to_file
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

from infilling.serving.engines import offer_engines
from infilling.serving.settings import Settings


@pytest.fixture(scope="module")
def several() -> "Running":  # type: ignore[misc]
    with serve(Settings(jobs=1), offer_engines(["push-pull", "mean", "telea"])) as server:
        yield server


def saved(page: Page) -> bytes:
    return download(page, lambda: page.click("#save"))[1]


def test_fill_again_gives_the_next_variant_and_each_is_undone(
    several: Running, visit: Callable[..., Page], shots: Path
) -> None:
    """The mask stays; one click fills it again; thumbnails, arrow keys and engines choose; undo goes back."""
    page = visit(several)
    drop(page, to_file(photo(1, (150, 200))))
    opened(page)
    paint(page, (0.48, 0.35), (0.52, 0.45))
    mask = read_mask(page)
    page.click("#fill")
    filled(page)
    np.testing.assert_array_equal(read_mask(page), mask)
    expect(page.locator("#fill-text")).to_have_text("Fill again")
    results = [saved(page)]
    thumbs = page.locator("#variant-list .thumb")
    for count in (2, 3):
        page.click("#fill-again")
        expect(thumbs).to_have_count(count)
        expect(page.locator("#busy")).to_be_hidden()
        results.append(saved(page))
    shoot(page, shots, "variants")
    assert len(set(results)) == 3
    page.click("#fill")
    expect(page.locator("#note-text")).to_contain_text("Every method has been tried")
    page.click("#undo")
    assert saved(page) == results[1]
    page.click("#undo")
    assert saved(page) == results[0]
    page.click("#redo")
    page.click("#redo")
    thumbs.nth(0).click()
    assert saved(page) == results[0]
    page.keyboard.press(".")
    assert saved(page) == results[1]
    thumbs.nth(1).focus()
    page.keyboard.press("ArrowLeft")
    expect(thumbs.nth(0)).to_be_focused()
    expect(thumbs.nth(0)).to_have_attribute("aria-checked", "true")
    assert saved(page) == results[0]
    page.click("#undo")  # the choices are one step
    assert saved(page) == results[2]
    page.click("[data-engine='push-pull']")  # was made: shown at once
    expect(thumbs).to_have_count(3)
    assert saved(page) == results[0]


def test_painting_on_begins_a_new_hole_and_keep_changes_the_old_one(
    several: Running, visit: Callable[..., Page]
) -> None:
    page = visit(several)
    drop(page, to_file(photo(2, (150, 200))))
    opened(page)
    paint(page, (0.42, 0.4))
    first = read_mask(page)
    page.click("#fill")
    filled(page)
    paint(page, (0.56, 0.4))
    second = read_mask(page)
    assert second.any()
    assert not (first & second).any()
    expect(page.locator("#variants")).to_be_hidden()
    page.click("#undo")
    np.testing.assert_array_equal(read_mask(page), first)
    page.click("#keep")
    paint(page, (0.56, 0.4))
    np.testing.assert_array_equal(read_mask(page), first | second)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("e")
    paint(page, (0.42, 0.4))  # the eraser too changes the mask that is there
    assert not read_mask(page).any()


@pytest.mark.slow
def test_start_over_and_history(several: Running, visit: Callable[..., Page], shots: Path) -> None:
    page = visit(several)
    drop(page, to_file(photo(3, (150, 200))))
    opened(page)
    results = []
    for x in (0.42, 0.56):
        paint(page, (x, 0.4))
        page.click("#fill")
        filled(page)
        expect(page.locator("#fill-text")).to_have_text("Fill again")
        results.append(saved(page))
    page.click("#history summary")
    states = page.locator("#history-list .thumb")
    expect(states).to_have_count(3)
    shoot(page, shots, "history")
    states.nth(1).click()
    page.keyboard.press("Escape")
    assert saved(page) == results[0]
    page.click("#history summary")
    states.nth(2).click()
    page.click("#restart")
    expect(page.locator("#save")).to_be_disabled()
    expect(page.locator("#compare")).to_be_disabled()
    page.click("#undo")
    assert saved(page) == results[1]


def test_a_dot_of_the_healing_brush_is_filled_at_once(several: Running, visit: Callable[..., Page]) -> None:
    """So is every stroke, where the reader has chosen that."""
    page = visit(several)
    drop(page, to_file(photo(4, (150, 200))))
    opened(page)
    page.keyboard.press("j")
    paint(page, (0.45, 0.4))
    filled(page)
    assert (read_mask(page).sum()) > 10
    page.keyboard.press("b")
    paint(page, (0.55, 0.4))
    expect(page.locator("#fill-text")).to_have_text("Fill")  # the brush waits
    page.click("#undo")
    page.click("#options summary")
    page.check("#release")
    page.keyboard.press("Escape")
    paint(page, (0.55, 0.4))
    expect(page.locator("#variants")).to_be_visible()
    page.keyboard.press("e")
    paint(page, (0.9, 0.9))  # beside the picture, and the eraser fills nothing
    page.wait_for_timeout(100)
    expect(page.locator("#busy")).to_be_hidden()


@pytest.mark.slow
def test_the_original_shows_while_compare_is_held(
    several: Running, visit: Callable[..., Page], shots: Path
) -> None:
    page = visit(several, PHONE | {"locale": "en-GB"})
    drop(page, to_file(photo(5, (150, 200))))
    opened(page)
    expect(page.locator("#compare")).to_be_disabled()
    page.touchscreen.tap(*at(page, 0.5, 0.4))
    page.tap("#fill")
    filled(page)
    shoot(page, shots, "phone-variants")
    box = page.locator("#compare").bounding_box()
    assert box
    touch = page.context.new_cdp_session(page)
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [place]})
    expect(page.locator("#original")).to_be_visible()
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("#original")).to_be_hidden()
    expect(page.locator("#split")).to_be_hidden()
    page.tap("#compare")
    expect(page.locator("#split i")).to_be_visible()


@pytest.mark.slow
def test_compare_wipes_once_over_the_last_fill(several: Running, visit: Callable[..., Page]) -> None:
    page = visit(several)
    drop(page, to_file(photo(6, (150, 200))))
    opened(page)
    for x in (0.42, 0.58):
        paint(page, (x, 0.4))
        page.click("#fill")
        filled(page)
        expect(page.locator("#variants")).to_be_visible()
    page.evaluate(
        """() => {
            window.seen = [];
            const note = () => {
                window.seen.push(Number(document.getElementById("split").ariaValueNow));
                requestAnimationFrame(note);
            };
            document.getElementById("compare").click();
            note();
        }"""
    )
    page.wait_for_timeout(1600)
    seen = page.evaluate("window.seen")
    assert seen[0] > 58 > seen[-1] > 50  # from the right edge of the last fill to its left one
    assert seen == sorted(seen, reverse=True)


@pytest.mark.slow
def test_cancelling_the_second_fill_keeps_the_first(visit: Callable[..., Page]) -> None:
    engine = SlowEngine()
    with serve(Settings(jobs=1), [offer(engine), *offer_engines(["mean"])]) as server:
        page = visit(server)
        drop(page, to_file(photo(7, (60, 80))))
        opened(page)
        paint(page, (0.48, 0.4), (0.52, 0.45))
        page.click("#engines summary")
        page.click("#engine-list label:has-text('Flat')")
        page.click("#fill")
        filled(page)
        before = saved(page)
        page.click("[data-engine='slow']")
        assert engine.began.acquire(timeout=20)
        expect(page.locator("#undo")).to_be_disabled()
        page.click("#cancel")
        expect(page.locator("#live")).to_have_text("Cancelled")
        engine.gate.set()
        assert saved(page) == before
        expect(page.locator("#variant-list .thumb")).to_have_count(1)


@pytest.mark.slow
def test_a_tight_mask_is_grown_with_one_click(
    several: Running, visit: Callable[..., Page], shots: Path
) -> None:
    image, tight = np.full((96, 96, 3), 110, np.uint8), np.zeros((96, 96), bool)
    image[:, 30:60], tight[:, 32:58] = (230, 60, 40), True
    page = visit(several)
    drop(page, to_file(image))
    opened(page)
    drop(page, to_file(tight), "mask.png")
    page.click("#ask-answers [value='mask']")
    page.click("#fill")
    expect(page.locator("#note-text")).to_contain_text("Grown by 2 px")
    shoot(page, shots, "tight")
    page.click("#note-again")
    expect(page.locator("#variant-list .thumb")).to_have_count(2)
    expect(page.locator("#grow-text")).to_have_text("2 px")
    expect(page.locator("#note")).to_be_hidden()


@pytest.mark.slow
def test_the_grown_mask_is_shown_before_it_is_filled(several: Running, visit: Callable[..., Page]) -> None:
    """The light rim round the mask reaches as far as the server then fills."""
    page = visit(several)
    drop(page, to_file(np.full((200, 300, 3), 128, np.uint8)))
    opened(page)
    page.keyboard.press("r")
    paint(page, (0.48, 0.35), (0.52, 0.42))
    page.click("#options summary")
    page.locator("#grow").fill("12")
    page.keyboard.press("Escape")
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    pink = shot[..., 0] - shot[..., 1] > 20
    stage = page.locator("#overlay").bounding_box()
    assert stage
    pink[: int(stage["y"])] = False
    pink[int(stage["y"] + 0.8 * stage["height"]) :] = False
    seen_wide = int(pink.any(0).sum())
    with page.expect_response("**/api/v1/fill") as answer:
        page.click("#fill")
    _, _, width, _ = map(int, answer.value.headers["x-infilling-box"].split(","))
    scale = int(page.locator("#zoom-full").inner_text().removesuffix(" %")) / 100
    assert abs(seen_wide - width * scale) <= 4


def test_the_grown_mask_ends_at_the_edge_of_the_picture(several: Running, visit: Callable[..., Page]) -> None:
    """What is beside the picture is not filled, so it is not marked."""
    page = visit(several)
    drop(page, to_file(np.full((200, 300, 3), 128, np.uint8)))
    opened(page)
    place = "import('/static/modules/desk.js').then(({ view }) => [view.x, view.y, view.scale])"
    left, top, scale = page.evaluate(place)
    stage = page.locator("#overlay").bounding_box()
    assert stage
    page.mouse.click(stage["x"] + left + 150 * scale, stage["y"] + top + 2 * scale)
    page.click("#options summary")
    page.locator("#grow").fill("40")
    page.wait_for_timeout(200)
    drawn = "document.getElementById('marks').getContext('2d').getImageData(0, 0, innerWidth, {})"
    marked = f"{drawn}.data.some(Boolean)"
    edge = int(top * page.evaluate("devicePixelRatio"))
    assert page.evaluate(marked.format(edge + 40))
    assert not page.evaluate(marked.format(edge - 1))
