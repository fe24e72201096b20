"""From a Picture to the bytes of a file, one function for each format."""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from infilling.errors import InputError
from infilling.pictures import jpeg, png, tags
from infilling.pictures.picture import JpegStyle, Picture, Samples, find_profile
from infilling.pictures.tiff_writer import write_tiff

JPEG_QUALITY = 95  # of what was no JPEG before
FULL_COLOUR_QUALITY = 90  # from here on, what was no JPEG before keeps its colours at full resolution
WEBP_QUALITY = 90
WEBP_EFFORT = 2  # of 6; on a photograph, 4 takes twice as long for 1 % less
WEBP_LOSSLESS_EFFORT = 20  # of 100, and method 0: six times as fast as the default, for 14 % more
AVIF_QUALITY = 85
AVIF_SPEED = 8  # of 10; 6 takes four times as long for 3 % less
SEGMENT_BYTES = 65_533 - 29  # of EXIF or XMP that a JPEG has room for


def make_image(picture: Picture) -> Image.Image:
    """Make a Pillow image; see `picture.to_pil`."""
    if picture.pixels.dtype == np.uint16 and (picture.pixels.shape[2] == 3 or picture.alpha is not None):
        raise InputError("Pillow holds no 16-bit colour or alpha; make the picture 8-bit, or use arrays")
    image = _make_image(picture)
    found = {"icc_profile": picture.icc, "exif": picture.exif, "xmp": picture.xmp, "dpi": picture.dpi}
    image.info |= {key: value for key, value in found.items() if value is not None}
    return image


def write_picture(picture: Picture, format: str, quality: int | None) -> bytes:
    """Write a picture, without a profile for other channels and EXIF that cannot be read; see `encode`."""
    icc = find_profile(picture.icc, picture.pixels.shape[2])
    exif = picture.exif if tags.parse_exif(picture.exif) else None
    return WRITERS[format](replace(picture, icc=icc, exif=exif), quality)


def _write_png(picture: Picture, quality: int | None) -> bytes:
    is_deep = picture.pixels.dtype == np.uint16
    data = png.write_deep(picture) if is_deep else _write_plain_png(picture)
    return png.insert_chunks(data, picture.chunks)


def _write_plain_png(picture: Picture) -> bytes:
    texts = PngImagePlugin.PngInfo()
    if picture.xmp:
        texts.add(b"iTXt", png.XMP_KEYWORD + picture.xmp)
    options: dict[str, Any] = {"compress_level": png.COMPRESSION, "pnginfo": texts}
    options |= {"icc_profile": picture.icc, "exif": picture.exif, "dpi": picture.dpi}
    return _save(_make_image(picture), "PNG", options)


def _write_jpeg(picture: Picture, quality: int | None) -> bytes:
    picture = _narrow(picture)
    if picture.alpha is not None and picture.alpha.min() < 255:
        raise InputError("JPEG has no transparency: write PNG, WebP, TIFF or AVIF, or take the alpha off")
    exif = _fit_segment(picture.exif)
    options = _choose_compression(picture.jpeg, quality) | {
        "dpi": picture.dpi,
        "icc_profile": picture.icc,
        "exif": exif and b"Exif\0\0" + exif,
        "xmp": _fit_segment(picture.xmp),
        **jpeg.make_options(picture.chunks),
    }
    return _save(_make_image(replace(picture, alpha=None)), "JPEG", options)


def _choose_compression(style: JpegStyle | None, quality: int | None) -> dict[str, Any]:
    """Return Pillow's options for a JPEG: as its source was compressed, or by a quality, 1 to 100."""
    if style is None:
        quality = quality or JPEG_QUALITY
        return {"quality": quality, "subsampling": 0 if quality >= FULL_COLOUR_QUALITY else 2}
    if quality is not None:
        return {"quality": quality, "subsampling": style.subsampling}
    return {"qtables": list(map(list, style.tables)), "subsampling": style.subsampling}


def _fit_segment(block: bytes | None) -> bytes | None:
    """Return EXIF or XMP if a JPEG has room for it."""
    return block if block and len(block) <= SEGMENT_BYTES else None


def _write_webp(picture: Picture, quality: int | None) -> bytes:
    options: dict[str, Any] = {"quality": quality or WEBP_QUALITY, "method": WEBP_EFFORT}
    if picture.lossless and quality is None:
        options = {"lossless": True, "quality": WEBP_LOSSLESS_EFFORT, "method": 0, "exact": True}
    options |= {"icc_profile": picture.icc, "exif": picture.exif, "xmp": picture.xmp}
    return _save(_make_image(_narrow(picture)), "WEBP", options)


def _write_avif(picture: Picture, quality: int | None) -> bytes:
    options: dict[str, Any] = {"quality": quality or AVIF_QUALITY, "speed": AVIF_SPEED}
    options |= {"icc_profile": picture.icc, "exif": _rebuild_exif(picture.exif), "xmp": picture.xmp}
    if picture.pixels.shape[2] == 3:
        options["subsampling"] = "4:4:4"
    return _save(_make_image(_narrow(picture)), "AVIF", options)


def _write_tiff(picture: Picture, quality: int | None) -> bytes:
    return write_tiff(picture)


def _write_bmp(picture: Picture, quality: int | None) -> bytes:
    picture = _narrow(picture)
    dpi = picture.dpi or (96.0, 96.0)
    if picture.alpha is None:
        return _save(_make_image(picture), "BMP", {"dpi": dpi})
    # Pillow writes alpha where no reader looks for it; a version 4 header says which byte it is.
    height, width = picture.alpha.shape
    rows = np.empty((height, width, 4), np.uint8)
    rows[..., :3] = picture.pixels[::-1, :, ::-1]  # from the bottom up, blue first
    rows[..., 3] = picture.alpha[::-1]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    resolution = [round(value / 0.0254) for value in dpi]
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, rows.nbytes, *resolution, 0, 0)
    header += struct.pack("<4I4s48x", *masks, b"BGRs")  # the colours are sRGB
    return struct.pack("<2sIHHI", b"BM", 14 + 108 + rows.nbytes, 0, 0, 14 + 108) + header + rows.tobytes()


WRITERS: dict[str, Callable[[Picture, int | None], bytes]] = {
    "PNG": _write_png,
    "JPEG": _write_jpeg,
    "WEBP": _write_webp,
    "TIFF": _write_tiff,
    "BMP": _write_bmp,
    "AVIF": _write_avif,
}


def _make_image(picture: Picture) -> Image.Image:
    """L, LA, RGB, RGBA or I;16 of the pixels and alpha."""
    grey = picture.pixels.shape[2] == 1
    image = Image.fromarray(picture.pixels[..., 0] if grey else picture.pixels)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    return image


def _save(image: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **{key: value for key, value in options.items() if value is not None})
    return file.getvalue()


def _narrow(picture: Picture) -> Picture:
    """Return the picture in 8 bits: v / 257, rounded."""
    if picture.pixels.dtype == np.uint8:
        return picture
    alpha = None if picture.alpha is None else _round_samples(picture.alpha)
    return replace(picture, pixels=_round_samples(picture.pixels), alpha=alpha)


def _round_samples(samples: Samples) -> Samples:
    rounded: Samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rounded


def _rebuild_exif(exif: bytes | None) -> bytes | None:
    """Return EXIF without Orientation and broken tags: Pillow would take them out itself, or warn."""
    order, tree = tags.parse_exif(exif) or ("<", {})
    tree.pop(tags.ORIENTATION, None)
    return tags.write_exif(tree, order)
