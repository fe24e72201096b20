"""Borders: how much is added to each side of a picture, as people say it and in pixels."""

import math
import re
from typing import NamedTuple

from infilling.errors import InputError, show_value
from infilling.filling.options import Option
from infilling.filling.values import to_int

LENGTH = r"([0-9]{1,6}(\.[0-9]{1,3})?%|[0-9]{1,6})"
RATIO = r"[1-9][0-9]{0,4}:[1-9][0-9]{0,4}"
MOST_SHARE = 0.15  # of a picture's side: what a wider border shows is mostly repetition
MOST_TIMES = 8  # the result has at most 8 times the picture's pixels

USED = ("seed", "guide", "detail", "feather", "format", "quality", "mark")
"""The options of a fill that go together with a border."""

SIDES = ("left", "top", "right", "bottom")
OPTIONS = (
    *(
        Option(
            f"What to add on the {side}: pixels, or a share such as 10%.",
            "result", metavar="N|N%", pattern=LENGTH, example="10%", unset="nothing", name=side,
        )
        for side in SIDES
    ),
    Option(
        "The shape to reach by adding as little as possible, equally on both sides.",
        "result", metavar="W:H", pattern=RATIO, example="16:9", unset="as the sides say", name="to",
    ),
)  # fmt: skip
"""What a border is made from, on every surface."""


class Border(NamedTuple):
    """Pixels that are added to each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def plan_border(
    width: int,
    height: int,
    *,
    left: int | str | None = None,
    top: int | str | None = None,
    right: int | str | None = None,
    bottom: int | str | None = None,
    to: str | None = None,
) -> Border:
    """Return the border in pixels.

    Args:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        left: pixels to add there, or a share of the picture's width such as "10%".
        top: the same at the top, of the height.
        right: the same at the right.
        bottom: the same at the bottom.
        to: a ratio such as "16:9"; what the sides lack of it is added, half on each side.

    Raises:
        InputError: a value cannot be used, or nothing is added; `field` names it.

    >>> plan_border(400, 300, left=20, top="10%")
    Border(left=20, top=30, right=0, bottom=0)
    >>> plan_border(400, 300, to="16:9")
    Border(left=66, top=0, right=67, bottom=0)
    """
    given = {"left": left, "top": top, "right": right, "bottom": bottom}
    sides = {"left": width, "top": height, "right": width, "bottom": height}
    border = Border(**{name: _measure(name, value, sides[name]) for name, value in given.items()})
    if to is not None:
        border = _reach(border, width, height, to)
    if not any(border):
        if to is not None:
            raise InputError(f"the picture is {to} already: nothing is to be added", field="to")
        raise InputError("nothing is to be added: give left, top, right, bottom or to", field="left")
    if (width + border.left + border.right) * (
        height + border.top + border.bottom
    ) > MOST_TIMES * width * height:
        raise InputError(
            f"the result would have more than {MOST_TIMES} times the pixels: add less", field="left"
        )
    return border


def describe_far(border: Border, width: int, height: int) -> str | None:
    """Return a warning about a border that is wider than what can be continued; None if none is."""
    sides = (width, height, width, height)
    added = zip(SIDES, border, sides, strict=True)
    far = [
        f"{name} {pixels / side:.0%}" for name, pixels, side in added if pixels > math.ceil(MOST_SHARE * side)
    ]
    if not far:
        return None
    return f"more than {MOST_SHARE:.0%} is added ({', '.join(far)}): expect repeated texture there"


def _measure(name: str, value: int | str | None, side: int) -> int:
    if value is None:
        return 0
    try:
        text = value if isinstance(value, str) else str(to_int(value))
    except Exception:  # the caller's own class may raise anything
        text = ""
    if not re.fullmatch(LENGTH, text):
        raise InputError(
            f"{name} {show_value(value)} cannot be used: give pixels, or a share such as '10%'", field=name
        )
    return round(float(text[:-1]) / 100 * side) if text.endswith("%") else int(text)


def _reach(border: Border, width: int, height: int, to: str) -> Border:
    """Return the border with what is lacking of a ratio."""
    if not isinstance(to, str) or not re.fullmatch(RATIO, to):
        raise InputError(f"to {show_value(to)} cannot be used: give a ratio such as '16:9'", field="to")
    across, down = map(int, to.split(":"))
    wide, high = width + border.left + border.right, height + border.top + border.bottom
    more_wide = max(0, round(high * across / down) - wide)
    more_high = max(0, round(wide * down / across) - high)
    return Border(
        border.left + more_wide // 2,
        border.top + more_high // 2,
        border.right + more_wide - more_wide // 2,
        border.bottom + more_high - more_high // 2,
    )
