"""What a worker thread does for one request: files in, a file out. The pipeline is `filling.fill`'s."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from infilling.errors import InfillingError, InputError, ModelError
from infilling.filling.contract import Engine
from infilling.filling.fill import fill_picture, find_hole, mark_as_filled
from infilling.pictures import mask as masks
from infilling.pictures.files import decode, encode, to_pil
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats, Picture, Samples, find_format
from infilling.pictures.readers import sniff
from infilling.serving.pool import Job
from infilling.serving.problems import Problem

Boxes = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Order:
    """What is asked for: the options of `fill`, and the ways of the page.

    Attributes:
        image: bytes of the file.
        mask: bytes of a file, or None.
        alpha_if_any: hole is what is transparent in a mask that has alpha; what is bright in one without.
        within: holes outside this box are left alone.
        patches: pictures to put in place first, each with its box: results of earlier fills.
        patch_only: answer with the box round the hole, as PNG, instead of the whole picture.
        size: (height, width) to bring the result to.
        idle_allowed: without any hole the picture is only written again, which is no mistake.
    """

    image: bytes
    mask: bytes | None = None
    boxes: Boxes = ()
    invert_mask: bool = False
    resize_mask: bool = False
    mask_from_alpha: bool = False
    alpha_if_any: bool = False
    mask_color: str | None = None
    within: masks.Box | None = None
    grow: int = 0
    feather: int = 0
    detail: bool = True
    mark: bool = False
    format: str | None = None
    quality: int | None = None
    patches: tuple[tuple[bytes, masks.Box], ...] = ()
    patch_only: bool = False
    size: tuple[int, int] | None = None
    idle_allowed: bool = False


@dataclass(frozen=True)
class Answer:
    """A file, what it is, and which part of the picture it shows (None: all of it)."""

    data: bytes
    format: str
    box: masks.Box | None = None

    @property
    def media_type(self) -> str:
        """As HTTP names the format."""
        return f"image/{self.format.lower()}"


@dataclass(frozen=True)
class WatchedEngine:
    """An engine that counts what it fills for a job, and stops when nobody waits for the job any more."""

    engine: Engine
    job: Job

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    @property
    def size_rule(self) -> SizeRule:
        """The engine's."""
        return self.engine.size_rule

    def fill(self, image: Floats, mask: Floats) -> Floats:
        """Fill one region; see `Engine.fill`."""
        self.job.check()
        filled = self.engine.fill(image, mask)
        self.job.steps += 1
        return filled


def fill_file(order: Order, open_engine: Callable[[], Engine], job: Job, max_pixels: int) -> Answer:
    """Fill the holes of a file.

    Raises:
        Problem: the order cannot be carried out; the field at fault is named.
        Stopped: nobody waits for it any more.
    """
    picture = _read(order.image, "image", max_pixels)
    job.check()
    picture = _place(picture, order, max_pixels)
    source, from_alpha = _take_mask(order, max_pixels)
    try:
        hole = _find(picture, source, from_alpha, order)
    except InputError as error:
        raise Problem("invalid", str(error), field=_blame(order)) from error
    job.check()
    engine = WatchedEngine(open_engine(), job)
    try:
        result = fill_picture(picture, hole, engine, feather=order.feather, detail=order.detail)
    except InputError as error:
        raise Problem("invalid", str(error), field=_blame(order)) from error
    except ModelError as error:
        raise Problem("engine-failed", str(error), field="engine") from error
    job.check()
    if result is not picture and order.mask is None and order.mask_from_alpha:
        result = _open_up(result, hole)
    if order.mark and (result is not picture or order.patches):
        try:
            result = mark_as_filled(result, engine)
        except InputError as error:
            raise Problem("invalid", str(error), field="mark") from error
    return _write(result, picture, hole, order)


def _read(data: bytes, field: str, max_pixels: int) -> Picture:
    """Decode a file, and tell the ways apart in which that fails."""
    if data and sniff(data) is None:
        raise Problem(
            "unsupported-picture", "it is no PNG, JPEG, WebP, TIFF, BMP, AVIF or GIF file", field=field
        )
    try:
        return decode(data, max_pixels=max_pixels)
    except InputError as error:
        if "more than the limit of" in str(error):
            text = f"it has more than the {max_pixels:,} pixels that this server takes"
            raise Problem("too-many-pixels", text, field=field) from error
        raise Problem("unreadable", str(error).removeprefix("picture: "), field=field) from error


