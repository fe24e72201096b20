"""Can a network tell fills from photographs? The less it can, the better the engine.

    python benchmarks/real_or_filled.py --data val.tar [--engine telea --engine RUN …]
        [--holes block] [--epochs 12] [--seeds 3]

For each engine alone, and for each in the same way, a small classifier is trained afresh on crops of 64 px
round the holes: half of the pictures show the crop as it was, half as it was filled. It is then asked about
pictures that it has not seen, and its accuracy is the figure: 50 % is chance, 100 % a fill that gives itself
away. Figures are means over classifiers with other weights and other parts, ± their standard deviation.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from classifier import BATCH, SIDE, Classifier, Masks, Pixels, fill, make_holes
from torch import Tensor
from torch.nn import functional as F

from infilling.learning import picture_sources
from infilling.learning.decoding import decode_items

CROP = 64  # pixels
LEARNED = 0.7  # of the pictures


def cut(pixels: Pixels, masks: Masks) -> Pixels:
    """Cuts a square round the middle of each hole's bounding box, within the picture: (N, 64, 64, 3)."""
    crops = []
    for picture, mask in zip(pixels, masks, strict=True):
        place = []
        for axis in (1, 0):
            inside = np.flatnonzero(mask.any(axis=axis))
            middle = (int(inside[0]) + int(inside[-1]) + 1) // 2
            place.append(min(max(middle - CROP // 2, 0), mask.shape[1 - axis] - CROP))
        crops.append(picture[place[0] : place[0] + CROP, place[1] : place[1] + CROP])
    return np.stack(crops)


def to_tensor(pixels: Pixels) -> Tensor:
    """(N, 64, 64, 3) uint8 → (N, 3, 64, 64) in [0, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def tell(real: Tensor, filled: Tensor, epochs: int, seed: int) -> float:
    """Trains one classifier on a part of the pictures; returns its accuracy on the others.

    Args:
        real, filled: (N, 3, 64, 64) of the same pictures; each picture is shown as one of the two, so that
            no scene tells what the other is.
        epochs: over what it learns from.
        seed: of the parts, the weights and the order.
    """
    torch.manual_seed(seed)
    order = torch.randperm(len(real))
    is_filled = torch.zeros(len(real))
    is_filled[order[::2]] = 1
    images = torch.where(is_filled[:, None, None, None] > 0, filled, real)
    order = order[torch.randperm(len(order))]
    known, asked = order.split([round(LEARNED * len(order)), len(order) - round(LEARNED * len(order))])
    network = Classifier(1)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = epochs * -(-len(known) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in known[torch.randperm(len(known))].split(BATCH):
            turned = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, images[rows].flip(-1), images[rows])
            loss = F.binary_cross_entropy_with_logits(network(turned)[:, 0], is_filled[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        said = torch.cat([network(images[rows])[:, 0] > 0 for rows in asked.split(256)])
    return float((said == (is_filled[asked] > 0)).double().mean())


def main() -> None:
    """Measures and prints a Markdown table."""
    parser = argparse.ArgumentParser(description="Can a network tell fills from photographs?")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="pictures")
    parser.add_argument("--engine", action="append", help="a name, an ONNX file or a RUN folder; repeatable")
    parser.add_argument("--holes", default="block")
    parser.add_argument("--limit", type=int, help="take so many pictures only")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7, help="of the holes")
    parser.add_argument("--seeds", type=int, default=3, help="classifiers for each engine")
    parser.add_argument("--threads", type=int, help="of torch and of networks; all cores unless given")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    started = time.perf_counter()
    items, _ = picture_sources.list_items(picture_sources.find_sources(options.data))
    decoded = [(item, found) for item, found in decode_items(items[: options.limit], SIDE, None, None)]
    good = [(item, found[0]) for item, found in decoded if not isinstance(found, str)]
    pixels, masks = (
        np.stack([pixels for _, pixels in good]),
        make_holes([item for item, _ in good], options.holes, options.seed),
    )
    real = to_tensor(cut(pixels, masks))
    lines = ["| engine | told apart |", "|---|---:|"]
    for name in options.engine or ["telea"]:
        filled = to_tensor(cut(fill(pixels, masks, name, options.threads), masks))
        shares = [tell(real, filled, options.epochs, seed) for seed in range(options.seeds)]
        spread = statistics.stdev(shares) if len(shares) > 1 else 0.0
        lines.append(f"| {name} | {statistics.fmean(shares):.1%} ± {spread:.1%} |")
        print(lines[-1], flush=True)
    minutes = (time.perf_counter() - started) / 60
    print(f"\n{len(pixels):,} pictures, {options.holes} holes, seed {options.seed}; {minutes:.1f} minutes\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
