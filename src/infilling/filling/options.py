"""The options of a fill: one class, whose fields every surface is made from.

The options of `infill fill` and `infill batch`, the keywords of `fill()`, the fields of the REST interface
with their OpenAPI description, and the table in `docs/api.md` all come from `FillOptions`. To add an option,
add a field here and use it in the pipeline.
"""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, get_args, get_origin

from infilling.errors import InputError, did_you_mean, show_value
from infilling.filling.values import BOX, CASTS, BoxTuple, check_boxes, parse_box
from infilling.storage import read_file

COLOR = r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{12})"

AUTO = "auto"  # of `grow`: as many pixels as the rim of what the mask covers is wide

MOST_SEED = 1_000_000_000

Group = Literal["mask", "result", "engine"]


@dataclass(frozen=True)
class Option:
    """What surfaces say about a field of `FillOptions`.

    Attributes:
        help: one sentence with the unit, and with the default's meaning if that is not the default's name.
        group: the heading under which the option stands.
        metavar: what stands for the value in help texts.
        low: smallest number.
        high: largest number.
        pattern: regular expression that the whole text matches.
        example: a text that the pattern matches.
        element: name of one element, for an option that may be given several times.
        unset: what the default None means, in two or three words.
        word: a text that stands for a number that is found.
        is_file: the value is a mask: the path of a file, an upload in requests, or any source of a mask.
        name: the field's name.
        kind: bool, int, float, str, or tuple for boxes; str for a mask.
        default: the field's default.
    """

    help: str
    group: Group
    metavar: str = ""
    low: float | None = None
    high: float | None = None
    pattern: str | None = None
    example: str | None = None
    element: str | None = None
    unset: str | None = None
    word: str | None = None
    is_file: bool = False
    name: str = ""
    kind: type = str
    default: Any = None

    @property
    def key(self) -> str:
        """The name where values are texts: on the command line and in requests."""
        return self.element or self.name

    def check(self, value: Any) -> Any:
        """Return the value in the field's own type.

        Raises:
            InputError: it has another type, or is out of range.
        """
        if value is None and self.default is None:
            return None
        if self.is_file:
            return self._check_mask(value)
        if self.kind is tuple:
            return check_boxes(value)
        if isinstance(value, str) and value == self.word:
            return self.word
        checked = self._cast(value)
        if self.low is not None and not checked >= self.low:
            self._refuse(value, f"{self.low:g} or more")
        if self.high is not None and not checked <= self.high:
            self._refuse(value, f"{self.high:g} or less")
        return checked

    def _cast(self, value: Any) -> Any:
        """Return the value as the field's type; of a text, check that the pattern fits."""
        try:
            checked = CASTS[self.kind](value)
        except Exception:  # the caller's own class may raise anything
            self._refuse(value, self._describe_kind())
        if self.pattern and not re.fullmatch(self.pattern, checked):
            self._refuse(value, self._describe_kind())
        return checked

    def parse(self, text: str) -> Any:
        """Return the value that a text names, of an option that has a word or may be given several times.

        Raises:
            InputError: it names none.
        """
        if self.element:
            return parse_box(text)
        return self.check(int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text) else text)

    def _check_mask(self, value: Any) -> Any:
        """Return what a mask can be read from; whether it is one shows when the picture is known."""
        if isinstance(value, bool | int | float):
            self._refuse(value, "a mask: a path, bytes, an image or an array")
        return value

    def _describe_kind(self) -> str:
        """Return what values are, with an article."""
        kind = f"a text like {self.example!r}" if self.pattern else _WANTED[self.kind]
        return f"{kind} or {self.word!r}" if self.word else kind

    def _refuse(self, value: Any, wanted: str) -> NoReturn:
        raise InputError(f"{self.name} {show_value(value)} cannot be used: give {wanted}", field=self.name)


def _option(default: Any, group: Group, help: str, **about: Any) -> Any:
    """Make a field; see `Option` for `about`."""
    return field(default=default, metadata={"option": Option(help, group, **about)})