def _place(picture: Picture, order: Order, max_pixels: int) -> Picture:
    """Put patches of earlier fills back; each has the type and the channels of the picture."""
    if not order.patches:
        return picture
    pixels = picture.pixels.copy()
    for data, box in order.patches:
        patch = _read(data, "patch", max_pixels)
        inside = box.x + box.width <= picture.width and box.y + box.height <= picture.height
        if not inside or (patch.height, patch.width) != (box.height, box.width):
            raise Problem("invalid", f"a patch does not fit its box {tuple(box)}", field="patch_box")
        if patch.pixels.dtype != pixels.dtype or patch.pixels.shape[2] > pixels.shape[2]:
            raise Problem("invalid", "a patch is not of the picture's kind", field="patch")
        pixels[box.slices] = patch.pixels  # a grey patch is spread over three channels
    return picture.with_pixels(pixels)


def _take_mask(order: Order, max_pixels: int) -> tuple[masks.Source | None, bool]:
    """The mask as `find_hole` takes it, and whether its alpha says where the hole is."""
    if order.mask is None:
        return None, order.mask_from_alpha
    mask = _read(order.mask, "mask", max_pixels)
    by_alpha = order.mask_from_alpha or (order.alpha_if_any and mask.alpha is not None)
    if mask.pixels.dtype == np.uint8:
        return to_pil(mask), by_alpha
    planes = [mask.pixels] if mask.alpha is None else [mask.pixels, mask.alpha]
    return np.dstack(planes), by_alpha  # Pillow cannot hold 16 bits


def _find(picture: Picture, source: masks.Source | None, from_alpha: bool, order: Order) -> masks.Mask:
    idle = order.idle_allowed and source is None
    if idle and not (order.boxes or from_alpha or order.mask_color):
        return np.zeros((picture.height, picture.width), dtype=bool)
    hole = find_hole(
        picture,
        source,
        boxes=order.boxes,
        invert=order.invert_mask,
        resize=order.resize_mask,
        from_alpha=from_alpha,
        color=order.mask_color,
    )
    if order.within is not None:
        inside = np.zeros_like(hole)
        inside[order.within.slices] = True
        hole &= inside
    hole = masks.grow(hole, order.grow)
    masks.require_known(hole)
    return hole


def _open_up(picture: Picture, hole: masks.Mask) -> Picture:
    """Make opaque what was transparent and is filled."""
    if picture.alpha is None:
        return picture
    alpha = picture.alpha.copy()
    alpha[hole] = np.iinfo(alpha.dtype).max
    return dataclasses.replace(picture, alpha=alpha)


def _write(result: Picture, picture: Picture, hole: masks.Mask, order: Order) -> Answer:
    try:
        format = find_format(order.format) if order.format else result.format
        if order.patch_only:
            box = masks.bounding_box(hole)
            cut = None if result.alpha is None else result.alpha[box.slices]
            if not box.width:
                raise Problem("invalid", "the mask marks nothing, so there is nothing to fill", field="mask")
            return Answer(encode(Picture(result.pixels[box.slices], cut, icc=result.icc)), "PNG", box)
        if order.size is not None and order.size != (result.height, result.width):
            result = _resize(result, order.size)
        same = result is picture and not order.patches and order.quality is None and format == result.format
        return Answer(order.image if same else encode(result, format, quality=order.quality), format)
    except InfillingError as error:
        raise Problem("invalid", str(error), field="format") from error


def _resize(picture: Picture, size: tuple[int, int]) -> Picture:
    """Bring a picture to (height, width), if that does not distort it by more than one part in fifty."""
    height, width = size
    if abs(width * picture.height - height * picture.width) * 50 > height * picture.width:
        given = f"{picture.width}x{picture.height}"
        text = f"{width}x{height} would distort a picture of {given}: leave it out, or say 'auto'"
        raise Problem("invalid", text, field="size")

    def reduce(plane: Samples) -> Samples:
        image = Image.fromarray(plane.astype(np.float32), "F").resize(
            (width, height), Image.Resampling.LANCZOS
        )
        top = np.iinfo(plane.dtype).max
        values: Samples = np.clip(np.rint(np.asarray(image)), 0, top).astype(plane.dtype)
        return values

    pixels = np.dstack([reduce(picture.pixels[..., c]) for c in range(picture.pixels.shape[2])])
    alpha = None if picture.alpha is None else reduce(picture.alpha)
    return dataclasses.replace(picture, pixels=pixels, alpha=alpha)


def _blame(order: Order) -> str:
    """The field that says where the hole is."""
    if order.mask is not None:
        return "mask"
    if order.boxes:
        return "box"
    return "mask_color" if order.mask_color else "mask"
