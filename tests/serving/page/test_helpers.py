"""Every mask helper gives the same mask on the command line, in Python, over REST and on the page."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.pictures.prints import add_dust, add_fold, add_stamp, add_watermark
from tests.serving.conftest import Running, from_file, serve, to_file
from tests.serving.page.browser import Page, click_picture, drop_several, expect, read_mask

from infilling import masks
from infilling.filling.mask_helpers import HELPERS
from infilling.serving.engines import offer_engines
from infilling.serving.settings import Settings

SPOT = (70, 60)  # x, y of the disc's middle
CLEAR = (slice(20, 60), slice(100, 150))


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve(Settings(jobs=1), offer_engines(["push-pull"])) as running:
        yield running


def draw_disc() -> np.ndarray:
    """Return a red disc on blue, (120, 160, 4) uint8, with a transparent part."""
    rows, columns = np.mgrid[:120, :160]
    disc = (rows - SPOT[1]) ** 2 + (columns - SPOT[0]) ** 2 < 30**2
    pixels = np.where(disc[..., None], (200, 40, 40, 255), (40, 90, 160, 255)).astype(np.uint8)
    pixels[CLEAR] = 0
    return pixels


def draw_scratch() -> np.ndarray:
    """Return a scratch on soft shapes with grain, (200, 300, 3) uint8."""
    grain = np.random.default_rng(0).normal(0, 3, (200, 300, 3))
    pixels = 130 + 30 * np.sin(np.arange(200) / 50)[:, None, None] + grain
    pixels[20:180, 60:63] = 250
    return pixels.astype(np.uint8)


def make_pictures(helper: str) -> list[np.ndarray]:
    """Return what a helper looks at: small pictures in which it finds something."""
    if helper == "watermark":
        return add_watermark(1, 5, 1.0, "logo")[0]
    prints = {"dust": add_dust, "stamp": add_stamp, "fold": add_fold}
    if helper in prints:
        photo = prints[helper](7)[0]
        return [photo[: photo.shape[0] // 2] if helper == "dust" else photo]
    return [draw_scratch() if helper == "scratches" else draw_disc()]


def mark_on_the_page(page: Page, helper: str, pictures: list[np.ndarray]) -> np.ndarray:
    """Return the mask that a reader gets, bool (H, W)."""
    drop_several(page, *((f"{place}.png", to_file(each)) for place, each in enumerate(pictures)))
    expect(page.locator("#file")).to_contain_text(f"{len(pictures) - 1}.png")
    expect(page.locator("#busy")).to_be_hidden()
    if len(pictures) > 1:  # the one in sight is sent first, and sums depend on the order in their last bit
        page.click("#shelf .thumb >> nth=0")
        expect(page.locator("#file")).to_contain_text("0.png")
    if helper == "object":
        page.keyboard.press("s")
        click_picture(page, *SPOT)
    else:
        page.click("#mask-menu summary")
        names = {"color": "#find-colour", "alpha": "#find-transparent"}
        page.click(names.get(helper, f"[data-finder='{helper}']"))
        if helper == "color":
            click_picture(page, *SPOT)
    expect(page.locator("#busy-text")).to_contain_text("of the picture is marked")
    return read_mask(page)


@pytest.mark.parametrize(
    "helper", [name if name == "object" else pytest.param(name, marks=pytest.mark.slow) for name in HELPERS]
)
def test_a_helper_gives_one_mask(
    helper: str, server: Running, visit: Callable[..., Page], infill: Any, tmp_path: Path
) -> None:
    pictures = make_pictures(helper)
    for place, each in enumerate(pictures):
        Image.fromarray(each).save(tmp_path / f"{place}.png")
    is_many = HELPERS[helper].many
    source = [tmp_path / f"{place}.png" for place in range(len(pictures))] if is_many else pictures[-1]
    options: dict[str, Any] = {"object": {"points": [SPOT]}, "color": {"value": "#c82828"}}.get(helper, {})
    expected = getattr(masks, helper)(source, **options)
    assert 0 < expected.mean() < 0.5

    words = {"object": ["--point", "{},{}".format(*SPOT)], "color": [*options.values()]}.get(helper, [])
    path = tmp_path if is_many else tmp_path / "0.png"
    given = [*words, path] if helper == "color" else [path, *words]
    mask = tmp_path.with_suffix(".png")  # not among the pictures
    assert infill("mask", helper, *given, "--out", mask).code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(mask)) > 0, expected)

    if HELPERS[helper].is_offered:
        files = [("image" if not place else "other", to_file(each)) for place, each in enumerate(pictures)]
        data = {"point": "{},{}".format(*SPOT)} if helper == "object" else {}
        answer = server.client.post(f"/api/v1/mask/{helper}", data=data, files=files)
        np.testing.assert_array_equal(from_file(answer.content) > 127, expected)

    np.testing.assert_array_equal(mark_on_the_page(visit(server), helper, pictures), expected)
