"""`fill`, the door for Python: any kind of image in, the same kind out."""

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from infilling.errors import InfillingWarning, InputError, check_argument, check_count, collect_warnings
from infilling.filling.containers import Parts, take_apart
from infilling.filling.contents import NPY, fill_array, fill_content, is_array
from infilling.filling.contract import Engine
from infilling.filling.engine import find_size_rule
from infilling.filling.open_engines import WaitingEngine, keep_open
from infilling.filling.options import FillOptions, list_options, make_options
from infilling.filling.pipeline import FilledFile, fill_decoded
from infilling.pictures import marks
from infilling.pictures.files import from_pil, to_pil
from infilling.pictures.mask_files import MaskSource
from infilling.pictures.picture import EXTENSIONS, Picture, find_format
from infilling.storage import check_png_name, check_targets, read_file, write_atomic


class ArrayLike(Protocol):
    """A torch tensor or an xarray array."""

    def __array__(self, *args: Any, **options: Any) -> NDArray[Any]:
        """Return it as an array."""


ImageKind = TypeVar("ImageKind", bound=str | Path | bytes | NDArray[Any] | Image.Image | ArrayLike)


@dataclass(frozen=True)
class Request:
    """What a call of `fill` asks for, beside the image."""

    mask: MaskSource | None
    engine: str | Path | Engine
    options: FillOptions
    out: str | Path | None = None
    threads: int | None = None
    device: str = "auto"
    adapter: str | None = None
    max_pixels: int | None = None
    bands: bool = False
    patch_out: str | Path | None = None

    def __post_init__(self) -> None:
        for name in ("out", "patch_out"):
            check_argument(name, getattr(self, name), str | Path | None, "a path")
        check_argument("bands", self.bands, bool, "True or False")
        check_count("max_pixels", self.max_pixels, optional=True)

    def open_engine(self) -> Engine:
        """Return the engine, opened once; see `keep_open`."""
        return keep_open(self.engine, self.threads, self.device, self.adapter)

    def check_files(self, image: object, extra: Mapping[str, str | Path | None]) -> None:
        """Refuse files beside the result that would replace it, or what is read.

        Raises:
            InputError: it is so.
            StorageError: the folder of a file is not there.
        """
        check_targets({"out": self.out, **extra}, [])
        check_targets(extra, [image, self.mask, self.options.source, self.options.avoid])

    def find_target(self, path: Path, format: str, label: str = "filled") -> Path:
        """Return where the result for the file at `path` goes: `out`, or beside it."""
        return Path(self.out) if self.out else name_result(path, format, label)


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
    | torch tensor (H, W), (C, H, W), (N, C, H, W) | tensor of the same shape and type, on its device |
    | xarray `DataArray` | such an array, with the same dimensions, coordinates and attributes |

    An array is (H, W), (H, W, 1), (H, W, 2) grey and alpha, (H, W, 3) RGB, (H, W, 4) RGBA, or (H, W, C) of
    any data. uint8 and uint16 are pictures; all other types may have any range, and each hole is filled in
    the range of the values around it, so that the unit makes no difference. A fill does not leave the range
    of the known values. NaN, what a masked array masks, and `nodata` are hole, with or without a mask; under
    a mask there may be anything. Where there is no hole, the content of a file is kept byte for byte. Arrays
    and images are never written to, and the result never shares their memory. Safe to call from several
    threads; engines opened by name are kept and shared. What a person should know is a warning of the class
    `InfillingWarning`.

    Args:
        image: what has holes. A file's EXIF turn is applied; Pillow images and arrays are taken as they are.
        mask: where, in the image's size; bright = hole. A path, bytes, an open file, a Pillow image, a
            `Picture`, or an array (or what NumPy makes one of) of bool, integers or floats.
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
    with take_only(mask, changes) as mask:
        asked = make_options(options, changes)
        request = Request(mask, engine, asked, out, threads, device, adapter, max_pixels, bands, patch_out)
        result, reported = _fill(image, request)
    for text in reported:
        warnings.warn(text, InfillingWarning, stacklevel=2)
    return cast(ImageKind, result)


@contextmanager
def take_only(mask: MaskSource | None, changes: dict[str, Any]) -> Iterator[MaskSource | None]:
    """Give the mask, or the one that `only` is itself, and name `only` where that cannot be read.

    Args:
        mask: as `fill` takes it.
        changes: the options; where `only` is a mask it becomes "mask".

    Raises:
        InputError: there are two masks, or what is in `only` is none.
    """
    only = changes.get("only")
    if not _is_mask(only):
        yield mask
        return
    if mask is not None:
        raise InputError(
            "'mask' and 'only' both hold a mask: give it as 'mask', and only='mask'", field="only"
        )
    changes["only"] = "mask"
    try:
        yield cast(MaskSource, only)
    except InputError as error:
        if error.field != "mask":
            raise
        raise InputError(f"'only' cannot be used: {error}", field="only") from error


