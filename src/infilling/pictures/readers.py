"""From the bytes of a file to a Picture: which format, how large, what modes, which metadata.

Pillow's plugins are called by name instead of through `Image.open`: nothing but the formats named here can be
reached, and the limit on pixels is ours, not one that belongs to the whole process.
"""

import contextlib
import importlib
import io
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from infilling.errors import DependencyError, InputError, TooLargeError, install_hint
from infilling.pictures import jpeg, png, tags, tiff
from infilling.pictures.limits import check_file, check_size, count_chunks
from infilling.pictures.picture import (
    FORMATS,
    WRITABLE,
    JpegStyle,
    Picture,
    Samples,
    find_profile,
    lay_down,
    turn_upright,
)
from infilling.pictures.previews import clean_exif
from infilling.pictures.sniffing import sniff
from infilling.pictures.xmp import clean_xmp

ROWS_AT_ONCE = 64  # rows copied out of Pillow at a time, few enough for the cache
SMALL = 1 << 17  # pixels up to which it is not worth it
WIDEST = 1 << 20  # width beyond which that number of rows could exceed Pillow's own limit on pixels
MOST_RLE_PIXELS = 4_000_000  # of a BMP in run-length coding
MOST_RLE_BYTES = 4  # for each of its pixels; a file that compresses nothing has two
RLE_SLACK = 1 << 16  # bytes of its head, and of run lengths that end rows
MAX_DPI = 65_535  # what a JPEG can say
CMYK_WARNING = "its CMYK became RGB: the result has other colours in print, and no CMYK profile"
_DEEP = re.compile(rb"pixi\0{4}[\x01-\x04]([\x0a\x0c\x10])")  # box of a HEIC or AVIF: channels, bits of each
_WARNINGS = threading.Lock()

_MODES = {  # Pillow's mode → the one to bring it to
    **dict.fromkeys(("1", "L"), "L"),
    **dict.fromkeys(("LA", "La"), "LA"),
    **dict.fromkeys(("RGB", "RGBX", "YCbCr", "P"), "RGB"),
    **dict.fromkeys(("RGBA", "RGBa", "PA"), "RGBA"),
}
_PLUGINS = {  # format → module and class; together they take 25 ms to load
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}
_TURNS = {  # EXIF Orientation → what brings the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Plane = Image.Image | Samples


@dataclass(frozen=True)
class _Metadata:
    icc: bytes | None = None
    exif: bytes | None = None  # as it came
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    jpeg: JpegStyle | None = None
    warnings: tuple[str, ...] = ()


def read_picture(data: bytes, limit: int) -> Picture:
    """Read a picture of at most `limit` pixels; `files.decode` puts into words whatever else is raised."""
    if not data:
        raise InputError("empty: the file has no bytes")
    format = sniff(data)
    if format is None:
        raise InputError(f"not a picture that can be read ({', '.join(FORMATS)})")
    if format == "PNG":
        return _read_png(data, limit)
    if format == "TIFF":
        return _read_tiff(data, limit)
    return _read_with_pillow(format, data, limit)


def _read_with_pillow(format: str, data: bytes, limit: int) -> Picture:
    """Read a file of a format whose pixels and metadata Pillow reads exactly."""
    check_file(format, data, limit)
    image, is_animated = _open(format, data)
    check_size(image.size, limit)
    if is_animated:
        raise InputError(f"an animated {format}; give one of its frames")
    if format == "BMP":
        _check_runs(image, data)
    metadata = _read_info(image)
    lost = _find_losses(format, data, image, metadata)
    metadata = replace(metadata, warnings=(*metadata.warnings, *lost))
    written = format if format in WRITABLE else "PNG"
    picture = _assemble(written, *split_alpha(image, metadata.icc), metadata)
    if format == "JPEG":
        return replace(picture, chunks=tuple(jpeg.read_segments(image)))
    if format == "GIF" and (comment := image.info.get("comment")):
        return replace(picture, chunks=((b"tEXt", b"Comment\0" + comment),))
    if format == "WEBP":
        return replace(picture, lossless=count_chunks(data, b"VP8L") > 0)
    return picture


def _find_losses(format: str, data: bytes, image: Image.Image, metadata: _Metadata) -> Iterator[str]:
    """Yield what is said of the parts of a file that are not read."""
    if format == "JPEG":
        yield from jpeg.find_losses(image, data, metadata.xmp)
    if format in ("AVIF", "HEIC") and (deep := _DEEP.search(data)):
        yield f"its {deep[1][0]} bits per channel are read as 8"


def _check_runs(image: Image.Image, data: bytes) -> None:
    """Refuse a large BMP in run-length coding: Python decodes it, run by run."""
    (coding, *_), *_ = image.tile  # type: ignore[attr-defined]
    if coding != "bmp_rle":
        return
    check_size(image.size, MOST_RLE_PIXELS)
    if len(data) > RLE_SLACK + MOST_RLE_BYTES * image.width * image.height:
        raise InputError("a BMP of more run lengths than it has pixels is not supported")


def read_image(image: Image.Image) -> Picture:
    """Make a picture of a Pillow image, as it stands; see `picture.from_pil`."""
    metadata = _read_info(image)
    format = image.format if image.format in WRITABLE else "PNG"
    bare = replace(metadata, exif=None)
    picture = _assemble(format, *split_alpha(image, metadata.icc), bare)
    return replace(picture, exif=metadata.exif)


def split_alpha(image: Image.Image, icc: bytes | None = None) -> tuple[Plane, Plane | None]:
    """Split an image into its colour (L, RGB or 16-bit grey) and its alpha (L) or None.

    Args:
        image: of any 8-bit mode, or `I;16`.
        icc: its profile, by which CMYK is turned into RGB.

    Raises:
        InputError: another mode.
    """
    image.load()  # a GIF may change its mode
    mode = image.mode
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16), None
    if mode == "CMYK":
        return _convert_cmyk(image, icc), None
    if mode not in _MODES:
        raise InputError(
            f"pixels of Pillow's mode {mode} are not supported; make them 8-bit or 16-bit grey or RGB"
        )
    colour = _MODES[mode].removesuffix("A")
    is_opaque = colour == _MODES[mode] and "transparency" not in image.info
    if is_opaque:
        return _convert(image, colour), None
    image = _convert(image, f"{colour}A")
    return image.convert(colour), image.getchannel("A")


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """Return an image in a mode; the very image if it is in it."""
    return image if image.mode == mode else image.convert(mode)


