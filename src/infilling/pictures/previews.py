"""Small pictures in the metadata of a picture: thumbnails and previews, which show it as it was.

After a fill they would give away what was removed. EXIF stays the bytes that came in, so that maker notes
keep their offsets: what goes is overwritten in place.
"""

import struct
from collections.abc import Iterator

from infilling.pictures import tags as tags_of

MOST_DIRECTORIES = 16  # of an EXIF block that are searched for small pictures
MOST_DATA_SETS = 65_536  # of IPTC; newsrooms write some 100
MOST_STRIPS = 65_536  # of a small picture; of more, all is blanked from the first to the last
_SUBDIRECTORIES = 0x014A
_PICTURES = ((0x0201, 0x0202), (0x0111, 0x0117))  # where and how long: as JPEG, as strips
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_IPTC_PREVIEWS = (200, 201, 202)  # data sets of record 2 of IPTC: format, version and data of a preview


def clean_exif(exif: bytes) -> tuple[bytes, int]:
    r"""Take the turn, the thumbnail and the maker's previews out of an EXIF block.

    Thumbnails and previews show the picture as it was: after a fill they would give away what was removed.

    Args:
        exif: the block, from its TIFF header on (`II*\0` or `MM\0*`).

    Returns:
        The block with Orientation 1 and no small pictures, all else byte for byte; and the Orientation that
        it had, 1 to 8.

    Raises:
        ValueError: there is no readable directory in it.
    """
    order, start = tags_of.read_header(exif)
    tags, _ = tags_of.read_directory(exif, start, order)
    edited = bytearray(exif)
    turn = 1
    if tags_of.ORIENTATION in tags:
        turn = next(iter(tags_of.integers(tags[tags_of.ORIENTATION], order)), 1)
        position = tags_of.find_entry(exif, start, order, tags_of.ORIENTATION)
        struct.pack_into(f"{order}HHIHH", edited, position, tags_of.ORIENTATION, tags_of.SHORT, 1, 1, 0)
    _erase_previews(edited, start, order)
    return bytes(edited), turn if 1 <= turn <= 8 else 1


def clean_iptc(value: bytes) -> bytes:
    """Take the preview out of a block of IPTC data sets (IIM 4): record 2, 200 to 202.

    A block that is cut off, or is no such block, ends where that shows; one of more than MOST_DATA_SETS ends
    there.
    """
    kept, place = [], 0
    for _ in range(MOST_DATA_SETS):
        if place + 5 > len(value) or value[place] != 0x1C:
            break
        record, number = value[place + 1], value[place + 2]
        length = int.from_bytes(value[place + 3 : place + 5])
        head = 5
        if length & 0x8000:  # this many bytes follow that hold the length
            head += length & 0x7FFF
            length = int.from_bytes(value[place + 5 : place + min(head, 9)])
        if record != 2 or number not in _IPTC_PREVIEWS:
            kept.append(value[place : place + head + length])
        place += head + length
    return b"".join(kept)


def _erase_previews(edited: bytearray, start: int, order: str) -> None:
    """Unlink all directories but the first, and blank every picture that they, or no tag, point to."""
    data = bytes(edited)
    end = tags_of.find_positions(data, start, order).stop
    kept = (start, end + 4)
    edited[end : end + 4] = bytes(len(edited[end : end + 4]))
    found = [*_find_jpegs(data), *_find_in_maker_note(data, start, order)]
    for directory in _list_directories(data, start, order):
        found += _find_pictures(data, directory, order)
    for place, stop in _join_ranges(found):
        _blank(edited, place, stop, kept)


def _join_ranges(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield ranges that cover the same and do not overlap: each byte is then blanked once.

    >>> list(_join_ranges([(5, 9), (0, 3), (2, 4), (6, 7)]))
    [(0, 4), (5, 9)]
    """
    first, end = 0, 0
    for place, stop in sorted(ranges):
        if place > end:
            if first < end:
                yield first, end
            first = place
        end = max(end, stop)
    if first < end:
        yield first, end


def _list_directories(data: bytes, start: int, order: str) -> list[int]:
    """Return the places of the directories beside the first: those that follow one, and those below one."""
    seen, front = [start], [start]
    while front and len(seen) < MOST_DIRECTORIES:
        tags, following = _read_tags(data, front.pop(0), order)
        below = tags_of.integers(tags.get(_SUBDIRECTORIES), order)[:MOST_DIRECTORIES]
        new = [each for each in dict.fromkeys((following, *below)) if each and each not in seen]
        seen += new
        front += new
    return seen[1:MOST_DIRECTORIES]


def _read_tags(data: bytes, place: int, order: str) -> tuple[dict[int, tags_of.Tag], int]:
    """Read a directory as `tags.read_directory` does; nothing of a broken one."""
    try:
        return tags_of.read_directory(data, place, order)
    except ValueError:
        return {}, 0


def _find_pictures(data: bytes, directory: int, order: str) -> Iterator[tuple[int, int]]:
    """Yield where the pictures of a directory begin and end."""
    tags, _ = _read_tags(data, directory, order)
    for place_code, length_code in _PICTURES:
        places = tags_of.integers(tags.get(place_code), order)
        lengths = tags_of.integers(tags.get(length_code), order)
        if len(places) > MOST_STRIPS:
            yield min(places), max(places) + max(lengths, default=0)
            continue
        for place, length in zip(places, lengths, strict=False):
            yield place, place + length


def _find_jpegs(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each JPEG file begins and ends."""
    place = data.find(_JPEG_START)
    while place >= 0:
        stop = place + len(_JPEG_START)
        if data[stop : stop + 1] >= b"\xc0":  # the kind of its first segment: else these are other numbers
            stop = _find_jpeg_end(data, place)
            yield place, stop
        place = data.find(_JPEG_START, stop)


def _find_jpeg_end(data: bytes, start: int) -> int:
    """Return where the JPEG file at `start` ends: with the first end marker after its segments."""
    place = start + 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] not in (b"\xda", b"\xd9"):
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    end = data.find(_JPEG_END, place)
    return end + len(_JPEG_END) if end >= 0 else len(data)


def _find_in_maker_note(data: bytes, start: int, order: str) -> Iterator[tuple[int, int]]:
    """Yield where there is a JPEG file in the maker note; a maker may change its very first byte."""
    try:
        pointer = tags_of.find_entry(data, start, order, tags_of.EXIF)
        (directory,) = struct.unpack_from(order + "I", data, pointer + 8)
        entry = tags_of.find_entry(data, directory, order, tags_of.MAKER_NOTE)
    except (ValueError, struct.error, StopIteration):
        return
    count, place = struct.unpack_from(order + "II", data, entry + 4)
    first = data.find(_JPEG_START[1:], place, place + count)
    last = data.rfind(_JPEG_END, place, place + count)
    if count > 4 and first > place:
        yield first - 1, last + 2 if last > first else place + count


def _blank(edited: bytearray, place: int, stop: int, kept: tuple[int, int]) -> None:
    """Overwrite a range with zeros, but for the header and the range that is kept."""
    for low, high in ((max(place, 8), min(stop, kept[0])), (max(place, kept[1]), min(stop, len(edited)))):
        if low < high:
            edited[low:high] = bytes(high - low)
