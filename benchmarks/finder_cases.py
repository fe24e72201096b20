"""The damage of `finders.py`: what is drawn on photographs, and where."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Rng = np.random.Generator

LARGE_ONE_IN = 8  # of the single photographs one in eight is large
SMALL_SIZES = (0.3, 2.5)  # megapixels
LARGE_SIZES = (4, 12)
FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf",
)
SEEN = 40  # levels by which dust differs from what is under it; less is no damage that anyone could see
PAPER, DIRT = (244, 240, 230), (20, 18, 20)
COLOURS = {
    "orange": (255, 140, 30),
    "yellow": (250, 220, 60),
    "red": (245, 50, 30),
    "white": (250, 250, 250),
    "green": (90, 240, 100),
}
TEXTS = ("'98  7 14", "07/14/98", "2003.08.09", "12 31 '04", "1987-06-21", "16:45 25.12.99", "08 11 2001")


@dataclass(frozen=True, eq=False)
class Case:
    """Damaged pictures.

    Attributes:
        pictures: (H, W, 3) uint8 each; one, or those of a folder.
        truth: (H, W) bool, where the damage is.
        clean: the pictures without the damage; empty where they say nothing.
        options: of the helper.
        kind: what was drawn.
    """

    pictures: list[np.ndarray]
    truth: np.ndarray
    clean: list[np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = ""


@dataclass(frozen=True)
class Photos:
    """Photographs to draw on.

    Attributes:
        files: JPEG files of up to three megapixels.
        large: paths of photographs of up to 30.
    """

    files: list[bytes]
    large: list[Path]

    def draw(self, rng: Rng, megapixels: float | None = None) -> Image.Image:
        """Return one of them, of a size that is drawn unless it is given, in megapixels."""
        is_large = megapixels is None and rng.integers(LARGE_ONE_IN) == 0
        if is_large:
            image = Image.open(self.large[rng.integers(len(self.large))])
        else:
            image = Image.open(io.BytesIO(self.files[rng.integers(len(self.files))]))
        low, high = LARGE_SIZES if is_large else SMALL_SIZES
        size = megapixels or low * (high / low) ** rng.random()
        scale = min(1.2, (size * 1e6 / (image.width * image.height)) ** 0.5)
        shape = round(image.width * scale), round(image.height * scale)
        return image.convert("RGB").resize(shape, Image.Resampling.BICUBIC)


# -- photographs and colours ---------------------------------------------------------------------------------


def age(image: Image.Image, rng: Rng) -> np.ndarray:
    """Return (H, W, 3) levels of a photograph as a scan: mirrored, soft, toned, with grain."""
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    levels = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.2))), np.float32)
    if rng.random() < 0.3:
        levels = levels.mean(axis=2, keepdims=True) * np.float32((0.95, 0.87, 0.75)) + 10
    grain = rng.normal(0, rng.uniform(0, 5), (*levels.shape[:2], 1)).astype(np.float32)
    return 8 + 0.93 * levels + grain


def paint(levels: np.ndarray, cover: np.ndarray, colour: Sequence[float]) -> np.ndarray:
    """Return levels under a cover, (H, W) in [0, 1], of a colour."""
    share = cover[..., None].astype(np.float32)
    return levels * (1 - share) + np.float32(colour) * share


def save(levels: np.ndarray, quality: int) -> np.ndarray:
    """Return (H, W, 3) uint8, levels as a JPEG of this quality shows them."""
    stream = io.BytesIO()
    Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def sketch(
    size: tuple[int, int], draw_on: Callable[[ImageDraw.ImageDraw, int], None], soft: float
) -> np.ndarray:
    """Return a cover (H, W) in [0, 1] of what is drawn on a canvas of several times the size."""
    zoom = 4 if size[0] * size[1] < 3e6 else 2
    canvas = Image.new("L", (size[0] * zoom, size[1] * zoom))
    draw_on(ImageDraw.Draw(canvas), zoom)
    small = canvas.resize(size, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(soft))
    return np.asarray(small, np.float32) / 255


# -- dust ----------------------------------------------------------------------------------------------------


def make_dust(photos: Photos, rng: Rng) -> Case:
    """Specks of 1 to 12 px and hairs, of paper and dirt, where they can be seen."""
    image = photos.draw(rng)
    clean = levels = age(image, rng)
    truth = np.zeros(levels.shape[:2], bool)
    density, share = rng.uniform(60, 250) * image.width * image.height / 1e6, rng.uniform(0.2, 0.9)
    for colour, count in ((PAPER, share * density), (DIRT, (1 - share) * density)):
        cover = sketch(
            image.size,
            lambda on, zoom, count=count: draw_dust(on, zoom, image.size, int(count), rng),
            rng.uniform(0.4, 0.9),
        ) * rng.uniform(0.7, 1)
        is_seen = np.abs(levels.mean(axis=2) - np.mean(colour)) > SEEN
        levels = paint(levels, cover, colour)
        truth |= (cover > 0.35) & is_seen
    quality = int(rng.integers(80, 98))
    kind = f"{image.width}x{image.height} q{quality} {density:.0f} specks, {share:.0%} light"
    return Case([save(levels, quality)], truth, [save(clean, quality)], kind=kind)


def draw_dust(on: ImageDraw.ImageDraw, zoom: int, size: tuple[int, int], count: int, rng: Rng) -> None:
    for _ in range(count):
        radius = 0.5 * 12 ** rng.random() * rng.uniform(0.8, 1)
        angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        radii = (
            radius
            * rng.uniform(0.7, 1.2, 12)
            * np.hypot(np.cos(angles), rng.uniform(0.5, 1) * np.sin(angles))
        )
        turned = angles + rng.uniform(0, 6)
        middle = rng.uniform(4, np.array(size) - 4)
        corners = middle + radii[:, None] * np.stack([np.cos(turned), np.sin(turned)], axis=1)
        on.polygon([tuple(zoom * each) for each in corners], fill=255)
    for _ in range(count // 15):
        length, bend = rng.uniform(12, 60), rng.normal(0, 0.05)
        headings = rng.uniform(0, 2 * np.pi) + np.cumsum(bend + rng.normal(0, 0.05, int(length)))
        steps = np.cumsum(np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
        places = rng.uniform(10, np.array(size) - 10) + steps
        on.line([tuple(zoom * each) for each in places], fill=255, width=round(zoom * rng.uniform(1, 2.5)))


# -- stamps --------------------------------------------------------------------------------------------------


def make_stamp(photos: Photos, rng: Rng) -> Case:
    """A date or a caption in a corner, with a glow, upright or along the picture's side."""
    image = photos.draw(rng)
    clean = levels = age(image, rng)
    name = list(COLOURS)[rng.integers(len(COLOURS))]
    side = min(image.size)
    tall = max(11, side * rng.uniform(0.022, 0.06))
    cover, font = draw_text(TEXTS[rng.integers(len(TEXTS))], tall, rng)
    glow = rng.choice([0, 0.3, 0.6, 0.8])
    around = Image.fromarray(np.rint(255 * cover).astype(np.uint8)).filter(ImageFilter.GaussianBlur(tall / 7))
    cover = np.maximum(cover * rng.uniform(0.85, 1), glow * np.asarray(around, np.float32) / 255)
    upright = rng.random() < 0.85
    if not upright:
        cover = np.rot90(cover, rng.choice([1, 3]))
    whole = np.zeros(levels.shape[:2], np.float32)
    place = [
        int(rng.uniform(0.015, 0.06) * side)
        if rng.random() < part
        else total - own - int(rng.uniform(0.015, 0.06) * side)
        for part, total, own in zip((0.25, 0.5), whole.shape, cover.shape, strict=True)
    ]
    place = [max(0, each) for each in place]
    part = whole[place[0] : place[0] + cover.shape[0], place[1] : place[1] + cover.shape[1]]
    part[:] = cover[: part.shape[0], : part.shape[1]]
    quality = int(rng.integers(75, 97))
    way = "upright" if upright else "turned"
    kind = f"{image.width}x{image.height} q{quality} {name} {font} {tall:.0f} px glow {glow} {way}"
    damaged = paint(levels, whole, COLOURS[name])
    return Case([save(damaged, quality)], whole > 0.12, [save(clean, quality)], kind=kind)


