"""`fill`, the door for Python: any kind of image in, the same kind out."""

import dataclasses
import inspect
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from infilling.errors import InfillingWarning, InputError, collect_warnings, warn
from infilling.filling import arrays
from infilling.filling.contract import Engine
from infilling.filling.open_engines import keep_open
from infilling.filling.options import FillOptions, list_options, make_options
from infilling.filling.pipeline import (
    fill_decoded,
    fill_file,
    fill_picture,
    find_mark,
    mix,
)
from infilling.pictures import marks
from infilling.pictures import mask as masks
from infilling.pictures.files import decode_raster, from_pil, to_pil
from infilling.pictures.mask_files import MaskSource
from infilling.pictures.picture import EXTENSIONS, find_format
from infilling.pictures.rasters import Raster, find_missing, write_raster
from infilling.storage import read_file, write_atomic

ImageKind = TypeVar("ImageKind", bound=str | Path | bytes | NDArray[Any] | Image.Image)


@dataclass(frozen=True)
class _Request:
    """What a call of `fill` asks for, beside the image."""

    mask: MaskSource | None
    engine: str | Path | Engine
    options: FillOptions
    out: str | Path | None
    threads: int | None
    device: str
    adapter: str | None
    max_pixels: int | None
    bands: bool
    patch_out: str | Path | None

    def open_engine(self) -> Engine:
        return keep_open(self.engine, self.threads, self.device, self.adapter)


def fill(
    image: ImageKind,
    mask: MaskSource | None = None,
    engine: str | Path | Engine = "default",
    *,
    out: str | Path | None = None,
    threads: int | None = None,
    device: str = "auto",
    adapter: str | None = None,
    max_pixels: int | None = None,
    bands: bool = False,
    patch_out: str | Path | None = None,
    options: FillOptions | None = None,
    **changes: Any,
) -> ImageKind:
    """Fill the holes of an image and return the same kind of thing.

    | image | result |
    |---|---|
    | path (`str` or `Path`) | path of the file written: `out`, else `photo.filled.jpg` beside `photo.jpg` |
    | bytes of a file | bytes of a file in the same format |
    | path of a `.npy` file | path of such a file: `out`, else `data.filled.npy` |
    | Pillow image | Pillow image: L, LA, RGB, RGBA, I;16 keep their mode, others become L, RGB or RGBA |
    | array | array of the same shape and type |

    An array is (H, W), (H, W, 1), (H, W, 2) grey and alpha, (H, W, 3) RGB, (H, W, 4) RGBA, or (H, W, C) of
    any data. uint8, uint16 and floats within [0, 1] are taken as they are; all else by the range of the known
    values, which a fill does not leave, in 65536 steps. In floats NaN is hole, with or without a mask; under
    a mask there may be anything. Where there is no hole, the content of a file is kept byte for byte. Arrays
    and images are never written to, and the result never shares their memory. Safe to call from several
    threads; engines opened by name are kept and shared. What a person should know is a warning of the class
    `InfillingWarning`.

    Args:
        image: what has holes. A file's EXIF turn is applied; Pillow images and arrays are taken as they are.
        mask: where, in the image's size; bright = hole. A path, bytes, a Pillow image, or an array of bool,
            integers or floats.
        engine: `default`, a name in the table, an ONNX file, a run folder, or an `Engine`.
        out: the file to write; only with a path.
        threads: for a network opened by name or path; None takes all that this process may run on.
        device: for the same: `auto`, `cpu`, `cuda` or `cuda:i`.
        adapter: for a file of a network that others published: its family; None recognises it.
        max_pixels: refuse larger files; None takes `INFILLING_MAX_PIXELS`, or 200 million.
        bands: all channels of an array are data, the last of 2 and 4 too.
        patch_out: write what was filled, alone, to this PNG too, with alpha and its place; only with a path
            or bytes.
        options: how the hole is found and filled, and the result written; None: the defaults.
        changes: fields of `FillOptions` by name, in place of those in `options`: `boxes`, `grow`, `format`, …

    Raises:
        InputError: image, mask or an option cannot be used.
        ModelError: the engine or its file cannot be used.
        DependencyError: the engine needs a package that is not installed.
        StorageError: the file cannot be written.

    Example:
        >>> photo = np.full((8, 8, 3), 200, np.uint8)
        >>> fill(photo, boxes=[(2, 2, 3, 3)], engine="push-pull")[3, 3].tolist()
        [200, 200, 200]
    """
    asked = make_options(options, changes)
    request = _Request(mask, engine, asked, out, threads, device, adapter, max_pixels, bands, patch_out)
    result, told = _fill(image, request)
    for text in told:
        warnings.warn(text, InfillingWarning, stacklevel=2)
    return cast(ImageKind, result)


fill.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        *(each for each in inspect.signature(fill).parameters.values() if each.name != "changes"),
        *(
            inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default)
            for option in list_options()
        ),
    ]
)


def _fill(image: object, request: _Request) -> tuple[object, Sequence[str]]:
    """Return what became of the image, and the warnings."""
    _check_kind(image, request)
    if isinstance(image, str | Path):
        is_array = Path(image).suffix.lower() == ".npy"
        path, told = (_fill_npy if is_array else _fill_path)(Path(image), request)
        return str(path) if isinstance(image, str) else path, told
    if isinstance(image, bytes):
        done = _fill_data(image, request, None)
        data, _, told = done
        return data, told
    with collect_warnings() as told:
        if isinstance(image, np.ndarray):
            return _fill_array(image, request), told
        assert isinstance(image, Image.Image)
        picture = from_pil(image)
        filled = fill_decoded(picture, request.mask, request.open_engine(), request.options)
    return to_pil(filled.picture) if filled.changed else image.copy(), [*told, *filled.warnings]


