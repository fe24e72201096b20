"""Prints that the tests damage: photographs of scikit-image as scans, with damage whose place is known."""

from collections.abc import Sequence
from functools import cache, partial

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from skimage import data

PHOTOS = ("astronaut", "camera", "chelsea", "coffee", "rocket", "clock", "moon")
SHADES = {"light": (244, 240, 228), "dark": (22, 20, 24)}  # of dust: paper that shows, and dirt


@cache
def load(name: str) -> np.ndarray:
    """Return a photograph, (H, W, 3) uint8."""
    array = getattr(data, name)()
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array


def make_print(seed: int) -> tuple[np.ndarray, np.random.Generator]:
    """Return a photograph as a scan: mirrored or toned by the seed, a little soft, with grain."""
    rng = np.random.default_rng(seed)
    sharp = Image.fromarray(load(PHOTOS[seed % len(PHOTOS)]))
    photo = np.asarray(sharp.filter(ImageFilter.GaussianBlur(0.8)), np.float64)
    if seed % 2:
        photo = photo[:, ::-1]
    if seed % 3 == 1:
        photo = photo.mean(axis=2, keepdims=True) * (0.95, 0.86, 0.72) + (14, 10, 6)
    photo = 12 + photo * 0.9 + rng.normal(0, 2.5, (*photo.shape[:2], 1))
    return np.clip(photo, 0, 255).astype(np.uint8), rng


