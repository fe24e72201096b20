"""Is the adversary steady, and how much does it say? From a run's own files.

    python benchmarks/adversary.py RUN [--features squeezenet.safetensors] [--data train/] [--batches 8]

From `stats.jsonl`: whether the adversarial term of the generator is ever more than three times its running
median, in the last half of the steps that were logged (see `train.log_every`). From the checkpoint: the norms
of the generator's gradient by each term alone, and each one's share of their sum.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch

from infilling.learning import checkpoint, features, run_folder
from infilling.learning.config import config_to_tree, parse_config
from infilling.learning.device import choose_place
from infilling.learning.training_data import make_batches, open_training_data

WINDOW = 21  # rows of the running median
SPIKE = 3.0  # times the running median

TERMS = {
    "l1": ("l1_weight",),
    "perceptual": ("perceptual_weight",),
    "adversarial": ("adversarial_weight",),
    "feature matching": ("feature_matching_weight",),
}


def find_spikes(values: list[float]) -> list[float]:
    """Finds what is more than three times the median of the 21 before it, in the last half."""
    second_half = range(max(len(values) // 2, 1), len(values))
    medians = {place: float(np.median(values[max(0, place - WINDOW) : place])) for place in second_half}
    return [values[place] for place, median in medians.items() if values[place] > SPIKE * median]


def measure_terms(folder: Path, data: list[str], feature_file: str | None, count: int) -> dict[str, float]:
    """The mean norm of the generator's gradient by each weighted term alone, over some batches."""
    system, weights = checkpoint.load_system(folder)
    tree = config_to_tree(weights.config)
    overrides = [f"data.paths={data!r}"] if data else []
    config = parse_config(tree, [*overrides, *([f"features.path={feature_file}"] if feature_file else [])])
    system.features = features.load_features(config.features.path) if config.features.path else None
    system.requires_grad_(True)
    if system.discriminator is not None and (theirs := weights.take("discriminator")):
        checkpoint.load_network(system.discriminator, theirs, str(folder))
    system.images_seen = 10**12  # every ramp is over
    pictures, _ = open_training_data(config)
    place = choose_place(config.train)
    system.to(place.device)
    batches = make_batches(config, pictures, place, config.train.seed + 1)
    settings = system.settings
    norms: dict[str, list[float]] = {name: [] for name in TERMS}
    for _ in range(count):
        batch = batches.next(config.train.batch)
        for name, kept in TERMS.items():
            others = {key: 0.0 for keys in TERMS.values() for key in keys if key not in kept}
            system.settings = settings.model_copy(update=others)
            with place.autocast():
                loss, _ = system.generator_loss(batch, system.generate(batch))
            system.generator.zero_grad()
            loss.backward()
            grads = [each.grad for each in system.generator.parameters() if each.grad is not None]
            norms[name].append(float(torch.nn.utils.get_total_norm(grads)))
    return {name: statistics.fmean(values) for name, values in norms.items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Is the adversary steady, and how much does it say?")
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--data", nargs="*", default=[], help="pictures; those of the run unless given")
    parser.add_argument("--features", help="feature file; that of the run unless given")
    parser.add_argument("--batches", type=int, default=8)
    options = parser.parse_args()
    values = [row["Loss_G"] for row in run_folder.read_stats(options.run) if "Loss_G" in row]
    if not values:
        parser.error(f"{options.run} has no Loss_G: its second stage did not begin")
    spikes = find_spikes(values)
    median = statistics.median(values)
    print(f"{len(values)} rows of Loss_G, median {median:.3f}, {len(spikes)} spikes in the last half")
    norms = measure_terms(options.run, options.data, options.features, options.batches)
    total = sum(norms.values())
    print("\n| term | gradient norm | share |\n|---|---:|---:|")
    for name, norm in norms.items():
        print(f"| {name} | {norm:.4f} | {norm / total:.0%} |")


if __name__ == "__main__":
    main()
