"""How well `infill mask scratches` finds drawn scratches, and what it marks in clean photographs.

    python benchmarks/scratches.py PHOTOS [--part choose|report] [--fit FILE]

PHOTOS is a folder with photographs, in folders below it too. Half of them are for choosing, the others for
the report. Printed: recall and precision on prints with scratches and on films, and the share of each clean
photograph that is marked. Recall is the share of the drawn pixels that are marked, and precision the share of
the marked pixels that are within 3 px of what was drawn; both over all pixels of all prints.

`--fit FILE` trains the network of the finder on the half for choosing, and writes it there; with torch.
"""

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from infilling.pictures.curves import trace_curves
from infilling.pictures.line_features import measure_lines
from infilling.pictures.mask import grow
from infilling.pictures.morphology import to_grey
from infilling.pictures.ridges import measure_ridges
from infilling.pictures.scratch_network import FAR
from infilling.pictures.scratches import find_scratches, soften

SPLIT = 20261130  # seed of the split
SEEDS = {"choose": 1000, "report": 5000}
PRINTS, FILMS = 48, 20  # of a part; films at each contrast
CONTRASTS = (0.1, 0.2, 0.3)
NEAR = 3  # px around what was drawn in which a mark is right
SEEN = 12  # greys by which a drawn pixel must differ to be seen
SIDES = (1792, 800)  # px; long sides of clean photographs
DIRTY = 0.003  # share of a clean photograph that may be marked
PAPER, DIRT = (244, 240, 228), (22, 20, 24)
LEAST = 36  # px; shortest line to learn from
HIDDEN, EPOCHS, BATCH, RATE, DECAY = 12, 60, 2048, 1e-2, 1e-2


@dataclass(frozen=True, eq=False)
class Print:
    """A damaged picture, (H, W, 3) uint8, where it is damaged, and where that can be seen, (H, W) bool."""

    pixels: np.ndarray
    truth: np.ndarray
    seen: np.ndarray


# -- pictures ------------------------------------------------------------------------------------------------


def list_photos(folder: Path, part: str) -> list[Path]:
    """Return the photographs of a part, in an order by chance."""
    paths = sorted(folder.rglob("*.jpg"))
    order = np.random.default_rng(SPLIT).permutation(len(paths))
    return [paths[place] for place in order[0 if part == "choose" else 1 :: 2]]


def load(path: Path, side: int) -> np.ndarray:
    """Return a photograph, (H, W, 3) uint8, with a long side of at most `side`."""
    with Image.open(path) as image:
        photo = image.convert("RGB")
    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(photo)


def scan(path: Path, rng: np.random.Generator, side: int) -> np.ndarray:
    """Return a photograph as a scan of a print, float64: a little soft, mirrored, toned or grey by chance."""
    soft = Image.fromarray(load(path, side)).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    photo = np.asarray(soft, np.float64)
    if rng.random() < 0.5:
        photo = photo[:, ::-1]
    kind = rng.random()
    if kind < 0.25:
        photo = photo.mean(axis=2, keepdims=True) * (0.95, 0.86, 0.72) + (14, 10, 6)
    elif kind < 0.4:
        photo = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2)
    black, white = rng.uniform(5, 25), rng.uniform(215, 248)
    return black + photo * (white - black) / 255


