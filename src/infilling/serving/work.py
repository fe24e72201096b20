"""What a worker thread does for one request: files in, a file out. The pipeline is `filling.fill`'s."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from infilling.errors import InfillingError, InputError, ModelError, collect_warnings
from infilling.filling.contract import Engine
from infilling.filling.options import FillOptions, list_options
from infilling.filling.pipeline import Filled, fill_decoded, mark_as_filled, write_file
from infilling.pictures import mask as masks
from infilling.pictures.files import decode, encode
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats, Picture, Samples
from infilling.pictures.readers import sniff
from infilling.serving.pool import Job
from infilling.serving.problems import Problem


@dataclass(frozen=True)
class Order:
    """What a request asks for: the options of `fill`, and what only requests have.

    Attributes:
        image: bytes of the file.
        mask: bytes of a file, or None.
        options: as everywhere.
        alpha_if_any: hole is what is transparent in a mask that has alpha; what is bright in one without.
        within: holes outside this box are left alone.
        patches: pictures to put in place first, each with its box: results of earlier fills.
        patch_only: answer with the box round the hole, as PNG, instead of the whole picture.
        size: (height, width) to bring the result to.
        idle_allowed: without any hole the picture is only written again, which is no mistake.
    """

    image: bytes
    mask: bytes | None = None
    options: FillOptions = field(default_factory=FillOptions)
    alpha_if_any: bool = False
    within: masks.Box | None = None
    patches: tuple[tuple[bytes, masks.Box], ...] = ()
    patch_only: bool = False
    size: tuple[int, int] | None = None
    idle_allowed: bool = False


@dataclass(frozen=True)
class Answer:
    """A file, what it is, which part of the picture it shows (None: all of it), and what to tell about it."""

    data: bytes
    format: str
    box: masks.Box | None = None
    warnings: tuple[str, ...] = ()

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
    with collect_warnings() as told:
        given = _read(order.image, "image", max_pixels)
        job.check()
        picture = _place(given, order, max_pixels)
        mask = None if order.mask is None else _read(order.mask, "mask", max_pixels)
        filled = _fill(picture, mask, order, open_engine, job)
        job.check()
        answer = _write(filled, given, order)
    return dataclasses.replace(answer, warnings=tuple(dict.fromkeys([*told, *filled.warnings])))


def _fill(
    picture: Picture, mask: Picture | None, order: Order, open_engine: Callable[[], Engine], job: Job
) -> Filled:
    options = order.options
    if order.alpha_if_any and mask is not None and mask.alpha is not None:
        options = dataclasses.replace(options, mask_from_alpha=True)
    if order.idle_allowed and mask is None and not options.mark_hole:
        nothing = np.zeros((picture.height, picture.width), dtype=bool)
        filled = Filled(picture, nothing, changed=False)
        return _mark_patches(filled, open_engine, options) if order.patches else filled
    job.check()
    engine = WatchedEngine(open_engine(), job)
    try:
        filled = fill_decoded(picture, mask, engine, options, within=order.within)
    except InputError as error:
        raise Problem("invalid", str(error), field=_blame(error, order)) from error
    except ModelError as error:
        raise Problem("engine-failed", str(error), field="engine") from error
    return filled if filled.changed or not order.patches else _mark_patches(filled, open_engine, options)


def _mark_patches(filled: Filled, open_engine: Callable[[], Engine], options: FillOptions) -> Filled:
    """Mark a picture of which only patches of earlier fills are made up."""
    if not options.mark:
        return filled
    try:
        return dataclasses.replace(filled, picture=mark_as_filled(filled.picture, open_engine()))
    except InputError as error:
        raise Problem("invalid", str(error), field="mark") from error


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


def _write(filled: Filled, given: Picture, order: Order) -> Answer:
    result = filled.picture
    try:
        if order.patch_only:
            box = filled.box
            if not box.width:
                raise Problem("invalid", "the mask marks nothing, so there is nothing to fill", field="mask")
            cut = None if result.alpha is None else result.alpha[box.slices]
            return Answer(encode(Picture(result.pixels[box.slices], cut, icc=result.icc)), "PNG", box)
        if order.size is not None and order.size != (result.height, result.width):
            filled = dataclasses.replace(filled, picture=_resize(result, order.size))
        return Answer(*write_file(order.image, given, filled, order.options))
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


def _blame(error: InputError, order: Order) -> str:
    """Return the field at fault: the one that the error names, else the one that says where the hole is."""
    if error.field is not None:
        return next((each.key for each in list_options() if each.name == error.field), error.field)
    if order.mask is not None:
        return "mask"
    if order.options.boxes:
        return "box"
    return "mask_color" if order.options.mask_color else "mask"
