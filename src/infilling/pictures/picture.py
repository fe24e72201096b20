"""Pictures: read from a file with all that belongs to them, and written back in the same way.

`decode` applies the EXIF turn, so that pixels stand as they are seen. What Pillow would lose is kept: 16
bits, colour profile, EXIF, XMP, resolution, the compression of a JPEG.
"""

import dataclasses
import math
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from infilling.errors import ConfigError, InfillingError, InputError, StorageError, did_you_mean

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 200_000_000
MAX_PIXELS_VARIABLE = "INFILLING_MAX_PIXELS"

EXTENSIONS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
}
FORMATS = tuple(dict.fromkeys(EXTENSIONS.values()))

Samples = npt.NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class JpegStyle:
    """How a JPEG was compressed, so that it can be compressed like that again.

    Attributes:
        tables: one to four quantisation tables, each 64 numbers by rows.
        subsampling: of the colours, 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: int


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as it is seen, with what its file said about it.

    Attributes:
        pixels: (H, W, C) uint8 or uint16, C 1 (grey) or 3 (RGB).
        alpha: (H, W) of the same type, 0 transparent; not multiplied into the pixels. None if opaque.
        icc: colour profile.
        exif: EXIF block from its TIFF header on; Orientation 1, no thumbnail.
        xmp: XMP packet.
        dpi: dots per inch, across and down.
        format: what `encode` writes unless told, one of FORMATS.
        jpeg: how the JPEG it came from was compressed.
        lossless: it came from a WebP that keeps every pixel.
    """

    pixels: Samples
    alpha: Samples | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    format: str = "PNG"
    jpeg: JpegStyle | None = None
    lossless: bool = False

    def __post_init__(self) -> None:
        shape, kind = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] not in (1, 3) or not shape[0] * shape[1]:
            raise InputError(f"pixels must be (H, W, 1) or (H, W, 3) and at least 1×1, not {shape}")
        if kind not in (np.uint8, np.uint16):
            raise InputError(f"pixels must be uint8 or uint16, not {kind}")
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != kind):
            found = f"{self.alpha.shape} {self.alpha.dtype}"
            raise InputError(f"alpha must be {shape[:2]} {kind} like the pixels, not {found}")

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    def with_pixels(self, pixels: Samples) -> "Picture":
        """The same picture with other pixels of the same size; all else is kept."""
        return dataclasses.replace(self, pixels=pixels)


