"""Marks for those who come after: that a picture was filled (XMP), and where a patch belongs (PNG)."""

import dataclasses
import struct

import numpy as np

from infilling.errors import InputError
from infilling.pictures.files import encode
from infilling.pictures.mask import Mask, bounding_box
from infilling.pictures.picture import Picture
from infilling.pictures.png import insert_chunks
from infilling.pictures.xmp import SourceType, XmpError, add_source_type


def mark(picture: Picture, source_type: SourceType) -> Picture:
    """Write the IPTC digital source type into the XMP of a picture, in place of one that it may have.

    `compositeWithTrainedAlgorithmicMedia` says that parts were made by a trained model,
    `compositeSynthetic` that parts were made up in another way (IPTC Photo Metadata Standard 2023.1).

    Raises:
        InputError: the picture's XMP cannot be read, or nothing can be added to it.
    """
    try:
        return dataclasses.replace(picture, xmp=add_source_type(picture.xmp, source_type))
    except XmpError as error:
        raise InputError(f"{error}, so nothing can be added: take the mark off") from error


def make_patch(picture: Picture, hole: Mask) -> bytes:
    """Make a PNG of the hole alone: the box round it, transparent outside the hole.

    Its `oFFs` chunk says where in the picture its corner is, in pixels; editors such as GIMP put it there.
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
    return insert_chunks(data, [(b"oFFs", struct.pack(">iiB", box.x, box.y, 0))])