def draw_text(text: str, tall: float, rng: Rng) -> tuple[np.ndarray, str]:
    """Return a cover (h, w) in [0, 1] of a text with digits of `tall` px, tilted a little, and its font."""
    zoom = 4
    name = ("segments", "default", *FONTS)[rng.integers(2 + len(FONTS))] if rng.random() < 0.7 else "segments"
    margin = round(tall)
    if name == "segments":
        canvas = Image.new("L", (int(zoom * tall * len(text)), int(zoom * 1.2 * tall)))
        draw_segments(ImageDraw.Draw(canvas), text.replace("/", " ").replace("-", " "), zoom * tall, rng)
    else:
        size = zoom * tall / 0.72
        font = ImageFont.load_default(size=size) if name == "default" else ImageFont.truetype(name, size)
        left, top, right, bottom = font.getbbox(text)
        canvas = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8))
        ImageDraw.Draw(canvas).text((4 - left, 4 - top), text, fill=255, font=font)
    canvas = canvas.crop(canvas.getbbox())
    framed = Image.new("L", (canvas.width + 2 * zoom * margin, canvas.height + 2 * zoom * margin))
    framed.paste(canvas, (zoom * margin, zoom * margin))
    framed = framed.rotate(rng.normal(0, 0.7), Image.Resampling.BILINEAR)
    small = framed.resize((framed.width // zoom, framed.height // zoom), Image.Resampling.BOX)
    small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.03 * tall + 0.5)))
    return np.asarray(small, np.float32)[
        margin // 2 : -(margin // 2), margin // 2 : -(margin // 2)
    ] / 255, name