def finish(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a scan, uint8, with grain, as a JPEG keeps it."""
    grain = rng.normal(0, rng.uniform(1, 5), (*photo.shape[:2], 1))
    image = Image.fromarray(np.clip(photo + grain, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(80, 96)))
    return np.asarray(Image.open(file))


def draw_path(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return points (n, 2), x and y, of a line: straight, bent, jagged, or a hair."""
    kind, short = rng.choice(4, p=(0.4, 0.35, 0.13, 0.12)), min(height, width)
    length = rng.uniform(50, 160) if kind == 3 else rng.uniform(70, 0.9 * short)
    steps = np.arange(0, length, 3.0)
    turns = np.zeros(len(steps))
    if kind == 1:
        turns = steps * rng.uniform(-1.2, 1.2) / length
    elif kind == 2:
        turns = np.repeat(rng.normal(0, 0.2, len(steps) // 8 + 1), 8)[: len(steps)]
    elif kind == 3:
        turns = np.cumsum(np.cumsum(rng.normal(0, 0.012, len(steps))) + rng.uniform(-0.05, 0.05))
    angles = rng.uniform(0, 2 * np.pi) + turns
    way = np.cumsum(3 * np.stack([np.cos(angles), np.sin(angles)], axis=1), axis=0)
    return rng.uniform((0, 0), (width, height)) + way


def draw_cover(points: np.ndarray, width: float, soft: float, shape: tuple[int, ...]) -> np.ndarray:
    """Return (H, W) in [0, 1], a line drawn at four times the size, around it alone."""
    cover = np.zeros(shape)
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - 9, 0)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 9, shape[::-1])
    if right <= left or bottom <= top:
        return cover
    canvas = Image.new("L", (4 * int(right - left), 4 * int(bottom - top)))
    path = [(4 * float(x - left), 4 * float(y - top)) for x, y in points]
    ImageDraw.Draw(canvas).line(path, 255, max(4, round(4 * width)), joint="curve")
    small = canvas.reduce(4).filter(ImageFilter.GaussianBlur(soft))
    cover[top:bottom, left:right] = np.asarray(small, np.float64) / 255
    return cover


def make_scratched(path: Path, seed: int, *, is_scan: bool = True) -> Print:
    """Return a print with 1 to 14 scratches: 1 to 5 px wide, 45 to 100 % opaque, light or dark.

    Args:
        path: of the photograph.
        seed: of all that is by chance.
        is_scan: it has the tone, grain and JPEG of a scan; otherwise lines are hard, as from an editor.
    """
    rng = np.random.default_rng(seed)
    side = int(np.exp(rng.uniform(np.log(300), np.log(1500))))
    photo = scan(path, rng, side) if is_scan else load(path, side).astype(np.float64)
    truth = np.zeros(photo.shape[:2], dtype=bool)
    seen = truth.copy()
    for _ in range(rng.integers(1, 15)):
        points, colour = draw_path(rng, *truth.shape), PAPER if rng.random() < 0.62 else DIRT
        cover = draw_cover(points, rng.uniform(1, 5), rng.uniform(0.2, 0.6), truth.shape)
        cover = cover if is_scan else np.rint(cover)
        coarse = rng.normal(1, 0.1, (truth.shape[0] // 24 + 2, truth.shape[1] // 24 + 2)).astype(np.float32)
        uneven = np.asarray(Image.fromarray(coarse).resize(truth.shape[::-1], Image.Resampling.BICUBIC))
        share = np.clip(cover * rng.uniform(0.45, 1) * uneven, 0, 1)[..., None]
        painted = photo * (1 - share) + (np.array(colour) + rng.normal(0, 7)) * share
        truth |= cover > 0.45
        seen |= (cover > 0.45) & (np.abs(painted - photo).mean(axis=2) >= SEEN)
        photo = painted
    pixels = finish(photo, rng) if is_scan else np.rint(photo.clip(0, 255)).astype(np.uint8)
    return Print(pixels, truth, seen)


def make_film(path: Path, seed: int, contrast: float) -> Print:
    """Return a scan with 2 to 5 lines from top to bottom, 1 to 3 px wide, light or, in a quarter, dark."""
    rng = np.random.default_rng(seed)
    photo = scan(path, rng, int(rng.integers(600, 1100)))
    rows = np.arange(len(photo))
    truth = np.zeros(photo.shape[:2], dtype=bool)
    for _ in range(rng.integers(2, 6)):
        start, lean = rng.uniform(10, photo.shape[1] - 10), rng.uniform(-5, 5)
        columns = start + lean * rows / len(rows) + rng.uniform(0, 1) * np.sin(rows / rng.uniform(60, 200))
        for step in range(rng.integers(1, 4)):
            truth[rows, np.rint(columns + step).astype(int).clip(0, photo.shape[1] - 1)] = True
    is_dark = rng.random() < 0.25
    changed = photo * (1 - contrast) if is_dark else photo + contrast * (255 - photo)
    return Print(finish(np.where(truth[..., None], changed, photo), rng), truth, truth)


def make_clean(path: Path, seed: int) -> np.ndarray:
    """Return a scan without damage."""
    rng = np.random.default_rng(seed)
    return finish(scan(path, rng, int(rng.integers(300, 1300))), rng)


# -- the report ----------------------------------------------------------------------------------------------


def score(prints: Iterator[Print]) -> str:
    """Return recall and precision over some prints."""
    sums = np.zeros(6)
    for each in prints:
        found, near = find_scratches(each.pixels), grow(each.truth, NEAR)
        marks = found & near, found, found & each.truth, each.truth, found & each.seen, each.seen
        sums += [mask.sum() for mask in marks]
    precision, recall, recall_seen = sums[::2] / sums[1::2]
    return f"recall {recall:.2f} ({recall_seen:.2f} of what can be seen), precision {precision:.2f}"


def report(photos: list[Path], seed: int) -> None:
    """Print the figures of a part."""
    scratched = (make_scratched(path, seed + at) for at, path in enumerate(photos[:PRINTS]))
    print(f"{min(PRINTS, len(photos))} scratched prints: {score(scratched)}", flush=True)
    for contrast in CONTRASTS:
        films = (make_film(path, seed + 500 + at, contrast) for at, path in enumerate(photos[-FILMS:]))
        print(f"{FILMS} films, contrast {contrast:.0%}: {score(films)}", flush=True)
    for side in SIDES:
        shares = {path: float(find_scratches(load(path, side)).mean()) for path in photos}
        dirty = {path: share for path, share in shares.items() if share >= DIRTY}
        marked = sum(share > 0 for share in shares.values())
        print(f"{len(photos)} clean photographs of {side} px: {marked} marked, {len(dirty)} over {DIRTY:.1%}")
        for path, share in sorted(dirty.items(), key=lambda item: -item[1]):
            print(f"    {path.parent.name}/{path.name} {share:.2%}", flush=True)


# -- the network ---------------------------------------------------------------------------------------------


def measure(pixels: np.ndarray, truth: np.ndarray) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Yield features of the bright lines and of the dark ones; how much of each is scratch, and its area."""
    soft, near = soften(pixels), grow(truth, 1)
    for dark, ridges in enumerate(measure_ridges(to_grey(pixels), 7)):
        every = trace_curves(ridges, 7, 1.0)
        curves = every.select(every.measure_lengths() >= LEAST)
        if curves.count:
            area = np.bincount(curves.labels) * curves.average(curves.widths)
            known = measure_lines(curves, every, soft, dark=bool(dark))
            yield known, np.stack([curves.average(near[curves.rows, curves.columns]), area])


def make_lessons(photos: list[Path], seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pictures, (H, W, 3) uint8, with their damage, to learn from."""
    for at, path in enumerate(photos):
        plain = load(path, SIDES[at % 4 > 0]), make_clean(path, seed + 40_000 + at)
        prints = [make_scratched(path, seed + 10 * at + 20_000 + k, is_scan=bool(k)) for k in range(2)]
        if at % 2:
            prints.append(make_film(path, seed + 30_000 + at, 0.15 if at % 4 == 1 else 0.3))
        yield from ((pixels, np.zeros(pixels.shape[:2], dtype=bool)) for pixels in plain)
        yield from ((each.pixels, each.truth) for each in prints)


def fit(values: np.ndarray, wanted: np.ndarray, area: np.ndarray) -> dict[str, list[float] | float]:
    """Return the weights of a network that tells scratches by the features of lines.

    Args:
        values: (lines, features).
        wanted: (lines,) share of each that is scratch.
        area: (lines,) px, the weight of each.
    """
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    mean, deviation = values.mean(axis=0), values.std(axis=0) + 1e-6
    inputs = torch.tensor((values - mean) / deviation, dtype=torch.float32).clamp(-FAR, FAR)
    target, weight = (torch.tensor(each, dtype=torch.float32) for each in (wanted, area.clip(0, 400)))
    weight /= weight.mean()
    first, second = torch.nn.Linear(values.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.AdamW([*first.parameters(), *second.parameters()], lr=RATE, weight_decay=DECAY)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = RATE * (1 - epoch / EPOCHS) + RATE / 100
        for batch in torch.randperm(len(inputs)).split(BATCH):
            odds = second(torch.tanh(first(inputs[batch])))[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(odds, target[batch], weight[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    weights = {
        "first": first.weight,
        "bias": first.bias,
        "second": second.weight[0],
        "offset": second.bias[0],
    }
    found = {"mean": mean, "deviation": deviation} | {name: each.detach() for name, each in weights.items()}
    return {name: np.round(np.asarray(each, np.float64), 3).tolist() for name, each in found.items()}


def write_network(photos: list[Path], seed: int, path: Path) -> None:
    """Train the network and write it as JSON."""
    rows = [each for lesson in make_lessons(photos, seed) for each in measure(*lesson)]
    names = list(rows[0][0])
    values = np.concatenate([np.stack([known[name] for name in names], axis=1) for known, _ in rows])
    wanted, area = np.concatenate([target for _, target in rows], axis=1)
    print(f"{len(values):,} lines, {np.mean(wanted > 0.5):.1%} of them scratches", flush=True)
    network = {"features": names, **fit(values, wanted, area)}
    lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in network.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    """Report on a part, or train the network."""
    parser = argparse.ArgumentParser(description="How well `infill mask scratches` finds drawn scratches.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--part", choices=SEEDS, default="report")
    parser.add_argument("--fit", type=Path, metavar="FILE", help="train the finder's network")
    args = parser.parse_args()
    part = "choose" if args.fit else args.part
    photos = list_photos(args.photos, part)
    if args.fit:
        write_network(photos, SEEDS[part], args.fit)
    else:
        report(photos, SEEDS[part])


if __name__ == "__main__":
    main()
