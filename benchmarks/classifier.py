"""Preprocessing for machine learning: what holes cost a scene classifier, and what filling them brings back.

    python benchmarks/classifier.py --data train/ --test val.tar [--engine telea --engine RUN …]
        [--classes 10] [--epochs 12] [--holes freeform] [--seeds 3]

A small network learns some classes from whole pictures. It then names the scene in pictures of another set:
as they are, with holes of one colour (the mean of all), and with the same holes filled by each engine. The
classifier never sees a hole while it learns, as one that was there before the damage would not have. It is
trained several times from different weights; figures are means over these, ± their standard deviation.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from infilling.filling.engine import open_engine
from infilling.filling.pipeline import fill_picture
from infilling.judging.judge import make_hole
from infilling.judging.settings import EvaluationSettings
from infilling.learning import picture_sources
from infilling.learning.decoding import decode_items
from infilling.learning.picture_items import Item
from infilling.pictures.picture import Picture

SIDE = 128  # pixels at which holes are made and filled
SEEN = 64  # pixels that the classifier looks at: enough for scenes, and four times as quick
BATCH = 64

Pixels = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]


class Classifier(nn.Module):
    """Four halvings and a mean: about 0.4 M parameters."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 8 * width]
        blocks = [self._block(a, b) for a, b in pairwise(widths)]
        self.layers = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(widths[-1], classes)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) in [0, 1] → (N, classes) logits."""
        logits: Tensor = self.head(self.layers(2 * image - 1))
        return logits


# -- pictures ----------------------------------------------------------------------------------------------


def choose_classes(items: Sequence[Item], count: int) -> list[str]:
    """Take the classes with the most pictures; of equal ones, at even distances in the alphabet."""
    counts = Counter(item.label for item in items)
    ranked = sorted(counts, key=lambda label: (-counts[label], label))
    least = counts[ranked[min(count, len(ranked)) - 1]]
    most = sorted(label for label in counts if counts[label] > least)
    even = sorted(label for label in counts if counts[label] == least)
    left = min(count - len(most), len(even))
    return sorted([*most, *(even[place * len(even) // left] for place in range(left))])


def open_pictures(items: Sequence[Item], classes: Sequence[str]) -> tuple[list[Item], Pixels, Tensor]:
    """Decode the pictures of some classes: what they are, (N, 128, 128, 3) and their classes (N,)."""
    chosen = [item for item in items if item.label in set(classes)]
    decoded = [(item, found) for item, found in decode_items(chosen, SIDE, None, None)]
    good = [(item, found[0]) for item, found in decoded if not isinstance(found, str)]
    labels = torch.tensor([classes.index(item.label) for item, _ in good])
    return [item for item, _ in good], np.stack([pixels for _, pixels in good]), labels


def make_holes(items: Sequence[Item], kind: str, seed: int) -> Masks:
    """The holes that `infill evaluate` would make: (N, 128, 128)."""
    settings = EvaluationSettings(holes=kind, seed=seed, size=SIDE)
    return np.stack([make_hole(settings, item.name) for item in items])


def fill(pixels: Pixels, masks: Masks, name: str, threads: int | None) -> Pixels:
    """Fill all holes by one engine, through the pipeline that users get."""
    engine = open_engine(name, threads=threads)
    hidden = np.where(masks[..., None], np.uint8(0), pixels)
    filled = [
        fill_picture(Picture(picture), mask, engine).pixels
        for picture, mask in zip(hidden, masks, strict=True)
    ]
    return np.stack(filled).astype(np.uint8)


def cover(pixels: Pixels, masks: Masks) -> Pixels:
    """Paint the holes in the mean colour of all that is known."""
    colour = pixels[~masks].mean(axis=0).round().astype(np.uint8)
    return np.where(masks[..., None], colour, pixels)


def to_tensor(pixels: Pixels) -> Tensor:
    """(N, 128, 128, 3) uint8 → (N, 3, 64, 64) in [0, 1], by the mean of four."""
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return F.avg_pool2d(image, SIDE // SEEN)


# -- learning and judging ----------------------------------------------------------------------------------


def train(images: Tensor, labels: Tensor, classes: int, epochs: int, seed: int) -> Classifier:
    """Learn from whole pictures: Adam, one cycle, mirrored and shifted by up to an eighth."""
    torch.manual_seed(seed)
    network = Classifier(classes)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            loss = F.cross_entropy(network(augment(images[rows])), labels[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def augment(images: Tensor) -> Tensor:
    """Mirror half of a batch, and shift all of it by the same few pixels, its edge repeated."""
    mirrored = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(-1), images)
    room = SEEN // 8
    top, left = (int(place) for place in torch.randint(0, 2 * room + 1, (2,)))
    wide = F.pad(mirrored, (room, room, room, room), mode="replicate")
    return wide[..., top : top + SEEN, left : left + SEEN]


@torch.no_grad()
def measure(network: Classifier, images: Tensor, labels: Tensor) -> float:
    """Share of the pictures whose scene is named rightly."""
    named = torch.cat([network(part).argmax(1) for part in images.split(256)])
    return float((named == labels).double().mean())


def compare(options: argparse.Namespace) -> list[tuple[str, list[float], float]]:
    """Give for originals, holes and each engine: name, accuracy by seed, hole PSNR in dB."""
    items, _ = picture_sources.list_items(picture_sources.find_sources(options.data))
    judged, _ = picture_sources.list_items(picture_sources.find_sources(options.test))
    shared = {item.label for item in judged} - {""}
    classes = choose_classes([item for item in items if item.label in shared], options.classes)
    if len(classes) < 2:
        raise SystemExit(f"{options.data} and {options.test} share {len(classes)} classes: two are needed")
    _, pixels, labels = open_pictures(items, classes)
    chosen, originals, truth = open_pictures(judged, classes)
    print(f"{len(pixels):,} pictures to learn from, {len(originals):,} to judge on: {', '.join(classes)}")

    masks = make_holes(chosen, options.holes, options.seed)
    variants = {"originals": originals, "holes in one colour": cover(originals, masks)}
    for name in options.engine:
        started = time.perf_counter()
        variants[name] = fill(originals, masks, name, options.threads)
        print(f"filled by {name} in {time.perf_counter() - started:.0f} s", flush=True)

    images = to_tensor(pixels)
    found: dict[str, list[float]] = {name: [] for name in variants}
    for seed in range(options.seeds):
        network = train(images, labels, len(classes), options.epochs, seed)
        for name, variant in variants.items():
            found[name].append(measure(network, to_tensor(variant), truth))
        print(f"classifier {seed + 1}: {found['originals'][-1]:.1%} on the originals", flush=True)
    return [(name, found[name], find_psnr(variants[name], originals, masks)) for name in variants]


def find_psnr(result: Pixels, target: Pixels, masks: Masks) -> float:
    """Mean over pictures of the PSNR inside the hole, dB; infinite for the originals."""
    error = (result.astype(np.float64) - target) / 255
    squares = [float((one[mask] ** 2).mean()) for one, mask in zip(error, masks, strict=True)]
    return statistics.fmean(-10 * np.log10(square) if square else np.inf for square in squares)


def write_table(rows: Sequence[tuple[str, list[float], float]]) -> str:
    """Give a Markdown table, with how much of what the holes cost each engine brought back."""
    whole, holed = (statistics.fmean(rows[place][1]) for place in (0, 1))
    lines = ["| pictures | accuracy | brought back | hole PSNR, dB |", "|---|---:|---:|---:|"]
    for place, (name, shares, psnr) in enumerate(rows):
        mean, spread = statistics.fmean(shares), statistics.stdev(shares) if len(shares) > 1 else 0.0
        back = f"{(mean - holed) / (whole - holed):.0%}" if place > 1 and whole > holed else "–"
        figure = f"{psnr:.2f}" if np.isfinite(psnr) else "–"
        lines.append(f"| {name} | {mean:.1%} ± {spread:.1%} | {back} | {figure} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description="A scene classifier on pictures with holes, and filled.")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="pictures to learn from")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="other pictures, to judge on")
    parser.add_argument("--engine", action="append", help="a name, an ONNX file or a RUN folder; repeatable")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--holes", default="freeform")
    parser.add_argument("--seed", type=int, default=7, help="of the holes")
    parser.add_argument(
        "--seeds", type=int, default=3, help="classifiers to train, each from its own weights"
    )
    parser.add_argument("--threads", type=int, help="of torch and of networks; all cores unless given")
    options = parser.parse_args()
    options.engine = options.engine or ["telea"]
    if options.threads:
        torch.set_num_threads(options.threads)
    started = time.perf_counter()
    rows = compare(options)
    minutes = (time.perf_counter() - started) / 60
    print(
        f"\n{options.holes} holes, seed {options.seed}; {options.seeds} classifiers; {minutes:.1f} minutes\n"
    )
    print(write_table(rows))


if __name__ == "__main__":
    main()
