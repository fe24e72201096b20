"""Which format a file is of, by its first bytes."""

import re
import struct

_SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF"),
    (re.compile(rb"BM"), "BMP"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
)
_BRANDS = (
    (frozenset({b"avif", b"avis"}), "AVIF"),
    (frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}), "HEIC"),
)


def sniff(data: bytes) -> str | None:
    """Name of the format that the first bytes promise, None if it is none that can be read."""
    for pattern, name in _SIGNATURES:
        if pattern.match(data):
            return name
    return _sniff_brands(data) if data[4:8] == b"ftyp" else None


def _sniff_brands(data: bytes) -> str | None:
    """Name of the format of an ISO base media file, by the brands in its first box."""
    brands = data[8 : min(struct.unpack_from(">I", data)[0], 256)]
    found = {brands[place : place + 4] for place in range(0, len(brands), 4)}
    return next((name for known, name in _BRANDS if known & found), None)