def _read_png(data: bytes, limit: int) -> Picture:
    depth = png.read_depth(data)
    chunks, lost = png.read_chunks(data)
    image = png.open_image(data)
    check_size(image.size, limit, depth * max(8, len(image.getbands()) * 8) // 8)
    colour: Plane
    alpha: Plane | None
    if depth == 16:
        colour, alpha = png.read_deep(image, data)
    else:
        colour, alpha = split_alpha(image)
    picture = _assemble("PNG", colour, alpha, _read_info(image))  # some chunks are behind the pixels
    return replace(picture, chunks=chunks, warnings=(*picture.warnings, *lost))


def _read_tiff(data: bytes, limit: int) -> Picture:
    layout = tiff.read_layout(data)
    if reason := tiff.describe_data(layout):
        raise InputError(reason)
    tiff.check_layout(layout, limit)
    icc, xmp = layout.data(tiff.ICC), layout.data(tiff.XMP)
    metadata = _Metadata(icc, tiff.read_exif(data, layout), xmp, _check_dpi(tiff.read_dpi(layout)))
    turn = layout.number(tags.ORIENTATION, 1)
    colour: Plane
    alpha: Plane | None
    if layout.bits == 16:
        colour, alpha = tiff.read_deep(data, layout)
    else:
        image = tiff.open_image(data, layout)
        metadata = replace(metadata, warnings=_warn_of_cmyk(image))
        colour, alpha = split_alpha(image, icc)
    return _assemble("TIFF", colour, alpha, metadata, turn=turn)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keep warnings of Pillow about odd EXIF or odd frames from the host.

    Only where they cannot be avoided: the filters belong to the whole process, hence also one at a time.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(format: str, data: bytes) -> tuple[Image.Image, bool]:
    """Open with the Pillow plugin of this format, and with no other; say whether it is animated."""
    plugins: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
        "JPEG": jpeg.JpegFile,
        "HEIC": _open_heic,
    }
    open_file = plugins.get(format) or _load_plugin(*_PLUGINS[format])
    try:
        with without_warnings() if format in ("AVIF", "GIF") else contextlib.nullcontext():
            image = open_file(io.BytesIO(data))
            return image, format != "HEIC" and bool(getattr(image, "is_animated", False))
    except Image.DecompressionBombError as error:  # Pillow's own limit, which WebP and GIF cannot do without
        raise TooLargeError("a frame in it has more pixels than Pillow opens; make it smaller") from error


def _load_plugin(module: str, name: str) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    """Return a class of a Pillow plugin; each is loaded with the first file of its format."""
    plugin: Callable[[io.BytesIO], ImageFile.ImageFile] = getattr(importlib.import_module(module), name)
    return plugin


