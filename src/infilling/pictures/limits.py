"""Bounds on what a file may ask for, checked on its bytes before anything is decoded or allocated.

A file of a few kilobytes can name a picture, a tile or a number of scans that takes gigabytes or hours. Each
function here walks over a file once, without decoding it.
"""

import re
import struct
from collections.abc import Iterator

from infilling.errors import InputError, TooLargeError

BYTES_A_PIXEL = 4  # decoded bytes for each pixel that is allowed: 8-bit RGBA, or half of that in 16 bit
MOST_SEGMENTS = 4096  # of a JPEG: EXIF, XMP and a profile of 16 MB take fewer than 300
MOST_EXIF = 64  # segments of EXIF of a JPEG, 4 MB: Pillow copies all that came before with each
MOST_JUNK = 65_536  # bytes of a JPEG between its segments, or of padding in a row: each is skipped alone
MOST_SCANS = 100  # of a progressive JPEG; encoders write about 10
MOST_CHUNKS = 4096  # of a PNG or WebP, beside one for each LEAST_CHUNK bytes of the file
LEAST_CHUNK = 512
MOST_BLOCKS = 4096  # of comments and extensions of a GIF before its second frame

_SCAN, _END = 0xDA, 0xD9  # kinds of segments of a JPEG
_WITHOUT_LENGTH = {0xFF: 1, **dict.fromkeys((0, 1, *range(0xD0, 0xD9)), 2)}  # padding, restarts: their bytes
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in coded data of a JPEG: neither stuffing nor restart
_PADDING = b"\xff" * (MOST_JUNK + 1)


def check_size(size: tuple[int, int], limit: int, bits: int = 8 * BYTES_A_PIXEL) -> None:
    """Refuse a picture by what its header says.

    Args:
        size: width and height, in pixels.
        limit: pixels allowed.
        bits: of one decoded pixel.

    Raises:
        TooLargeError: more pixels, or more decoded bytes, than allowed.
        InputError: no pixels.
    """
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"holds no pixels ({width}×{height})")
    if width * height > limit:
        raise TooLargeError(
            f"{width}×{height} is {width * height:,} pixels, more than the limit of {limit:,}; "
            "make it smaller, or raise INFILLING_MAX_PIXELS"
        )
    check_bytes(width * height * bits // 8, limit)


def check_bytes(count: int, limit: int) -> None:
    """Refuse a file by the number of bytes that it decodes to.

    Raises:
        TooLargeError: more than BYTES_A_PIXEL for each of `limit` pixels.
    """
    if count > limit * BYTES_A_PIXEL:
        raise TooLargeError(
            f"decodes to {count:,} bytes, more than the limit of {limit * BYTES_A_PIXEL:,} "
            f"({BYTES_A_PIXEL} for each pixel); make it smaller or 8-bit, or raise INFILLING_MAX_PIXELS"
        )


def check_file(format: str, data: bytes, limit: int) -> None:
    """Refuse a JPEG, WebP or GIF that would take too long, or too much memory, to open.

    Args:
        format: name of the format; files of the others are bounded by what Pillow says of them.
        data: the file.
        limit: pixels allowed.

    Raises:
        TooLargeError: more pixels than allowed.
        InputError: too many parts, or a WebP of several frames.
    """
    if format == "JPEG":
        check_jpeg(data)
    if format == "WEBP":
        frames = count_chunks(data, b"ANMF")
        check_size(measure_webp(data), limit)
        if frames > 1:  # Pillow would make room for the whole canvas to say so
            raise InputError("an animated WEBP; give one of its frames")
    if format == "GIF":
        check_gif(data)
        check_size(struct.unpack_from("<HH", data, 6), limit)


def check_jpeg(data: bytes) -> int:
    """Refuse a JPEG of too many segments or scans, or with too much between them.

    Returns:
        The place behind its end; what follows there is not part of the picture.

    Raises:
        InputError: it has too many.
    """
    place, segments, scans, exif, junk = 2, 0, 0, 0, 0
    while (start := data.find(b"\xff", place, len(data) - 3)) >= 0:
        junk, place = junk + start - place, start
        kind = data[place + 1]
        if kind == _END:
            return place + 2
        segments += 1
        scans += kind == _SCAN
        exif += data.startswith(b"Exif\0\0", place + 4)
        if segments > MOST_SEGMENTS or scans > MOST_SCANS or exif > MOST_EXIF:
            most = f"{MOST_SCANS} scans, {MOST_SEGMENTS} segments or {MOST_EXIF} of EXIF"
            raise InputError(f"a JPEG of over {most} is not supported")
        if kind in _WITHOUT_LENGTH:
            place += _WITHOUT_LENGTH[kind]
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
        if kind == _SCAN:
            found = _MARKER.search(data, place)
            end = found.start() if found else len(data)
            junk += len(_PADDING) if data.find(_PADDING, place, end) >= 0 else 0
            place = end
        if junk > MOST_JUNK:
            raise InputError(f"a JPEG with over {MOST_JUNK:,} bytes between its segments is not supported")
    return len(data)


def walk_png(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first place and end of the body of each chunk of a PNG.

    Raises:
        InputError: it has too many chunks.
    """
    yield from _walk_chunks(data, 8, ">I4s", 12)


def walk_riff(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first place and end of the body of each chunk of a RIFF file, such as a WebP.

    Raises:
        InputError: it has too many chunks.
    """
    yield from _walk_chunks(data, 12, "<4sI", 8)


def count_chunks(data: bytes, wanted: bytes) -> int:
    """Return the number of a RIFF file's chunks that are of one kind.

    Raises:
        InputError: it has too many chunks.
    """
    return sum(kind == wanted for kind, *_ in walk_riff(data))


def _walk_chunks(data: bytes, start: int, head: str, overhead: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks; a RIFF chunk of an odd length is padded by a byte."""
    is_riff = head[0] == "<"
    place, left = start, MOST_CHUNKS + len(data) // LEAST_CHUNK
    while place + 8 <= len(data):
        fields = struct.unpack_from(head, data, place)
        kind, length = fields if is_riff else fields[::-1]
        yield kind, place + 8, min(place + 8 + length, len(data))
        padding = length % 2 if is_riff else 0
        place += overhead + length + padding
        left -= 1
        if left < 0:
            raise InputError(f"a picture of over {MOST_CHUNKS} chunks is not supported")


def measure_webp(data: bytes) -> tuple[int, int]:
    """Return width and height of a WebP's canvas, from its first chunk.

    Source: RFC 9649, sections 2.5 to 2.7.

    Raises:
        ValueError: it has no pixels, or is cut off.
    """
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise ValueError("truncated")
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        packed = int.from_bytes(body[1:5], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("no pixels in it")


def check_gif(data: bytes) -> None:
    """Refuse a GIF with too many comments and extensions before its second frame.

    Raises:
        InputError: it has too many.
    """
    place = 13 + _measure_palette(data[10:11])
    blocks = frames = 0
    while place < len(data) and frames < 2:
        kind = data[place]
        if kind == 0x2C:  # a frame: its head, a palette, the bits of a code
            frames += 1
            place += 11 + _measure_palette(data[place + 9 : place + 10])
        elif kind == 0x21:
            place += 2
        else:
            return
        while place < len(data) and data[place]:
            place += 1 + data[place]
            blocks += kind == 0x21
            if blocks > MOST_BLOCKS:
                raise InputError(f"a GIF of over {MOST_BLOCKS} blocks of comments is not supported")
        place += 1


def _measure_palette(flags: bytes) -> int:
    """Return the bytes of a palette that the flags of a GIF's head or frame announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0
