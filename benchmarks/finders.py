"""Recall and precision of the mask helpers on damage that is drawn on photographs.

    python benchmarks/finders.py --data FOLDER [--only dust …] [--set report] [--cases 40] [--worst FOLDER]

`--data` is the folder with `photos/` and `train-photos/`. Every second photograph is for choosing constants,
`--set choose`; figures are published of the others, with other seeds, `--set report`. Each case is scored by
pixels without the margin that helpers add; where nothing is found, recall and precision are 0. "Clean" is the
share that is marked of the same photographs without damage. Watermarks are also divided out. `--worst` writes
the worst cases: the picture, and below it the truth in green, what is marked in red, and both in yellow.
Texts need the DejaVu fonts.
"""

import argparse
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from finder_cases import CASES, Case, Photos
from PIL import Image

from infilling import fill
from infilling.filling.finders import divide_out, find_mask
from infilling.filling.mask_helpers import HELPERS
from infilling.pictures.mask import grow
from infilling.pictures.picture import Picture

FIRST_SEED = {"choose": 1000, "report": 4000}
CLEAN = 0.003  # share of a clean photograph that may be marked
SHOWN = 8  # worst cases that are written


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--set", choices=FIRST_SEED, default="report")
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--worst", type=Path)
    parser.add_argument("--each", action="store_true", help="print a line for each case")
    args = parser.parse_args()
    photos = read_photos(args.data, args.set)
    print("| helper | cases | recall | precision | both ≥ 0.5 | clean marked | above 0.3 % | s per MP |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in args.only:
        seeds = range(FIRST_SEED[args.set], FIRST_SEED[args.set] + args.cases)
        rows = []
        for seed in seeds:
            case = CASES[name](photos, np.random.default_rng(seed))
            rows.append((*score(name, case), case.kind, seed))
            if args.each:
                row = rows[-1]
                print(
                    f"{seed} recall {row[0]:.2f} precision {row[1]:.2f} clean {row[2]:.3%} {case.kind}",
                    flush=True,
                )
        print(f"| `{name}` | {len(rows)} | {summarize(rows)} |", flush=True)
        if name == "watermark":
            print_divided(photos, seeds)
        if args.worst:
            for row in sorted(rows, key=lambda row: row[0] + row[1])[:SHOWN]:
                case = CASES[name](photos, np.random.default_rng(row[-1]))
                show(case, find(name, case), args.worst / f"{name}-{row[-1]}.png")


def find(name: str, case: Case, pictures: list[np.ndarray] | None = None) -> np.ndarray:
    """Return (H, W) bool, what a helper finds in a case, or in other pictures."""
    chosen = [Picture(each) for each in (case.pictures if pictures is None else pictures)]
    return find_mask(name, chosen if HELPERS[name].many else chosen[0], grow=0, **case.options)


def score(name: str, case: Case) -> tuple[float, float, float, float]:
    """Return recall, precision, share of the clean picture that is marked, seconds per megapixel."""
    start = time.process_time()
    found = find(name, case)
    seconds = time.process_time() - start
    both = np.count_nonzero(found & case.truth)
    clean = float(find(name, case, case.clean).mean()) if case.clean else np.nan
    megapixels = found.size * len(case.pictures) / 1e6
    return (
        both / np.count_nonzero(case.truth),
        both / max(1, np.count_nonzero(found)),
        clean,
        seconds / megapixels,
    )


def print_divided(photos: Photos, seeds: Iterable[int]) -> None:
    """Print how near marked pixels are to the picture without the mark: as they are, divided and filled."""
    rows = []
    for seed in seeds:
        case = CASES["watermark"](photos, np.random.default_rng(seed))
        divided, left = divide_out("watermark", [Picture(each) for each in case.pictures])
        if not left.any():  # it is half transparent, and was found
            seen = divided[0].pixels, fill(case.pictures[0], grow(case.truth, 2))
            rows.append([measure_psnr(each, case) for each in (case.pictures[0], *seen)])
    marked, divided, filled = np.mean(rows, axis=0)
    print(f"{len(rows)} divided out: PSNR {marked:.1f} dB marked, {divided:.1f} divided, {filled:.1f} filled")


def measure_psnr(pixels: np.ndarray, case: Case) -> float:
    """Return the PSNR of the marked pixels of the first picture, in dB."""
    error = (pixels.astype(float) - case.clean[0])[grow(case.truth, 2)]
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def summarize(rows: list[tuple]) -> str:
    recall, precision, clean, seconds = np.array([row[:4] for row in rows]).T
    fine = np.count_nonzero(np.minimum(recall, precision) >= 0.5)
    above = np.count_nonzero(clean > CLEAN)
    return (
        f"{recall.mean():.2f} | {precision.mean():.2f} | {fine} | "
        f"{clean.mean():.2%} | {above} | {np.median(seconds):.2f}"
    )


def read_photos(data: Path, which: str) -> Photos:
    """Return the photographs of a set."""
    own = FIRST_SEED[which] // 1000 % 2  # choose: odd places, report: even ones
    files = list(list_files(data))[own::2]
    large = sorted((data / "photos").glob("*.jpg"))[own::2]
    return Photos(files, large)


def list_files(data: Path) -> Iterator[bytes]:
    for path in sorted((data / "train-photos").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    yield tar.extractfile(member).read()  # type: ignore[union-attr]


def show(case: Case, found: np.ndarray, path: Path) -> None:
    """Write a picture, and truth and mask below it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    below = np.stack([found, case.truth, np.zeros_like(found)], axis=2) * np.uint8(255)
    grey = case.pictures[0].mean(axis=2, keepdims=True) * 0.4
    below = np.where(below.any(axis=2, keepdims=True), below, grey).astype(np.uint8)
    Image.fromarray(np.concatenate([case.pictures[0], below])).save(path)


if __name__ == "__main__":
    main()
