"""The mask helpers: what can be found in a picture, and how.

The commands of `infill mask`, the functions of `infilling.masks`, `infill batch --mask-helper`, `infill
restore`, the REST finders and the table in the docs are made from `HELPERS`. To add a helper, add an entry.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from infilling.errors import InputError, did_you_mean, is_no_list
from infilling.filling.options import COLOR, Option, refuse_unknown

if TYPE_CHECKING:
    from infilling.pictures.mask import Mask
    from infilling.pictures.picture import Picture

POINT = "[0-9]{1,6}([.][0-9]{1,3})?,[0-9]{1,6}([.][0-9]{1,3})?"


@dataclass(frozen=True)
class PointsOption(Option):
    """An option whose values are points, (x, y) in pixels."""

    metavar: str = "X,Y"
    pattern: str | None = POINT
    example: str | None = "120,80"
    default: Any = ()

    def check(self, value: Any) -> Any:
        """Return the points as a tuple of pairs of numbers.

        Raises:
            InputError: they are none.
        """
        try:
            if is_no_list(value):
                raise TypeError
            return tuple((float(x), float(y)) for x, y in value)
        except Exception:  # the caller's own class may raise anything
            self._refuse(value, "points (x, y) in pixels, such as [(120, 80), (130, 82)]")

    def parse(self, text: str) -> Any:
        """Return the point that a text names.

        Raises:
            InputError: it is not two numbers.
        """
        if not re.fullmatch(POINT, text):
            raise InputError(f"{text!r} is not x,y in pixels, such as 120,80", field=self.name)
        x, y = text.split(",")
        return float(x), float(y)


@dataclass(frozen=True)
class MaskHelper:
    """What one helper finds.

    Attributes:
        help: one sentence: what it marks.
        function: `find(picture, **options) -> Mask`, or where it is, as "module:name".
        options: what there is to say about each option of the function, in order.
        grow: pixels by which the mask is widened unless the caller says otherwise.
        note: what to know before using it; a sentence or two.
        with_box: options that are set where the caller gives a box.
        prepare: where `prepare(picture)` is, as "module:name", which makes a small thing that the function
            takes in place of the picture, to be asked several times; None if there is none.
        many: the function takes a sequence of pictures of one size, and finds what all of them have.
        divide: where `divide(pictures, **options) -> (pictures, Mask)` is, as "module:name", which takes what
            is found out of the pictures as far as it is transparent; None if there is none.
        is_damage: `infill restore` looks for it.
        is_offered: the server finds it.
    """

    help: str
    function: str | Callable[..., "Mask"]
    options: tuple[Option, ...] = ()
    grow: int = 0
    note: str = ""
    with_box: dict[str, Any] = field(default_factory=dict)
    prepare: str | None = None
    many: bool = False
    divide: str | None = None
    is_damage: bool = False
    is_offered: bool = True

    @property
    def find(self) -> Callable[..., "Mask"]:
        """The function."""
        if not isinstance(self.function, str):
            return self.function
        found: Callable[..., Mask] = import_function(self.function)
        return found

    def check(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return a value for each option, each of its own type; what is not given is the default.

        Raises:
            InputError: an option is unknown, or its value cannot be used.
        """
        refuse_unknown(options, self.options)
        return {each.name: each.check(options.get(each.name, each.default)) for each in self.options}


