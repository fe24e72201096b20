"""Hostile files are refused by their bytes, before they take memory or time."""

import io
import resource
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from infilling.errors import InputError, TooLargeError
from infilling.pictures import limits, readers, tags
from infilling.pictures.files import decode
from infilling.pictures.previews import clean_exif

SHORT, LONG = tags.SHORT, tags.LONG


def make_tiff(entries: dict[int, tuple[int, tuple[int, ...]]], pixels: bytes) -> bytes:
    """A little-endian TIFF with pixels at byte 8."""
    start = 8 + len(pixels) + len(pixels) % 2
    tree = {code: tags.integer_tag(kind, "<", *values) for code, (kind, values) in entries.items()}
    padding = bytes(len(pixels) % 2)
    return tags.write_header("<", start) + pixels + padding + tags.write_directory(tree, "<", start)


def measure_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("across", "down", "bits"), [(1_000_000_000, 1, 16), (20_000, 20_000, 8), (65_536, 65_536, 16)]
)
def test_a_tiff_tile_beyond_its_picture_takes_no_memory(across: int, down: int, bits: int) -> None:
    packed = zlib.compress(bytes(1 << 20))
    data = make_tiff(
        {
            256: (LONG, (16,)), 257: (LONG, (16,)), 258: (SHORT, (bits,)), 259: (SHORT, (8,)),
            262: (SHORT, (1,)), 277: (SHORT, (1,)), 322: (LONG, (across,)), 323: (LONG, (down,)),
            324: (LONG, (8,)), 325: (LONG, (len(packed),)),
        },
        packed,
    )  # fmt: skip
    before = measure_peak()
    with pytest.raises(TooLargeError, match=r"decodes to [\d,]+ bytes, more than the limit of 4,000,000"):
        decode(data, max_pixels=1_000_000)
    assert measure_peak() - before < 100_000_000


@pytest.mark.timeout(10)
def test_chains_of_tiff_directories_are_refused() -> None:
    plain = io.BytesIO()
    Image.new("L", (4, 4)).save(plain, "TIFF")
    data = bytearray(plain.getvalue() + bytes(len(plain.getvalue()) % 2))
    first = struct.unpack_from("<I", data, 4)[0]
    link = first + 2 + 12 * struct.unpack_from("<H", data, first)[0]
    reduced = tags.write_directory({254: tags.integer_tag(LONG, "<", 1)}, "<", 0)
    struct.pack_into("<I", data, link, len(data))
    for _ in range(10_000):
        data += reduced[:-4] + struct.pack("<I", len(data) + len(reduced))
    with pytest.raises(InputError, match="over 64 tag directories"):
        decode(bytes(data))
    wide = tags.write_header("<", 8) + struct.pack("<H", 60_000) + bytes(12 * 60_000 + 4)
    with pytest.raises(InputError, match="tag directory of 60,000 entries"):
        decode(wide)


@pytest.mark.timeout(10)
def test_many_strips_are_refused_without_being_listed() -> None:
    offsets = (8,) * 2_000_000
    entries = {256: (LONG, (1,)), 257: (LONG, (2_000_000,)), 258: (SHORT, (16,)), 262: (SHORT, (1,))}
    entries |= {273: (LONG, offsets), 278: (SHORT, (1,)), 279: (LONG, offsets)}
    start = time.process_time()
    with pytest.raises(InputError, match="2,000,000 strips or tiles"):
        decode(make_tiff(entries, bytes(8)))
    assert time.process_time() - start < 3


def test_decoded_bytes_are_bounded_not_only_pixels() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((100, 100), np.uint16)).save(file, "PNG")
    assert decode(file.getvalue(), max_pixels=10_000).width == 100
    deep = Image.fromarray(np.zeros((100, 100, 4), np.uint8))
    file = io.BytesIO()
    deep.save(file, "PNG")
    data = bytearray(file.getvalue())
    data[24] = 16  # the header says 16 bits: twice the bytes
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    assert decode(file.getvalue(), max_pixels=10_000).width == 100
    with pytest.raises(TooLargeError, match="decodes to 80,000 bytes"):
        decode(bytes(data), max_pixels=10_000)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("count", [60_000, 200_000])
