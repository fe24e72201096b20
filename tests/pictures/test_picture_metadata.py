"""What belongs to a picture besides its pixels: the EXIF turn, EXIF, XMP, profile, resolution."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from infilling.pictures import tags
from infilling.pictures.files import decode, encode
from infilling.pictures.picture import Picture

RNG = np.random.default_rng(3)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf:Description tiff:Orientation="6" note="\xc3\xa9"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
MAKER, MODEL, SOFTWARE, TAKEN = 0x010F, 0x0110, 0x0131, 0x9003


def make_grey_profile() -> bytes:
    """The least of a grey profile that says what it is."""
    return struct.pack(">I4sI4s4s4s", 132, b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ").ljust(132, b"\0")


def make_exif(turn: int | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif[MAKER], exif[MODEL], exif[SOFTWARE] = "Some Camera", "X", "a program with a long name"
    exif.get_ifd(tags.EXIF)[TAKEN] = "2024:05:06 07:08:09"
    exif.get_ifd(tags.EXIF)[0x829A] = TiffImagePlugin.IFDRational(1, 250)
    exif.get_ifd(tags.GPS)[1] = "N"
    exif.get_ifd(tags.GPS)[2] = (21.0, 1.0, 40.5)
    if turn is not None:
        exif[tags.ORIENTATION] = turn
    return exif


def save(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def draw(height: int, width: int, channels: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, channels)).astype(np.uint8).squeeze())


def read_exif(data: bytes) -> Image.Exif:
    return Image.open(io.BytesIO(data)).getexif()


# -- the turn -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(
    ("format", "mode"),
    [
        *(("PNG", mode) for mode in ("L", "LA", "RGB", "RGBA", "P")),
        *(("TIFF", mode) for mode in ("L", "RGB", "RGBA")),
        ("JPEG", "L"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGBA"),
        ("AVIF", "RGBA"),
    ],
)
def test_turn_agrees_with_pillow(format, mode, turn):
    image = draw(30, 21, 3).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(draw(30, 21, 1))
    options = {"WEBP": {"lossless": True, "exact": True}, "AVIF": {"speed": 10}}.get(format, {})
    data = save(image, format, exif=make_exif(turn).tobytes(), **options)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    found = decode(data)
    target = {"P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert (found.width, found.height) == expected.size == ((21, 30) if turn < 5 else (30, 21))
    parts = [found.pixels] if found.alpha is None else [found.pixels, found.alpha]
    assert np.array_equal(np.dstack(parts).squeeze(), np.asarray(expected.convert(target)))
    if found.exif is not None:  # AVIF leaves it out where it says nothing
        assert read_exif(encode(found, "PNG")).get(tags.ORIENTATION, 1) == 1


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_turn_of_16_bits(format, channels, turn):
    deep = RNG.integers(0, 65536, (30, 21, channels)).astype(np.uint16)
    colour, alpha = (deep[..., :3], deep[..., 3]) if channels == 4 else (deep, None)
    data = encode(Picture(colour, alpha, exif=make_exif(1).tobytes()[6:], format=format))
    if format == "PNG":  # set the turn in the file
        before, after = make_exif(1).tobytes()[6:], make_exif(turn).tobytes()[6:]
        assert data.count(before) == 1
        image = Image.open(io.BytesIO(data))
        assert image.getexif()[tags.ORIENTATION] == 1
        data = rewrite_exif_chunk(data, after)
    else:
        order, start = tags.read_header(data)
        tree = dict(tags.read_directory(data, start, order)[0])
        tree[tags.ORIENTATION] = tags.integer_tag(tags.SHORT, order, turn)
        end = len(data) + len(data) % 2
        data = tags.write_header(order, end) + data[8:].ljust(end - 8, b"\0")
        data += tags.write_directory(tree, order, end)
    found = decode(data)

    def turn_plane(plane: np.ndarray) -> np.ndarray:
        image = Image.fromarray(plane)
        image.info["exif"] = make_exif(turn).tobytes()
        return np.asarray(ImageOps.exif_transpose(image))

    for channel in range(colour.shape[2]):
        assert np.array_equal(
            found.pixels[..., channel], turn_plane(np.ascontiguousarray(colour[..., channel]))
        )
    if alpha is not None:
        assert np.array_equal(found.alpha, turn_plane(np.ascontiguousarray(alpha)))


def rewrite_exif_chunk(data: bytes, exif: bytes) -> bytes:
    import zlib

    place = data.index(b"eXIf")
    length = struct.unpack_from(">I", data, place - 4)[0]
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    return data[: place - 4] + chunk + data[place + 8 + length :]


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_turns_that_do_not_exist_are_none(value):
    found = decode(save(draw(9, 7, 3), "JPEG", exif=make_exif(value).tobytes()))
    assert (found.width, found.height) == (7, 9)


def test_turn_is_reset_in_exif_and_xmp_and_the_rest_stays_byte_for_byte():
    exif = make_exif(6).tobytes()
    found = decode(save(draw(9, 7, 3), "JPEG", exif=exif, xmp=XMP, dpi=(300, 200)))
    before = exif.removeprefix(b"Exif\0\0")
    assert len(found.exif) == len(before)
    different = [place for place, (a, b) in enumerate(zip(before, found.exif, strict=True)) if a != b]
    assert len(different) == 1  # the 6
    assert found.xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    assert found.dpi == (200, 300)  # what was across is now down


def test_a_quarter_turn_lays_the_jpeg_tables_down():
    table = [list(range(1, 65)), list(range(2, 66))]
    data = save(draw(16, 24, 3), "JPEG", qtables=table, subsampling=1, exif=make_exif(6).tobytes())
    found = decode(data)
    assert found.jpeg.subsampling == 0
    assert [np.reshape(t, (8, 8)).T.ravel().tolist() for t in found.jpeg.tables] == table
    upright = decode(save(draw(16, 24, 3), "JPEG", qtables=table, subsampling=1, exif=make_exif(3).tobytes()))
    assert (upright.jpeg.subsampling, [list(t) for t in upright.jpeg.tables]) == (1, table)


# -- kept on the way through --------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("bits", [8, 16])
def test_metadata_survives(format, mode, bits):
    channels = 1 if mode == "L" else 3
    icc = make_grey_profile() if mode == "L" else SRGB
    exif = make_exif(1).tobytes().removeprefix(b"Exif\0\0")
    top = np.iinfo(f"uint{bits}").max + 1
    pixels = RNG.integers(0, top, (16, 16, channels)).astype(f"uint{bits}")
    found = decode(encode(Picture(pixels, icc=icc, exif=exif, xmp=XMP, dpi=(300.0, 150.0), format=format)))
    # What comes back as RGB (WebP always, AVIF before Pillow 13) is not described by a grey profile.
    assert found.icc == (icc if found.pixels.shape[2] == channels else None)
    assert found.xmp == XMP.replace(b'"6"', b'"1"')
    if format in ("PNG", "JPEG", "TIFF"):
        assert found.dpi == pytest.approx((300, 150), rel=1e-3)
    again = read_exif(encode(found, "JPEG"))
    reference = make_exif(1)
    assert [again[tag] for tag in (MAKER, MODEL, SOFTWARE)] == [
        reference[tag] for tag in (MAKER, MODEL, SOFTWARE)
    ]
    assert again.get_ifd(tags.EXIF) == {TAKEN: "2024:05:06 07:08:09", 0x829A: 1 / 250}
    assert again.get_ifd(tags.GPS) == {1: "N", 2: (21.0, 1.0, 40.5)}


def test_tiff_keeps_its_tags_and_tifffile_agrees():
    image = draw(9, 7, 3)
    exif = make_exif(1)
    exif[0x010E], exif[0x8298] = "what is to be seen", "whose it is"
    data = encode(decode(save(image, "JPEG", exif=exif, icc_profile=SRGB, dpi=(240, 120))), "TIFF")
    data = encode(decode(data).with_pixels(np.asarray(image)))  # out of a TIFF and into one
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    found = {tag.name: tag.value for tag in page.tags}
    assert (found["Make"], found["Software"]) == ("Some Camera", "a program with a long name")
    assert (found["ImageDescription"], found["Copyright"]) == ("what is to be seen", "whose it is")
    assert found["ExifTag"]["DateTimeOriginal"] == "2024:05:06 07:08:09"
    assert found["GPSTag"]["GPSLatitude"] == (21, 1, 1, 1, 81, 2)
    assert found["InterColorProfile"] == SRGB
    assert found["XResolution"][0] / found["XResolution"][1] == 240
    assert np.array_equal(page.asarray(), np.asarray(image))


def test_big_endian_exif_goes_into_a_big_endian_tiff():
    exif = b"MM\0*" + struct.pack(">I", 8) + tags.write_directory({MAKER: tags.Tag(2, 6, b"Maker\0")}, ">", 8)
    pixels = RNG.integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    data = encode(Picture(pixels, exif=exif, format="TIFF"))
    assert data.startswith(b"MM")
    assert np.array_equal(tifffile.imread(io.BytesIO(data)), pixels)
    assert decode(data).exif == exif


def test_a_thumbnail_is_taken_out():
    """It would show what has been filled."""
    thumbnail = save(Image.new("RGB", (16, 16), "red"), "JPEG")
    first = {MAKER: tags.Tag(2, 6, b"Maker\0"), tags.ORIENTATION: tags.integer_tag(tags.SHORT, "<", 1)}
    front = bytearray(tags.write_header("<", 8) + tags.write_directory(first, "<", 8))
    second = len(front)
    struct.pack_into("<I", front, 8 + 2 + 12 * len(first), second)
    place = second + 2 + 12 * 2 + 4
    below = {
        0x0201: tags.integer_tag(tags.LONG, "<", place),
        0x0202: tags.integer_tag(tags.LONG, "<", len(thumbnail)),
    }
    exif = bytes(front) + tags.write_directory(below, "<", second) + thumbnail + b"behind it"
    data = save(draw(9, 7, 3), "JPEG", exif=b"Exif\0\0" + exif)
    assert thumbnail in data
    found = decode(data)
    assert thumbnail[:20] not in found.exif
    assert found.exif.endswith(b"\0behind it")
    again = read_exif(encode(found))
    assert again[MAKER] == "Maker"
    assert not again.get_ifd(ExifTags.IFD.IFD1)


def make_exif_with_previews(order, thumbnail):
    """An EXIF block whose first directory is the last thing in it, behind five small pictures.

    A JPEG that no tag names, one of the third directory, one in strips below the first, one before all
    directories, and one in the maker note whose first byte is changed.
    """
    parts = bytearray(tags.write_header(order, 0))
    places = {}

    def put(name, data):
        places[name] = len(parts)
        parts.extend(data + b"\0" * (len(data) % 2))

    def put_directory(name, entries, following=0):
        put(name, tags.write_directory(entries, order, len(parts)))
        end = places[name] + 2 + 12 * len(entries)
        struct.pack_into(order + "I", parts, end, following)

    def long(*values):
        return tags.integer_tag(tags.LONG, order, *values)

    strips = bytes([1, 2, 3, 250]) * 40
    put("early", thumbnail)
    put("nameless", thumbnail)
    put("strips", strips)
    note = b"Maker\0\0\0" + b"\0" + thumbnail[1:]
    put_directory("third", {0x0201: long(places["early"]), 0x0202: long(len(thumbnail))})
    put_directory("second", {MAKER: tags.Tag(2, 6, b"Small\0")}, places["third"])
    put_directory("below", {0x0111: long(places["strips"]), 0x0117: long(len(strips))})
    put_directory("exif", {tags.MAKER_NOTE: tags.Tag(7, len(note), note)})
    first = {
        MAKER: tags.Tag(2, 6, b"Maker\0"),
        0x014A: long(places["below"]),
        tags.EXIF: long(places["exif"]),
    }
    put_directory("first", first, places["second"])
    struct.pack_into(order + "I", parts, 4, places["first"])
    return bytes(parts), strips


@pytest.mark.parametrize("order", "<>")
def test_no_small_picture_is_left_wherever_it_is(order):
    thumbnail = save(Image.new("RGB", (16, 16), "red"), "JPEG")
    exif, strips = make_exif_with_previews(order, thumbnail)
    assert exif.count(thumbnail[1:]) == 3
    found = decode(save(draw(9, 7, 3), "JPEG", exif=b"Exif\0\0" + exif)).exif
    assert len(found) == len(exif)
    for piece in (thumbnail[1:20], thumbnail[-20:], strips[:20]):
        assert piece in exif
        assert piece not in found
    _, start = tags.read_header(found)
    again, following = tags.read_directory(found, start, order)
    assert following == 0
    assert again[MAKER].value == b"Maker\0"
    assert b"Maker\0\0\0" in found


def test_exif_that_imagemagick_hides_in_a_png():
    exif = make_exif(8).tobytes()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n", zip=True)
    found = decode(save(draw(9, 7, 3), "PNG", pnginfo=texts))
    assert (found.width, found.height) == (9, 7)
    assert len(found.exif) == len(exif) - 6


@pytest.mark.parametrize(
    "exif", [b"garbage", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0"]
)
def test_exif_that_cannot_be_read_is_dropped(exif):
    found = decode(save(draw(9, 7, 3), "PNG", exif=exif))
    assert found.exif is None
    broken = Picture(found.pixels, exif=exif)
    for format in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        assert decode(encode(broken, format)).exif is None


def test_a_profile_of_other_colours_is_dropped():
    assert decode(save(draw(9, 7, 1), "PNG", icc_profile=SRGB)).icc is None
    assert decode(save(draw(9, 7, 3), "PNG", icc_profile=SRGB)).icc == SRGB
    grey = decode(save(draw(9, 7, 1), "PNG", icc_profile=make_grey_profile()))
    assert grey.icc == make_grey_profile()
    assert decode(encode(grey.with_pixels(np.repeat(grey.pixels, 3, axis=2)))).icc is None


def test_metadata_too_long_for_a_jpeg_is_left_out():
    picture = Picture(np.zeros((4, 4, 3), np.uint8), xmp=b"<x>" + b"<y/>" * 20_000 + b"</x>", format="PNG")
    assert decode(encode(picture)).xmp == picture.xmp
    assert decode(encode(picture, "JPEG")).xmp is None


@pytest.mark.parametrize("dpi", [(0.0, 72.0), (float("nan"), 72.0), (1e9, 1e9)])
def test_resolutions_that_make_no_sense_are_dropped(dpi):
    data = bytearray(encode(Picture(np.zeros((4, 4, 3), np.uint8), dpi=(72.0, 72.0), format="TIFF")))
    order, start = tags.read_header(bytes(data))
    tree = dict(tags.read_directory(bytes(data), start, order)[0])
    pairs = [(0, 1) if not value or value != value else (int(value), 1) for value in dpi]
    for code, pair in zip((282, 283), pairs, strict=True):
        tree[code] = tags.Tag(tags.RATIONAL, 1, struct.pack("<II", *pair))
    end = len(data)
    struct.pack_into("<I", data, 4, end)
    assert decode(bytes(data) + tags.write_directory(tree, order, end)).dpi is None


# -- tag directories ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_directories_are_read_as_written(order):
    tree = {
        MAKER: tags.Tag(2, 6, b"Maker\0"),
        0x0112: tags.integer_tag(tags.SHORT, order, 1),
        0x0111: tags.integer_tag(tags.LONG, order, 1, 2, 3),
        tags.EXIF: {TAKEN: tags.Tag(2, 3, b"ab\0"), tags.INTEROPERABILITY: {1: tags.Tag(2, 4, b"R98\0")}},
        tags.GPS: {2: tags.Tag(5, 3, bytes(range(24)))},
    }
    exif = tags.write_exif(tree, order)
    assert tags.read_header(exif) == (order, 8)
    found = tags.read_tree(exif, 8, order)
    assert found == tree
    assert tags.integers(found[0x0111], order) == (1, 2, 3)
    reference = Image.Exif()
    reference.load(exif)
    assert reference[MAKER] == "Maker"
    assert reference.get_ifd(tags.EXIF)[TAKEN] == "ab"


def test_many_tags_that_share_their_bytes_do_not_multiply_them():
    shared, count = bytes(10_000), 1000
    entries = b"".join(struct.pack("<HHII", code, 7, len(shared), 14 + 12 * count) for code in range(count))
    exif = b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + shared
    found, _ = tags.read_directory(exif, 8, "<")
    assert sum(len(tag.value) for tag in found.values()) <= len(exif)