def decode(source: bytes | Path, *, max_pixels: int | None = None, name: str | None = None) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, BMP, AVIF or (as PNG) GIF picture.

    Grey stays grey, a palette becomes RGB, transparency becomes alpha, CMYK becomes RGB (through its profile,
    which is dropped), 16 bits stay 16 bits. AVIF of 10 or 12 bits is read at 8. The EXIF turn is applied. The
    bytes say what the format is, not the name.

    Args:
        source: the bytes of a file, or its path.
        max_pixels: refuse larger pictures, before they are decoded. By default the environment variable
            INFILLING_MAX_PIXELS, or else 200 million.
        name: what errors call it. By default its path, or "picture".

    Raises:
        InputError: missing, empty, truncated, damaged, too large, animated, of several pages, of another
            format, or with samples that are neither 8 nor 16 bit.
        ConfigError: INFILLING_MAX_PIXELS is not a number.
    """
    from infilling.pictures import readers  # here: it builds on Picture, and loads what Pillow needs

    limit = _read_limit() if max_pixels is None else max_pixels
    name, data = _load(source, name)
    try:
        return readers.read(data, limit)
    except InfillingError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__
    except MemoryError as error:
        raise InputError(f"{name}: not enough memory to decode it") from error
    except Exception as error:  # a decoder may raise anything at all on hostile bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: damaged or truncated {readers.sniff(data)} ({reason})") from error


def encode(picture: Picture, format: str | None = None, *, quality: int | None = None) -> bytes:
    """Write a picture to the bytes of a file: PNG, TIFF and BMP exactly, the others as well as is sensible.

    A picture that came from a JPEG is compressed with that JPEG's tables; one from a lossless WebP stays so.
    Profile, EXIF, XMP and resolution are kept where the format has room for them. 16 bits become 8 in JPEG,
    WebP, BMP and AVIF: v / 257, rounded.

    Args:
        picture: what to write.
        format: one of FORMATS or a usual extension; by default the picture's own.
        quality: 1 to 100, for JPEG, WebP and AVIF; by default like the source, or else high. PNG, TIFF and
            BMP take no notice of it.

    Raises:
        InputError: unknown format or quality, alpha that is not opaque for a JPEG, a side longer than the
            format allows.
    """
    from infilling.pictures import writers  # here: it builds on Picture, and loads what Pillow needs

    name = find_format(format or picture.format)
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"quality {quality} is not in 1 to 100")
    try:
        return writers.WRITERS[name](picture, quality)
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot write {picture.width}×{picture.height} as {name} ({reason})") from error


def find_format(name: str | Path) -> str:
    """The format that an extension, a file name or a format's own name stands for: "jpg" → "JPEG".

    Raises:
        InputError: it is none that `encode` writes.
    """
    text = str(name)
    known = EXTENSIONS | {format.lower(): format for format in FORMATS}
    key = (os.path.splitext(text)[1] or text).lower()
    found = known.get(key) or known.get("." + key)
    if found is None:
        formats, hint = ", ".join(FORMATS), did_you_mean(key, EXTENSIONS)
        raise InputError(f"{text}: not a format that can be written ({formats}){hint}")
    return found


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also when the process is killed.

    The file has no name before it is whole, where the system can do that; else it has a temporary one beside
    it. What replaces a file gets a temporary name, and is renamed at once. The permissions of a file that is
    replaced are kept, a symbolic link is followed, and a device or pipe is written to as it is.

    Raises:
        StorageError: it cannot be written; nothing is left behind.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not stat.S_ISREG(mode):
            target.write_bytes(data)
            return
        if mode is None and _write_nameless(target, data):
            return
        temporary = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            if mode is None or not _write_nameless(temporary, data):
                with open(temporary, "xb") as file:
                    _write_through(file, data)
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write_nameless(target: Path, data: bytes) -> bool:
    """Write a new file that gets its name when it is whole; False if this system or file system cannot."""
    try:
        descriptor = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except (AttributeError, OSError):
        return False
    with open(descriptor, "wb") as file:
        _write_through(file, data)
        try:
            # With a descriptor, which an absolute path makes no use of, os.link follows the link in /proc.
            os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor)
        except OSError:  # no /proc, or another process was quicker
            return False
    return True


def _write_through(file: IO[bytes], data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def to_float(pixels: Samples) -> npt.NDArray[np.float32]:
    """Turn (H, W, 1 or 3) uint8 or uint16 into (H, W, 3) float32 in [0, 1]; grey is repeated.

    >>> to_float(np.full((1, 1, 1), 51, np.uint8)).tolist()
    [[[0.20000000298023224, 0.20000000298023224, 0.20000000298023224]]]
    """
    values = np.divide(pixels, np.float32(np.iinfo(pixels.dtype).max), dtype=np.float32)
    return values if values.shape[2] == 3 else np.repeat(values, 3, axis=2)


def from_float(values: npt.NDArray[np.floating[Any]], dtype: npt.DTypeLike = np.uint8) -> Samples:
    """Turn floats in [0, 1] into uint8 or uint16 of the same shape: round (half to even), then clip.

    Raises:
        InputError: there is a NaN among them.

    >>> from_float(np.array([-0.1, 0.5, 2.0])).tolist()
    [0, 128, 255]
    """
    top = np.iinfo(np.dtype(dtype)).max
    scaled = values * np.float32(top)
    if scaled.size and math.isnan(scaled.min()):
        raise InputError("cannot turn values into pixels: there is NaN among them")
    np.clip(np.rint(scaled, out=scaled), 0, top, out=scaled)
    return scaled.astype(dtype)


def from_array(array: npt.NDArray[Any]) -> Picture:
    """Make a picture of an array: (H, W) or (H, W, 1) grey; of 2 channels grey and alpha, 3 RGB, 4 RGBA.

    Raises:
        InputError: another shape, or not uint8 or uint16.
    """
    values = array[..., None] if array.ndim == 2 else array
    if values.ndim == 3 and values.shape[2] in (2, 4):
        return Picture(values[..., :-1], values[..., -1])
    return Picture(values)


def from_pil(image: "Image.Image") -> Picture:
    """Make a picture of a Pillow image, as it stands: an EXIF turn is neither applied nor reset.

    Raises:
        InputError: a mode that is neither 8-bit nor `I;16`.
    """
    from infilling.pictures import readers

    return readers.read_image(image)


def to_pil(picture: Picture) -> "Image.Image":
    """Make a Pillow image, L, LA, RGB, RGBA or I;16, with profile, EXIF, XMP and dpi in its `info`.

    Raises:
        InputError: 16 bits and colour or alpha, which Pillow cannot hold.
    """
    from infilling.pictures import writers

    return writers.make_image(picture)


def _read_limit() -> int:
    text = os.environ.get(MAX_PIXELS_VARIABLE)
    if not text:
        return MAX_PIXELS
    try:
        limit = int(text)
    except ValueError:
        limit = 0
    if limit < 1:
        raise ConfigError(
            f"{MAX_PIXELS_VARIABLE}={text!r} is not a whole number of pixels, such as {MAX_PIXELS}"
        )
    return limit


def _load(source: bytes | Path, name: str | None) -> tuple[str, bytes]:
    """Name for messages, and bytes, of a source."""
    if isinstance(source, bytes | bytearray | memoryview):
        name, data = name or "picture", bytes(source)
    elif isinstance(source, str | os.PathLike):
        name = name or os.fspath(source)
        try:
            data = Path(source).read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"{name}: no such file") from error
        except IsADirectoryError as error:
            raise InputError(f"{name}: is a folder; give a picture file") from error
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            raise InputError(
                f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})"
            ) from error
    else:
        raise InputError(f"a picture is read from bytes or a path, not from {type(source).__name__}")
    if not data:
        raise InputError(f"{name}: empty")
    return name, data