def paint(photo: np.ndarray, cover: np.ndarray, colour: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the photograph under a cover, (H, W) in [0, 1], of a colour."""
    share = cover[..., None]
    return np.rint(photo * (1 - share) + np.asarray(colour) * share).astype(np.uint8)


def draw(shape: tuple[int, ...], draw_on: object, soft: float = 0.7) -> np.ndarray:
    """Return a cover (H, W) in [0, 1] of what is drawn on a canvas of four times the size."""
    canvas = Image.new("L", (shape[1] * 4, shape[0] * 4))
    draw_on(ImageDraw.Draw(canvas))  # type: ignore[operator]
    small = canvas.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.asarray(small.filter(ImageFilter.GaussianBlur(soft)), np.float64) / 255


def add_dust(seed: int, specks: int = 60, hairs: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return a print with light and dark specks and hairs, and where they are."""
    photo, rng = make_print(seed)
    truth = np.zeros(photo.shape[:2], dtype=bool)
    for shade, colour in SHADES.items():
        count = int(specks * (0.7 if shade == "light" else 0.3))
        drawer = partial(_draw_dust, shape=photo.shape, specks=count, hairs=hairs, rng=rng)
        cover = draw(photo.shape, drawer)
        luma = photo.mean(axis=2)
        # What has nearly the colour of what is under it is no damage that anyone could see.
        seen = cover * (np.abs(luma - np.mean(colour)) > 40)
        photo = paint(photo, cover, colour)
        truth |= seen > 0.35
    return photo, truth


def _draw_dust(
    on: ImageDraw.ImageDraw, shape: tuple[int, ...], specks: int, hairs: int, rng: np.random.Generator
) -> None:
    _draw_specks(on, shape, specks, rng)
    _draw_hairs(on, shape, hairs, rng)


def _draw_specks(
    on: ImageDraw.ImageDraw, shape: tuple[int, ...], count: int, rng: np.random.Generator
) -> None:
    for _ in range(count):
        x, y = rng.uniform(8, shape[1] - 8), rng.uniform(8, shape[0] - 8)
        radius = rng.uniform(0.9, 4) * rng.uniform(0.6, 1)
        angles = np.linspace(0, 2 * np.pi, 9)[:-1]
        radii = radius * rng.uniform(0.7, 1.3, 8)
        corners = [
            (4 * (x + r * np.cos(a)), 4 * (y + r * np.sin(a))) for a, r in zip(angles, radii, strict=True)
        ]
        on.polygon(corners, fill=255)


def _draw_hairs(
    on: ImageDraw.ImageDraw, shape: tuple[int, ...], count: int, rng: np.random.Generator
) -> None:
    for _ in range(count):
        start = rng.uniform((20, 20), (shape[1] - 20, shape[0] - 20))
        heading, bend, length = rng.uniform(0, 2 * np.pi), rng.uniform(-0.06, 0.06), rng.uniform(15, 45)
        places = [start]
        for step in range(int(length)):
            angle = heading + bend * step
            places.append(places[-1] + (np.cos(angle), np.sin(angle)))
        on.line([tuple(4 * place) for place in places], fill=255, width=int(rng.uniform(5, 9)))


def add_stamp(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a print with a date or a caption in a corner, with its glow, and where that is."""
    photo, rng = make_print(seed)
    height, width = photo.shape[:2]
    text = ["98 7 14", "'04 12 31", "2003/08/09", "Lake, 1987", "12:45 PM"][seed % 5]
    colour = [(255, 140, 30), (255, 80, 40), (250, 210, 60), (250, 250, 250), (255, 120, 20)][seed % 5]
    size = int(height * rng.uniform(0.045, 0.08))
    font = ImageFont.load_default(size=4 * size)
    left, top, right, bottom = font.getbbox(text)
    x = [0.04 * width, 0.96 * width - (right - left) / 4][rng.integers(2)]
    y = [0.04 * height, 0.96 * height - (bottom - top) / 4][int(rng.random() < 0.7)]
    cover = draw(photo.shape, lambda on: on.text((4 * x - left, 4 * y - top), text, fill=255, font=font))
    image = Image.fromarray(np.rint(255 * cover).astype(np.uint8))
    glow = np.asarray(image.filter(ImageFilter.GaussianBlur(size / 10)), np.float64) / 255
    cover = np.maximum(cover, (0.0 if seed % 5 == 3 else 0.6) * glow)
    return paint(photo, cover, colour), cover > 0.12


def add_fold(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a print with a crease from edge to edge, and where it is."""
    photo, rng = make_print(seed)
    height, width = photo.shape[:2]
    upright = bool(rng.integers(2))
    if upright:
        photo, height, width = photo.swapaxes(0, 1), width, height
    x = np.arange(width)
    start, slope = rng.uniform(0.25, 0.75) * height, rng.uniform(-0.15, 0.15)
    middle = (
        start
        + slope * (x - width / 2)
        + 2 * np.sin(x / rng.uniform(40, 90))
        + np.cumsum(rng.normal(0, 0.15, width))
    )
    half = rng.uniform(5, 11) * (1 + 0.25 * np.sin(x / rng.uniform(15, 40)))
    away = np.abs(np.arange(height)[:, None] - middle) / half  # 1 at the rim
    cover = np.clip(1.15 - away, 0, 1) ** 0.7 * rng.uniform(0.55, 0.85)
    coarse = Image.fromarray(rng.normal(0, 0.3, (height // 4, width // 4)).astype(np.float32))
    flakes = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    cover = np.clip(cover * (1 + flakes), 0, 1) * (away < 1.15)
    colour = SHADES["light"] if seed % 4 else SHADES["dark"]
    damaged, truth = paint(photo, cover, colour), away < 1
    return (damaged.swapaxes(0, 1), truth.T) if upright else (damaged, truth)


def add_watermark(
    seed: int, count: int = 6, alpha: float = 1.0, kind: str = "text"
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return pictures of one size with one mark, where it is, its cover (H, W), and the pictures before."""
    rng = np.random.default_rng(seed)
    shape = (320, 420)
    clean = []
    for number in range(count):
        photo, _ = make_print(10 * seed + number)
        top, left = (int(rng.integers(0, max(1, a - b))) for a, b in zip(photo.shape, shape, strict=False))
        part = photo[top : top + shape[0], left : left + shape[1]]
        clean.append(np.asarray(Image.fromarray(part).resize((shape[1], shape[0]))))
    cover = alpha * draw(shape, lambda on: MARKS[kind](on, shape))
    return [paint(each, cover, (255, 255, 255)) for each in clean], cover > 0.4 * alpha, cover, clean


def _draw_text(on: ImageDraw.ImageDraw, shape: tuple[int, ...]) -> None:
    on.text((4 * 60, 4 * 140), "© SAMPLE", fill=255, font=ImageFont.load_default(size=4 * 60))


def _draw_logo(on: ImageDraw.ImageDraw, shape: tuple[int, ...]) -> None:
    on.ellipse((4 * 300, 4 * 220, 4 * 390, 4 * 300), fill=255)
    on.polygon([(4 * 330, 4 * 240), (4 * 365, 4 * 260), (4 * 330, 4 * 280)], fill=0)


def _draw_grid(on: ImageDraw.ImageDraw, shape: tuple[int, ...]) -> None:
    for place in range(0, 1000, 70):
        on.line((4 * place, 0, 4 * place - 1300, 1300), fill=255, width=14)
        on.line((4 * place - 1300, 0, 4 * place, 1300), fill=255, width=14)


MARKS = {"text": _draw_text, "logo": _draw_logo, "grid": _draw_grid}
