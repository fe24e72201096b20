"""The photographs, masks and cases of `photos.py`."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "examples" / "pictures" / "astronaut.jpg"
SMALL, LARGE, MIDDLE = (512, 512), (4000, 3000), (2000, 1500)  # width, height
SMALL_HOLE, LARGE_HOLE = 128, 500
PERSON = (6000, 4000)  # of the picture with a person in it
SPECKS, DOTS = 300, 100_000
GRAIN = 4  # standard deviation, in levels


@dataclass(frozen=True)
class Case:
    """A line of the comparison with another checkout.

    Attributes:
        name: what `--case` calls it.
        what: what the table calls it.
        picture: name of its file.
        hole: `--box` or `--mask`, and its value or file.
        must, goal: seconds, as a share of the other checkout's, that are to be reached.
        seconds: whether these are seconds themselves.
        memory: MB that are to be reached.
    """

    name: str
    what: str
    picture: str
    hole: tuple[str, str]
    must: float
    goal: float
    seconds: bool = False
    memory: int | None = None


CASES = (
    Case("small", "512² PNG, hole 128²", "small.png", ("--box", "192,192,128,128"), 0.75, 0.45),
    Case("warm", "the same, warm", "small.png", ("--box", "192,192,128,128"), 0.75, 0.45),
    Case("large", "12 MP JPEG, hole 500²", "large.jpg", ("--box", "1750,1250,500,500"), 0.65, 0.4),
    Case("person", "24 MP JPEG, a person", "person.jpg", ("--mask", "person.png"), 0.5, 0.3, memory=900),
    Case("specks", "12 MP, 300 specks", "large.jpg", ("--mask", "specks.png"), 0.5, 0.25),
    Case("dots", "12 MP, 100,000 dots", "large.jpg", ("--mask", "dots.png"), 8, 3, True, 1500),
    Case("board", "12 MP, a checkerboard", "large.jpg", ("--mask", "board.png"), 8, 3, True, 1500),
)


def make_apart(folder: Path) -> None:
    """Write all pictures and masks in a process of its own.

    The memory of a command, as the system counts it, begins with what the process had that started it: this
    one must stay small.
    """
    subprocess.run([sys.executable, __file__, str(folder)], check=True)


def make_pictures(folder: Path) -> None:
    """Write small.png and large.jpg."""
    sample = Image.open(SAMPLE).convert("RGB")
    sample.resize(SMALL).save(folder / "small.png")
    write_large(LARGE, folder / "large.jpg")


def write_large(size: tuple[int, int], path: Path) -> None:
    """Write the sample at a size, with grain, as a JPEG."""
    sample = Image.open(SAMPLE).convert("RGB")
    grain = np.random.default_rng(0).normal(0, GRAIN, (size[1], size[0], 1)).astype(np.float32)
    large = np.asarray(sample.resize(size, Image.Resampling.BICUBIC)) + grain
    Image.fromarray(large.round().clip(0, 255).astype(np.uint8)).save(path, quality=92)


def make_masks(folder: Path) -> None:
    """Write the masks of the comparison, and the picture of 24 megapixels."""
    write_large(PERSON, folder / "person.jpg")
    draw_person().save(folder / "person.png")
    draw_specks().save(folder / "specks.png")
    width, height = LARGE
    mask = np.zeros(height * width, np.uint8)
    mask[np.random.default_rng(1).choice(mask.size, DOTS, replace=False)] = 255
    Image.fromarray(mask.reshape(height, width)).save(folder / "dots.png")
    board = np.add.outer(np.arange(height), np.arange(width)) % 2 == 0
    Image.fromarray(board.astype(np.uint8) * 255).save(folder / "board.png")


def draw_person() -> Image.Image:
    """Draw the outline of a person of 1,000 × 2,000 px in the middle of a picture of 24 megapixels."""
    mask = Image.new("L", PERSON)
    draw, middle, top = ImageDraw.Draw(mask), PERSON[0] // 2, (PERSON[1] - 2000) // 2
    draw.ellipse((middle - 180, top, middle + 180, top + 420), fill=255)
    draw.rounded_rectangle((middle - 330, top + 380, middle + 330, top + 1200), 120, fill=255)
    for side in (-1, 1):
        arm = ((330, 450), (500, 1150), (400, 1200), (250, 700))
        leg = ((320, 1150), (380, 2000), (120, 2000), (0, 1250), (0, 1150))
        for part in (arm, leg):
            draw.polygon([(middle + side * x, top + y) for x, y in part], fill=255)
    return mask


def draw_specks() -> Image.Image:
    """Draw specks of 5 to 20 px, by seed, over a picture of 12 megapixels."""
    mask, rng = Image.new("L", LARGE), np.random.default_rng(1)
    draw = ImageDraw.Draw(mask)
    for _ in range(SPECKS):
        side = int(rng.integers(5, 21))
        x, y = (int(rng.integers(0, length - side)) for length in LARGE)
        draw.ellipse((x, y, x + side - 1, y + side - 1), fill=255)
    return mask


if __name__ == "__main__":
    make_pictures(Path(sys.argv[1]))
    make_masks(Path(sys.argv[1]))