SEGMENTS = {  # of the digits: top, upper left and right, middle, lower left and right, bottom
    "0": "1110111", "1": "0010010", "2": "1011101", "3": "1011011", "4": "0111010",
    "5": "1101011", "6": "1101111", "7": "1010010", "8": "1111111", "9": "1111011",
}  # fmt: skip
BARS = ((0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 1, 1), (0, 1, 1, 1), (0, 1, 0, 2), (1, 1, 1, 2), (0, 2, 1, 2))


def draw_segments(on: ImageDraw.ImageDraw, text: str, tall: float, rng: Rng) -> None:
    """Draw digits of seven bars with gaps between, `tall` px high on the canvas."""
    wide, thick, gap = 0.5 * tall, tall * rng.uniform(0.09, 0.14), 0.06 * tall
    left = thick
    for letter in text:
        for bar, lit in zip(BARS, SEGMENTS.get(letter, "0000000"), strict=True):
            if lit == "1":
                ends = np.array(bar, float).reshape(2, 2) * (wide - thick, (tall - thick) / 2)
                way = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
                ends += (left, thick / 2) + np.stack([way, -way]) * gap
                on.line([tuple(each) for each in ends], fill=255, width=round(thick))
        if letter in "'.:":
            heights = {"'": (0.05,), ".": (0.9,), ":": (0.35, 0.7)}[letter]
            for height in heights:
                on.rectangle((left, height * tall, left + thick, height * tall + 1.5 * thick), fill=255)
        left += (0.3 if letter in "'.: " else 0.78) * tall


# -- watermarks ----------------------------------------------------------------------------------------------


def make_watermark(photos: Photos, rng: Rng) -> Case:
    """A logo, a text, a text all over or a grid on 5, 8 or 12 pictures of one size."""
    count, size = int(rng.choice((5, 8, 12))), (int(rng.integers(480, 1200)), int(rng.integers(360, 800)))
    kind = ("logo", "text", "tiles", "grid")[rng.integers(4)]
    alpha = rng.choice([0.25, 0.4, 0.6, 0.8, 1.0])
    name = rng.choice(["white", "white", "grey", "black", "orange", "red", "blue"])
    colour = {"grey": (128, 128, 128), "black": (10, 10, 10), "blue": (40, 80, 220), **COLOURS}[name]
    drawn = int(rng.integers(1 << 31))
    cover = alpha * sketch(
        size, lambda on, zoom: draw_mark(on, zoom, kind, size, np.random.default_rng(drawn)), 0.6
    )
    quality, clean = int(rng.integers(80, 97)), []
    places = rng.permutation(len(photos.files))[:count]
    for place in places:
        image = Image.open(io.BytesIO(photos.files[place])).convert("RGB")
        scale = max(size[0] / image.width, size[1] / image.height) * rng.uniform(1, 1.3)
        image = image.resize((round(image.width * scale) + 1, round(image.height * scale) + 1))
        left, top = (int(rng.integers(a - b + 1)) for a, b in zip(image.size, size, strict=True))
        clean.append(np.asarray(image.crop((left, top, left + size[0], top + size[1])), np.float32))
    return Case(
        [save(paint(each, cover, colour), quality) for each in clean],
        cover > 0.4 * alpha,
        [save(each, quality) for each in clean],
        kind=f"{count} of {size[0]}x{size[1]} q{quality} {kind} {name} {alpha:.0%}",
    )


