"""Borders: their size, that the picture stays as it is, and that what is added goes on from it."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import infilling
from infilling.errors import InfillingWarning, InputError
from infilling.filling.border import Border, describe_far, plan_border
from infilling.filling.extend import _list_pieces
from infilling.pictures.mask import Box

Pixels = NDArray[np.uint8]

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def draw_scene(height: int = 160, width: int = 200, top: int = 255, dtype: type = np.uint8) -> Pixels:
    """A sky that gets lighter downwards, above grass of green noise."""
    rng = np.random.default_rng(2)
    horizon = height // 2
    sky = np.linspace(0.3, 0.8, horizon)[:, None, None] * np.array([0.5, 0.7, 1.0])
    grass = rng.random((height - horizon, width, 1)) * np.array([0.2, 0.8, 0.2])
    picture = np.concatenate([np.broadcast_to(sky, (horizon, width, 3)), grass])
    return np.rint(picture * top).astype(dtype)


# -- sizes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "border"),
    [
        ({"left": 20}, (20, 0, 0, 0)),
        ({"top": "10%", "bottom": "2.5%"}, (0, 30, 0, 8)),
        ({"to": "4:3", "left": 40}, (40, 15, 0, 15)),
        ({"to": "1:1"}, (0, 50, 0, 50)),
        ({"to": "2:1"}, (100, 0, 100, 0)),
        ({"right": "100"}, (0, 0, 100, 0)),
    ],
)
def test_borders_by_hand(asked: dict[str, int | str], border: tuple[int, ...]) -> None:
    assert plan_border(400, 300, **asked) == border  # type: ignore[arg-type]


@pytest.mark.parametrize("ratio", ["16:9", "9:16", "3:2", "1:1", "239:100"])
@pytest.mark.parametrize(("width", "height"), [(400, 300), (301, 997), (64, 48)])
def test_a_ratio_is_reached_to_half_a_pixel_by_adding_on_one_axis(
    ratio: str, width: int, height: int
) -> None:
    across, down = map(int, ratio.split(":"))
    border = plan_border(width, height, to=ratio)
    wide, high = width + border.left + border.right, height + border.top + border.bottom
    assert abs(wide - high * across / down) <= 0.5 or abs(high - wide * down / across) <= 0.5
    assert (wide == width) != (high == height)
    assert abs(border.left - border.right) <= 1
    assert abs(border.top - border.bottom) <= 1


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "left"),
        ({"left": -1}, "left"),
        ({"top": "ten"}, "top"),
        ({"right": True}, "right"),
        ({"bottom": 1.5}, "bottom"),
        ({"to": "16x9"}, "to"),
        ({"to": "0:9"}, "to"),
        ({"to": "4:3"}, "to"),
        ({"left": "800%"}, "left"),
    ],
)
def test_borders_that_cannot_be_are_refused(asked: dict[str, int | str], field: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_border(400, 300, **asked)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_wide_border_warns_and_says_which() -> None:
    assert describe_far(Border(60, 45, 60, 45), 400, 300) is None
    text = describe_far(Border(80, 0, 0, 90), 400, 300)
    assert text is not None
    assert "left 20%, bottom 30%" in text
    with pytest.warns(InfillingWarning, match="right 25%"):
        infilling.extend(draw_scene(), "push-pull", right="25%")


@pytest.mark.parametrize("border", [Border(30, 20, 10, 40), Border(0, 0, 7, 0), Border(0, 500, 0, 0)])
def test_the_pieces_cover_the_border_once(border: Border) -> None:
    inside = Box(border.left, border.top, 100, 80)
    width, height = 100 + border.left + border.right, 80 + border.top + border.bottom
    count = np.zeros((height, width), int)
    count[inside.slices] += 1
    for piece in _list_pieces(inside, width, height):
        assert count[piece.known.slices].all()  # what is mirrored was filled before
        count[piece.core.slices] += 1
    assert (count == 1).all()


# -- what is added -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["default", "push-pull", "patch-synthesis"])
def test_the_picture_stays_as_it_is(engine: str) -> None:
    scene = draw_scene()
    wide = infilling.extend(scene, engine, left=20, top=10, right=5, bottom=12)
    assert wide.shape == (182, 225, 3)
    np.testing.assert_array_equal(wide[10:170, 20:220], scene)
    np.testing.assert_array_equal(scene, draw_scene())
    assert not (wide[:10] == 0).all(axis=2).any()


def test_sky_goes_on_as_sky_and_grass_as_grass() -> None:
    """Beside the picture each row keeps its colours; above it there is no grass, below it no sky."""
    wide = infilling.extend(draw_scene(), left="15%", top="15%", right="15%", bottom="15%").astype(float)
    is_green = wide[..., 1] > wide[..., 2] + 2
    sky, grass = wide[: 24 + 76], wide[24 + 84 :]
    assert not is_green[: 24 + 76].any()
    assert is_green[24 + 84 :].mean() > 0.97
    for part in (sky[30:, :30], sky[30:, -30:]):
        np.testing.assert_allclose(part.mean(axis=1), sky[30:, 30:-30].mean(axis=1), atol=6)
    assert grass[-20:].std() > 0.7 * grass[:70, 30:-30].std()  # as lively as the picture's


def test_another_seed_gives_another_border_and_the_same_the_same() -> None:
    scene = draw_scene()
    one = infilling.extend(scene, bottom=24, seed=1)
    np.testing.assert_array_equal(one, infilling.extend(scene, bottom=24, seed=1))
    assert (one != infilling.extend(scene, bottom=24, seed=2)).any()


@pytest.mark.parametrize("size", [(7, 7), (9, 12), (8, 200)])
def test_crumbs_of_pictures_are_extended_too(size: tuple[int, int]) -> None:
    scene = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    wide = infilling.extend(scene, left=1, top=1, right=1, bottom=1)
    np.testing.assert_array_equal(wide[1:-1, 1:-1], scene)


def test_a_single_pixel_is_continued_in_its_colour() -> None:
    wide = infilling.extend(np.full((1, 1, 3), 70, np.uint8), left=1, bottom=1)
    assert wide.tolist() == [[[70] * 3] * 2] * 2


# -- kinds of picture ----------------------------------------------------------------------------------------


def test_sixteen_bits_stay_in_their_range_and_grey_stays_grey() -> None:
    deep = draw_scene(96, 120, 4095, np.uint16) + np.uint16(100)
    wide = infilling.extend(deep, left=18, bottom=10)
    assert wide.dtype == np.uint16
    assert deep.min() <= wide.min() <= wide.max() <= deep.max()
    grey = infilling.extend(deep[..., 1], left=18)
    assert grey.shape == (96, 138)


def test_what_is_added_is_opaque_and_nothing_comes_from_the_transparent() -> None:
    scene = draw_scene(96, 120)
    alpha = np.full((96, 120, 1), 255, np.uint8)
    alpha[40:60, 100:] = 0
    given = np.dstack([scene, alpha])
    given[40:60, 100:, :3] = (255, 0, 255)
    wide = infilling.extend(given, right=18)
    assert (wide[:, 120:, 3] == 255).all()
    np.testing.assert_array_equal(wide[:, :120], given)
    is_magenta = (wide[:, 120:, 0] > 200) & (wide[:, 120:, 1] < 60)
    assert not is_magenta.any()


def test_files_keep_format_and_metadata_but_say_their_new_size(tmp_path: Path) -> None:
    path, exif = tmp_path / "photo.jpg", Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0xA002] = 200
    exif.get_ifd(0x8769)[0xA003] = 160
    Image.fromarray(draw_scene()).save(path, exif=exif, dpi=(300, 300), quality=88, icc_profile=PROFILE)
    result = infilling.extend(path, left=16, top="10%")
    assert result == tmp_path / "photo.extended.jpg"
    with Image.open(result) as image:
        assert (image.format, image.size, image.info["dpi"]) == ("JPEG", (216, 176), (300, 300))
        assert image.info["icc_profile"] == PROFILE
        found = image.getexif()
        assert found[0x010F] == "Maker"
        assert [found.get_ifd(0x8769)[code] for code in (0xA002, 0xA003)] == [216, 176]
    data = infilling.extend(path.read_bytes(), "push-pull", to="3:2", format="png", mark=True)
    assert b"compositeSynthetic" in data
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (240, 160)
    with Image.open(path) as image:
        assert infilling.extend(image, "push-pull", right=4).size == (204, 160)


def test_data_is_refused() -> None:
    with pytest.raises(InputError, match="float64"):
        infilling.extend(np.zeros((20, 20)), left=4)


def test_the_command_writes_what_python_gives(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(draw_scene()).save(path)
    infill = [sys.executable, "-m", "infilling", "extend", str(path)]
    done = subprocess.run(
        [*infill, "--to", "16:9", "--seed", "3", "-o", str(tmp_path / "wide.png")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(tmp_path / "wide.png")
    assert "left 21%" in done.stderr
    with pytest.warns(InfillingWarning):
        assert (tmp_path / "wide.png").read_bytes() == infilling.extend(path.read_bytes(), to="16:9", seed=3)
    refused = subprocess.run([*infill, "--left", "wide"], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "left 'wide' cannot be used" in refused.stderr
