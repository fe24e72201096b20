"""`fills`, the door for Python to several fills of one hole: the same kinds of image as `fill` takes."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, cast, overload

import numpy as np
from PIL import Image

from infilling.errors import InfillingWarning, InputError, check_argument, collect_warnings, warn
from infilling.filling import arrays
from infilling.filling.contents import fill_array, is_array
from infilling.filling.contract import Engine
from infilling.filling.fill import (
    ImageKind,
    Request,
    check_kind,
    name_format,
    show_options,
    take_only,
)
from infilling.filling.options import FillOptions, make_options
from infilling.filling.pipeline import Filled, FilledFile, fill_decoded, write_file
from infilling.filling.sheet import draw_doubt, draw_sheet
from infilling.filling.variants import Made, Variants, make_variants
from infilling.pictures.files import decode, decode_raster, from_pil, to_pil
from infilling.pictures.mask import Box, Mask
from infilling.pictures.mask_files import MaskSource
from infilling.pictures.picture import Array, Floats, Picture, find_format
from infilling.storage import check_png_name, read_file, write_atomic

COUNT = 4
"""Fills that are made unless a number is given."""


@dataclass(frozen=True, eq=False)
class Fills(Sequence[ImageKind], Generic[ImageKind]):
    """Fills of one hole that differ, best first: a sequence of images of the kind that was given.

    Attributes:
        images: the fills.
        labels: how each was made: engine, seed, and what else is not as usual.
        scores: of each; lower is better. They compare fills of one hole, not of several.
        spread: (H, W) float32, how far the fills differ: their standard deviation, 0 to 0.5.
        hole: (H, W) bool, the pixels that were filled.
    """

    images: tuple[ImageKind, ...]
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    spread: Floats
    hole: Mask

    def __post_init__(self) -> None:
        for name in ("images", "labels", "scores"):
            check_argument(name, getattr(self, name), tuple, "a tuple with a value for each fill")
        for name in ("spread", "hole"):
            check_argument(name, getattr(self, name), np.ndarray, "an array (H, W)")

    @property
    def doubt(self) -> float:
        """The mean spread in the hole: what is near 0 was filled alike each time."""
        return float(self.spread[self.hole].mean()) if self.hole.any() else 0.0

    def __len__(self) -> int:
        """Return the number of fills."""
        return len(self.images)

    @overload
    def __getitem__(self, place: int) -> ImageKind: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ImageKind]: ...
    def __getitem__(self, place: int | slice) -> ImageKind | Sequence[ImageKind]:
        """Return a fill by its place; 0 is the best."""
        return self.images[place]


def fills(
    image: ImageKind,
    mask: MaskSource | None = None,
    engine: str | Path | Engine = "default",
    *,
    count: int = COUNT,
    out: str | Path | None = None,
    sheet: str | Path | None = None,
    doubt: str | Path | None = None,
    threads: int | None = None,
    device: str = "auto",
    adapter: str | None = None,
    max_pixels: int | None = None,
    bands: bool = False,
    options: FillOptions | None = None,
    **changes: Any,
) -> Fills[ImageKind]:
    """Fill the holes of an image in several ways, best first.

    The first that is made is the fill of `fill`; others have other seeds, more or less of the network's
    guidance, copies from one side of the hole, or are by `patch-synthesis`. What looks the same as another is
    left out, with a warning. The order is by seam, by how well patches fit the picture, and by what the
    network expects. The same arguments give the same bytes.

    For a path, the files are `photo.filled.jpg`, `photo.filled-2.jpg` and so on, beside the picture or named
    like `out`.

    Args:
        image: what has holes, of any kind that `fill` takes, but no file of data (`.npy`, TIFF of floats).
        mask: as `fill` takes it.
        engine: as `fill` takes it.
        count: number of fills, 1 to 16.
        out: the file of the best fill; only with a path.
        sheet: write the fills beside each other, with their labels, to this file.
        doubt: write where the fills differ to this PNG: white is a standard deviation of 1/4 of the range.
        threads: as `fill` takes it, and so are `device`, `adapter`, `max_pixels` and `bands`.
        device: where a network runs.
        adapter: family of a network that others published.
        max_pixels: refuse larger files.
        bands: all channels of an array are data.
        options: how the hole is found and filled; None: the defaults.
        changes: fields of `FillOptions` by name, in place of those in `options`.

    Raises:
        InputError, ModelError, DependencyError, StorageError: as `fill`.

    Example:
        >>> photo = np.full((8, 8, 3), 200, np.uint8)
        >>> len(fills(photo, boxes=[(2, 2, 3, 3)], engine="push-pull", count=1))
        1
    """
    check_argument("sheet", sheet, str | Path | None, "a path")
    check_argument("doubt", doubt, str | Path | None, "a path")
    check_png_name(doubt)
    if sheet is not None:
        find_format(sheet)
    if doubt is not None and count == 1:
        raise InputError("'doubt' is how fills differ: ask for more than one")
    with collect_warnings() as warned, take_only(mask, changes) as mask:
        asked = make_options(options, changes)
        request = Request(mask, engine, asked, out, threads, device, adapter, max_pixels, bands)
        request.check_files(image, {"sheet": sheet, "doubt": doubt})
        found = _fill(image, request, count)
        labels = tuple(each.label for each in found.variants.fills)
        if sheet is not None:
            write_atomic(Path(sheet), draw_sheet(found.pixels, labels, found.variants.hole, str(sheet)))
        if doubt is not None:
            write_atomic(Path(doubt), draw_doubt(found.variants.spread))
    for text in warned:
        warnings.warn(text, InfillingWarning, stacklevel=2)
    scores = tuple(each.score for each in found.variants.fills)
    images = cast(tuple[ImageKind, ...], tuple(found.images))
    return Fills(images, labels, scores, found.variants.spread, found.variants.hole)


show_options(fills)


class _Found(NamedTuple):
    """Fills as they are made, as pixels (H, W, 1 or 3) each, and as images of the kind that was given."""

    variants: Variants[Any]
    pixels: list[Array]
    images: Sequence[Any]


def _fill(image: object, request: Request, count: int) -> _Found:
    check_kind(image, request)
    if isinstance(image, np.ndarray):
        return _fill_array(image, request, count)
    if isinstance(image, Image.Image):
        found = _fill_request(from_pil(image), request, count)
        done = [each.result for each in found.fills]
        images = [to_pil(each.picture) if each.changed else image.copy() for each in done]
        return _Found(found, _list_pixels(found), images)
    if isinstance(image, bytes):
        found, files = _fill_file(image, request, count, None)
        return _Found(found, _list_pixels(found), [data for data, _ in files])
    assert isinstance(image, str | Path)
    path, data = Path(image), read_file(image)
    request = dataclasses.replace(request, options=name_format(request))
    found, files = _fill_file(data, request, count, str(path))
    target = request.find_target(path, files[0][1])
    targets = [name_variant(target, number) for number in range(1, len(files) + 1)]
    for place, (content, _) in zip(targets, files, strict=True):
        write_atomic(place, content)
    return _Found(found, _list_pixels(found), [type(image)(place) for place in targets])


def _fill_file(
    data: bytes, request: Request, count: int, name: str | None
) -> tuple[Variants[Filled], list[tuple[bytes, str]]]:
    """Return the fills of a picture's file, and the bytes and format of a file for each."""
    picture = _decode(data, request.max_pixels, name)
    found = _fill_request(picture, request, count)
    return found, [write_file(data, picture, each.result, request.options) for each in found.fills]


