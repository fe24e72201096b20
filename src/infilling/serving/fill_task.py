"""What a worker process does for one request: files in, a file out, through the one pipeline."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from PIL import Image

from infilling.errors import InfillingError, InputError, TooLargeError, collect_warnings
from infilling.filling.fills import fill_pictures
from infilling.filling.options import FillOptions, find_key, list_options, make_options
from infilling.filling.pipeline import Filled, mark_as_filled, write_file
from infilling.filling.progress import Watcher, watch
from infilling.filling.variants import Variant, Variants
from infilling.filling.workers import Progress
from infilling.pictures import mask as masks
from infilling.pictures.files import decode, decode_raster, encode
from infilling.pictures.mask_files import MaskSource
from infilling.pictures.picture import FORMATS, Picture, Samples
from infilling.pictures.sniffing import sniff
from infilling.serving.engines import OfferedEngine
from infilling.serving.problems import Problem, explain_errors

T = TypeVar("T")


class Stopped(Exception):
    """Raised inside a fill whose caller has left."""


@dataclass(frozen=True)
class FillRequest:
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
        count: number of different fills.
        others: further pictures, for a finder that compares several.
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
    count: int = 1
    others: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class FillAnswer:
    """A file, and what there is to know about it.

    Attributes:
        data: the file.
        format: name of its format.
        box: the part of the picture that it shows; None: all of it.
        warnings: sentences for the person who asked.
        others: further fills of the same hole, each as good as this one or worse.
        label: how it was made, where several fills were asked for.
        score: its score among them; lower is better.
        doubt: how far they differ, the mean standard deviation in the hole.
    """

    data: bytes
    format: str
    box: masks.Box | None = None
    warnings: tuple[str, ...] = ()
    others: tuple["FillAnswer", ...] = ()
    label: str = ""
    score: float = 0.0
    doubt: float = 0.0

    @property
    def media_type(self) -> str:
        """As HTTP names the format."""
        return f"image/{self.format.lower()}"


def run_fill(
    progress: Progress, request: FillRequest, engine: OfferedEngine, threads: int, max_pixels: int
) -> FillAnswer:
    """Fill the holes of a file.

    Args:
        progress: receives the share that is done, and says whether the caller has left.
        request: what is asked for.
        engine: what fills.
        threads: threads that the engine may use.
        max_pixels: largest picture and mask.

    Raises:
        Problem: the request cannot be carried out; the field at fault is named.
        Stopped: the caller has left.
    """
    with collect_warnings() as warned, watch(stop_if_left(progress)):
        given, picture = read_pictures(request, max_pixels)
        _bound_count(request, picture, max_pixels)
        mask = None if request.mask is None else _read_mask(request.mask, "mask", max_pixels)
        request = dataclasses.replace(request, options=_read_masks(request.options, max_pixels))
        found = _fill(picture, mask, request, engine, threads)
        if progress.stopped:
            raise Stopped
        answers = [_answer(each, given, request) for each in found.fills]
        warned += found.fills[0].result.warnings
    return dataclasses.replace(
        answers[0], others=tuple(answers[1:]), doubt=found.doubt, warnings=tuple(dict.fromkeys(warned))
    )


def stop_if_left(progress: Progress) -> Watcher:
    """Return what reports a fill's progress, and ends the fill when the caller has left."""

    def report(done: float, total: float) -> None:
        progress.report(done, total)
        if progress.stopped:
            raise Stopped

    return report


def read_others(request: FillRequest, picture: Picture, max_pixels: int) -> list[Picture]:
    """Return a picture and the further ones of a request.

    Raises:
        Problem: a file cannot be used, or they have more than `max_pixels` pixels together.
    """
    pictures = [picture]
    for data in request.others:
        pictures.append(_read(data, "other", max_pixels))
        if sum(each.width * each.height for each in pictures) > max_pixels:
            text = (
                f"these pictures have more than {max_pixels:,} pixels together: send fewer, or smaller ones"
            )
            raise Problem("too-many-pixels", text, field="other")
    return pictures


def read_pictures(request: FillRequest, max_pixels: int) -> tuple[Picture, Picture]:
    """Return the picture as it was sent, and with the patches of earlier fills in place.

    Raises:
        Problem: a file cannot be used.
    """
    given = _read(request.image, "image", max_pixels)
    return given, _place(given, request, max_pixels)


def _fill(
    picture: Picture, mask: MaskSource | None, request: FillRequest, engine: OfferedEngine, threads: int
) -> Variants[Filled]:
    # Whoever draws in a browser sees the picture turned.
    options = dataclasses.replace(request.options, mask_frame=request.options.mask_frame or "seen")
    if request.alpha_if_any and isinstance(mask, Picture) and mask.alpha is not None:
        options = dataclasses.replace(options, mask_from_alpha=True)
    if request.idle_allowed and mask is None and not options.mark_hole:
        nothing = np.zeros((picture.height, picture.width), dtype=bool)
        found = _wrap(Filled(picture, nothing, changed=False))
    else:
        with explain_errors(partial(_blame, request)):
            found = fill_pictures(
                picture, mask, engine.open(threads), options, request.count,
                threads=threads, within=request.within,
            )  # fmt: skip
    only = found.fills[0].result
    if only.changed or not (request.patches and options.mark):
        return found
    with explain_errors(lambda _: "mark"):  # of the picture only patches of earlier fills are made up
        picture = mark_as_filled(only.picture, engine.open(threads))
    return _wrap(dataclasses.replace(only, picture=picture))


