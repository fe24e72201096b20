"""Every public function with odd arguments: each is refused by its name, or is one of those listed here."""

import decimal
import enum
import fractions
import inspect
import io
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import infilling
from infilling import InfillingError, InfillingWarning, masks


class Raises:
    """What raises whatever is done with it."""

    def fail(self, *_: object) -> Any:
        raise RuntimeError("the caller's own")

    __index__ = __float__ = __iter__ = __repr__ = __eq__ = __bool__ = __fspath__ = __array__ = fail  # type: ignore[assignment]
    __hash__ = object.__hash__


class One(enum.IntEnum):
    ONE = 1


class NoPath:
    def __fspath__(self) -> Any:
        return 3


def nest(depth: int) -> list[Any]:
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    return deep


def fail_at_once() -> Iterator[int]:
    raise RuntimeError("the caller's own")
    yield 1


SIZE = (24, 32)
PIXELS = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
HOLE = np.zeros(SIZE, bool)
HOLE[8:12, 8:12] = True
PICTURE = infilling.Picture(PIXELS)
WITH_ALPHA = np.dstack([PIXELS, np.where(HOLE, np.uint8(0), np.uint8(255))])

ODD: dict[str, Callable[[], object]] = {
    # one word for each value, which the table of what is taken uses; made when it is needed
    "none": lambda: None, "true": lambda: True, "false": lambda: False, "np.true": lambda: np.bool_(True),
    "0": lambda: 0, "-1": lambda: -1, "1.5": lambda: 1.5, "enum": lambda: One.ONE,
    "np.int": lambda: np.int64(3), "0d": lambda: np.array(3), "fraction": lambda: fractions.Fraction(1, 3),
    "decimal": lambda: decimal.Decimal("1.5"), "decimal-nan": lambda: decimal.Decimal("nan"),
    "nan": lambda: math.nan, "inf": lambda: math.inf, "-inf": lambda: -math.inf, "1e308": lambda: 1e308,
    "2^31": lambda: 2**31, "2^64": lambda: 2**64, "10^400": lambda: 10**400, "10^5000": lambda: -(10**5000),
    "half-inf": lambda: np.float16("inf"), "complex": lambda: 1j, "np.complex": lambda: np.complex128(1),
    "masked": lambda: np.ma.masked, "date": lambda: np.datetime64("2020"),
    "empty": lambda: "", "text": lambda: "x", "null": lambda: "a\0b", "surrogate": lambda: "\ud800",
    "long": lambda: "x" * 5000,
    "no-bytes": lambda: b"", "bytes": lambda: b"x", "view": lambda: memoryview(b"abc"),
    "[]": lambda: [], "()": lambda: (), "{}": dict, "set": lambda: {1}, "[1]": lambda: [1],
    "(1,2)": lambda: (1, 2), "box": lambda: (1, 2, 3, 4), "boxes": lambda: [(1, 2, 3, 4)] * 2,
    "nans": lambda: (math.nan,) * 4, "huge": lambda: (10**400,) * 4, "deep": lambda: nest(3000),
    "empty-array": lambda: np.array([]), "4d": lambda: np.zeros((2, 2, 2, 2)),
    "objects": lambda: np.array([object()]), "texts": lambda: np.array(["a"]),
    "infinities": lambda: np.full(SIZE, np.inf), "complexes": lambda: np.zeros(SIZE, complex),
    "records": lambda: np.zeros(3, [("a", "i4")]), "hole": lambda: HOLE, "pixels": lambda: PIXELS,
    "picture": lambda: PICTURE, "image": lambda: Image.new("RGB", SIZE[::-1]),
    "no-image": lambda: Image.new("RGB", (0, 0)), "float-image": lambda: Image.new("F", SIZE[::-1]),
    "file": lambda: io.BytesIO(b"abc"), "text-file": lambda: io.StringIO("abc"),
    "object": object, "raises": Raises, "generator": fail_at_once, "no-path": NoPath, "class": lambda: int,
    "folder": lambda: Path(), "missing": lambda: "missing.png", "...": lambda: ...,
}  # fmt: skip

