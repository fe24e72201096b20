"""A picture before and after it was filled, beside each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infilling.errors import InputError, check_argument
from infilling.filling.images import open_image
from infilling.filling.sheet import draw_sheet
from infilling.pictures.picture import Picture
from infilling.storage import write_atomic

LABELS = "before", "after"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A picture before and after a fill. A notebook shows it as a picture.

    Attributes:
        before, after: of one size and depth.
    """

    before: Picture
    after: Picture

    def __post_init__(self) -> None:
        for name in LABELS:
            check_argument(name, getattr(self, name), Picture, "a Picture, as decode() gives it")

    def draw(self, name: str = "comparison.png") -> bytes:
        """Return the bytes of a file that shows what has changed, and what is around that.

        Args:
            name: its ending says the format.
        """
        pixels = self.before.pixels, self.after.pixels
        changed = (pixels[0] != pixels[1]).any(axis=2)
        return draw_sheet(pixels, LABELS, changed, name)

    def save(self, path: str | Path) -> None:
        """Write it to a file.

        Raises:
            StorageError: it cannot be written.
        """
        check_argument("path", path, str | Path, "a path")
        write_atomic(Path(path), self.draw(str(path)))

    def _repr_png_(self) -> bytes:
        return self.draw()


def compare(before: Any, after: Any) -> Comparison:
    """Set a picture beside what became of it.

    Args:
        before: a path, the bytes of a file, a Pillow image, an array of uint8 or uint16, or a `Picture`.
        after: the same picture, filled; of the same size, channels and depth.

    Raises:
        InputError: one of them cannot be read, or they do not fit together.
    """
    pictures = open_image(before, "before"), open_image(after, "after")
    shapes = [(each.pixels.shape, each.pixels.dtype) for each in pictures]
    if shapes[0] != shapes[1]:
        first, second = (f"{shape} {dtype}" for shape, dtype in shapes)
        raise InputError(f"before and after differ in size, channels or depth: {first} and {second}")
    return Comparison(*pictures)
