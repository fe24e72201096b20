"""Parts of a file beside its pixels that are kept as they are, and a line for each that is not."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from infilling import fill
from infilling.errors import InfillingWarning, InputError
from infilling.pictures.files import decode, encode

PHOTO = Image.fromarray(np.mgrid[:24, :32].sum(axis=0)[..., None].astype(np.uint8) * np.uint8([4, 3, 2]))
CAPTION = b"\x1c\x02\x78\x00\x07caption"
PREVIEW = b"\x1c\x02\xca\x00\x04face"  # data set 202 of record 2: a preview, as the picture was


def save(format: str, **options: object) -> bytes:
    file = io.BytesIO()
    PHOTO.save(file, format, **options)
    return file.getvalue()


def make_segment(number: int, body: bytes) -> bytes:
    return struct.pack(">HH", 0xFFE0 + number, 2 + len(body)) + body


def make_resource(code: int, body: bytes) -> bytes:
    return struct.pack(">4sHHI", b"8BIM", code, 0, len(body)) + body + bytes(len(body) % 2)


def make_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_jpeg_keeps_its_comment_and_its_captions() -> None:
    given = save("JPEG", comment=b"made by hand")
    captions = make_segment(13, b"Photoshop 3.0\0" + make_resource(0x0404, CAPTION + PREVIEW))
    picture = decode(given[:2] + captions + given[2:])
    assert picture.warnings == ()
    again = Image.open(io.BytesIO(encode(picture)))
    assert again.info["comment"] == b"made by hand"
    assert again.info["photoshop"][0x0404] == CAPTION
    assert not Image.open(io.BytesIO(encode(picture, "PNG"))).info.keys() & {"comment", "photoshop"}


@pytest.mark.parametrize(
    ("added", "behind", "line"),
    [
        (make_segment(5, b"RICO"), b"", "its segments APP5 are not kept"),
        (make_segment(11, b"JP") + make_segment(1, b"other"), b"", "its segments APP1, APP11 are not kept"),
        (make_segment(13, b"Photoshop 3.0\0" + make_resource(2000, b"path")), b"", "its clipping paths"),
        (b"", b"SEFT" * 10, "40 bytes behind its end are not kept"),
        (b"", b"\0\0\n", None),
        (make_segment(12, b"Ducky\0"), b"", None),
    ],
)
def test_a_jpeg_says_what_of_it_is_not_kept(added: bytes, behind: bytes, line: str | None) -> None:
    given = save("JPEG")
    warnings = decode(given[:2] + added + given[2:] + behind).warnings
    assert len(warnings) == (line is not None)
    assert all(text.startswith(line or "") for text in warnings)


def test_a_png_keeps_what_is_safe_to_copy_and_names_the_rest() -> None:
    kept = {b"sBIT": b"\5\6\5", b"bKGD": bytes(6), b"prVt": b"mine", b"oFFs": bytes(9)}
    lost = {b"caBX": b"signed", b"hIST": bytes(2)}
    added = b"".join(make_chunk(*each) for each in [*kept.items(), *lost.items(), (b"tIME", bytes(7))])
    given = save("PNG")
    picture = decode(given[:33] + added + given[33:])
    assert picture.warnings == ("its PNG chunks caBX, hIST are not kept",)
    written = encode(picture)
    assert all(make_chunk(*each) in written for each in kept.items())
    grey = encode(decode(written).with_pixels(picture.pixels[..., :1].copy()))
    assert make_chunk(b"prVt", b"mine") in grey
    assert b"sBIT" not in grey
    assert b"bKGD" not in grey
    assert Image.open(io.BytesIO(grey)).mode == "L"


def test_a_gif_that_becomes_a_png_keeps_its_comment() -> None:
    written = encode(decode(save("GIF", comment=b"by hand")))
    assert Image.open(io.BytesIO(written)).info["Comment"] == "by hand"


def test_cmyk_with_alpha_is_not_called_damaged() -> None:
    file = io.BytesIO()
    tifffile.imwrite(
        file, np.zeros((8, 9, 5), np.uint8), photometric="separated", extrasamples=["unassalpha"]
    )
    with pytest.raises(InputError, match="5 × 8 bits and photometric interpretation 5 is not supported"):
        decode(file.getvalue())


def test_a_pillow_image_of_cmyk_that_becomes_rgb_says_so() -> None:
    with pytest.warns(InfillingWarning, match="its CMYK became RGB"):
        assert fill(PHOTO.convert("CMYK"), boxes=[(4, 4, 5, 5)], engine="push-pull").mode == "RGB"