def _fill_request(picture: Picture, request: Request, count: int) -> Variants[Filled]:
    engine = request.open_engine()
    return fill_pictures(picture, request.mask, engine, request.options, count, threads=request.threads)


def _decode(data: bytes, max_pixels: int | None, name: str | None) -> Picture:
    """Read a picture; files of data are refused."""
    if is_array(data) or decode_raster(data, max_pixels=max_pixels, name=name) is not None:
        front = f"{name}: " if name else ""
        raise InputError(
            f"{front}several fills are not for files of data: fill them one by one, each by its seed"
        )
    return decode(data, max_pixels=max_pixels, name=name)


def fill_best(
    data: bytes,
    mask: MaskSource | None,
    engine: Engine,
    options: FillOptions,
    *,
    count: int,
    threads: int | None = None,
    max_pixels: int | None = None,
    name: str | None = None,
) -> FilledFile:
    """Fill a picture's file in several ways, and return the best fill with the doubt about all.

    Args:
        data: the file of a picture.
        mask: as `fill_file` takes it.
        engine: what fills.
        options: of the fill.
        count: number of fills.
        threads: of an engine that is opened here.
        max_pixels: refuse larger pictures.
        name: what errors call the picture.

    Raises:
        InputError, ModelError: as `fill_file`.
    """
    with collect_warnings() as warned:
        picture = _decode(data, max_pixels, name)
        found = fill_pictures(picture, mask, engine, options, count, threads=threads)
        best = found.fills[0].result
        written, format = write_file(data, picture, best, options)
    doubt = found.doubt if best.changed else None
    return FilledFile(written, format, best.hole, best.picture, tuple(warned), doubt)


