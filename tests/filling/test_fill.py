"""The pipeline and its door: every kind in and out, known pixels untouched, many callers at once."""

import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageCms
from skimage.data import astronaut

from infilling.errors import InputError, ModelError, StorageError
from infilling.filling import open_engines
from infilling.filling.contract import check_batch
from infilling.filling.engine import ENGINES, open_engine
from infilling.filling.fill import fill
from infilling.filling.pipeline import fill_picture, find_hole
from infilling.pictures.files import decode, encode
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats, Picture, from_array

HEIGHT, WIDTH = 30, 40


@dataclass
class Constant:
    """An engine that gives one value everywhere, and keeps what it was given."""

    value: float = 0.25
    name: str = "constant"
    size_rule: SizeRule = field(default_factory=SizeRule)
    seen: list[tuple[Floats, Floats]] = field(default_factory=list)

    def fill(self, image: Floats, mask: Floats) -> Floats:
        check_batch(image, mask)
        self.seen.append((image.copy(), mask.copy()))
        return np.full_like(image, self.value)


def make_pixels(channels: int | None = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    """Noise of any type that `fill` takes."""
    rng = np.random.default_rng(5)
    shape = (HEIGHT, WIDTH) if channels is None else (HEIGHT, WIDTH, channels)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def make_mask() -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[8:18, 10:30] = True
    mask[25, 3] = True
    mask[0, 36:] = True
    return mask


def to_bytes(array: NDArray[Any], format: str = "PNG") -> bytes:
    return encode(from_array(array), format)


def known(array: NDArray[Any]) -> NDArray[Any]:
    return array[~make_mask()]


# -- known pixels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["default", *ENGINES])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [None, 4])
def test_known_pixels_are_bit_identical_with_every_engine(
    name: str, dtype: Any, channels: int | None
) -> None:
    image, mask = make_pixels(channels, dtype), make_mask()
    result = fill(image, mask, name)
    assert result.shape == image.shape
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(known(result), known(image))
    if channels is None:
        assert (result[mask] != image[mask]).mean() > 0.8
    else:
        assert (result[mask][:, :3] != image[mask][:, :3]).mean() > 0.8
        np.testing.assert_array_equal(result[..., 3], image[..., 3])


@pytest.mark.parametrize("name", ["default", *ENGINES])
def test_known_pixels_are_bit_identical_in_a_lossless_file(name: str) -> None:
    image = make_pixels()
    result = decode(fill(to_bytes(image), make_mask(), name)).pixels
    np.testing.assert_array_equal(known(result), known(image))


@pytest.mark.filterwarnings("ignore:nothing is marked", "ignore:the mask marks")
@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    channels=st.sampled_from([None, 1, 2, 3, 4]),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float16, np.float32, np.float64]),
    grow=st.integers(0, 3),
    feather=st.integers(0, 4),
)
def test_known_pixels_are_bit_identical_in_any_array(
    data: st.DataObject,
    height: int,
    width: int,
    channels: int | None,
    dtype: Any,
    grow: int,
    feather: int,
) -> None:
    mask = data.draw(arrays.arrays(bool, (height, width)))
    shape = (height, width) if channels is None else (height, width, channels)
    elements = st.floats(0, 1, width=16) if np.dtype(dtype).kind == "f" else None
    image = data.draw(arrays.arrays(dtype, shape, elements=elements))
    image.flags.writeable = mask.flags.writeable = False
    hole = find_hole(Picture(np.zeros((height, width, 1), np.uint8)), mask)
    rows, columns = np.nonzero(hole)
    far = np.ones_like(hole)
    for y, x in zip(rows, columns, strict=True):  # everything further than `grow` from each hole pixel
        dy, dx = np.ogrid[-y : height - y, -x : width - x]
        far &= dy * dy + dx * dx > grow * grow
    if not far.any():
        with pytest.raises(InputError, match="covers the whole picture"):
            fill(image, mask, "push-pull", grow=grow, feather=feather)
        return
    result = fill(image, mask, "push-pull", grow=grow, feather=feather)
    assert (result.shape, result.dtype) == (image.shape, image.dtype)
    assert not np.shares_memory(result, image)
    np.testing.assert_array_equal(result[far], image[far])