NO_MASKS = "true false 0 -1 1.5 enum nan inf -inf 1e308 2^31 2^64 10^400 10^5000"
LAZY = " ".join(word for word in ODD if word not in NO_MASKS.split())  # read when there is a picture
NUMBERS = "enum np.int 0d"
SWITCH = "true false np.true"
NAMES = "empty text null surrogate long missing"
BYTES = "none no-bytes bytes"
ARRAYS = "empty-array 4d objects texts infinities complexes records"
IMAGES = "pixels picture image"
LIMIT = "none 2^31 2^64 10^400"
TAKEN = {
    # argument, or function and argument → what it takes of these; any other value is refused
    **dict.fromkeys(("invert_mask", "resize_mask", "mask_from_alpha", "soft_mask", "detail", "mark"), SWITCH),
    **dict.fromkeys(("invert", "resize", "whole"), SWITCH), "from_alpha": "false",
    **dict.fromkeys(("bands", "external_data", "skip_unmasked", "overwrite", "dry_run"), "true false"),
    "lossless": "true false",
    **dict.fromkeys(("out", "patch_out", "report", "jpeg", "alpha", "size", "adapter", "options"), "none"),
    **dict.fromkeys(("only", "mask_color", "color", "mask_frame", "frame", "to"), "none"),
    "batch report": "none class", "batch masks": "empty folder none",
    "batch out": "empty text missing folder", "sheet": "none missing",
    "doubt": "none text missing", "path": "missing",
    **dict.fromkeys(("tolerance", "seed", "feather", "grow"), f"0 {NUMBERS}"),
    "read_mask tolerance": f"0 1.5 fraction {NUMBERS}",
    **dict.fromkeys(("top", "right", "bottom"), f"none 0 {NUMBERS}"), "left": NUMBERS,
    "max_size": NUMBERS, "quality": f"none {NUMBERS}",
    "guide": f"0 1.5 fraction decimal {NUMBERS}", "sensitivity": f"1.5 fraction decimal {NUMBERS}",
    "threshold": "none fraction enum", "mask_threshold": "none 0 fraction enum",
    "masks.alpha threshold": "fraction enum",
    "nodata": f"none 0 -1 1.5 fraction decimal decimal-nan nan inf -inf half-inf 1e308 2^31 2^64 {NUMBERS}",
    "count": "enum np.int", "jobs": "none enum np.int",
    "timeout": "none 1.5 fraction enum np.int", "shard": "(1,2)", "mask_helpers": "[] ()",
    "threads": "none enum np.int", "max_pixels": f"{LIMIT} enum np.int", "decode max_pixels": LIMIT,
    **dict.fromkeys(("turn", "multiple_of"), "enum np.int"),
    **dict.fromkeys(("working_size", "fixed_size"), "none enum np.int"),
    "boxes": "none [] () empty-array box boxes", "box": "none box", "masks.object box": "none",
    "background": "[] () empty-array",
    **dict.fromkeys(("before", "after", "image"), IMAGES), "Comparison before": "picture",
    "Comparison after": "picture", "fill image": "pixels image", "fills image": "pixels image",
    "extend image": "pixels image",
    "mask": f"{IMAGES} hole float-image", "read_mask source": f"{IMAGES} hole float-image boxes",
    "batch source": "[] () empty-array",
    "FillOptions source": LAZY, "FillOptions avoid": LAZY, "fill source": "none", "fill avoid": "none",
    "picture": "picture", "pixels": "pixels",
    "fill_picture mask": "hole", **dict.fromkeys(("images", "labels", "scores"), "() (1,2) box nans huge"),
    **dict.fromkeys(("spread", "hole"), "0d masked hole pixels " + ARRAYS),
    "dpi": "none (1,2)", "chunks": "()", "warnings": "()",
    "decode name": f"none {NAMES}", "available name": f"{NAMES} folder", "format": f"none {NAMES}",
    "encode format": "none empty", "ray": "none empty", "masks": "none empty",
    **dict.fromkeys(("icc", "exif", "xmp"), BYTES),
}  # fmt: skip

