"""Train the default model from nothing on one GPU, in two runs that the same command resumes.

    python examples/train_release.py --scenes DIR --photos DIR --features FILE --out DIR [--images 4000000]

First the config `default` on scenes of 128 px: structure at half the side, L1, then critics. Then, from its
weights and with its critics, the config `detail`: a tenth of the pictures, photographs at 256 px. On a GPU
each step is compiled and replayed as a CUDA graph; without one the same code runs slowly. Checkpoints with
the averaged weights are saved every three minutes. `--set` changes any setting of both runs.
"""

import argparse
from pathlib import Path

import torch

from infilling.learning.config import read_config, rescale_config
from infilling.learning.settings import Config
from infilling.learning.train import train

GPU = ("train.batch=256", "train.compile=true", "train.graphs=true")
RATES = {"scenes": 1.2e-3, "detail": 4e-4}  # of the generator, at the batch of a GPU
DETAIL_SHARE = 0.1  # of the pictures that the first run sees


def list_runs(options: argparse.Namespace) -> list[tuple[str, Config]]:
    """Return the name and the config of each run."""
    count = options.images
    scenes = rescale_config(read_config("default", _set(options, "scenes", options.scenes)), count)
    start = f"start.weights={options.out / 'scenes'}"
    detail = read_config("detail", [*_set(options, "detail", options.photos), start])
    return [("scenes", scenes), ("detail", rescale_config(detail, round(count * DETAIL_SHARE)))]


def _set(options: argparse.Namespace, name: str, pictures: Path) -> list[str]:
    """Return the settings of a run that its config does not have."""
    settings = ["train.checkpoint_minutes=3", f"data.paths=['{pictures}']"]
    settings.append(f"features.path={options.features}")
    if torch.cuda.is_available():
        settings += [*GPU, f"train.generator.lr={RATES[name]}"]
    return [*settings, *options.set]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True, help="pictures of scenes, 128 px or more")
    parser.add_argument("--photos", type=Path, required=True, help="photographs of 512 px or more")
    parser.add_argument("--features", type=Path, required=True, help="EfficientNet-Lite's weights")
    parser.add_argument("--out", type=Path, required=True, help="folder of both runs")
    parser.add_argument("--images", type=int, default=4_000_000, help="pictures that the first run sees")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> Path | None:
    """Train, or continue; return the last model, None after a signal."""
    options, model = parse_arguments(arguments), None
    for name, config in list_runs(options):
        outcome = train(config, options.out / name)
        model = outcome.model
        print(f"{name}: {outcome.images_seen:,} pictures, {model or 'stopped'}", flush=True)
        if model is None:
            break
    return model


if __name__ == "__main__":
    main()
