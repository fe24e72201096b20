"""Marks: readable by others, once only, and the rest of the metadata stays."""

import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infilling.errors import InputError
from infilling.pictures.files import decode, encode
from infilling.pictures.marks import make_patch, mark
from infilling.pictures.picture import Picture

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
PLACE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
)
OLD = {
    "none": '<rdf:Description rdf:about="" dc:format="image/png"/>',
    "element": '<rdf:Description rdf:about="" dc:format="image/png"><Iptc4xmpExt:DigitalSourceType>'
    f"{PLACE}digitalCapture</Iptc4xmpExt:DigitalSourceType></rdf:Description>",
    "attribute": '<rdf:Description rdf:about="" dc:format="image/png" '
    f'Iptc4xmpExt:DigitalSourceType="{PLACE}digitalCapture"/>',
}
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


def read_types(xmp: bytes | None) -> list[str]:
    assert xmp is not None
    root = ElementTree.fromstring(xmp)
    found = [element.text or "" for element in root.iter(TYPE)]
    return found + [
        element.attrib[TYPE] for element in root.iter(f"{RDF}Description") if TYPE in element.attrib
    ]


@pytest.mark.parametrize("old", OLD.values(), ids=OLD)
def test_a_mark_takes_the_place_of_an_older_one(old: str) -> None:
    picture = Picture(PIXELS, xmp=f"{HEAD}{old}</rdf:RDF></x:xmpmeta>".encode())
    once = mark(picture, "compositeSynthetic")
    twice = mark(once, "compositeWithTrainedAlgorithmicMedia")
    assert read_types(once.xmp) == [f"{PLACE}compositeSynthetic"]
    assert read_types(twice.xmp) == [f"{PLACE}compositeWithTrainedAlgorithmicMedia"]
    assert twice.xmp is not None
    assert b'dc:format="image/png"' in twice.xmp


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_marks_are_in_the_file(format: str) -> None:
    marked = decode(encode(mark(Picture(PIXELS), "compositeSynthetic"), format))
    assert read_types(marked.xmp) == [f"{PLACE}compositeSynthetic"]


def test_xmp_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="nothing can be added"):
        mark(Picture(PIXELS, xmp=b"rubbish"), "compositeSynthetic")


def test_a_patch_is_the_hole_alone_in_its_place() -> None:
    hole = np.zeros((30, 40), bool)
    hole[10:20, 15:18] = True
    hole[12, 20] = True
    data = make_patch(Picture(PIXELS), hole)
    image = Image.open(io.BytesIO(data))
    image.load()
    assert (image.mode, image.size) == ("RGBA", (6, 10))
    at = data.index(b"oFFs") + 4
    assert (data[at : at + 4], data[at + 4 : at + 8], data[at + 8]) == (b"\0\0\0\x0f", b"\0\0\0\x0a", 0)
    canvas = Image.fromarray(np.zeros_like(PIXELS))
    canvas.paste(image, (15, 10), image)
    np.testing.assert_array_equal(np.asarray(canvas), np.where(hole[..., None], PIXELS, 0))


def test_a_patch_keeps_alpha_and_16_bits() -> None:
    hole = np.ones((4, 5), bool)
    pixels, alpha = np.full((4, 5, 1), 40000, np.uint16), np.full((4, 5), 300, np.uint16)
    patch = decode(make_patch(Picture(pixels, alpha), hole))
    np.testing.assert_array_equal(patch.pixels, pixels)
    np.testing.assert_array_equal(patch.alpha, alpha)
    with pytest.raises(InputError, match="no hole"):
        make_patch(Picture(pixels), ~hole)


def test_the_command_writes_both(tmp_path: Path, infill: Any) -> None:
    (tmp_path / "photo.png").write_bytes(encode(Picture(PIXELS)))
    ran = infill(
        "fill", tmp_path / "photo.png", "--box", "15,10,6,4", "--mark", "--patch-out", tmp_path / "patch.png"
    )
    assert ran.code == 0, ran.err
    result = decode(tmp_path / "photo.filled.png")
    assert read_types(result.xmp) == [f"{PLACE}compositeWithTrainedAlgorithmicMedia"]  # a network's
    patch = decode(tmp_path / "patch.png")
    np.testing.assert_array_equal(patch.pixels, result.pixels[10:14, 15:21])
