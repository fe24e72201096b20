"""What each part of the default model is worth: short runs that differ in one thing and see as many pictures.

    python benchmarks/ablations.py --data train/ --features squeezenet.safetensors --out runs/ablations
        [--only NAME …] [--images 12000]

Every run goes through the recipe's two stages at 64 px, scaled to so many pictures. It is judged on pictures
that were held out of training, with the holes `block`, seed 7, as `infill evaluate` does it. The base run is
made with three seeds: a difference smaller than their spread is a tie. A run that is there goes on, or is
taken as it is.
"""

import argparse
import json
import re
import statistics
from pathlib import Path

from PIL import Image

from infilling.judging.evaluate import evaluate, find_networks
from infilling.judging.settings import EvaluationSettings
from infilling.learning import config as configs
from infilling.learning.settings import Config
from infilling.learning.train import MODEL, train
from infilling.learning.training_data import open_training_data

CONFIG = "default"
SIDE = 64  # pixels

VARIANTS: dict[str, tuple[str, ...]] = {
    "base": (),
    "base, seed 1": ("train.seed=1",),
    "base, seed 2": ("train.seed=2",),
    "no pre-fill": ("system.prefill=false",),
    "dilations for attention": ("system.attention=false",),
    "no perceptual loss": ("system.perceptual_weight=1e-9",),
    "no features: no perceptual loss, a critic of pixels alone": ("system.perceptual_weight=0.0",),
    "perceptual loss × 3": ("system.perceptual_weight=0.6",),
    "no adversary": ("system.adversarial_weight=0.0", "system.feature_matching_weight=0.0"),
    "adversary × 4": ("system.adversarial_weight={adversarial}",),
    "no feature matching": ("system.feature_matching_weight=0.0",),
    "only blocks": ('holes.kind="block"',),
    "only free-form": ('holes.kind="freeform"',),
}
"""What each run sets beside the base."""

FIGURES = ("psnr", "hole_mae", "gradient_energy", "lpips_like", "fid_like")


def make_config(name: str, options: argparse.Namespace) -> Config:
    """The config of one run."""
    base = [
        f"data.paths={json.dumps([str(path) for path in options.data])}",
        f"features.path={json.dumps(str(options.features))}",
        f"data.image_size={SIDE}",
        "data.half_size_images=0",
        "data.zoom=1.0",
        "train.sample_every=250",
    ]
    strong = 4 * configs.read_config(CONFIG).system.model_dump()["adversarial_weight"]
    changes = [change.format(adversarial=strong) for change in VARIANTS[name]]
    return configs.rescale_config(configs.read_config(CONFIG, [*base, *changes]), options.images)


def write_held_out(config: Config, folder: Path) -> Path:
    """Writes the pictures that no run learned from."""
    if not folder.is_dir():
        _, held_out = open_training_data(config)
        folder.mkdir(parents=True)
        for place in range(len(held_out)):
            Image.fromarray(held_out[place]).save(folder / f"{place:05}.png")
    return folder


def measure(model: Path, pictures: Path, features: Path) -> dict[str, tuple[float, float]]:
    """Gives each figure of a model and of Telea."""
    networks = find_networks(features, None, None)
    found = evaluate([model, "telea"], EvaluationSettings((str(pictures),), size=SIDE, networks=networks))
    return {
        name: tuple(row.values[name] for row in found.rows)  # type: ignore[misc]
        for name in FIGURES
    }


def main() -> None:
    """Trains what is missing, judges, and prints a Markdown table."""
    parser = argparse.ArgumentParser(description="What each part of the default model is worth.")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=12_000, help="that each run sees")
    parser.add_argument("--only", choices=VARIANTS, nargs="+", default=list(VARIANTS))
    options = parser.parse_args()
    pictures = write_held_out(make_config("base", options), options.out / "held-out")
    rows = {}
    for name in options.only:
        run = options.out / re.sub(r"\W+", "-", name.replace("×", "x"))
        outcome = train(make_config(name, options), run)
        rows[name] = measure(run / MODEL, pictures, options.features)
        print(f"{name}: {outcome.images_seen:,} pictures, {rows[name]}", flush=True)
    print(f"\n{len(list(pictures.iterdir()))} held-out pictures, {options.images:,} pictures learned from\n")
    heads = [
        "PSNR over Telea",
        "hole MAE / Telea's",
        "gradients",
        "lpips_like / Telea's",
        "fid_like / Telea's",
    ]
    print(f"| run | {' | '.join(heads)} |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, row in rows.items():
        psnr, mae, gradients, lpips, fid = (row[figure] for figure in FIGURES)
        ratios = [f"{mine / theirs:.3f}" for mine, theirs in (mae, lpips, fid)]
        cells = [f"{psnr[0] - psnr[1]:+.2f} dB", ratios[0], f"{gradients[0]:.3f}", *ratios[1:]]
        print(f"| {name} | {' | '.join(cells)} |")
    seeds = [rows[name] for name in rows if name.startswith("base")]
    if len(seeds) > 1:
        spread = statistics.stdev(row["psnr"][0] for row in seeds)
        print(f"\nSpread of the base over its seeds: {spread:.3f} dB (standard deviation).")


if __name__ == "__main__":
    main()
