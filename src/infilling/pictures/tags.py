"""Tag directories: how TIFF describes a picture, and how EXIF describes a photograph in every other format.

Source of the layout: TIFF 6.0 (1992), section 2; Exif 2.32, chapter 4.
"""

import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias

WIDTH, HEIGHT, ORIENTATION = 0x0100, 0x0101, 0x0112
EXIF_WIDTH, EXIF_HEIGHT = 0xA002, 0xA003
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_BELOW = ((EXIF, GPS), (INTEROPERABILITY,), ())  # tags that point to directories, level by level

BYTE, SHORT, LONG, RATIONAL = 1, 3, 4, 5
MAKER_NOTE, IPTC = 0x927C, 33723
MOST_ENTRIES = 4096  # of a directory; those of cameras and maps have fewer than 200
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


class Tag(NamedTuple):
    """One entry of a directory: its TIFF type, how many values, and the values in the file's byte order."""

    kind: int
    length: int
    value: bytes


Directory: TypeAlias = "dict[int, Tag | Directory]"


def set_size(exif: bytes, width: int, height: int) -> bytes:
    """Return an EXIF block that says another width and height, where it says any; all else byte for byte."""
    edited = bytearray(exif)
    try:
        order, start = read_header(exif)
        tags, _ = read_directory(exif, start, order)
        _put_numbers(edited, start, order, {WIDTH: width, HEIGHT: height})
        if EXIF in tags:
            below = integers(tags[EXIF], order)[0]
            _put_numbers(edited, below, order, {EXIF_WIDTH: width, EXIF_HEIGHT: height})
    except (ValueError, IndexError):  # a broken directory stays as it is
        pass
    return bytes(edited)


def _put_numbers(edited: bytearray, start: int, order: str, values: Mapping[int, int]) -> None:
    """Overwrite the single SHORT or LONG values of a directory that are in their entries."""
    for position in find_positions(bytes(edited), start, order):
        code, kind, count = struct.unpack_from(order + "HHI", edited, position)
        if code in values and count == 1 and kind in (SHORT, LONG):
            struct.pack_into(order + "HI", edited, position + 2, LONG, 1)
            struct.pack_into(order + "I", edited, position + 8, values[code])


def read_header(data: bytes) -> tuple[str, int]:
    """Byte order ("<" or ">") and the place of the first directory; ValueError if this is no such file."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        raise ValueError("no tag directory")
    return order, struct.unpack_from(order + "I", data, 4)[0]


def read_directory(data: bytes, start: int, order: str) -> tuple[dict[int, Tag], int]:
    """Read the entries of one directory.

    Entries of unknown type, outside the data, or together longer than the data are left out: many entries
    that share the same bytes must not multiply them.

    Returns:
        Tags by number, and the place of the next directory, 0 for none.

    Raises:
        ValueError: the directory does not lie inside the data.
    """
    tags: dict[int, Tag] = {}
    budget = len(data)
    for position in find_positions(data, start, order):
        code, kind, count = struct.unpack_from(order + "HHI", data, position)
        size = _SIZES.get(kind, 0) * count
        place = position + 8 if size <= 4 else struct.unpack_from(order + "I", data, position + 8)[0]
        if 0 < size <= min(budget, len(data) - place):
            tags.setdefault(code, Tag(kind, count, data[place : place + size]))
            budget -= size
    return tags, read_next(data, start, order)


def read_next(data: bytes, start: int, order: str) -> int:
    """Return the place of the directory after the one at `start`, 0 for none."""
    end = find_positions(data, start, order).stop
    return struct.unpack_from(order + "I", data, end)[0] if end + 4 <= len(data) else 0


def read_tree(data: bytes, start: int, order: str) -> Directory:
    """Read a directory with the EXIF, GPS and interoperability directories below it, but for broken ones."""
    return _read_level(data, start, order, _BELOW)


def _read_level(data: bytes, start: int, order: str, pointers: Sequence[Sequence[int]]) -> Directory:
    """Read a directory with those below it; `pointers` are their tags, level by level."""
    tree: Directory = dict(read_directory(data, start, order)[0])
    for code in pointers[0]:
        places = integers(tree.pop(code, None), order)
        below: Directory = {}
        with suppress(ValueError, IndexError):  # a broken directory is left out
            below = _read_level(data, places[0], order, pointers[1:])
        if below:
            tree[code] = below
    return tree


def parse_exif(exif: bytes | None) -> tuple[str, Directory] | None:
    """Return the byte order and the tags of an EXIF block; None if there is none that can be read."""
    try:
        order, start = read_header(exif or b"")
        return order, read_tree(exif or b"", start, order)
    except ValueError:
        return None


def write_directory(tags: Mapping[int, "Tag | Directory"], order: str, start: int) -> bytes:
    """Bytes of a directory that will lie at `start` (even), its long values and sub-directories behind it."""
    entries = struct.pack(order + "H", len(tags))
    tail = b""
    for code in sorted(tags):
        tag = tags[code]
        place = start + 2 + 12 * len(tags) + 4 + len(tail)
        if isinstance(tag, dict):
            entries += struct.pack(order + "HHII", code, LONG, 1, place)
            tail += write_directory(tag, order, place)
        elif len(tag.value) <= 4:
            entries += struct.pack(order + "HHI4s", code, tag.kind, tag.length, tag.value)
        else:
            entries += struct.pack(order + "HHII", code, tag.kind, tag.length, place)
            tail += tag.value + b"\0" * (len(tag.value) % 2)
    return entries + bytes(4) + tail


def write_exif(tags: Mapping[int, "Tag | Directory"], order: str) -> bytes | None:
    """Return an EXIF block of these tags, from its TIFF header on; None if there are none."""
    return write_header(order, 8) + write_directory(tags, order, 8) if tags else None


def write_header(order: str, start: int) -> bytes:
    """Return the first eight bytes of a TIFF file or an EXIF block; the first directory is at `start`."""
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)


def shorten(tag: Tag, most: int) -> Tag:
    """Return a tag with its first `most` values."""
    count = min(tag.length, most)
    return Tag(tag.kind, count, tag.value[: count * _SIZES[tag.kind]])


def integers(tag: "Tag | Directory | None", order: str) -> tuple[int, ...]:
    """Values of a BYTE, SHORT or LONG tag; empty for any other, and for a missing one."""
    if not isinstance(tag, Tag) or tag.kind not in (BYTE, SHORT, LONG):
        return ()
    return struct.unpack(f"{order}{tag.length}{' B HI'[tag.kind]}", tag.value)


def integer_tag(kind: int, order: str, *values: int) -> Tag:
    """Return a BYTE, SHORT or LONG tag of these values."""
    return Tag(kind, len(values), struct.pack(f"{order}{len(values)}{' B HI'[kind]}", *values))


def find_positions(data: bytes, start: int, order: str) -> range:
    """Where each entry of the directory at `start` begins; `stop` is where its last entry ends."""
    if start + 2 > len(data):
        raise ValueError("tag directory is outside the file")
    first = start + 2
    count = struct.unpack_from(order + "H", data, start)[0]
    if count > MOST_ENTRIES:
        raise ValueError(f"tag directory of {count:,} entries")
    end = first + 12 * count
    if end > len(data):
        raise ValueError("tag directory is cut off")
    return range(first, end, 12)


def find_entry(data: bytes, start: int, order: str, wanted: int) -> int:
    """Return where the entry of a tag begins; StopIteration if the directory has none."""
    places = find_positions(data, start, order)
    return next(place for place in places if struct.unpack_from(order + "H", data, place)[0] == wanted)
