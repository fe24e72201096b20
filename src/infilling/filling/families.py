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
        mask: values that stand for known and for hole.
        results: ranges that the answer may have, as the values of 0 and 1; found by a probe if several.
        kinds: element types of the inputs.
        blank: value of the image under the hole; None: the mean of the known pixels.
        output: which of the outputs is the answer.
        multiple_of: sides are multiples of this, where the graph leaves them open.
        least: smallest side in pixels, where the graph leaves it open.
        open_sides: whether the graph leaves its sides open; None: either.
        grow: pixels by which the hole is widened for the network, which would leave its rim.
        composited: whether the known pixels of the answer are those of the image; for information.
        hints: words in the name of a file or an output that speak for this family, where a probe cannot say.
    """

    name: str
    title: str
    inputs: tuple[tuple[str, ...], ...]
    pixels: tuple[float, float]
    mask: tuple[float, float]
    results: tuple[tuple[float, float], ...]
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
        ports = session.inputs
        if len(ports) != len(self.inputs) or len(session.outputs) <= self.output:
            return None
        if len(ports) == 2:
            mask = _find_mask(ports)
            if mask is None:
                return None
            ports = tuple(mask if "mask" in parts else ports[ports[0] is mask] for parts in self.inputs)
        bound = dict(zip(self.inputs, ports, strict=True))
        sides = self._find_sides(bound)
        answer = session.outputs[self.output].shape
        fits = sides is not None and (not answer or (len(answer) == 4 and answer[1] in (3, None)))
        if not fits or (self.open_sides is not None and self.open_sides != (None in (sides or ()))):
            return None
        return bound

    def _find_sides(self, bound: dict[tuple[str, ...], Port]) -> tuple[int | None, int | None] | None:
        """Return height and width that all inputs share; None if types, channels or sides do not fit."""
        sides = {port.shape[2:] for port in bound.values()}
        for parts, port in bound.items():
            channels = sum(CHANNELS[part] for part in parts)
            if port.kind not in self.kinds or len(port.shape) != 4 or port.shape[1] not in (channels, None):
                return None
        if len(sides) != 1:
            return None
        height, width = sides.pop()
        return (height, width) if (height is None) == (width is None) else None


def _find_mask(ports: tuple[Port, ...]) -> Port | None:
    """Return which of two inputs is the mask: the one called so, else the one with a single channel."""
    named = [port for port in ports if "mask" in port.name.lower()]
    if len(named) == 1:
        return named[0]
    single = [port for port in ports if len(port.shape) == 4 and port.shape[1] == 1]
    return single[0] if len(single) == 1 else None


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
            mask=(255.0, 0.0),
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
            mask=UNIT,
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
            mask=UNIT,
            results=(BYTES, UNIT),
            composited=True,
            hints=("lama", "painted"),
        ),
        Family(
            "lama-packed",
            "LaMa with picture and mask in one input",
            (("image", "mask"),),
            pixels=UNIT,
            mask=UNIT,
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
            mask=(0.5, -0.5),
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
            mask=UNIT,
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
    if adapter is not None and adapter not in FAMILIES:
        raise ModelError(f"there is no adapter {adapter!r}{did_you_mean(adapter, FAMILIES)}")
    asked = [FAMILIES[adapter]] if adapter else list(FAMILIES.values())
    found = [family for family in asked if family.bind(session) is not None]
    if not found:
        wanted = f"does not fit the adapter {adapter}" if adapter else "is of no known family of networks"
        raise ModelError(f"{session.path} {wanted}: it has {session.signature}; see the page {PAGE}")
    return found