def import_function(place: str) -> Any:
    """Import what is at "module:name"."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def get_helper(name: str) -> MaskHelper:
    """Return a helper by its name.

    Raises:
        InputError: there is none of this name.
    """
    if name not in HELPERS:
        raise InputError(f"there is no mask helper {name!r}{did_you_mean(name, HELPERS)}")
    return HELPERS[name]


# -- functions whose form is another -------------------------------------------------------------------------


def _find_scratches(picture: "Picture", **options: Any) -> "Mask":
    from infilling.pictures.scratches import find_scratches

    return find_scratches(picture.pixels, margin=0, **options)


def _select_object(picture: "Picture", points: Any, background: Any) -> "Mask":
    from infilling.pictures.select import select_object

    return select_object(picture, points, background=background)


def _find_color(picture: "Picture", value: str, tolerance: int) -> "Mask":
    from infilling.pictures.mask_files import read_mask

    return read_mask(picture, color=value, tolerance=tolerance)


def _find_transparent(picture: "Picture", threshold: float) -> "Mask":
    import numpy as np

    from infilling.pictures.mask_files import read_mask

    if picture.alpha is None:
        return np.zeros((picture.height, picture.width), dtype=bool)
    return read_mask(picture, from_alpha=True, threshold=threshold)


GROW = Option(
    "Pixels to widen the mask by.", "mask", metavar="N", low=0, high=500, name="grow", kind=int, default=0
)
SENSITIVITY = Option(
    "2 finds what is half as strong, 0.5 only what is twice as strong.",
    "mask", metavar="X", low=0.01, high=100, name="sensitivity", kind=float, default=1.0,
)  # fmt: skip

HELPERS: dict[str, MaskHelper] = {
    "scratches": MaskHelper(
        "Mark scratches: thin lines, bright or dark.",
        _find_scratches,
        (
            Option(
                "Greatest width of a scratch, in pixels.",
                "mask", metavar="N", low=1, high=1000, name="width", kind=int, default=7,
            ),
            Option(
                "Least length of a scratch, in pixels; faint ones are longer in large pictures.",
                "mask", metavar="N", low=1, high=100_000, name="length", kind=int, default=40,
            ),
            SENSITIVITY,
        ),
        grow=1,
        note="Look at the mask before you fill: wires and writing are thin lines too.",
        is_damage=True,
    ),
    "dust": MaskHelper(
        "Mark dust: specks and hairs, light or dark.",
        "infilling.pictures.dust:find_dust",
        (
            Option(
                "Largest side of a speck, in pixels; hairs are up to six times as long.",
                "mask", metavar="N", low=1, high=1000, name="max_size", kind=int, default=12,
            ),
            SENSITIVITY,
        ),
        grow=1,
        note="Stars, freckles and glints are specks too: leave out what is larger with --max-size.",
        is_damage=True,
    ),
    "fold": MaskHelper(
        "Mark creases: wide bands, nearly straight, from edge to edge.",
        "infilling.pictures.fold:find_fold",
        (SENSITIVITY,),
        grow=4,
        note="Poles, masts and horizons that cross the whole picture may be taken for creases.",
        is_damage=True,
    ),
    "stamp": MaskHelper(
        "Mark a date stamp or a caption in a corner, with its glow.",
        "infilling.pictures.stamp:find_stamp",
        (
            Option(
                "Look in the whole picture, not in its corners.",
                "mask", name="whole", kind=bool, default=False,
            ),
        ),
        note="A box around it is safer: --box looks in all of it.",
        with_box={"whole": True},
    ),
    "watermark": MaskHelper(
        "Mark what all pictures of a folder have in common: a logo, a text, a grid; also half transparent.",
        "infilling.pictures.watermark:find_watermark",
        (SENSITIVITY,),
        grow=1,
        note="Five or more pictures of one size are needed, of different things.",
        many=True,
        divide="infilling.pictures.watermark:divide_watermark",
    ),
    "object": MaskHelper(
        "Mark the thing under a click or a scribble.",
        _select_object,
        (
            PointsOption(
                "A point on the thing, in pixels. Repeat it along a scribble.",
                "mask", name="points", element="point",
            ),
            PointsOption(
                "A point on what does not belong to it, in pixels.",
                "mask", name="background", element="background",
            ),
        ),
        prepare="infilling.pictures.select:reduce_picture",
    ),
    "color": MaskHelper(
        "Mark what has a colour, such as what was painted over in an editor.",
        _find_color,
        (
            Option(
                "The colour that marks the hole.", "mask",
                metavar="#RRGGBB", pattern=COLOR, example="#ff00ff", name="value", default=...,
            ),
            Option(
                "How far each channel may be off, in steps of 1/255.",
                "mask", metavar="N", low=0, high=255, name="tolerance", kind=int, default=0,
            ),
        ),
        is_offered=False,  # the page does it by itself
    ),
    "alpha": MaskHelper(
        "Mark what is transparent, such as what was erased in an editor.",
        _find_transparent,
        (
            Option(
                "Hole is what is less opaque than this share.",
                "mask", metavar="SHARE", low=0, high=1, name="threshold", kind=float, default=0.5,
            ),
        ),
        is_offered=False,
    ),
}  # fmt: skip
"""The helpers, by the names that callers use."""
