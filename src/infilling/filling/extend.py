"""`extend`: a larger canvas, on which a picture continues beyond its edges.

A network that learned to fill holes inside pictures guesses badly beyond their edges, and one search for all
of a border copies the sea into the sky. So each side is filled by itself, in pieces that look only at what of
the picture is beside them, and the hint of the colours is the picture itself, mirrored at its edge and
blurred. Left and right come first, so that top and bottom continue whole rows.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from infilling.errors import Advice, InfillingWarning, InputError, collect_warnings, warn
from infilling.filling.border import SIDES, USED, Border, describe_far, plan_border
from infilling.filling.contract import Engine
from infilling.filling.fill import ImageKind, Request, check_kind, name_format
from infilling.filling.finish import finish, look, study
from infilling.filling.options import FillOptions, make_options
from infilling.filling.pipeline import Filled, fill_picture, mark_as_filled, write_file
from infilling.filling.progress import report, share
from infilling.filling.regions import fill_in_range
from infilling.filling.sources import is_finished
from infilling.filling.visible import see_visible
from infilling.pictures import blend
from infilling.pictures.files import decode, from_pil, to_pil
from infilling.pictures.frame import Region
from infilling.pictures.mask import Box, Mask, shift
from infilling.pictures.picture import Floats, Levels, Picture, Samples, from_array, to_float
from infilling.pictures.resample import mirror
from infilling.pictures.tags import set_size
from infilling.storage import read_file, write_atomic

PIECE = 2  # depths of the border that a piece at the left or right is long; at top and bottom twice that
BAND = 3  # how far into the picture a piece looks, in depths
LEAST_BAND = 192  # px, the same at least
LEAST_MARGIN = 64  # px that a piece sees beyond both its ends; a depth, if that is more
ROUGH = 0.02  # root mean square of the detail at the edge, in [0, 1], from which it is texture
TEXTURE = 30, 0.4  # there the blur's reach is the depth over 30, and the hint counts 0.4 times as usual
SMOOTH = 10, 8.0  # elsewhere, as in skies: copies of noise may not drift from the colours


def extend(
    image: ImageKind,
    engine: str | Path | Engine = "default",
    *,
    left: int | str | None = None,
    top: int | str | None = None,
    right: int | str | None = None,
    bottom: int | str | None = None,
    to: str | None = None,
    out: str | Path | None = None,
    threads: int | None = None,
    device: str = "auto",
    adapter: str | None = None,
    max_pixels: int | None = None,
    seed: int = 0,
    guide: float = 1.0,
    detail: bool = True,
    feather: int = 0,
    format: str | None = None,
    quality: int | None = None,
    mark: bool = False,
) -> ImageKind:
    """Add a border to a picture, in which it is continued, and return the same kind of thing.

    The picture itself, its metadata, profile and depth stay as they are. What is added is opaque. Sky, sea,
    sand, floors and grass continue well for 15 % of a side; beyond that a warning says that texture repeats.

    Args:
        image: a path, bytes, a Pillow image, or an array of uint8 or uint16.
        engine: `default` and `fidelity` continue by copies; others fill the border as one hole.
        left: pixels to add there, or a share of the width such as "10%".
        top: the same at the top, of the height.
        right: the same at the right.
        bottom: the same at the bottom.
        to: a ratio such as "16:9", reached by adding as little as possible.
        out: the file to write, else `photo.extended.jpg`; only with a path.
        threads: as `fill` takes it, and so are `device`, `adapter` and `max_pixels`.
        device: where a network runs.
        adapter: family of a network that others published.
        max_pixels: refuse larger files.
        seed: another number gives another border.
        guide: weight of the mirrored picture in the choice of what is copied.
        detail: False: the engine fills the border as one hole.
        feather: as `fill` takes it, in pixels.
        format: of the result.
        quality: of a lossy format, 1 to 100.
        mark: record in the metadata what was filled.

    Raises:
        InputError, ModelError, DependencyError, StorageError: as `fill`.

    Example:
        >>> extend(np.full((8, 8, 3), 200, np.uint8), left=2, top="25%").shape
        (10, 10, 3)
    """
    given = locals()
    options = make_options(None, {name: given[name] for name in USED})
    sides = {name: given[name] for name in (*SIDES, "to")}
    request = Request(None, engine, options, out, threads, device, adapter, max_pixels)
    with collect_warnings() as warned:
        result = _extend(image, request, sides)
    for text in warned:
        warnings.warn(text, InfillingWarning, stacklevel=2)
    return cast(ImageKind, result)


def _extend(image: object, request: Request, sides: dict[str, int | str | None]) -> object:
    check_kind(image, request)
    if isinstance(image, np.ndarray):
        if image.dtype not in (np.uint8, np.uint16) or isinstance(image, np.ma.MaskedArray):
            raise InputError(
                f"a border is for pictures of uint8 or uint16, not for an array of {image.dtype}"
            )
        done = extend_sides(from_array(image), request.open_engine(), request.options, sides).picture
        planes = done.pixels if done.alpha is None else np.dstack([done.pixels, done.alpha])
        return planes.reshape(*planes.shape[:2], *image.shape[2:])
    if isinstance(image, Image.Image):
        return to_pil(extend_sides(from_pil(image), request.open_engine(), request.options, sides).picture)
    if isinstance(image, bytes):
        return _extend_file(image, request, sides, None)[0]
    assert isinstance(image, str | Path)
    path = Path(image)
    request = dataclasses.replace(request, options=name_format(request))
    data, written = _extend_file(read_file(path), request, sides, str(path))
    target = request.find_target(path, written, "extended")
    write_atomic(target, data)
    return type(image)(target)


def _extend_file(
    data: bytes, request: Request, sides: dict[str, int | str | None], name: str | None
) -> tuple[bytes, str]:
    """Return the bytes and the format of the extended file."""
    picture = decode(data, max_pixels=request.max_pixels, name=name)
    filled = extend_sides(picture, request.open_engine(), request.options, sides)
    return write_file(data, picture, filled, request.options)


def extend_sides(
    picture: Picture, engine: Engine, options: FillOptions, sides: dict[str, int | str | None]
) -> Filled:
    """Extend a picture by what `plan_border` makes of `sides`; see `extend_picture`."""
    border = plan_border(picture.width, picture.height, **sides)  # type: ignore[arg-type]
    return extend_picture(picture, border, engine, options)


def extend_picture(picture: Picture, border: Border, engine: Engine, options: FillOptions) -> Filled:
    """Add a border to a picture and fill it.

    Args:
        picture: of any size and depth.
        border: pixels on each side, at least one of them above 0.
        engine: what fills.
        options: those of `border.USED` but the file's are used.

    Raises:
        InputError: an option cannot be used.
        ModelError: the engine fails.
    """
    if text := describe_far(border, picture.width, picture.height):
        warn(Advice.make("far-border", text))
    canvas, hole = _widen_canvas(picture, border)
    if is_finished(engine, options):
        inside = _find_inside(picture, border)
        unknown = hole | canvas.clear
        seen, _ = see_visible(canvas, hole)
        pixels = canvas.pixels.copy()

        def fill(given: Samples) -> Samples:
            return _fill_sides(given, unknown, hole, inside, options)

        pixels[hole] = fill_in_range(seen, hole, fill)[hole]
        result = canvas.with_pixels(pixels)
    else:
        result = fill_picture(canvas, hole, engine, options)
    if options.mark:
        result = mark_as_filled(result, engine)
    return Filled(result, hole)


def _find_inside(picture: Picture, border: Border) -> Box:
    """Return where the picture is on the larger canvas."""
    return Box(border.left, border.top, picture.width, picture.height)


def _widen_canvas(picture: Picture, border: Border) -> tuple[Picture, Mask]:
    """Return the picture on a larger canvas, black and opaque beside it, and (H, W) what is beside it."""
    around = (border.top, border.bottom), (border.left, border.right)
    pixels = np.pad(picture.pixels, (*around, (0, 0)))
    hole = np.pad(np.zeros(picture.pixels.shape[:2], dtype=bool), around, constant_values=True)
    alpha = picture.alpha
    if alpha is not None:
        alpha = np.pad(alpha, around, constant_values=np.iinfo(alpha.dtype).max)
    exif = None if picture.exif is None else set_size(picture.exif, pixels.shape[1], pixels.shape[0])
    return dataclasses.replace(picture, pixels=pixels, alpha=alpha, exif=exif), hole


def _fill_sides(given: Samples, unknown: Mask, hole: Mask, inside: Box, options: FillOptions) -> Samples:
    """Fill the border of a canvas, piece by piece.

    Args:
        given: (H, W, 1 or 3).
        unknown: (H, W) bool, the border, and what of the picture cannot be seen.
        hole: (H, W) bool, the border.
        inside: where the picture is.
        options: `seed`, `guide` and `feather` are used.
    """
    pixels, left, before = given.copy(), unknown.copy(), unknown.copy()
    pieces = [*_list_pieces(inside, hole.shape[1], hole.shape[0])]
    total = sum(piece.core.width * piece.core.height for piece in pieces)
    done = 0
    for piece in pieces:
        whole = np.ones((piece.core.height, piece.core.width), dtype=bool)
        hint, weight = _mirror(pixels, piece)
        region = Region(piece.box, piece.box, (1, 1), piece.core, whole)
        studied = study(pixels, left, look(pixels, left, before, region))
        work = piece.core.width * piece.core.height
        with share(done, work, total):
            finish(hint, region, studied, seed=options.seed, guide=weight * options.guide)
        blend.paste(pixels, hint, left, region, feather=options.feather, out=pixels)
        region.close(left)
        done += work
        report(done, total)
    return pixels


@dataclasses.dataclass(frozen=True)
class _Piece:
    """A part of one side.

    Attributes:
        core: what is filled.
        box: what is looked at.
        known: the part of the canvas that is filled before, or was given; it is mirrored at its edges.
    """

    core: Box
    box: Box
    known: Box


def _list_pieces(inside: Box, width: int, height: int) -> Iterator[_Piece]:
    """Yield the pieces of the left, the right, the top and the bottom side of a canvas, in this order."""
    right, bottom = inside.x + inside.width, inside.y + inside.height
    rows = Box(0, inside.y, width, inside.height)
    known = inside
    for start, stop in ((0, inside.x), (right, width)):
        yield from _cut(Box(start, inside.y, stop - start, inside.height), known, rows, along=1)
        known = Box(0, inside.y, right, inside.height)
    known = rows
    for start, stop in ((0, inside.y), (bottom, height)):
        yield from _cut(Box(0, start, width, stop - start), known, Box(0, 0, width, height), along=0)
        known = Box(0, 0, width, bottom)


def _cut(side: Box, known: Box, limit: Box, along: int) -> Iterator[_Piece]:
    """Cut a side into pieces, each with what of the canvas it looks at.

    Args:
        side: the strip to fill.
        known: what is known of the canvas.
        limit: what may be looked at.
        along: 1 if the side is at the left or right, so that pieces follow each other downwards; 0 else.
    """
    depth, length = (side.width, side.height) if along else (side.height, side.width)
    if not depth:
        return
    count = max(1, round(length / (depth * PIECE * (1 if along else 2))))
    band, margin = max(BAND * depth, LEAST_BAND), max(depth, LEAST_MARGIN)
    for number in range(count):
        start, stop = number * length // count, (number + 1) * length // count
        if along:
            core = Box(side.x, side.y + start, depth, stop - start)
            reach = band, margin
        else:
            core = Box(side.x + start, side.y, stop - start, depth)
            reach = margin, band
        yield _Piece(core, _widen(core, reach, limit), known)


def _widen(core: Box, reach: tuple[int, int], limit: Box) -> Box:
    """Return a box widened by pixels across and down, within a limit."""
    left, top = max(limit.x, core.x - reach[0]), max(limit.y, core.y - reach[1])
    right = min(limit.x + limit.width, core.x + core.width + reach[0])
    bottom = min(limit.y + limit.height, core.y + core.height + reach[1])
    return Box(left, top, right - left, bottom - top)


def _mirror(pixels: Levels, piece: _Piece) -> tuple[Floats, float]:
    """Return what is known, mirrored at its edges and blurred, and its weight as a hint.

    Returns:
        (h, w, 3) of the piece's box.
    """
    box, known = piece.box, piece.known
    rows = mirror(box.y - known.y, box.height, known.height)
    columns = mirror(box.x - known.x, box.width, known.width)
    image = to_float(pixels[known.slices][rows][:, columns])
    depth = min(piece.core.width, piece.core.height)
    inside = shift(piece.core, box).slices
    smooth = _blur(image, depth // SMOOTH[0])
    detail = (image - smooth)[inside]
    if math.sqrt(np.mean(detail * detail, dtype=np.float64)) < ROUGH:
        return smooth, SMOOTH[1]
    return _blur(image, depth // TEXTURE[0]), TEXTURE[1]


def _blur(image: Floats, reach: int) -> Floats:
    """Blur (h, w, 3) nearly as by a Gaussian: by the mean of a square window, twice."""
    reach = max(1, reach)
    count = blend.sum_window(np.ones((*image.shape[:2], 1), np.float32), reach)
    once = blend.sum_window(image, reach) / count
    return np.asarray(blend.sum_window(once, reach) / count, np.float32)