def _is_mask(value: object) -> bool:
    """Whether a mask can be read from a value of this type; a text is no path here."""
    is_readable = hasattr(value, "read") or hasattr(value, "__array__")
    return is_readable or isinstance(value, bytes | Path | Picture | list)


def show_options(door: Callable[..., Any]) -> None:
    """Give a function that takes the fields of `FillOptions` as `changes` a signature that names them."""
    given = [each for each in inspect.signature(door).parameters.values() if each.name != "changes"]
    kind = inspect.Parameter.KEYWORD_ONLY
    named = [inspect.Parameter(each.name, kind, default=each.default) for each in list_options()]
    door.__signature__ = inspect.Signature([*given, *named])  # type: ignore[attr-defined]


show_options(fill)


def _fill(image: object, request: Request) -> tuple[object, Sequence[str]]:
    """Return what became of the image, and the warnings."""
    parts = take_apart(image, request.mask)
    if parts is not None:
        return _fill_parts(parts, request)
    check_kind(image, request)
    check_png_name(request.patch_out)
    request.check_files(image, {"patch_out": request.patch_out})
    if isinstance(image, str | Path):
        path, reported = _fill_path(Path(image), request)
        return str(path) if isinstance(image, str) else path, reported
    if isinstance(image, bytes):
        done = _fill_data(image, request, None)
        return done.data, done.warnings
    with collect_warnings() as collected:
        if isinstance(image, np.ndarray):
            engine, options = request.open_engine(), request.options
            return fill_array(image, request.mask, engine, options, bands=request.bands)[0], collected
        assert isinstance(image, Image.Image)
        picture = from_pil(image)
        filled = fill_decoded(picture, request.mask, request.open_engine(), request.options, owned=True)
    if not filled.changed:
        return image.copy(), [*collected, *filled.warnings]
    return to_pil(filled.picture), [*collected, *picture.warnings, *filled.warnings]


def _fill_parts(parts: Parts, request: Request) -> tuple[object, Sequence[str]]:
    """Fill arrays one by one, and return what they were taken from."""
    filled = []
    engine, options, bands = request.open_engine(), request.options, request.bands or parts.bands
    with collect_warnings() as collected:
        for array, mask in parts.arrays:
            check_kind(array, request)
            filled.append(fill_array(array, mask, engine, options, bands=bands)[0])
    return parts.join(filled), collected


def check_kind(image: object, request: Request) -> None:
    """Refuse what is no image, and what is asked for of another kind of image.

    Raises:
        InputError: it is so.
    """
    kind = type(image).__name__
    if not isinstance(image, str | Path | bytes | np.ndarray | Image.Image):
        raise InputError(
            f"an image is a path, bytes, a Pillow image or a NumPy array, not {kind}: "
            "give what numpy.asarray makes of it, or the bytes of a file"
        )
    if request.out is not None and not isinstance(image, str | Path):
        raise InputError(f"'out' is for an image given by its path, not for {kind}")
    if isinstance(image, str | Path | bytes):
        return
    if request.patch_out is not None:
        raise InputError(f"'patch_out' is for files and their bytes, not for {kind}")
    if request.options.format is not None or request.options.quality is not None:
        raise InputError(f"'format' and 'quality' are for files and their bytes, not for {kind}")


def _fill_path(path: Path, request: Request) -> tuple[Path, Sequence[str]]:
    data = read_file(path)
    options = name_format(request, is_array(data))
    done = _fill_data(data, dataclasses.replace(request, options=options), str(path))
    target = request.find_target(path, done.format)
    write_atomic(target, done.data)
    return target, done.warnings


def name_format(request: Request, is_array: bool = False) -> FillOptions:
    """Return the options of a request, with the format that the name of its result stands for."""
    options = request.options
    ending = "" if request.out is None else Path(request.out).suffix
    if is_array and ending.lower() not in ("", f".{NPY.lower()}"):
        raise InputError(f"{request.out}: an array stays an array: give its result a name ending in .npy")
    if is_array or not ending or options.format is not None:
        return options
    return dataclasses.replace(options, format=find_format(str(request.out)))


def _fill_data(data: bytes, request: Request, name: str | None) -> FilledFile:
    done = fill_content(
        data,
        request.mask,
        cast(Engine, WaitingEngine(request.open_engine, find_size_rule(request.engine))),
        request.options,
        bands=request.bands,
        max_pixels=request.max_pixels,
        name=name,
    )
    request.open_engine()  # where nothing was to be filled, what is wrong with it is still an error
    if request.patch_out is not None:
        if done.picture is None:
            raise InputError("'patch_out' is for pictures, not for arrays and TIFFs of data")
        write_atomic(Path(request.patch_out), marks.make_patch(done.picture, done.hole))
    return done


def name_result(path: Path, format: str, label: str) -> Path:
    """Return `photo.label.jpg` beside `photo.jpg`; with the format's own ending if the file's is wrong."""
    fits = EXTENSIONS.get(path.suffix.lower()) == format
    return path.with_name(f"{path.stem}.{label}{path.suffix if fits else f'.{format.lower()}'}")
