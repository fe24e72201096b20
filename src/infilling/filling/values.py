"""Values that callers give for options, whatever their type: boxes, numbers, texts and truth values."""

import math
import numbers
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from infilling.errors import InputError, is_no_list, show_value

BoxTuple: TypeAlias = tuple[int, int, int, int]
"""A rectangle in pixels: left edge, top edge, width, height."""

BOX = r"-?[0-9]{1,7},-?[0-9]{1,7},[0-9]{1,7},[0-9]{1,7}"
MOST_BOXES = 1_000_000


def parse_box(text: str) -> BoxTuple:
    """Read `x,y,width,height`.

    Raises:
        InputError: it is not four whole numbers.

    Example:
        >>> parse_box("40,30,64,64")
        (40, 30, 64, 64)
    """
    if not re.fullmatch(BOX, text):
        raise InputError(
            f"{text!r} is not x,y,width,height in whole pixels, such as 40,30,64,64", field="boxes"
        )
    x, y, width, height = map(int, text.split(","))
    return x, y, width, height


def check_boxes(boxes: Any) -> tuple[BoxTuple, ...]:
    """Return boxes as whole numbers; a box with fractions becomes the pixels that it touches.

    Args:
        boxes: one (x, y, width, height), or several; tuples, lists or arrays of numbers.

    Raises:
        InputError: not boxes, or one without area.

    Example:
        >>> check_boxes([10.5, 20, 3, 4])
        ((10, 20, 4, 4),)
    """
    if boxes is None:
        return ()
    try:
        return tuple(map(_check_box, _list_rows(boxes)))
    except InputError:
        raise
    except Exception:  # the caller's own class may raise anything
        raise InputError(
            f"boxes {show_value(boxes)} cannot be used: give (x, y, width, height) in pixels, "
            f"or a list of at most {MOST_BOXES:,} such",
            field="boxes",
        ) from None


def _list_rows(boxes: Any) -> list[Any]:
    """Return what may be boxes, one by one.

    Raises:
        Exception: it is no list, or one of too many.
    """
    if is_no_list(boxes) or (hasattr(boxes, "__len__") and len(boxes) > MOST_BOXES):
        raise ValueError
    rows = [*boxes]
    is_one = bool(rows) and all(map(_is_number, rows))
    return [rows] if is_one else rows


def _check_box(row: Sequence[float]) -> BoxTuple:
    if is_no_list(row) or any(map(_is_no_real_number, row)):
        raise TypeError
    x, y, width, height = map(float, row)
    left, top = math.floor(x), math.floor(y)
    if not (width > 0 and height > 0):
        shown = ",".join(f"{value:g}" for value in (x, y, width, height))
        raise InputError(
            f"box {shown} (x,y,width,height) has no area: width and height must be above 0", field="boxes"
        )
    return left, top, math.ceil(x + width) - left, math.ceil(y + height) - top


def _is_no_real_number(value: Any) -> bool:
    """Return whether a value is a truth value, a text, or what numpy warns of: complex or masked."""
    if isinstance(value, str | bytes) or _is_truth(value):
        return True
    return getattr(getattr(value, "dtype", None), "kind", "") == "c" or bool(getattr(value, "mask", False))


def _is_number(value: Any) -> bool:
    return hasattr(value, "__float__") and not getattr(value, "shape", ())


def _is_truth(value: Any) -> bool:
    """Return whether a value is True or False, Python's or NumPy's."""
    return type(value).__name__ in ("bool", "bool_")


def _to_bool(value: Any) -> bool:
    if not _is_truth(value):
        raise TypeError
    return bool(value)


def _to_str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _to_number(value: Any) -> float:
    """Return a float; a whole number as it is, for a float may be another one from 2^53 on."""
    if _is_no_real_number(value):
        raise TypeError
    number = float(value)
    return int(value) if isinstance(value, numbers.Integral) else number


def to_int(value: Any) -> int:
    """Return a whole number; of a float that is one, too."""
    if _is_no_real_number(value):
        raise TypeError
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return operator.index(value)


CASTS: dict[type, Callable[[Any], Any]] = {bool: _to_bool, int: to_int, float: _to_number, str: _to_str}
"""What makes a value of each type, and raises where another type was given."""
