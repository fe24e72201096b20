"""Marks for those who come after: that a picture was filled (XMP), and where a patch belongs (PNG)."""

import dataclasses
import re
import struct
import zlib
from typing import Literal

import numpy as np

from infilling.errors import InputError
from infilling.pictures.files import encode
from infilling.pictures.mask import Mask, bounding_box
from infilling.pictures.picture import Picture

SourceType = Literal["compositeWithTrainedAlgorithmicMedia", "compositeSynthetic"]

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
NAMESPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
PROPERTY = "Iptc4xmpExt:DigitalSourceType"
EMPTY = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)
PNG_HEADER = 33  # bytes: the signature and IHDR


def mark(picture: Picture, source_type: SourceType) -> Picture:
    """Write the IPTC digital source type into the XMP of a picture, in place of one that it may have.

    `compositeWithTrainedAlgorithmicMedia` says that parts were made by a trained model,
    `compositeSynthetic` that parts were made up in another way (IPTC Photo Metadata Standard 2023.1).

    Raises:
        InputError: the picture's XMP is not such that it could be added to.
    """
    packet = picture.xmp or EMPTY
    name = PROPERTY.encode()
    packet = re.sub(rb"<%b\b[^>]*?(/>|>.*?</%b\s*>)" % (name, name), b"", packet, flags=re.DOTALL)
    packet = re.sub(rb"""\s%b\s*=\s*("[^"]*"|'[^']*')""" % name, b"", packet)
    end = packet.rfind(b"</rdf:RDF>")
    if end < 0:
        raise InputError("the picture's XMP has no </rdf:RDF>, so nothing can be added: take the mark off")
    told = (
        f'<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{NAMESPACE}">'
        f"<{PROPERTY}>{VOCABULARY}{source_type}</{PROPERTY}></rdf:Description>"
    )
    return dataclasses.replace(picture, xmp=packet[:end] + told.encode() + packet[end:])


def make_patch(picture: Picture, hole: Mask) -> bytes:
    """Make a PNG of the hole alone: the box round it, transparent outside the hole.

    Its `oFFs` chunk says where in the picture its corner lies, in pixels; editors such as GIMP put it there.
    A pixel in the hole keeps the alpha that it has in the picture.

    Raises:
        InputError: there is no hole.
    """
    box = bounding_box(hole)
    if not box.width:
        raise InputError("there is no hole, so there is no patch to write")
    part = hole[box.slices]
    pixels = picture.pixels[box.slices]
    opaque = np.iinfo(pixels.dtype).max
    alpha = np.full(part.shape, opaque, pixels.dtype) if picture.alpha is None else picture.alpha[box.slices]
    shown = np.where(part, alpha, 0).astype(pixels.dtype)
    data = encode(
        Picture(np.where(part[..., None], pixels, 0).astype(pixels.dtype), shown, icc=picture.icc), "PNG"
    )
    body = b"oFFs" + struct.pack(">iiB", box.x, box.y, 0)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:PNG_HEADER] + chunk + data[PNG_HEADER:]