def draw_mark(on: ImageDraw.ImageDraw, zoom: int, kind: str, size: tuple[int, int], rng: Rng) -> None:
    width, height = (zoom * each for each in size)
    tall = height * rng.uniform(0.05, 0.15)
    font = ImageFont.load_default(size=tall)
    words = ("© SAMPLE", "Jane Roe Photo", "PROOF", "studio 24")[rng.integers(4)]
    if kind == "logo":
        radius = rng.uniform(0.06, 0.14) * height
        x, y = (
            rng.uniform(1.2 * radius, width - 1.2 * radius),
            rng.uniform(1.2 * radius, height - 1.2 * radius),
        )
        on.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        on.polygon(
            [
                (x - 0.4 * radius, y + 0.5 * radius),
                (x, y - 0.6 * radius),
                (x + 0.4 * radius, y + 0.5 * radius),
            ],
            fill=0,
        )
    elif kind == "text":
        box = font.getbbox(words)
        x, y = rng.uniform(0, max(1, width - box[2])), rng.uniform(0, max(1, height - box[3]))
        on.text((x, y), words, fill=255, font=font)
    elif kind == "tiles":
        wide = font.getlength(words) + tall
        for row in range(int(height / tall / 2.5) + 1):
            for column in range(-1, int(width / wide) + 1):
                on.text(((column + 0.5 * (row % 2)) * wide, row * 2.5 * tall), words, fill=255, font=font)
    else:
        step, thick = int(rng.uniform(0.12, 0.25) * height), round(zoom * rng.uniform(2, 5))
        for place in range(-height, width + height, step):
            on.line((place, 0, place + height, height), fill=255, width=thick)
            on.line((place, height, place + height, 0), fill=255, width=thick)


# -- things --------------------------------------------------------------------------------------------------


def make_object(photos: Photos, rng: Rng) -> Case:
    """A part of one photograph on another one, with a soft outline, and a scribble on it."""
    image = photos.draw(rng)
    levels = age(image, rng)
    height, width = (int(side * rng.uniform(0.25, 0.55)) for side in levels.shape[:2])
    blob = draw_blob(height, width, rng)
    other = np.asarray(photos.draw(rng, 1.5).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    top, left = (
        int(rng.uniform(0.05, 0.95) * (a - b)) for a, b in zip(levels.shape, (height, width), strict=False)
    )
    cover = np.zeros(levels.shape[:2], np.float32)
    soft = Image.fromarray((255 * blob).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2))
    )
    cover[top : top + height, left : left + width] = np.asarray(soft, np.float32) / 255
    thing = np.zeros_like(levels)
    thing[top : top + height, left : left + width] = other * rng.uniform(0.75, 1, 3)
    damaged = paint(levels, cover, (0, 0, 0)) + cover[..., None] * thing
    quality = int(rng.integers(80, 97))
    points = [(left + x, top + y) for x, y in scribble(blob, rng)]
    kind = f"{image.width}x{image.height} q{quality} thing {width}x{height}"
    return Case([save(damaged, quality)], cover > 0.5, [], {"points": points}, kind)


def draw_blob(height: int, width: int, rng: Rng) -> np.ndarray:
    """Return (height, width) bool, what is inside a closed outline whose radius is a sum of waves."""
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    waves = [rng.normal(0, 0.3 / k) * np.cos(k * angles + 7 * rng.random()) for k in range(1, 7)]
    radius = np.clip(1 + np.sum(waves, axis=0), 0.3, None)
    radius /= radius.max()
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.hypot(y, x) <= np.interp(np.arctan2(y, x) % (2 * np.pi), angles, radius, period=2 * np.pi)


def scribble(blob: np.ndarray, rng: Rng) -> list[tuple[int, int]]:
    """Return (x, y) along a line through the middle of a thing, from rim to rim but for a margin."""
    height, width = blob.shape
    angle = rng.uniform(0, np.pi)
    along = np.linspace(-1, 1, 200)
    x = ((1 + along * np.cos(angle)) * (width - 1) / 2).astype(int)
    y = ((1 + along * np.sin(angle)) * (height - 1) / 2).astype(int)
    inside = np.flatnonzero(blob[y, x])
    kept = inside[len(inside) // 8 : len(inside) - len(inside) // 8 : max(1, len(inside) // 25)]
    return list(zip(x[kept].tolist(), y[kept].tolist(), strict=True))


CASES: dict[str, Callable[[Photos, Rng], Case]] = {
    "dust": make_dust,
    "stamp": make_stamp,
    "watermark": make_watermark,
    "object": make_object,
}
"""What draws a case, by the name of the helper that is to find it."""