# -- kinds -----------------------------------------------------------------------------------------------


def test_a_path_gives_the_path_of_a_file_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "photo.PNG"
    path.write_bytes(to_bytes(make_pixels()))
    result = fill(path, make_mask())
    assert result == tmp_path / "photo.filled.PNG"
    assert decode(result).format == "PNG"
    assert fill(str(path), make_mask()) == str(result)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["photo.PNG", "photo.filled.PNG"]
    np.testing.assert_array_equal(decode(path).pixels, make_pixels())


def test_a_path_whose_ending_is_wrong_gets_the_right_one(tmp_path: Path) -> None:
    for name, format, expected in [
        ("photo", "PNG", "photo.filled.png"),
        ("photo.jpg", "PNG", "photo.filled.png"),
        ("photo.jpeg", "JPEG", "photo.filled.jpeg"),
        ("a.b.webp", "WEBP", "a.b.filled.webp"),
    ]:
        (tmp_path / name).write_bytes(to_bytes(make_pixels(), format))
        assert fill(tmp_path / name, make_mask(), "mean") == tmp_path / expected
        assert decode(tmp_path / expected).format == format
    Image.fromarray(make_pixels()).save(tmp_path / "old.gif")
    assert fill(tmp_path / "old.gif", make_mask(), "mean").name == "old.filled.png"


def test_out_and_format_say_where_and_how_to_write(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(to_bytes(make_pixels()))
    out = tmp_path / "result.tiff"
    assert fill(path, make_mask(), out=out) == out
    assert decode(out).format == "TIFF"
    assert fill(path, make_mask(), out=tmp_path / "bare") == tmp_path / "bare"
    assert decode(tmp_path / "bare").format == "PNG"
    assert fill(path, make_mask(), format="jpg") == tmp_path / "photo.filled.jpeg"
    assert decode(tmp_path / "photo.filled.jpeg").format == "JPEG"
    assert decode(fill(path.read_bytes(), make_mask(), format="bmp")).format == "BMP"
    small, large = (len(fill(path.read_bytes(), make_mask(), format="jpg", quality=q)) for q in (10, 95))
    assert small < large
    with pytest.raises(InputError, match="not a format that can be written"):
        fill(path, make_mask(), out=tmp_path / "result.xyz")
    with pytest.raises(StorageError, match="cannot be written"):
        fill(path, make_mask(), out=tmp_path / "nowhere" / "result.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "bare",
        "photo.filled.jpeg",
        "photo.png",
        "result.tiff",
    ]


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (b"x", {"out": "y.png"}, "'out' is for an image given by its path, not for bytes"),
        (make_pixels(), {"out": "y.png"}, "'out' is for an image given by its path, not for ndarray"),
        (make_pixels(), {"format": "png"}, "'format' and 'quality' are for files"),
        (Image.new("L", (WIDTH, HEIGHT)), {"quality": 3}, "'format' and 'quality' are for files"),
        (make_mask(), {}, "integers or floats, not bool"),
        (make_pixels().astype(complex), {}, "integers or floats, not complex128"),
        (np.zeros((4, 4, 3, 1), np.uint8), {}, r"not \(4, 4, 3, 1\)"),
        (np.zeros((0, 4), np.uint8), {}, r"not \(0, 4\)"),
        (7, {}, "an image is a path, bytes, a Pillow image or a NumPy array, not int"),
        ("gone.png", {}, r"gone\.png: no such file"),
        (b"", {}, "empty"),
    ],
)
def test_what_cannot_be_filled_says_why(image: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fill(image, make_mask(), **options)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [None, 2, 3, 4])
def test_bytes_give_bytes_of_the_same_format_and_depth(dtype: Any, channels: int | None) -> None:
    image = make_pixels(channels, dtype)
    before = decode(to_bytes(image))
    result = decode(fill(to_bytes(image), make_mask()))
    assert result.format == "PNG"
    assert result.pixels.dtype == dtype
    assert result.pixels.shape == before.pixels.shape
    np.testing.assert_array_equal(known(result.pixels), known(before.pixels))
    if before.alpha is not None:
        assert result.alpha is not None
        np.testing.assert_array_equal(result.alpha, before.alpha)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("P", "RGB"), ("1", "L"), ("CMYK", "RGB")],
)
@pytest.mark.filterwarnings("ignore:its CMYK became RGB")
def test_pillow_gives_pillow(mode: str, expected: str) -> None:
    image = Image.fromarray(make_pixels()).convert(mode)
    before = image.copy()
    result = fill(image, Image.fromarray(make_mask()))
    assert isinstance(result, Image.Image)
    assert result.mode == expected
    assert result.size == image.size
    assert image == before
    if mode != "CMYK":  # its way to RGB is the profile's
        np.testing.assert_array_equal(known(np.asarray(result)), known(np.asarray(image.convert(expected))))