def _check_kind(image: object, request: _Request) -> None:
    kind = type(image).__name__
    if not isinstance(image, str | Path | bytes | np.ndarray | Image.Image):
        raise InputError(f"an image is a path, bytes, a Pillow image or an array, not {kind}")
    if request.out is not None and not isinstance(image, str | Path):
        raise InputError(f"'out' is for an image given by its path, not for {kind}")
    if isinstance(image, str | Path | bytes):
        return
    if request.patch_out is not None:
        raise InputError(f"'patch_out' is for files and their bytes, not for {kind}")
    if request.options.format is not None or request.options.quality is not None:
        raise InputError(f"'format' and 'quality' are for files and their bytes, not for {kind}")


def _fill_path(path: Path, request: _Request) -> tuple[Path, Sequence[str]]:
    format = request.options.format
    if format is None and request.out and Path(request.out).suffix:
        format = find_format(request.out)
    request = dataclasses.replace(request, options=dataclasses.replace(request.options, format=format))
    data, format, told = _fill_data(read_file(path), request, str(path))
    target = Path(request.out) if request.out else _name_result(path, format)
    write_atomic(target, data)
    return target, told


def _fill_data(data: bytes, request: _Request, name: str | None) -> tuple[bytes, str, Sequence[str]]:
    """Return the bytes of the result, their format, and the warnings."""
    engine, limit = request.open_engine(), request.max_pixels
    if (raster := decode_raster(data, max_pixels=limit, name=name)) is not None:
        with collect_warnings() as told:
            return _fill_raster(raster, request, name), "TIFF", told
    done = fill_file(data, request.mask, engine, request.options, max_pixels=limit, name=name)
    if request.patch_out is not None:
        write_atomic(Path(request.patch_out), marks.make_patch(done.filled.picture, done.filled.hole))
    return done.data, done.format, done.warnings


def _fill_raster(raster: Raster, request: _Request, name: str | None) -> bytes:
    """Fill a TIFF of data. What means "missing" in it is no source; without a mask it is the hole."""
    options, front = request.options, f"{name}: " if name else ""
    if options.format not in (None, "TIFF") or options.quality is not None or options.mark:
        raise InputError(f"{front}a TIFF of data stays one; 'format', 'quality' and 'mark' are for pictures")
    if request.patch_out is not None:
        raise InputError(f"{front}'patch_out' is for pictures, not for a TIFF of data")
    bands, missing = raster.bands, find_missing(raster)
    work = bands
    if missing.any():
        if bands.dtype.kind != "f" and bands.itemsize == 8:
            raise InputError(f"{front}64-bit integers with NODATA are not filled; save them as 32-bit")
        work = np.where(missing, np.nan, bands.astype(np.float64) if bands.dtype.kind != "f" else bands)
    filled, hole = _fill_bands(work, dataclasses.replace(request, bands=True))
    is_told = request.mask is not None or options.mark_hole
    changed = np.where(is_told, hole[..., None], missing | np.isnan(work))
    values = filled if bands.dtype.kind == "f" else np.rint(filled)
    result = np.where(changed, values, bands).astype(bands.dtype)
    return write_raster(dataclasses.replace(raster, bands=result))


def _fill_npy(path: Path, request: _Request) -> tuple[Path, Sequence[str]]:
    """Fill an array in NumPy's file format; nothing in such a file is ever executed."""
    options = request.options
    if options.format or options.quality is not None or options.mark:
        raise InputError(f"{path}: an array stays an array; 'format', 'quality' and 'mark' are for pictures")
    try:
        array = np.load(io.BytesIO(read_file(path)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not an array in NumPy's format ({error})") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: holds several arrays; save the one to fill with numpy.save")
    file = io.BytesIO()
    with collect_warnings() as told:
        np.save(file, _fill_array(array, request), allow_pickle=False)
    target = Path(request.out) if request.out else path.with_name(f"{path.stem}.filled.npy")
    write_atomic(target, file.getvalue())
    return target, told


def _fill_array(array: NDArray[Any], request: _Request) -> NDArray[Any]:
    return _fill_bands(array, request)[0]


def _fill_bands(array: NDArray[Any], request: _Request) -> tuple[NDArray[Any], masks.Mask]:
    """Return the array, filled, and (H, W) what was marked as hole."""
    parts, options = arrays.take(array, bands=request.bands), request.options
    hole, weight = np.zeros(array.shape[:2], dtype=bool), None
    if request.mask is not None or options.mark_hole or not parts.missing.any():
        hole, weight = find_mark(arrays.preview(parts), request.mask, options)
    if options.grow:
        hole = masks.grow(hole | parts.gaps, options.grow)
    every = hole | parts.gaps
    if not every.any():
        warn("nothing is marked as hole, so nothing was filled")
    parts, engine = arrays.scale(parts, every), request.open_engine()
    plain = dataclasses.replace(options, grow=0)
    results = [fill_picture(picture, every, engine, plain) for picture in arrays.to_pictures(parts)]
    opaque = request.mask is None and options.mask_from_alpha
    given = arrays.give(array, parts, hole, results, opaque=opaque)
    return given if weight is None else mix(array, given, np.where(parts.gaps, 1, weight)), hole


def _name_result(path: Path, format: str) -> Path:
    """Return `photo.filled.jpg` beside `photo.jpg`; with the format's own ending if the file's is wrong."""
    fits = EXTENSIONS.get(path.suffix.lower()) == format
    return path.with_name(f"{path.stem}.filled{path.suffix if fits else f'.{format.lower()}'}")