def test_previews_in_strips_that_overlap_are_blanked_once(count: int) -> None:
    """Each strip is all of the block: one by one, 40,000 of them took 7 s, and a million would take hours."""
    first = struct.pack("<HHHIII", 1, 0x0112, SHORT, 1, 1, 26)
    strips = struct.pack("<HHIIHHII", 0x0111, LONG, count, 56, 0x0117, LONG, count, 56 + 4 * count)
    block = b"II*\0\x08\0\0\0" + first + struct.pack("<H", 2) + strips + bytes(4)
    assert len(block) == 56
    cleaned, _ = clean_exif(block + struct.pack("<I", 56) * count + struct.pack("<I", 8 * count) * count)
    assert not any(cleaned[56:])


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["segments", "scans", "exif"])
def test_jpegs_of_many_segments_or_scans_are_refused(kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(
        file, "JPEG", progressive=True
    )
    data = file.getvalue()
    assert limits.check_jpeg(data + b"behind it") == len(data)
    if kind == "segments":
        hostile = data[:2] + b"\xff\xfe\0\2" * 1_000_000 + data[2:]
    elif kind == "exif":
        hostile = data[:2] + (b"\xff\xe1\xff\xfe" + b"Exif\0\0" + bytes(65526)) * 900 + data[2:]
    else:
        place = data.rindex(b"\xff\xda")
        hostile = data[:-2] + data[place:-2] * 500 + data[-2:]
    with pytest.raises(InputError, match="over 100 scans, 4096 segments or 64 of EXIF"):
        decode(hostile)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("before", "junk"),
    [
        (b"\xff\xda", bytes(30_000_000)),
        (b"\xff\xdb", b"\xff\0" * 30_000_000),
        (b"\xff\xd9", b"\xff" * 60_000_000),
    ],
    ids=["zeros", "stuffing", "padding"],
)
def test_a_jpeg_with_much_between_its_segments_is_refused(before: bytes, junk: bytes) -> None:
    """Pillow takes 7 s, 12 s and over a minute for these."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG")
    place = file.getvalue().index(before)
    with pytest.raises(InputError, match=r"JPEG (of|with) over .* is not supported"):
        decode(file.getvalue()[:place] + junk + file.getvalue()[place:])


@pytest.mark.timeout(10)
def test_pngs_webps_and_gifs_of_many_chunks_are_refused() -> None:
    files = {}
    for format in ("PNG", "WEBP", "GIF"):
        file = io.BytesIO()
        Image.new("L", (8, 8)).save(file, format)
        files[format] = file.getvalue()
        decode(files[format])
    png, webp, gif = files.values()
    start = 13 + limits._measure_palette(gif[10:11])
    empty = struct.pack(">I", 0) + b"tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
    for data in (
        png[:33] + empty * 1_000_000 + png[33:],
        webp[:12] + b"JUNK\0\0\0\0" * 1_000_000 + webp[12:],
        gif[:start] + b"\x21\xfe" + b"\1 " * 1_000_000 + b"\0" + gif[start:],
    ):
        with pytest.raises(InputError, match="is not supported"):
            decode(data)


def test_a_large_bmp_in_run_lengths_is_refused() -> None:
    head = struct.pack("<IiiHHIIiiII", 40, 4000, 4000, 1, 8, 1, 4, 0, 0, 256, 0)
    data = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + 40 + 1024) + head + bytes(1024) + bytes(4)
    with pytest.raises(TooLargeError, match="16,000,000 pixels"):
        decode(data)


@pytest.mark.timeout(20)
def test_a_small_bmp_of_endless_run_lengths_is_refused() -> None:
    """Pillow follows them one by one in Python: 56 MB of empty steps took minutes."""
    head = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, 4, 0, 0, 256, 0)
    start = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + 40 + 1024) + head + bytes(1024)
    rows = b"".join(b"\x01\x07" * 64 + b"\0\0" for _ in range(64))  # nothing is saved by these
    assert (decode(start + rows + b"\0\1").pixels == 0).all()
    with pytest.raises(InputError, match="more run lengths than it has pixels"):
        decode(start + b"\0\2\0\0" * 14_000_000)


def test_an_animated_webp_makes_no_room_for_its_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 200)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    monkeypatch.setattr(readers, "_open", None)
    with pytest.raises(InputError, match="an animated WEBP; give one of its frames"):
        decode(file.getvalue())


def test_a_frame_larger_than_pillow_opens_is_too_large() -> None:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\0"
    data = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + frame + b"\x3b"
    with pytest.raises(TooLargeError, match="more pixels than Pillow opens"):
        decode(data)
