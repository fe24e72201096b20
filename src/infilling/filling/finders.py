"""Run mask helpers: by name, in a box, several together, with options from a text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infilling.errors import InputError, check_argument, did_you_mean
from infilling.filling.mask_helpers import (
    GROW,
    HELPERS,
    MaskHelper,
    PointsOption,
    get_helper,
    import_function,
)
from infilling.filling.options import Option
from infilling.filling.values import BoxTuple, check_boxes

if TYPE_CHECKING:
    from infilling.pictures.mask import Mask
    from infilling.pictures.picture import Picture

AROUND = 64  # px around a box that are looked at too, to compare with


@dataclass(frozen=True)
class Finder:
    """A helper with its options, as `infill batch --mask-helper dust:max_size=20` names it.

    Attributes:
        name: name of the helper.
        options: values of its options, and of `box` and `grow`, by name.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def find(self, picture: "Picture | Sequence[Picture] | Any") -> "Mask":
        """Return the mask of a picture, or of what `prepare` made of one; see `find_mask` for the errors."""
        return find_mask(self.name, picture, **self.options)


def find_mask(
    name: str,
    picture: "Picture | Sequence[Picture] | Any",
    *,
    box: BoxTuple | None = None,
    grow: int | None = None,
    **options: Any,
) -> "Mask":
    """Find something in a picture.

    Args:
        name: name of the helper.
        picture: of any size and depth; several of one size for a helper that takes many. Without a box also
            what the helper's `prepare` made of a picture.
        box: (x, y, width, height) in pixels: look only there. None: everywhere.
        grow: pixels to widen what was found by; None: the helper's default. It may leave the box.
        options: options of the helper.

    Returns:
        (H, W) bool, True = found.

    Raises:
        InputError: there is no such helper, or a value cannot be used.
    """
    import numpy as np

    from infilling.pictures import mask as masks

    helper = get_helper(name)
    chosen = helper.check({**(helper.with_box if box is not None else {}), **options})
    pictures = list(picture) if isinstance(picture, Sequence) else [picture]
    if box is None:
        found = _run(helper, pictures, chosen)
    else:
        size = pictures[0].height, pictures[0].width
        places = check_boxes(box)
        if len(places) != 1:
            raise InputError("box: give one, (x, y, width, height) in pixels", field="boxes")
        place = places[0]
        inside = masks.from_boxes([place], *size)
        near = masks.widen(masks.bounding_box(inside), AROUND, masks.Box(0, 0, size[1], size[0]))
        found = np.zeros(size, dtype=bool)
        shifted = {each.name: _shift(each, chosen[each.name], near, inside) for each in helper.options}
        found[near.slices] = _run(helper, [_crop(each, near.slices) for each in pictures], shifted)
        found &= inside
    return masks.grow(found, helper.grow if grow is None else GROW.check(grow))


def divide_out(name: str, pictures: "Sequence[Picture]", **options: Any) -> "tuple[list[Picture], Mask]":
    """Take what a helper finds out of pictures, as far as it is transparent.

    Args:
        name: name of the helper.
        pictures: of one size.
        options: options of the helper.

    Returns:
        The pictures, and (H, W) bool, what remains to be filled.

    Raises:
        InputError: there is no such helper, it divides nothing out, or a value cannot be used.
    """
    helper = get_helper(name)
    if helper.divide is None:
        raise InputError(f"what {name} finds is opaque: nothing can be divided out")
    divide = import_function(helper.divide)
    divided: tuple[list[Picture], Mask] = divide(list(pictures), **helper.check(options))
    return divided


def find_all(finders: Sequence[Finder], picture: "Picture") -> "Mask":
    """Return (H, W) bool, what any of some helpers finds in a picture; see `find_mask` for the errors."""
    import numpy as np

    found = np.zeros((picture.height, picture.width), dtype=bool)
    for finder in finders:
        found |= finder.find(picture)
    return found


def list_damage() -> tuple[Finder, ...]:
    """Return the helpers that find damage without being given a place, with their defaults."""
    return tuple(Finder(name) for name, helper in HELPERS.items() if helper.is_damage)


def parse_finder(text: str) -> Finder:
    """Read a helper with its options.

    Raises:
        InputError: there is no such helper, or an option cannot be read.

    Example:
        >>> parse_finder("dust:max_size=20,grow=2")
        Finder(name='dust', options={'max_size': 20, 'grow': 2})
    """
    check_argument("mask helper", text, str, "its name, with options if need be")
    name, _, rest = text.partition(":")
    helper = get_helper(name)
    known = {each.name: each for each in (*helper.options, GROW)}
    options = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        key = key.strip().replace("-", "_")
        if key not in known:
            raise InputError(f"{text!r}: {name} has no option {key!r}{did_you_mean(key, known)}")
        options[key] = known[key].check(_read_value(known[key], value.strip()))
    return Finder(name, options)


def _read_value(option: Option, text: str) -> Any:
    """Return the value of a text, as far as it can be read; the option refuses all others."""
    if option.kind is bool:
        return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)
    try:
        return option.kind(text) if option.kind in (int, float) else text
    except ValueError:
        return text


def _run(helper: MaskHelper, pictures: "list[Picture]", options: dict[str, Any]) -> "Mask":
    return helper.find(pictures if helper.many else pictures[0], **options)


def _crop(picture: "Picture", part: tuple[slice, slice]) -> "Picture":
    from infilling.pictures.picture import Picture

    alpha = None if picture.alpha is None else picture.alpha[part]
    return Picture(picture.pixels[part], alpha)


def _shift(option: Option, value: Any, near: Any, inside: "Mask") -> Any:
    """Return the value of an option in a part of the picture, the box `near`: points move with it."""
    if not isinstance(option, PointsOption):
        return value
    for x, y in value:
        row, column = int(y), int(x)
        if not (row < inside.shape[0] and column < inside.shape[1] and inside[row, column]):
            raise InputError(f"the point {x:g},{y:g} is outside the box", field=option.name)
    return tuple((x - near.x, y - near.y) for x, y in value)