def test_sixteen_bit_pillow_stays_sixteen_bit() -> None:
    image = Image.fromarray(make_pixels(None, np.uint16))
    result = fill(image, make_mask())
    assert result.mode == "I;16"
    np.testing.assert_array_equal(known(np.asarray(result)), known(make_pixels(None, np.uint16)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_arrays_give_arrays_of_their_kind(dtype: Any, channels: int | None) -> None:
    image = make_pixels(channels, dtype)
    if channels in (2, 4):  # opaque: colours count by their alpha
        image[..., -1] = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    result = fill(image, make_mask(), Constant(0.25))
    assert (result.shape, result.dtype) == (image.shape, image.dtype)
    planes = image.reshape(HEIGHT, WIDTH, -1)
    count = planes.shape[2] - (channels in (2, 4))
    seen = planes[~make_mask(), :count]
    colours = result.reshape(HEIGHT, WIDTH, -1)[make_mask()][:, :count].astype(float)
    if np.dtype(dtype).kind == "f":  # filled in the range of each hole's surroundings
        assert seen.min() <= colours.min() <= colours.max() <= seen.max()
        return
    least, most = (0.0, 255.0) if dtype == np.uint8 else (float(seen.min()), float(seen.max()))
    np.testing.assert_allclose(colours, least + 0.25 * (most - least), atol=1)


def test_views_and_foreign_byte_order_are_taken() -> None:
    image = make_pixels()
    np.testing.assert_array_equal(
        fill(image[::-1, ::-1], make_mask()), fill(image[::-1, ::-1].copy(), make_mask())
    )
    deep = make_pixels(3, np.uint16)
    foreign = deep.astype(">u2")
    result = fill(foreign, make_mask())
    assert result.dtype == foreign.dtype
    np.testing.assert_array_equal(result, fill(deep, make_mask()))


def test_floats_may_hold_anything_in_the_hole() -> None:
    image, mask = make_pixels(3, np.float32), make_mask()
    for value in (np.nan, np.inf, -7.0):
        gaps = np.where(mask[..., None], np.float32(value), image)
        np.testing.assert_array_equal(fill(gaps, mask), fill(image, mask))
    gaps[0, 0, 0] = np.inf
    with pytest.raises(InputError, match=r"known values span .* inf: mark what is infinite"):
        fill(gaps, mask)


# -- nothing to do, nothing to go by ---------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:nothing is marked", "ignore:the mask marks")
def test_without_a_hole_everything_stays_as_it_was(tmp_path: Path) -> None:
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    picture, engine = from_array(make_pixels()), Constant()
    assert fill_picture(picture, nothing, engine, grow=5) is picture

    file = to_bytes(make_pixels(), "JPEG")
    assert fill(file, nothing, engine) is file
    (tmp_path / "photo.jpg").write_bytes(file)
    assert fill(tmp_path / "photo.jpg", nothing, engine).read_bytes() == file
    assert decode(fill(tmp_path / "photo.jpg", nothing, engine, out=tmp_path / "x.png")).format == "PNG"

    array = make_pixels(4, np.float32)
    np.testing.assert_array_equal(same := fill(array, nothing, engine), array)
    assert not np.shares_memory(same, array)
    image = Image.fromarray(make_pixels()).convert("CMYK")
    assert (copy := fill(image, nothing, engine)) == image
    assert copy is not image
    assert engine.seen == []


def test_a_mask_that_leaves_nothing_is_refused() -> None:
    image = make_pixels()
    with pytest.raises(InputError, match="covers the whole picture, so nothing is left to fill from"):
        fill(image, np.ones((HEIGHT, WIDTH), bool))
    with pytest.raises(InputError, match="covers the whole picture"):
        fill(image, make_mask(), grow=50)


# -- where the hole is -----------------------------------------------------------------------------------


def test_masks_of_every_kind_mean_the_same(tmp_path: Path) -> None:
    image, mask = make_pixels(), make_mask()
    expected = fill(image, mask)
    white = mask.astype(np.uint8) * 255
    path = tmp_path / "mask.png"
    Image.fromarray(white).save(path)
    for same in (white, mask.astype(np.float32), Image.fromarray(white), path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(fill(image, same), expected)
    np.testing.assert_array_equal(fill(image, ~mask, invert_mask=True), expected)
    np.testing.assert_array_equal(
        fill(image, Image.fromarray(white).resize((80, 60), 0), resize_mask=True), expected
    )
    with pytest.raises(InputError, match="the mask is 80×60 but the picture is 40×30"):
        fill(image, Image.fromarray(white).resize((80, 60)))


def test_boxes_are_holes_alone_and_beside_a_mask() -> None:
    image = make_pixels()
    box = np.zeros((HEIGHT, WIDTH), bool)
    box[2:6, 3:8] = True
    np.testing.assert_array_equal(fill(image, boxes=[(3, 2, 5, 4)]), fill(image, box))
    np.testing.assert_array_equal(
        fill(image, make_mask(), boxes=[(3, 2, 5, 4)]), fill(image, make_mask() | box)
    )
    with pytest.raises(InputError, match="boxes cannot be inverted"):
        fill(image, boxes=[(3, 2, 5, 4)], invert_mask=True)
    with pytest.raises(InputError, match="nothing says where the hole is"):
        fill(image)
    with pytest.raises(InputError, match="nothing says where the hole is"):
        fill(image, boxes=[])


def test_a_colour_marks_the_hole_in_the_image_itself() -> None:
    image = np.minimum(make_pixels(), 200)
    painted = np.where(make_mask()[..., None], np.array([255, 0, 255], np.uint8), image)
    np.testing.assert_array_equal(fill(painted, mask_color="#ff00ff"), fill(image, make_mask()))


@pytest.mark.filterwarnings("ignore:nothing is marked", "ignore:the mask marks")
def test_holes_in_the_alpha_are_filled_and_become_opaque() -> None:
    image = make_pixels(4)
    image[..., 3] = np.where(make_mask(), 0, 255)
    result = fill(image, mask_from_alpha=True)
    np.testing.assert_array_equal(result[..., :3], fill(np.ascontiguousarray(image[..., :3]), make_mask()))
    assert (result[..., 3] == 255).all()
    outer = fill(image, image, mask_from_alpha=True)
    np.testing.assert_array_equal(outer[..., 3], image[..., 3])
    opaque = make_pixels(4)
    opaque[..., 3] = 255
    np.testing.assert_array_equal(fill(opaque, mask_from_alpha=True), opaque)
    with pytest.raises(InputError, match="no alpha channel"):
        fill(make_pixels(), mask_from_alpha=True)


# -- what else a picture has -----------------------------------------------------------------------------


def test_profile_exif_turn_and_format_are_kept() -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    file = io.BytesIO()
    Image.fromarray(make_pixels()).save(file, "JPEG", icc_profile=icc, exif=exif, quality=90)
    result = Image.open(io.BytesIO(fill(file.getvalue(), boxes=[(5, 5, 9, 9)])))
    assert result.format == "JPEG"
    assert result.size == (HEIGHT, WIDTH)
    assert result.info["icc_profile"] == icc
    assert result.getexif()[0x010F] == "a camera"
    assert result.getexif().get(0x0112, 1) == 1


def test_a_picture_keeps_all_but_the_hole() -> None:
    alpha = np.full((HEIGHT, WIDTH), 65535, np.uint16)
    picture = Picture(make_pixels(1, np.uint16), alpha, icc=b"icc", exif=b"exif", xmp=b"xmp", format="TIFF")
    before = picture.pixels.copy()
    engine = Constant(0.5)
    result = fill_picture(picture, make_mask(), engine)
    assert (result.icc, result.exif, result.xmp, result.format) == (b"icc", b"exif", b"xmp", "TIFF")
    assert result.alpha is alpha
    np.testing.assert_array_equal(picture.pixels, before)
    np.testing.assert_array_equal(known(result.pixels), known(before))
    seen = known(before)
    middle = (int(seen.min()) + int(seen.max())) / 2
    assert np.abs(result.pixels[make_mask()] - middle).max() <= 1
    for image, _ in engine.seen:
        np.testing.assert_array_equal(image[:, 0], image[:, 1])
        np.testing.assert_array_equal(image[:, 0], image[:, 2])


def test_a_mask_of_another_size_or_type_is_refused() -> None:
    picture = from_array(make_pixels())
    with pytest.raises(
        InputError, match=r"the mask is bool \(40, 30\), but this picture takes bool \(30, 40\)"
    ):
        fill_picture(picture, make_mask().T, Constant())
    with pytest.raises(InputError, match="the mask is uint8"):
        fill_picture(picture, make_mask().astype(np.uint8), Constant())  # type: ignore[arg-type]


# -- engines ---------------------------------------------------------------------------------------------


def test_an_engine_for_the_centre_refuses_other_holes_and_names_engines_that_fill_them() -> None:
    picture, engine = from_array(make_pixels()), Constant(size_rule=SizeRule(fixed_size=64, holes="center"))
    centre = np.zeros((HEIGHT, WIDTH), bool)
    centre[7:22, 10:30] = True
    filled = fill_picture(picture, centre, engine, detail=False)
    assert (filled.pixels[centre] == round(0.25 * 255)).all()
    with pytest.raises(InputError, match=r"constant fills only the centre .* push-pull, .*anywhere"):
        fill_picture(picture, np.roll(centre, 1, axis=1), engine)
    with pytest.raises(InputError, match="this hole is another"):
        fill_picture(picture, centre, engine, grow=1)
    assert len(engine.seen) == 1


def test_an_engine_never_sees_what_the_hole_hides() -> None:
    image, mask = make_pixels(), make_mask()
    engines = Constant(), Constant()
    fill(image, mask, engines[0])
    fill(np.where(mask[..., None], 255 - image, image), mask, engines[1])
    assert engines[0].seen
    for one, other in zip(*(engine.seen for engine in engines), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda image: image[:, :, 1:], "engine constant gave .* for an image"),
        (lambda image: image[0], "engine constant gave .* for an image"),
        (lambda image: np.full_like(image, np.nan), "NaN"),
    ],
)
def test_an_engine_that_gives_rubbish_is_a_model_error(
    wrong: Callable[[Floats], Floats], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Constant, "fill", lambda self, image, mask: wrong(image))
    with pytest.raises(ModelError, match=message):
        fill(make_pixels(), make_mask(), Constant())


@pytest.mark.parametrize(("name", "flag"), [("telea", cv2.INPAINT_TELEA), ("navier-stokes", cv2.INPAINT_NS)])
def test_the_pipeline_gives_what_opencv_gives_on_the_whole_picture(name: str, flag: int) -> None:
    photo = np.asarray(astronaut())[:200, 150:400]
    mask = np.zeros((200, 250), bool)
    mask[60:110, 70:130] = mask[150:170, 10:30] = True
    expected = cv2.inpaint(np.ascontiguousarray(photo), mask.astype(np.uint8), 3, flag)
    np.testing.assert_array_equal(fill(photo, mask, name), expected)


def test_later_regions_see_what_earlier_ones_filled() -> None:
    # A scratch that touches a large hole's surroundings is thin, so it comes first; the crop of the large
    # hole then shows it filled, and as known.
    pixels = np.full((300, 300, 3), 40, np.uint8)
    mask = np.zeros((300, 300), bool)
    mask[100:200, 100:200] = True
    mask[61:63] = True  # within row 13 of 64, which shows rows 60.9 to 65.6
    engine = Constant(value=0.8, size_rule=SizeRule(working_size=64))
    result = fill_picture(from_array(pixels), mask, engine, detail=False)
    assert (result.pixels[mask] == 204).all()
    assert (result.pixels[~mask] == 40).all()
    scratch = [hole.sum() for image, hole in engine.seen[:-1]]
    assert len(scratch) > 1
    image, hole = engine.seen[-1]  # (1, 3, 64, 64): 300 pixels reduced
    assert hole[0, 0, 13].sum() == 0
    assert image[0, 0, 13] == pytest.approx(40 / 255 + (0.8 - 40 / 255) * 2 / (300 / 64), abs=0.01)


def test_a_size_rule_is_kept_to() -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    mask = np.zeros((70, 90), bool)
    mask[20:50, 20:60] = True
    for rule in (SizeRule(fixed_size=32), SizeRule(multiple_of=8), SizeRule(multiple_of=8, working_size=48)):
        engine = Constant(size_rule=rule)
        result = fill(image, mask, engine, detail=False)
        np.testing.assert_array_equal(result[~mask], image[~mask])
        assert (result[mask] == 64).all()
        sides = {side for seen, _ in engine.seen for side in seen.shape[2:]}
        assert all(side % rule.multiple_of == 0 for side in sides)
        assert rule.fixed_size is None or sides == {rule.fixed_size}


@dataclass
class Named(Constant):
    """An engine that says whether it learned from pictures."""

    name: str = "telea"
    trained: bool = True
    device: str = "cpu"


@pytest.mark.parametrize(
    ("engine", "kind"),
    [
        (open_engine("telea"), b"compositeSynthetic"),
        (Named(), b"compositeWithTrainedAlgorithmicMedia"),
        (Named(name="default", trained=False), b"compositeSynthetic"),
        (Constant(), b"compositeWithTrainedAlgorithmicMedia"),  # it does not say
    ],
)
def test_a_mark_says_what_the_engine_is_whatever_its_name(engine: Any, kind: bytes) -> None:
    marked = decode(fill(to_bytes(make_pixels()), make_mask(), engine, mark=True))
    assert marked.xmp is not None
    assert b"digitalsourcetype/" + kind in marked.xmp


def test_an_open_engine_keeps_its_device() -> None:
    image = make_pixels()
    assert fill(image, make_mask(), Named(), device="cpu").shape == image.shape
    with pytest.raises(InputError, match="telea is open on cpu already: open it on cuda"):
        fill(image, make_mask(), Named(), device="cuda")


def test_thirty_two_callers_share_an_engine_and_each_gets_their_own_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    real = open_engines.open_engine

    def count(name: str, **options: Any) -> Any:
        opened.append(name)
        return real(name, **options)

    monkeypatch.setattr(open_engines, "open_engine", count)
    open_engines._open_once.cache_clear()
    images = [np.roll(make_pixels(), n, axis=0) // 2 + n for n in range(32)]
    expected = [fill(image, make_mask(), real("telea")) for image in images]
    results: dict[int, list[NDArray[Any]]] = {}
    start = threading.Barrier(32)

    def work(number: int) -> None:
        start.wait()
        results[number] = [fill(images[number], make_mask(), "telea") for _ in range(3)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(32))
    for number, mine in results.items():
        for result in mine:
            np.testing.assert_array_equal(result, expected[number])
    assert opened == ["telea"]


def test_a_model_file_that_changes_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(open_engines, "open_engine", lambda name, **_: opened.append(name) or Constant())
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    for _ in range(2):
        fill(make_pixels(), make_mask(), path)
    assert opened == [str(path)]
    path.write_bytes(b"another")
    fill(make_pixels(), make_mask(), str(path))
    assert opened == [str(path)] * 2
    fill(make_pixels(), make_mask(), path, threads=1)
    assert len(opened) == 3
    os.utime(path, ns=(1, 1))
    fill(make_pixels(), make_mask(), tmp_path)
    assert opened[3:] == [str(tmp_path)]


@pytest.mark.parametrize("name", ["threads", "adapter"])
@pytest.mark.parametrize("value", [[], {}, b"x", 0, 2.5])
def test_what_no_engine_can_be_opened_with_is_refused_by_name(name: str, value: object) -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    for engine in ("mean", "none.onnx"):
        with pytest.raises(InputError, match=f"^{name} .*cannot be used"):
            fill(image, image[..., 0], engine, **{name: value})  # type: ignore[arg-type]