def _bound_count(request: FillRequest, picture: Picture, max_pixels: int) -> None:
    """Refuse more fills than may be held at once: together they have the pixels of one picture at most."""
    given, asked = (picture.height, picture.width), request.size or (1, 1)
    most = max(1, max_pixels // max(math.prod(given), math.prod(asked)))
    if request.count > most:
        text = f"{request.count} fills of this size have more than {max_pixels:,} pixels: ask for {most}"
        raise Problem("invalid", text, field="n")


def _wrap(filled: Filled) -> Variants[Filled]:
    """Return the one fill of what has no hole."""
    return Variants((Variant(filled, "", 0.0),), np.zeros(filled.hole.shape, np.float32), filled.hole)


def _read_masks(options: FillOptions, max_pixels: int) -> FillOptions:
    """Decode the masks among the options, which came as files."""
    decoded = {}
    for each in list_options():
        data = getattr(options, each.name)
        if each.is_file and data is not None:
            decoded[each.name] = _read_mask(data, each.key, max_pixels)
    return make_options(options, decoded)


def _read_mask(data: bytes, field: str, max_pixels: int) -> MaskSource:
    """Decode a mask: a picture, or a TIFF of integers or floats of any width."""
    raster = _decode(decode_raster, data, field, max_pixels)
    return _read(data, field, max_pixels) if raster is None else raster.bands


def _read(data: bytes, field: str, max_pixels: int) -> Picture:
    """Decode a picture."""
    return _decode(decode, data, field, max_pixels)


def _decode(decode: Callable[..., T], data: bytes, field: str, max_pixels: int) -> T:
    """Decode a file; each way in which that fails is a problem of its own."""
    if data:
        require_picture(data, field)
    try:
        return decode(data, max_pixels=max_pixels)
    except TooLargeError as error:
        text = f"it has more than the {max_pixels:,} pixels that this server takes, or than 4 bytes for each"
        raise Problem("too-many-pixels", text, field=field) from error
    except InputError as error:
        raise Problem("unreadable", str(error), field=field) from error


def require_picture(data: bytes, field: str | None = None) -> None:
    """Refuse a file of a kind that is not read here.

    Raises:
        Problem: `unsupported-picture`.
    """
    if sniff(data) is None:
        text = f"it is not a picture that can be read ({', '.join(FORMATS)})"
        raise Problem("unsupported-picture", text, field=field)


def _place(picture: Picture, request: FillRequest, max_pixels: int) -> Picture:
    """Paste patches of earlier fills; each has the type and the channels of the picture."""
    if not request.patches:
        return picture
    pixels = picture.pixels.copy()
    for data, box in request.patches:
        patch = _read(data, "patch", max_pixels)
        inside = box.x + box.width <= picture.width and box.y + box.height <= picture.height
        if not inside or (patch.height, patch.width) != (box.height, box.width):
            raise Problem("invalid", f"a patch does not fit its box {tuple(box)}", field="patch_box")
        if patch.pixels.dtype != pixels.dtype or patch.pixels.shape[2] > pixels.shape[2]:
            raise Problem("invalid", "a patch is not of the picture's kind", field="patch")
        pixels[box.slices] = patch.pixels  # a grey patch is spread over three channels
    return picture.with_pixels(pixels)


def _answer(variant: Variant[Filled], given: Picture, request: FillRequest) -> FillAnswer:
    answer = _write(variant.result, given, request)
    return dataclasses.replace(answer, label=variant.label, score=variant.score)


def _write(filled: Filled, given: Picture, request: FillRequest) -> FillAnswer:
    result = filled.picture
    try:
        if request.patch_only:
            box = filled.box
            if not box.width:
                raise Problem("invalid", "the mask marks nothing, so there is nothing to fill", field="mask")
            cut = None if result.alpha is None else result.alpha[box.slices]
            return FillAnswer(encode(Picture(result.pixels[box.slices], cut, icc=result.icc)), "PNG", box)
        if request.size is not None and request.size != (result.height, result.width):
            filled = dataclasses.replace(filled, picture=_resize(result, request.size))
        return FillAnswer(*write_file(request.image, given, filled, request.options))
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


def _blame(request: FillRequest, error: InputError) -> str:
    """Return the field at fault: the one that the error names, else the one that says where the hole is."""
    if error.field is not None:
        return find_key(error.field) or error.field
    if request.mask is not None:
        return "mask"
    if request.options.boxes:
        return "box"
    return "mask_color" if request.options.mask_color else "mask"
