"""XMP: thumbnails and claims go, the rest stays byte for byte, and nothing hostile takes long."""

import contextlib
import time
from xml.etree import ElementTree

import pytest

from infilling.pictures.xmp import EMPTY, XmpError, add_source_type, clean_xmp

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def make_packet(attributes: str, children: str) -> bytes:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:g="http://ns.adobe.com/xap/1.0/g/img/" '
        'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
        'xmlns:C="http://ns.google.com/photos/1.0/container/" '
        'xmlns:I="http://ns.google.com/photos/1.0/container/item/" '
        f'xmlns:Cam="http://ns.google.com/photos/1.0/camera/" dc:format="image/jpeg"{attributes}>{children}'
        '</rdf:Description></rdf:RDF></x:xmpmeta>   <?xpacket end="w"?>'
    ).encode()


KEPT = "<dc:creator><rdf:Seq><rdf:li>é &amp; 'x'</rdf:li></rdf:Seq></dc:creator>"


@pytest.mark.parametrize(
    ("attributes", "children", "words"),
    [
        ("", "<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType='Resource'><g:image>AAAA</g:image></rdf:li>"
         "</rdf:Alt></xmp:Thumbnails>", []),
        ("", "<xmp:Any><rdf:Seq><rdf:li g:image='AA>A'/></rdf:Seq></xmp:Any>", []),
        (' hdrgm:Version="1.0"', "", ["gain map"]),
        ("", "<hdrgm:Version>1.0</hdrgm:Version>", ["gain map"]),
        (" Cam:MotionPhoto='1' Cam:MotionPhotoVersion = '1'", "", ["motion photo"]),
        ("", "<C:Directory><rdf:Seq><rdf:li><C:Item I:Semantic='GainMap' I:Length='409'/></rdf:li></rdf:Seq>"
         "</C:Directory>", ["second picture"]),
    ],
)  # fmt: skip
def test_what_is_no_longer_true_goes_and_the_rest_stays(
    attributes: str, children: str, words: list[str]
) -> None:
    cleaned, said = clean_xmp(make_packet(attributes, KEPT + children))
    assert cleaned == make_packet("", KEPT)
    assert len(said) == len(words)
    for line, word in zip(said, words, strict=True):
        assert word in line


def test_other_settings_of_the_camera_stay() -> None:
    packet = make_packet(' Cam:BurstID="7"', KEPT)
    assert clean_xmp(packet) == (packet, ())
    assert clean_xmp(packet + bytes(8)) == (packet + bytes(8), ())


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"rubbish",
        b"<a><b></a>",
        '<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"),
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<a>" * 1000 + b"</a>" * 1000,
        make_packet(" hdrgm:a='1'", "<hdrgm:b/>" * 3000),
    ],
)
def test_what_cannot_be_read_is_dropped_in_words(packet: bytes) -> None:
    cleaned, (line,) = clean_xmp(packet)
    assert cleaned is None
    assert line.startswith("its XMP is not kept")
    if packet:
        with pytest.raises(XmpError):
            add_source_type(packet if b"hdrgm" not in packet else b"<a/>", "compositeSynthetic")


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "part",
    [
        b"<Iptc4xmpExt:DigitalSourceType>",
        b"<a xmlns='http://iptc.org/std/Iptc4xmpExt/2008-02-29/'><DigitalSourceType>",
        b"<a>",
        b"<a b='1' ",
        b"<!-- ",
        b" Cam:MotionPhoto",
    ],
)
def test_hostile_packets_take_no_time(part: bytes) -> None:
    start = time.process_time()
    for packet in (part * (2_000_000 // len(part)), make_packet("", (part * 20_000).decode())):
        clean_xmp(packet)
        with contextlib.suppress(XmpError):
            add_source_type(packet, "compositeSynthetic")
    assert time.process_time() - start < 2


def test_a_mark_is_added_where_there_is_rdf() -> None:
    for packet in (None, EMPTY, make_packet("", KEPT)):
        marked = add_source_type(packet, "compositeSynthetic")
        root = ElementTree.fromstring(marked)
        tag = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
        assert [element.text for element in root.iter(tag)] == [
            "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
        ]
    with pytest.raises(XmpError, match="no </rdf:RDF>"):
        add_source_type(b"<a/>", "compositeSynthetic")
