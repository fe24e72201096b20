"""Figures of a run: grids of pictures, their animation, the losses over the steps."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from infilling.errors import count_things
from infilling.learning.scalars import LOSS_D, LOSS_G, TOTAL
from infilling.storage import make_folder, write_atomic

SAMPLES = "samples"
ACROSS = 4  # pictures side by side in a grid, each with all its panels
GAP = 2  # pixels between pictures
CAPTION = 32  # height of the two lines above a grid, pixels
CAPTION_WIDTH = 240  # smallest width of a grid with a caption, pixels
LOSSES = (LOSS_D, LOSS_G)
FEW_ROWS = 40  # up to which every row is marked in the plot
FRAMES = 120  # most frames of an animation, spread over the run
FRAME_MS = 200
LAST_FRAME_MS = 2000


def tile_panels(panels: Sequence[Tensor], *, across: int = ACROSS) -> NDArray[np.uint8]:
    """Arrange a batch's panels: for every picture its panels side by side, and the pictures in rows.

    Args:
        panels: each (N, 3, H, W) in [0, 1], for example masked, result, target.
        across: number of pictures in a row.

    Returns:
        (height, width, 3) uint8, white between pictures.
    """
    strips = np.concatenate([_to_pixels(panel) for panel in panels], axis=2)  # (N, H, panels · W, 3)
    count, height, width, _ = strips.shape
    columns = min(across, count)
    rows = -(-count // columns)
    grid = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for index, strip in enumerate(strips):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        grid[top : top + height, left : left + width] = strip
    return grid


def add_caption(grid: NDArray[np.uint8], *lines: str) -> NDArray[np.uint8]:
    """Add two lines of text above a grid (H, W, 3); a narrow grid gets white on its right."""
    height, width, _ = grid.shape
    sheet = Image.new("RGB", (max(width, CAPTION_WIDTH), height + CAPTION), "white")
    sheet.paste(Image.fromarray(grid), (0, CAPTION))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for number, line in enumerate(lines):
        draw.text((2, 1 + 15 * number), line, "black", font)
    return np.asarray(sheet)


def write_grid(path: Path, title: str, **panels: Tensor) -> NDArray[np.uint8]:
    """Write a grid of panels as a PNG, whole or not at all, and return its pixels.

    Args:
        path: the file to write.
        title: first line of the caption.
        panels: by the names of the second line, each (N, 3, H, W) in [0, 1].

    Raises:
        StorageError: it cannot be written.
    """
    pixels = add_caption(tile_panels(list(panels.values())), title, " | ".join(panels))
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    make_folder(path.parent)
    write_atomic(path, data.getvalue())
    return pixels


def name_sample(run: Path, step: int) -> Path:
    """Return the file of a step's grid of held-out pictures."""
    return run / SAMPLES / f"step-{step:08d}.png"


def list_samples(run: Path) -> list[Path]:
    """List the grids there are, oldest first."""
    return sorted((run / SAMPLES).glob("step-*.png"))


def drop_samples(run: Path, *, after: int) -> None:
    """Remove the grids of later steps, which will be taken again."""
    for path in list_samples(run):
        if path > name_sample(run, after):
            path.unlink()


def animate(frames: Sequence[Path], out: Path) -> None:
    """Write pictures as an animated WebP; of more than `FRAMES`, that many spread evenly.

    Args:
        frames: PNG files in order, of the last one's size; without any, nothing is written.
        out: the file to write.
    """
    if not frames:
        return
    chosen = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))
    pictures = [Image.open(frames[index]).convert("RGB") for index in chosen]
    pictures = [picture for picture in pictures if picture.size == pictures[-1].size]
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_FRAME_MS]
    data = io.BytesIO()
    first, *others = pictures
    first.save(data, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, quality=80)
    write_atomic(out, data.getvalue())


def plot_losses(rows: Sequence[Mapping[str, float]], out: Path) -> bool:
    """Plot `LOSSES` over the steps, or `total` where no row has them; of few rows each is marked.

    Args:
        rows: as `stats.jsonl` has them.
        out: the PNG to write.

    Returns:
        False where matplotlib is not installed, or no row has a loss.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return False
    present = set().union(*rows)
    found = [name for name in LOSSES if name in present] or [TOTAL]
    if not present.intersection(found):
        return False
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    marker = "o" if len(rows) <= FEW_ROWS else None
    for name in found:
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1, marker=marker, markersize=4)
    axes.set(xlabel="step", ylabel="loss", title=f"Losses while training, {count_things(len(rows), 'row')}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    data = io.BytesIO()
    FigureCanvasAgg(figure)  # no window, no global state
    figure.savefig(data, format="png")
    write_atomic(out, data.getvalue())
    return True


def _to_pixels(panel: Tensor) -> NDArray[np.uint8]:
    """Return (N, 3, H, W) in [0, 1] as (N, H, W, 3) uint8: round, then clip."""
    values = panel.detach().float().cpu().permute(0, 2, 3, 1).numpy()
    return (values * 255).round().clip(0, 255).astype(np.uint8)