def _fill_array(array: Array, request: Request, count: int) -> _Found:
    def make(engine: Engine, options: FillOptions) -> Made[Array]:
        filled, hole = fill_array(array, request.mask, engine, options, bands=request.bands)
        return Made(filled, _view(filled, hole, request.bands), hole)

    found = make_variants(make, request.open_engine(), request.options, count, threads=request.threads)
    results = [each.result for each in found.fills]
    return _Found(found, [_view(each, found.hole, request.bands) for each in results], results)


def _view(filled: Array, hole: Mask, bands: bool) -> Array:
    """Return (H, W, 1 or 3) samples, or float32 in [0, 1]: the first channels of an array.

    0 and 1 are the least and the greatest known value, so that they are the same for all fills of an array.
    """
    with collect_warnings():  # said when it was filled
        parts = arrays.split_bands(filled, bands=bands)
    part = parts.colours[..., : 1 if parts.colours.shape[2] < 3 else 3]
    if parts.is_picture:
        return part.astype(part.dtype.newbyteorder("="))
    values = np.where(np.isfinite(part), part, np.nan).astype(np.float64)
    known = values[~hole]
    low, high = np.nanmin(known, initial=np.inf), np.nanmax(known, initial=-np.inf)
    scaled = (values - low) / (high - low if high > low else 1)
    return np.clip(np.nan_to_num(scaled), 0, 1).astype(np.float32)


def name_variant(target: Path, number: int) -> Path:
    """Return the file of a further fill: `photo.filled-2.jpg` for the second of `photo.filled.jpg`.

    >>> name_variant(Path("photo.filled.jpg"), 2).name
    'photo.filled-2.jpg'
    """
    return target if number == 1 else target.with_name(f"{target.stem}-{number}{target.suffix}")


def fill_pictures(
    picture: Picture,
    mask: MaskSource | None,
    engine: Engine,
    options: FillOptions,
    count: int,
    *,
    threads: int | None = None,
    within: Box | None = None,
) -> Variants[Filled]:
    """Fill the holes of a picture in several ways; see `make_variants` and `fill_decoded`."""

    def make(engine: Engine, options: FillOptions) -> Made[Filled]:
        filled = fill_decoded(picture, mask, engine, options, within=within)
        for text in filled.warnings:
            warn(text)
        return Made(filled, filled.picture.pixels, filled.hole)

    return make_variants(make, engine, options, count, threads=threads)


def _list_pixels(found: Variants[Filled]) -> list[Array]:
    return [each.result.picture.pixels for each in found.fills]
