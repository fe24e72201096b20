"""Families of inpainting networks that others publish as ONNX files: their conventions as data.

`foreign.ForeignEngine` reads this table. A new family is a row, as long as its convention can be said so.
"""

from dataclasses import dataclass

from infilling.errors import ModelError, did_you_mean
from infilling.filling.session import Port, Session

PAGE = "'Use a model from elsewhere' (docs/foreign.md)"
"""The page that says how to use a model from elsewhere."""

CHANNELS = {"image": 3, "mask": 1, "ones": 1}
"""Channels of each part of an input."""

PICTURE = (None, 3, None, None)
"""What an output of unknown shape is taken for."""

Range = tuple[float, float]

FLOATS = ("float", "float16")
WORKING_SIZE = 512
"""Side in pixels that networks of any size work at: above about 1,280 px LaMa draws repeating patterns."""


@dataclass(frozen=True)
class Family:
    """One convention of inputs and output.

    Attributes:
        name: what `--adapter` takes.
        title: which networks follow it.
        inputs: the parts of each input: two inputs, or one that holds several parts as channels.
        pixels: values that stand for 0 and 1 in the image.
        masks: values that the mask may have, as those of known and hole; found by a probe if several.
        results: ranges that the answer may have, as the values of 0 and 1; found by a probe if several.
        kinds: element types of the inputs.
        blank: value of the image under the hole; None: the mean of the known pixels.
        output: index of the answer among the outputs; of fewer outputs, the last one is it.
        multiple_of: sides are multiples of this, where the graph leaves them open.
        least: smallest side in pixels, where the graph leaves it open.
        open_sides: whether its published files leave their sides open, so that it is asked first for such a
            file and last for another; None: either.
        grow: pixels by which the hole is widened for the network, which would leave its rim.
        composited: whether the known pixels of the answer are those of the image; `infill info` says so.
        hints: words in the name of a file or an output that speak for this family, where a probe cannot say.
    """

    name: str
    title: str
    inputs: tuple[tuple[str, ...], ...]
    pixels: Range
    masks: tuple[Range, ...]
    results: tuple[Range, ...]
    kinds: tuple[str, ...] = FLOATS
    blank: float | None = None
    output: int = 0
    multiple_of: int = 8
    least: int = 1
    open_sides: bool | None = None
    grow: int = 0
    composited: bool = False
    hints: tuple[str, ...] = ()

    def bind(self, session: Session) -> dict[tuple[str, ...], Port] | None:
        """Return the input of each of `inputs`, by name, else by channels; None if the graph does not fit."""
        ports, answer = session.inputs, self.find_answer(session)
        ranks = {_rank_as_mask(port) for port in ports}
        if not (len(ranks) == len(ports) == len(self.inputs)):
            return None
        bound = dict(zip(self.inputs, sorted(ports, key=_rank_as_mask), strict=True))
        sides = {port.shape[2:] for port in ports}
        is_open = {side is None for pair in sides for side in pair}
        fits = [
            len(sides) == len(is_open) == 1,  # all of one size, or of any
            all(self._takes(parts, port) for parts, port in bound.items()),
            is_picture(answer),
        ]
        return bound if all(fits) else None

    def find_answer(self, session: Session) -> Port:
        """Return the output that is the answer."""
        return session.outputs[: self.output + 1][-1]

    def _takes(self, parts: tuple[str, ...], port: Port) -> bool:
        """Return whether an input is of a known type, and has a channel for each plane of its parts."""
        channels = sum(CHANNELS[part] for part in parts)
        return port.kind in self.kinds and _has_channels(port.shape, channels)


def is_picture(output: Port) -> bool:
    """Return whether an output may be a picture."""
    return _has_channels(output.shape or PICTURE, 3)


def _rank_as_mask(port: Port) -> tuple[bool, bool]:
    """Return what makes an input the mask: its name, else its single channel. The greater one is the mask."""
    return "mask" in port.name.lower() and port.shape[1:2] != (3,), port.shape[1:2] == (1,)


def _has_channels(shape: tuple[int | None, ...], channels: int) -> bool:
    """Return whether a shape is that of pictures with this number of channels, or with any."""
    return (len(shape), *shape[1:2]) in ((4, channels), (4, None))


UNIT, SIGNED, BYTES = (0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)
APART = (("image",), ("mask",))

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "migan-pipeline",
            "MI-GAN with its own cropping and blending",
            APART,
            pixels=BYTES,
            masks=((255.0, 0.0),),
            results=(BYTES,),
            kinds=("uint8",),
            multiple_of=1,
            grow=3,  # it shrinks the hole by a pixel and blurs its edge
            composited=True,
        ),
        Family(
            "aot",
            "AOT-GAN for manga",
            APART,
            pixels=SIGNED,
            masks=(UNIT, UNIT[::-1]),
            results=(SIGNED,),
            blank=0.0,
            least=128,
            open_sides=True,
            hints=("aot",),
        ),
        Family(
            "lama",
            "LaMa, LaMa for manga, and Qualcomm's exports",
            APART,
            pixels=UNIT,
            masks=(UNIT, UNIT[::-1]),
            results=(BYTES, UNIT),
            composited=True,
            hints=("lama", "painted"),
        ),
        Family(
            "lama-bytes",
            "LaMa on bytes, as uint8 or as floats",
            APART,
            pixels=BYTES,
            masks=(BYTES, UNIT, BYTES[::-1], UNIT[::-1]),
            results=(BYTES, UNIT),
            kinds=(*FLOATS, "uint8"),
            composited=True,
            hints=("lama", "painted"),
        ),
        Family(
            "lama-packed",
            "LaMa with picture and mask in one input",
            (("image", "mask"),),
            pixels=UNIT,
            masks=(UNIT, UNIT[::-1]),
            results=(UNIT,),
            blank=0.0,
            multiple_of=32,
            hints=("lama",),
        ),
        Family(
            "migan",
            "MI-GAN, the network alone",
            (("mask", "image"),),
            pixels=SIGNED,
            masks=((0.5, -0.5),),
            results=(SIGNED,),
            blank=0.0,
            multiple_of=32,
            hints=("migan", "mi-gan"),
        ),
        Family(
            "deepfill",
            "DeepFill v2",
            (("image", "ones", "mask"),),
            pixels=SIGNED,
            masks=(UNIT,),
            results=(SIGNED,),
            blank=0.0,
            output=1,  # the first is a coarse guess
        ),
    )
}
"""The families by name; where a probe fits two, the first is taken."""


def find_families(session: Session, adapter: str | None = None) -> list[Family]:
    """Return the families whose names, shapes and types a graph fits.

    Args:
        session: the open file.
        adapter: the one family that it has to fit; None: any.

    Raises:
        ModelError: it fits none; the message lists its inputs and outputs.
    """
    if adapter not in (None, *FAMILIES):
        raise ModelError(f"there is no adapter {adapter!r}{did_you_mean(str(adapter), FAMILIES)}")
    asked = [FAMILIES[adapter]] if adapter else [*FAMILIES.values()]
    found = [family for family in asked if family.bind(session)]
    if found:
        return found
    wanted = f"does not fit the adapter {adapter}" if adapter else "is of no known family of networks"
    raise ModelError(f"{session.path} {wanted}: it has {session.signature}; see the page {PAGE}")
