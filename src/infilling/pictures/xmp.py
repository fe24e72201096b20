"""XMP packets: what a fill must not leave in them, and the mark that it adds.

A packet is parsed once, in linear time, by expat, with document types refused. Edits are cut out of or put
into its bytes, so that everything else stays as it was. Source: XMP Specification, part 1 (2012).
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NoReturn
from xml.parsers import expat

SourceType = Literal["compositeWithTrainedAlgorithmicMedia", "compositeSynthetic"]
IsDropped = Callable[[str, str], bool]  # namespace, name -> whether the property goes

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPE = "DigitalSourceType"
EMPTY = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)

THUMBNAIL = "http://ns.adobe.com/xap/1.0/g/img/"
# Namespaces of properties that describe what a rewritten file no longer holds, and what that is.
CLAIMS = {
    "http://ns.adobe.com/hdr-gain-map/1.0/": "gain map (HDR)",
    "http://ns.apple.com/HDRGainMap/1.0/": "gain map (HDR)",
    "http://ns.apple.com/pixeldatainfo/1.0/": "gain map (HDR)",
    "http://ns.google.com/photos/1.0/container/": "second picture or video",
    "http://ns.google.com/photos/1.0/container/item/": "second picture or video",
    "http://ns.google.com/photos/1.0/camera/": "motion photo's video",
    "http://ns.google.com/photos/1.0/depthmap/": "depth map",
    "http://ns.google.com/photos/1.0/image/": "second picture",
    "http://ns.google.com/photos/1.0/audio/": "sound",
    "http://ns.google.com/photos/dd/1.0/device/": "depth map",
    "http://ns.adobe.com/xmp/note/": "extended XMP",
}
MOTION = ("MotionPhoto", "MicroVideo")  # what the names of motion photos' properties begin with
SEPARATOR = "\x01"  # between the parts of the parser's names; XML cannot hold it
DEEPEST = 256  # elements within one another
MOST_CUTS = 1000  # parts that are cut out of a packet
_TURN = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")
_TAG = re.compile(rb"""<[^"'>]*(?:"[^"]*"[^"'>]*|'[^']*'[^"'>]*)*>""")


class XmpError(ValueError):
    """A packet that is no well-formed XML without document types, or no RDF."""


@dataclass
class _Element:
    """An open element: the place of its tag, and whether it is to go."""

    uri: str
    name: str
    place: int
    dropped: bool = False


@dataclass
class _Scan:
    """One pass over a packet: the parts to cut out of it, and where its RDF ends."""

    packet: bytes
    is_dropped: IsDropped
    cuts: list[tuple[int, int]] = field(default_factory=list)
    end: int | None = None
    elements: list[_Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=SEPARATOR)
        self.parser.namespace_prefixes = True
        self.parser.StartElementHandler = self.open_element
        self.parser.EndElementHandler = self.close_element
        self.parser.StartDoctypeDeclHandler = self.refuse

    def run(self) -> None:
        """Parse the packet.

        Raises:
            XmpError: it cannot be read.
        """
        try:
            self.packet.decode("utf-8")
            self.parser.Parse(self.packet.rstrip(b"\0"), True)
        except (expat.ExpatError, UnicodeDecodeError) as error:
            raise XmpError(f"the XMP cannot be read ({error})") from error

    def refuse(self, *_: object) -> NoReturn:
        """Refuse a document type, which could declare entities."""
        raise XmpError("the XMP has a document type")

    def open_element(self, name: str, attributes: dict[str, str]) -> None:
        """Note the place of an element, and cut out its attributes that go."""
        if len(self.elements) > DEEPEST or len(self.cuts) > MOST_CUTS:
            raise XmpError("the XMP is too deep, or too much of it has to go")
        place = self.parser.CurrentByteIndex
        uri, local, _ = _split(name)
        self.elements.append(_Element(uri, local, place, self.is_dropped(uri, local)))
        names = [_split(attribute) for attribute in attributes]
        if THUMBNAIL in (uri, *(attribute_uri for attribute_uri, *_ in names)):
            self.drop_property()
        dropped = (
            f"{prefix}:{attribute}".removeprefix(":")
            for attribute_uri, attribute, prefix in names
            if self.is_dropped(attribute_uri, attribute)
        )
        for attribute in itertools.islice(dropped, MOST_CUTS):
            self.cut_attribute(place, attribute)

    def drop_property(self) -> None:
        """Let the property that the innermost element belongs to go: the child of the outer description."""
        for parent, child in zip(self.elements, self.elements[1:], strict=False):
            if (parent.uri, parent.name) == (RDF, "Description"):
                child.dropped = True
                return

    def cut_attribute(self, place: int, name: str) -> None:
        """Cut an attribute out of the tag at a place."""
        tag = _TAG.match(self.packet, place)
        pattern = rb"""\s%b\s*=\s*(?:"[^"]*"|'[^']*')""" % re.escape(name.encode())
        if tag and (found := re.search(pattern, tag[0])):
            self.cuts.append((place + found.start(), place + found.end()))

    def close_element(self, name: str) -> None:
        """Cut an element out if it goes, and note where the RDF ends."""
        element, place = self.elements.pop(), self.parser.CurrentByteIndex
        if (element.uri, element.name) == (RDF, "RDF") and place > element.place:
            self.end = place
        if element.dropped:
            tag = _TAG.match(self.packet, place)
            self.cuts.append((element.place, tag.end() if tag else place))


def clean_xmp(packet: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
    """Take out what a picture that is written again makes untrue, or what would show it as it was.

    These are thumbnails and previews, and the claims that there is a gain map, a video, a depth map or a
    second picture in the file; the orientation becomes 1, upright. A packet that cannot be read is dropped,
    since it could hold anything.

    Returns:
        The packet, or None; and what is said about it, one line each.
    """
    if packet is None:
        return None, ()
    dropped: dict[str, None] = {}

    def is_dropped(uri: str, name: str) -> bool:
        goes = uri in CLAIMS and (not uri.endswith("/camera/") or name.startswith(MOTION))
        if goes:
            dropped[CLAIMS[uri]] = None
        return goes

    try:
        scan = _Scan(packet, is_dropped)
        scan.run()
    except XmpError as error:
        return None, (f"its XMP is not kept: {error}",)
    said = tuple(f"its {what} is not kept, and its XMP no longer names one" for what in dropped)
    return _TURN.sub(rb"\g<1>1", _cut(packet, scan.cuts)), said


def add_source_type(packet: bytes | None, source_type: SourceType) -> bytes:
    """Write the IPTC digital source type into a packet, in place of one that it may have.

    Raises:
        XmpError: the packet cannot be read, or has no RDF.
    """
    scan = _Scan(packet or EMPTY, lambda uri, name: (uri, name) == (IPTC, SOURCE_TYPE))
    scan.run()
    if scan.end is None:
        raise XmpError("the picture's XMP has no </rdf:RDF>")
    added = (
        f'<rdf:Description xmlns:rdf="{RDF}" rdf:about="" xmlns:Iptc4xmpExt="{IPTC}">'
        f"<Iptc4xmpExt:{SOURCE_TYPE}>{VOCABULARY}{source_type}</Iptc4xmpExt:{SOURCE_TYPE}></rdf:Description>"
    )
    tail = len(scan.packet) - scan.end
    shorter = _cut(scan.packet, scan.cuts)
    return shorter[:-tail] + added.encode() + shorter[-tail:]


def _cut(packet: bytes, cuts: list[tuple[int, int]]) -> bytes:
    """Leave parts out, which may overlap."""
    kept, place = [], 0
    for start, stop in sorted(cuts):
        if start > place:
            kept.append(packet[place:start])
        place = max(place, stop)
    return b"".join([*kept, packet[place:]])


def _split(name: str) -> tuple[str, str, str]:
    """Split a name as the parser gives it into namespace, local name and prefix, each perhaps empty."""
    parts = name.split(SEPARATOR)
    if len(parts) == 1:
        return "", name, ""
    uri, local, prefix, *_ = (*parts, "")
    return uri, local, prefix