def _open_heic(file: io.BytesIO) -> ImageFile.ImageFile:
    """Open a HEIC with an optional package; of several pictures in it, the primary one."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise DependencyError(f"HEIC pictures need pillow-heif: {install_hint('heic')}") from error
    image: ImageFile.ImageFile = HeifImageFile(file)  # type: ignore[no-untyped-call]
    return image


def _assemble(
    format: str,
    colour: Plane,
    alpha: Plane | None,
    metadata: _Metadata,
    *,
    turn: int = 0,
) -> Picture:
    """Put a picture together, turned by `turn`, 1 to 8, or else as its EXIF says."""
    exif, exif_turn = _clean(metadata.exif)
    if turn not in range(1, 9):
        turn = exif_turn
    pixels = _stand(colour, turn)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    xmp, said = clean_xmp(metadata.xmp or None)
    dpi, style = metadata.dpi, metadata.jpeg
    if turn >= 5:
        dpi, style = dpi and dpi[::-1], style and jpeg.turn_style(style)
    return Picture(
        pixels,
        None if alpha is None else _stand(alpha, turn),
        icc=find_profile(metadata.icc, pixels.shape[2]),
        exif=exif,
        xmp=xmp,
        dpi=dpi,
        format=format,
        jpeg=style,
        turn=turn,
        warnings=(*metadata.warnings, *said),
    )


def _stand(plane: Plane, turn: int) -> Samples:
    """Copy a plane into an array of its own, (H, W) or (H, W, C), turned by an EXIF Orientation."""
    if not isinstance(plane, Image.Image):
        return np.ascontiguousarray(turn_upright(plane, turn))
    width, height = plane.size
    shape = (width, height, 3) if turn >= 5 else (height, width, 3)
    turned: Samples = np.empty(shape if plane.mode == "RGB" else shape[:2], np.uint8)
    stored = lay_down(turned, turn)  # a view, of which each strip is a part that Pillow turns
    # In one piece, `np.asarray` would gather the bytes of a large image twice over: three times as slow.
    rows = ROWS_AT_ONCE if SMALL < width * height < height * WIDEST else height
    for top in range(0, height, rows):
        part = plane if rows == height else plane.crop((0, top, width, min(top + rows, height)))
        upright = part.transpose(_TURNS[turn]) if turn in _TURNS else part
        turn_upright(stored[top : top + rows], turn)[...] = np.asarray(upright)
    return turned


def _convert_cmyk(image: Image.Image, icc: bytes | None) -> Image.Image:
    """CMYK to RGB: to sRGB through the profile, or by the simple rule where none can be used."""
    if icc and icc[16:20] == b"CMYK":
        from PIL import ImageCms

        try:
            target = ImageCms.createProfile("sRGB")
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            if converted := ImageCms.profileToProfile(image, source, target, outputMode="RGB"):
                return converted
        except (ImageCms.PyCMSError, OSError, ImportError):  # a damaged profile; a Pillow without LittleCMS
            pass
    return image.convert("RGB")


def _read_info(image: Image.Image) -> _Metadata:
    """Return what Pillow read of the metadata of an image, where it has the expected type."""
    info = image.info
    icc, exif, xmp = (_take_bytes(info.get(key)) for key in ("icc_profile", "exif", "xmp"))
    if not info.get("exif"):
        exif = _parse_raw_profile(info.get("Raw profile type exif"))
    bare = exif and exif.removeprefix(b"Exif\0\0")
    dpi = _check_dpi(info.get("dpi"))
    return _Metadata(icc, bare, xmp, dpi, jpeg.read_style(image), _warn_of_cmyk(image))


def _take_bytes(value: Any) -> bytes | None:
    return value if value and isinstance(value, bytes) else None


def _parse_raw_profile(text: Any) -> bytes | None:
    """Return the EXIF that ImageMagick writes as a text: a name, a length, and hexadecimal digits."""
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def _warn_of_cmyk(image: Image.Image) -> tuple[str, ...]:
    """Return what is said about an image that becomes RGB."""
    return (CMYK_WARNING,) if image.mode == "CMYK" else ()


def _check_dpi(values: Any) -> tuple[float, float] | None:
    """Dots per inch as two floats, if they are two numbers that make sense."""
    try:
        across, down = (float(value) for value in values)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (across, down) if 1 <= across <= MAX_DPI and 1 <= down <= MAX_DPI else None


def _clean(exif: bytes | None) -> tuple[bytes | None, int]:
    """EXIF without turn and thumbnail, and the turn; nothing of one that cannot be read."""
    if exif is None:
        return None, 1
    try:
        return clean_exif(exif)
    except (ValueError, struct.error):
        return None, 1
