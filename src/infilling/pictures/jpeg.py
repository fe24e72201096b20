"""JPEG where Pillow falls short: how a file was compressed, its captions, and what of it is not kept."""

import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from infilling.pictures.limits import check_jpeg
from infilling.pictures.picture import JpegStyle
from infilling.pictures.previews import clean_iptc

COMMENT, CAPTIONS = b"COM", b"APP13"  # kinds of the segments that are kept
LONGEST = 65_533  # bytes in a segment
_PHOTOSHOP, _RESOURCE = b"Photoshop 3.0\0", b"8BIM"
_IPTC = 0x0404  # a Photoshop resource: captions, credits and keywords
_PATHS = range(2000, 2998)
_VIDEO = re.compile(rb"ftyp(?:mp4|iso|avc|qt)")  # first box of a video, which some cameras put behind a JPEG
_CAMERA = b"http://ns.google.com/photos/1.0/camera/"  # in XMP that names a video
_END = b"\xff\xd9"
_SEGMENTS = {  # read elsewhere, or of no use in a file that is written again; a name of None stands for all
    "APP0": None,
    "APP1": (b"Exif\0", b"http://ns.adobe.com/"),
    "APP2": (b"ICC_PROFILE\0", b"MPF\0", b"urn:iso:std:iso:ts:21496:"),
    "APP12": (b"Ducky",),
    "APP13": (_PHOTOSHOP,),
    "APP14": (b"Adobe",),
    "COM": None,
}


class JpegFile(JpegImagePlugin.JpegImageFile):
    """A JPEG, opened."""

    def _read_dpi_from_exif(self) -> None:
        """Do not: Pillow would warn about what is odd in the EXIF, which we keep as it is."""


def read_segments(image: Image.Image) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of the segments that are kept as they are: comment, and captions (IPTC)."""
    comment = image.info.get("comment")
    if comment and isinstance(comment, bytes):
        yield COMMENT, comment
    if iptc := clean_iptc(image.info.get("photoshop", {}).get(_IPTC, b"")):
        head = struct.pack(">4sHHI", _RESOURCE, _IPTC, 0, len(iptc))
        yield CAPTIONS, _PHOTOSHOP + head + iptc + bytes(len(iptc) % 2)


def make_options(chunks: tuple[tuple[bytes, bytes], ...]) -> dict[str, Any]:
    """Return Pillow's options by which the segments of `read_segments` are written."""
    kept = {kind: body for kind, body in chunks if len(body) <= LONGEST}
    captions = kept.get(CAPTIONS)
    extra = captions and struct.pack(">HH", 0xFFED, 2 + len(captions)) + captions
    return {"comment": kept.get(COMMENT), "extra": extra}


def find_losses(image: Image.Image, data: bytes, xmp: bytes | None) -> Iterator[str]:
    """Yield what is said of the parts of a file that are not kept.

    Args:
        image: the file, opened.
        data: the file.
        xmp: its XMP; what that names is said with it.
    """
    has_pictures = "mp" in image.info
    if has_pictures:
        yield "it holds further pictures (MPO), which are not kept"
    has_video = bool(_VIDEO.search(data))
    if has_video and _CAMERA not in (xmp or b""):
        yield "its motion photo's video is not kept"
    if not image.info.get("photoshop", {}).keys().isdisjoint(_PATHS):
        yield "its clipping paths are not kept"
    segments: list[tuple[str, bytes]] = getattr(image, "applist", [])
    if lost := sorted({name for name, body in segments if not _is_known(name, body)}):
        yield f"its segments {', '.join(lost)} are not kept"
    if not (has_pictures or has_video or data.endswith(_END)):
        behind = len(data[check_jpeg(data) :].strip(b"\0\r\n"))
        if behind:
            yield f"{behind:,} bytes behind its end are not kept"


def _is_known(name: str, body: bytes) -> bool:
    starts = _SEGMENTS.get(name, ())
    return starts is None or body.startswith(starts)


def read_style(image: Image.Image) -> JpegStyle | None:
    """Return how an image was compressed; None if it was no JPEG, or its tables are not all there."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    try:
        tables = [tuple(image.quantization[number]) for *_, number in image.layer[:3]]
    except KeyError:
        return None
    if not tables:
        return None
    if tables[1:2] == tables[2:3]:
        del tables[2:]
    subsampling = max(JpegImagePlugin.get_sampling(image), 0)
    return JpegStyle(tuple(tables), subsampling)


def turn_style(style: JpegStyle) -> JpegStyle:
    """Return the style for a quarter turn: rows of the tables become columns; 4:2:2 has no upright form."""
    tables = tuple(_transpose_table(table) for table in style.tables)
    return JpegStyle(tables, 0 if style.subsampling == 1 else style.subsampling)


def _transpose_table(table: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(np.reshape(table, (8, 8)).T.ravel().tolist())
