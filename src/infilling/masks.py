"""Masks of what is found in a picture, such as `masks.scratches(image)` or `masks.dust(image, max_size=20)`.

There is a function for each mask helper, named by what it finds. Each takes a path, the bytes of a file, a
Pillow image, an array (H, W) or (H, W, 1 to 4) of uint8 or uint16, or a `Picture`; the options of the helper
by name; `box`, (x, y, width, height) in pixels, to look only there; and `grow`, pixels to widen the mask by.
It returns a boolean array (H, W), True = found, that `infilling.fill` takes as its mask. Masks are combined
with `|`, `&` and `& ~`.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infilling.filling.finders import find_mask
from infilling.filling.mask_helpers import HELPERS, MaskHelper
from infilling.filling.options import Option

if TYPE_CHECKING:
    from infilling.pictures.mask import Mask
    from infilling.pictures.picture import Picture


def __getattr__(name: str) -> "Callable[..., Mask]":
    if name not in HELPERS:
        raise AttributeError(f"module 'infilling.masks' has no attribute {name!r}")
    return _make_function(name, HELPERS[name])


def __dir__() -> list[str]:
    return sorted(HELPERS)


def _make_function(name: str, helper: MaskHelper) -> "Callable[..., Mask]":
    """Return the function of a helper; what its options have to be is in its signature."""

    def find(*args: Any, **options: Any) -> "Mask":
        from infilling.filling.images import open_image

        values = signature.bind(*args, **options).arguments
        image = values.pop("image")
        return find_mask(name, _open_all(image) if helper.many else open_image(image), **values)

    signature = inspect.Signature(
        [
            inspect.Parameter("image", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *map(_make_parameter, helper.options),
            inspect.Parameter("box", inspect.Parameter.KEYWORD_ONLY, default=None),
            inspect.Parameter("grow", inspect.Parameter.KEYWORD_ONLY, default=helper.grow),
        ]
    )
    lines = [f"    {option.name}: {option.help}" for option in helper.options]
    find.__doc__ = "\n".join([helper.help, "", helper.note, "", "Args:", *lines])
    find.__name__ = find.__qualname__ = name
    find.__signature__ = signature  # type: ignore[attr-defined]
    return find


def _make_parameter(option: Option) -> inspect.Parameter:
    if option.default is ...:
        return inspect.Parameter(option.name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default)


def _open_all(images: Any) -> "list[Picture]":
    """Return pictures: those of a folder, or of a sequence of images."""
    from infilling.filling.folder import check_list, list_pictures
    from infilling.filling.images import open_image

    if not isinstance(images, str | Path):
        check_list("image", images)
    found = list_pictures(Path(images)) if isinstance(images, str | Path) else images
    return [open_image(image) for image in found]