@dataclass(frozen=True)
class FillOptions:
    """How a hole is found, how it is filled, and how the result is written.

    Every value is checked and brought to its field's type when the options are made.

    Raises:
        InputError: a value has the wrong type or is out of range; `field` names the option.

    Example:
        >>> FillOptions(boxes=(40, 30, 64, 64), grow=4).boxes
        ((40, 30, 64, 64),)
    """

    boxes: tuple[BoxTuple, ...] = _option(
        (), "mask", "A hole in pixels: left, top, width, height. Repeat it for more.",
        metavar="X,Y,W,H", pattern=BOX, example="40,30,64,64", element="box",
    )  # fmt: skip
    invert_mask: bool = _option(False, "mask", "The mask marks what to keep.")
    resize_mask: bool = _option(False, "mask", "Bring a mask of another size to the picture's.")
    mask_from_alpha: bool = _option(
        False, "mask", "What is transparent in the mask, or without a mask in the picture, is hole."
    )
    mask_color: str | None = _option(
        None, "mask", "What has this colour in the mask, or without a mask in the picture, is hole.",
        metavar="#RRGGBB", pattern=COLOR, example="#ff00ff", unset="no colour",
    )  # fmt: skip
    tolerance: int = _option(
        0, "mask", "How far each channel may be from the mask colour, in steps of 1/255.",
        metavar="N", low=0, high=65535,
    )  # fmt: skip
    mask_threshold: float | None = _option(
        None, "mask", "Share of white, 0 to 1, from which a grey of the mask is hole.",
        metavar="SHARE", low=0, high=1, unset="the brighter of two greys, else 0.5",
    )  # fmt: skip
    soft_mask: bool = _option(False, "mask", "Mix the fill in by the mask's grey, so that its edge is soft.")
    mask_frame: str | None = _option(
        None, "mask", "Whether the mask was drawn on the picture as seen, or as stored before its EXIF turn.",
        metavar="seen|stored", pattern="seen|stored", example="seen", unset="as seen, if only that fits",
    )  # fmt: skip
    grow: int | str = _option(
        0, "mask", "Pixels by which to widen every hole; 'auto' takes in the rim of what the mask covers.",
        metavar="N|auto", low=0, high=500, word=AUTO,
    )  # fmt: skip
    nodata: float | None = _option(
        None, "mask", "Value in arrays that stands for a missing one, and so is hole.",
        metavar="VALUE", unset="NaN alone",
    )  # fmt: skip
    only: str | None = _option(
        None, "mask", "'mask': fill what the mask marks alone; what else an array misses stays missing.",
        metavar="mask", pattern="mask", example="mask", unset="all is filled",
    )  # fmt: skip
    source: Any = _option(  # noqa: RUF009
        None, "mask", "A mask of where texture may be copied from: white is where.",
        metavar="FILE", unset="all that is known", is_file=True,
    )  # fmt: skip
    avoid: Any = _option(  # noqa: RUF009
        None, "mask", "A mask of what must not be copied: white is what.",
        metavar="FILE", unset="nothing", is_file=True,
    )  # fmt: skip
    seed: int = _option(
        0, "engine", "Another number gives another fill of the same hole; the same number the same bytes.",
        metavar="N", low=0, high=MOST_SEED,
    )  # fmt: skip
    guide: float = _option(
        1.0, "engine", "How much a network's fill steers what is copied: 0 not at all, 1 as usual.",
        metavar="WEIGHT", low=0, high=100,
    )  # fmt: skip
    detail: bool = _option(
        True, "engine",
        "Match a network's colours at the seam, and give what it filled texture from around the hole.",
    )  # fmt: skip
    feather: int = _option(
        0, "result", "Pixels, inwards from the seam, over which colours are matched.",
        metavar="N", low=0, high=500,
    )  # fmt: skip
    format: str | None = _option(
        None, "result", "Format to write: png, jpeg, webp, tiff, bmp or avif.",
        metavar="NAME", unset="the picture's",
    )  # fmt: skip
    quality: int | None = _option(
        None, "result", "Quality of JPEG, WebP and AVIF.",
        metavar="N", low=1, high=100, unset="like the source",
    )  # fmt: skip
    mark: bool = _option(
        False, "result", "Say in the metadata (IPTC's digital source type, in XMP) that parts are made up."
    )

    def __post_init__(self) -> None:
        for option in list_options():
            object.__setattr__(self, option.name, option.check(getattr(self, option.name)))

    @property
    def mark_by_sight(self) -> bool:
        """Whether the mask's alpha or colour, or without a mask the picture's own, says what is hole."""
        return bool(self.mask_from_alpha or self.mask_color)

    @property
    def mark_hole(self) -> bool:
        """Whether these options say where the hole is, so that no mask is needed."""
        return bool(self.boxes) or self.mark_by_sight

    @property
    def choose_source(self) -> bool:
        """Whether these options say where texture may be copied from."""
        return self.source is not None or self.avoid is not None


@cache
def list_options() -> tuple[Option, ...]:
    """Return what there is to say about each field of `FillOptions`, in their order."""
    return tuple(map(_read_field, dataclasses.fields(FillOptions)))


def find_key(name: str | None) -> str | None:
    """Return what requests call an option, by the name of its field; another name stays as it is."""
    return {each.name: each.key for each in list_options()}.get(name or "", name)


def make_options(options: FillOptions | None, changes: dict[str, Any]) -> FillOptions:
    """Return options with some of them changed.

    Args:
        options: where to begin; None: the defaults.
        changes: new values by the names of the fields.

    Raises:
        InputError: a name or a value cannot be used.
    """
    if options is not None and not isinstance(options, FillOptions):
        raise InputError(f"options are a FillOptions, not {type(options).__name__}")
    refuse_unknown(changes, list_options())
    return dataclasses.replace(options or FillOptions(), **changes)


def refuse_unknown(names: Iterable[str], options: Iterable[Option]) -> None:
    """Refuse the first name that is no option's.

    Raises:
        InputError: it lists options of similar names.
    """
    known = [option.name for option in options]
    for name in names:
        if name not in known:
            raise InputError(f"there is no option {name!r}{did_you_mean(name, known)}", field=name)


def load_masks(options: FillOptions) -> FillOptions:
    """Return options in which masks that were given by their paths are the bytes of these files.

    Raises:
        InputError: a file cannot be read.
    """
    paths = {each.name: getattr(options, each.name) for each in list_options() if each.is_file}
    found = {name: read_file(path) for name, path in paths.items() if isinstance(path, str | Path)}
    return make_options(options, found)


def _read_field(each: dataclasses.Field[Any]) -> Option:
    about: Option = each.metadata["option"]
    return dataclasses.replace(about, name=each.name, kind=_kind(each.type), default=each.default)


def _kind(annotation: Any) -> type:
    """Return the type of a field's values: `str` for `str | None` and masks, `tuple` for `tuple[...]`."""
    if annotation is Any:
        return str
    if isinstance(annotation, UnionType):
        annotation = get_args(annotation)[0]
    kind: type = get_origin(annotation) or annotation
    return kind


_WANTED = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