ENGINE = infilling.open_engine("mean")
BOX = infilling.FillOptions(boxes=((1, 2, 3, 4),))
CALLS: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
    "fill": (infilling.fill, {"image": PIXELS, "mask": HOLE, "engine": "mean"}),
    "fills": (infilling.fills, {"image": PIXELS, "mask": HOLE, "engine": "mean", "count": 2}),
    "extend": (infilling.extend, {"image": PIXELS, "engine": "mean", "left": 2}),
    "batch": (infilling.batch, {"source": [], "out": "out", "engine": "mean", "options": BOX}),
    "compare": (infilling.compare, {"before": PIXELS, "after": PIXELS}),
    "decode": (infilling.decode, {"source": infilling.encode(PICTURE)}),
    "encode": (infilling.encode, {"picture": PICTURE}),
    "fill_picture": (infilling.fill_picture, {"picture": PICTURE, "mask": HOLE, "engine": ENGINE}),
    "Fills": (infilling.Fills, {"images": (), "labels": (), "scores": (), "spread": PIXELS, "hole": HOLE}),
    "find_hole": (infilling.find_hole, {"picture": PICTURE, "mask": HOLE}),
    "open_engine": (infilling.open_engine, {"name_or_path": "mean"}),
    "available": (infilling.available, {"name": "mean"}),
    "read_mask": (infilling.read_mask, {"source": HOLE}),
    "FillOptions": (infilling.FillOptions, {}),
    "Picture": (infilling.Picture, {"pixels": PIXELS}),
    "SizeRule": (infilling.SizeRule, {}),
    "Comparison": (infilling.Comparison, {"before": PICTURE, "after": PICTURE}),
    "save": (infilling.Comparison(PICTURE, PICTURE).save, {"path": "x.png"}),
    "masks.alpha": (masks.alpha, {"image": WITH_ALPHA}),
    "masks.color": (masks.color, {"image": PIXELS, "value": "#ff0000"}),
    "masks.dust": (masks.dust, {"image": PIXELS}),
    "masks.object": (masks.object, {"image": PIXELS, "points": [(4, 4)]}),
    "masks.stamp": (masks.stamp, {"image": PIXELS}),
}


def list_arguments() -> Iterator[tuple[str, str]]:
    """Yield function and argument; the fields of FillOptions with FillOptions, and where they are read."""
    fields = set(inspect.signature(infilling.FillOptions).parameters)
    for name, (function, _) in CALLS.items():
        for argument, about in inspect.signature(function).parameters.items():
            is_open = name == "FillOptions" or (name == "fill" and argument in ("source", "avoid"))
            if about.kind is not about.VAR_KEYWORD and (is_open or argument not in fields):
                yield name, argument


WORDS = {
    # argument → what messages call it, where that is not its name
    **dict.fromkeys(("image", "before", "after"), ("picture", "pixels", "array", "known values", "alpha")),
    "source": ("picture", "array"),
    "name_or_path": ("engine", "model"), "engine": ("model",), "color": ("colour",), "points": ("point",),
    "mask_helpers": ("mask helper",), "ray": ("Ray",), "max_pixels": ("pixels",), "from_alpha": ("alpha",),
    "mask": ("the image has no pixels",),
}  # fmt: skip
PLACES = (
    "no such file",
    "no such folder",
    "is a folder",
    "Is a directory",
    "is no path",
    "no bytes",
    "not a format",
)


def names_it(message: str, argument: str, value: object) -> bool:
    """Whether a message says which argument is wrong: by its name, or by the value if that is a text."""
    if any(word in message for word in (argument, *WORDS.get(argument, ()))):
        return True
    if isinstance(value, str) and value:
        return value[:60] in message
    return any(words in message for words in PLACES)


@pytest.mark.parametrize(("name", "argument"), [*list_arguments()])
def test_an_odd_argument_is_refused_by_name_or_used(
    name: str, argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function, usual = CALLS[name]
    before = PIXELS.copy(), HOLE.copy()
    taken, unnamed = set(), {}
    for word, make in ODD.items():
        value = make()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InfillingWarning)
                function(**{**usual, argument: value})
        except InfillingError as error:
            if "\n" in str(error) or not names_it(str(error), argument, value):
                unnamed[word] = str(error)
        else:
            taken.add(word)
    assert not unnamed
    assert taken == set(TAKEN.get(f"{name} {argument}", TAKEN.get(argument, "")).split())
    for array, copy in zip((PIXELS, HOLE), before, strict=True):
        assert (array == copy).all()
