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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin

from infilling.errors import DependencyError, InputError, TooLargeError, install_hint
from infilling.pictures import png, tags, tiff
from infilling.pictures.limits import check_gif, check_jpeg, check_size, measure_webp, walk_riff
from infilling.pictures.picture import FORMATS, WRITABLE, JpegStyle, Picture, Samples, turn_upright
from infilling.pictures.previews import clean_exif
from infilling.pictures.xmp import clean_xmp

ROWS_AT_ONCE = 64  # rows copied out of Pillow at a time, few enough for the cache
SMALL = 1 << 17  # pixels up to which it is not worth it
WIDEST = 1 << 20  # width beyond which that number of rows could exceed Pillow's own limit on pixels
MOST_RLE_PIXELS = 4_000_000  # of a BMP in run-length coding
MOST_RLE_BYTES = 4  # for each of its pixels; a file that compresses nothing has two
RLE_SLACK = 1 << 16  # bytes of its head, and of run lengths that end rows
MAX_DPI = 65_535  # what a JPEG can say
MPO_WARNING = "it holds further pictures (MPO), which are not kept"
CMYK_WARNING = "its CMYK became RGB: the result has other colours in print, and no CMYK profile"
_WARNINGS = threading.Lock()

_SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF"),
    (re.compile(rb"BM"), "BMP"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
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
_XMP_TURN = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")

Plane = Image.Image | Samples


@dataclass(frozen=True)
class _Metadata:
    icc: bytes | None = None
    exif: bytes | None = None  # as it came
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
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
    _check_file(format, data, limit)
    image, is_animated = _open(format, data)
    check_size(image.size, limit)
    if format == "BMP" and getattr(image, "tile", [()])[0][0] == "bmp_rle":  # decoded by Python, run by run
        check_size(image.size, min(limit, MOST_RLE_PIXELS))
        if len(data) > RLE_SLACK + MOST_RLE_BYTES * image.width * image.height:
            raise InputError("a BMP of more run lengths than it has pixels is not supported")
    if is_animated:
        raise _refuse_frames(format)
    metadata = _read_info(image.info)
    if image.mode == "CMYK":
        metadata = replace(metadata, warnings=(CMYK_WARNING,))
    if "mp" in image.info:
        metadata = replace(metadata, warnings=(*metadata.warnings, MPO_WARNING))
    picture = _assemble(format, *split_alpha(image, metadata.icc), metadata, jpeg=_read_jpeg_style(image))
    if format == "WEBP":
        return replace(picture, lossless=any(kind == b"VP8L" for kind, *_ in walk_riff(data)))
    return picture if format in WRITABLE else replace(picture, format="PNG")


def _check_file(format: str, data: bytes, limit: int) -> None:
    """Refuse what would take too long, or too much memory, before it is opened."""
    if format == "JPEG":
        check_jpeg(data)
    if format == "WEBP":
        frames = sum(kind == b"ANMF" for kind, *_ in walk_riff(data))
        check_size(measure_webp(data), limit)
        if frames > 1:  # Pillow would make room for the whole canvas to say so
            raise _refuse_frames(format)
    if format == "GIF":
        check_gif(data)
        check_size(struct.unpack_from("<HH", data, 6), limit)


def _refuse_frames(format: str) -> InputError:
    return InputError(f"an animated {format}; give one of its frames")


def read_image(image: Image.Image) -> Picture:
    """Make a picture of a Pillow image, as it stands; see `picture.from_pil`."""
    metadata = _read_info(image.info)
    format = image.format if image.format in WRITABLE else "PNG"
    bare = replace(metadata, exif=None)
    picture = _assemble(format, *split_alpha(image, metadata.icc), bare, jpeg=_read_jpeg_style(image))
    return replace(picture, exif=metadata.exif)


def sniff(data: bytes) -> str | None:
    """Name of the format that the first bytes promise, None if it is none that can be read."""
    for pattern, name in _SIGNATURES:
        if pattern.match(data):
            return name
    if data[4:8] == b"ftyp":
        brands = data[8 : min(struct.unpack_from(">I", data)[0], 256)]
        found = {brands[place : place + 4] for place in range(0, len(brands), 4)}
        if found & {b"avif", b"avis"}:
            return "AVIF"
        if found & _HEIF_BRANDS:
            return "HEIC"
    return None


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
    target = _MODES.get(mode)
    if target is None:
        raise InputError(
            f"pixels of Pillow's mode {mode} are not supported; make them 8-bit or 16-bit grey or RGB"
        )
    if "transparency" in image.info and not target.endswith("A"):
        target += "A"
    image = image if mode == target else image.convert(target)
    if not target.endswith("A"):
        return image, None
    return image.convert(target.removesuffix("A")), image.getchannel("A")


def _read_png(data: bytes, limit: int) -> Picture:
    depth = png.read_depth(data)
    chunks = png.read_chunks(data)
    image = png.open_image(data)
    check_size(image.size, limit, depth * max(8, len(image.getbands()) * 8) // 8)
    colour: Plane
    alpha: Plane | None
    if depth == 16:
        colour, alpha = png.read_deep(image, data)
    else:
        colour, alpha = split_alpha(image)
    picture = _assemble("PNG", colour, alpha, _read_info(image.info))  # some chunks are behind the pixels
    return replace(picture, chunks=chunks)


def _read_tiff(data: bytes, limit: int) -> Picture:
    layout = tiff.read_layout(data)
    tiff.require_picture(layout)
    tiff.check_layout(layout, limit)
    icc, xmp = (tag.value if (tag := layout.tags.get(code)) else None for code in (tiff.ICC, tiff.XMP))
    metadata = _Metadata(icc, tiff.read_exif(data, layout), xmp, _check_dpi(tiff.read_dpi(layout)))
    turn = layout.number(tags.ORIENTATION, 1)
    colour: Plane
    alpha: Plane | None
    if layout.bits == 16:
        colour, alpha = tiff.read_deep(data, layout)
    else:
        image = tiff.open_image(data, layout)
        if image.mode == "CMYK":
            metadata = replace(metadata, warnings=(CMYK_WARNING,))
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


class _JpegFile(JpegImagePlugin.JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Do not: Pillow would warn about what is odd in the EXIF, which we keep as it is."""


def _open(format: str, data: bytes) -> tuple[Image.Image, bool]:
    """Open with the Pillow plugin of this format, and with no other; say whether it is animated."""
    plugins: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
        "JPEG": _JpegFile,
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
    turn: int | None = None,
    jpeg: JpegStyle | None = None,
) -> Picture:
    """Put a picture together, turned as its EXIF says (or as `turn` says, where the file has its own tag)."""
    exif, exif_turn = _clean(metadata.exif)
    if turn is None or not 1 <= turn <= 8:
        turn = exif_turn
    pixels = _stand(colour, turn)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    upright = _stand_metadata(metadata, turn, pixels.shape[2])
    if jpeg and turn >= 5:
        jpeg = _lay_down(jpeg)
    return Picture(
        pixels,
        None if alpha is None else _stand(alpha, turn),
        icc=upright.icc,
        exif=exif,
        xmp=upright.xmp,
        dpi=upright.dpi,
        format=format,
        jpeg=jpeg,
        turn=turn,
        warnings=upright.warnings,
    )


def _stand_metadata(metadata: _Metadata, turn: int, channels: int) -> _Metadata:
    """Return the metadata of a picture that was turned, without a profile for other channels than it has."""
    icc, xmp, dpi, said = metadata.icc, metadata.xmp, metadata.dpi, metadata.warnings
    if icc and icc[16:20] != (b"GRAY" if channels == 1 else b"RGB "):
        icc = None
    if xmp:
        xmp, more = clean_xmp(xmp)
        said = (*said, *more)
    if xmp:
        xmp = _XMP_TURN.sub(rb"\g<1>1", xmp)
    if dpi and turn >= 5:
        dpi = dpi[::-1]
    return _Metadata(icc or None, metadata.exif, xmp, dpi, said)


def _stand(plane: Plane, turn: int) -> Samples:
    """Copy a plane into an array of its own, (H, W) or (H, W, C), turned by an EXIF Orientation."""
    if not isinstance(plane, Image.Image):
        return np.ascontiguousarray(turn_upright(plane, turn))
    width, height = plane.size
    shape = (width, height, 3) if turn >= 5 else (height, width, 3)
    turned: Samples = np.empty(shape if plane.mode == "RGB" else shape[:2], np.uint8)
    by_rows = turned.swapaxes(0, 1) if turn >= 5 else turned  # first axis along the rows of the plane
    # In one piece, `np.asarray` would gather the bytes of a large image twice over: three times as slow.
    rows = ROWS_AT_ONCE if SMALL < width * height < height * WIDEST else height
    for top in range(0, height, rows):
        stop = min(top + rows, height)
        part = plane if rows == height else plane.crop((0, top, width, stop))
        array = np.asarray(part.transpose(_TURNS[turn]) if turn in _TURNS else part)
        place = height - stop if turn in (3, 4, 6, 7) else top
        by_rows[place : place + stop - top] = array.swapaxes(0, 1) if turn >= 5 else array
    return turned


def _lay_down(style: JpegStyle) -> JpegStyle:
    """Return the style for a quarter turn: rows of the tables become columns; 4:2:2 has no upright form."""
    tables = tuple(_transpose_table(table) for table in style.tables)
    return JpegStyle(tables, 0 if style.subsampling == 1 else style.subsampling)


def _transpose_table(table: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(np.reshape(table, (8, 8)).T.ravel().tolist())


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


def _read_jpeg_style(image: Image.Image) -> JpegStyle | None:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    try:
        tables = [tuple(image.quantization[number]) for *_, number in image.layer[:3]]
    except KeyError:
        return None
    if tables[1:2] == tables[2:3]:
        del tables[2:]
    return JpegStyle(tuple(tables), max(JpegImagePlugin.get_sampling(image), 0)) if tables else None


def _read_info(info: Mapping[str | tuple[int, int], Any]) -> _Metadata:
    """Return Pillow's value where it has the expected type."""
    found = {key: info.get(key) for key in ("icc_profile", "exif", "xmp")}
    icc, exif, xmp = (value if value and isinstance(value, bytes) else None for value in found.values())
    raw = info.get("Raw profile type exif")
    if not found["exif"] and isinstance(raw, str):
        with contextlib.suppress(ValueError):  # ImageMagick: a name, a length, and hexadecimal digits
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))
    if exif:
        exif = exif.removeprefix(b"Exif\0\0")
    return _Metadata(icc, exif, xmp, _check_dpi(info.get("dpi")))


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
