"""The pieces that decide how a run scales, and what follows from them for one GPU up to 64.

    python benchmarks/scaling.py [CONFIG] [--set A.B=C] [--loader 600] [--peak 989] [--share 0.02]

Counted: floating-point operations of a training step, by torch; bytes of gradient that processes exchange
in it. Measured: processor time of that step on one core here. Given: pictures a second that one core decodes,
which `benchmarks/loading.py` prints; a GPU's peak, the share of it that training reaches, links and prices,
which are assumptions to be replaced by your own. The rest of the table is arithmetic:

    step = computing + sending; nothing is sent while the GPU computes
    computing = operations of a process's share of the batch / (peak × share)
    sending = 2 (n − 1) / n × bytes of gradient / slowest link, as a ring of n processes adds them up
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from training import describe_machine

from infilling.learning import config as configs
from infilling.learning.batches import find_hole_maker
from infilling.learning.device import choose_place
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.settings import Config

ROOT = Path(__file__).resolve().parent.parent
PICTURES = 8  # in the step that is counted and timed; both grow as they do
LINKS = [(1, "–", float("inf")), (8, "NVLink, 450 GB/s", 450e9), (16, "100 Gb/s", 12.5e9)]
LINKS += [(64, "400 Gb/s", 50e9), (64, "100 Gb/s", 12.5e9), (64, "10 Gb/s", 1.25e9)]
"""GPUs, and the slowest link between them in bytes a second each way: the makers' figures."""


@dataclass(frozen=True)
class Pieces:
    """What a training step is made of.

    Attributes:
        operations: floating-point, for one picture.
        gradient_bytes: of all networks that the step moves.
        core_seconds: processor time for one picture.
    """

    operations: float
    gradient_bytes: int
    core_seconds: float


def find_pieces(config: Config, steps: int) -> Pieces:
    """Count and time steps in which every phase takes part."""
    torch.set_num_threads(1)
    learner = Learner(config, choose_place(config.train))
    learner.images_seen = max(phase.start_images for phase in learner.system.phases())
    side = config.data.image_size
    masks = find_hole_maker(config.holes)(np.random.default_rng(0), PICTURES, side, side)
    batch = MaskedBatch(torch.rand(PICTURES, 3, side, side), torch.from_numpy(masks[:, None]).float())
    with FlopCounterMode(display=False) as counter:
        learner.take_step(batch)
    began = time.process_time()
    for _ in range(steps):
        learner.take_step(batch)
    seconds = (time.process_time() - began) / steps / PICTURES
    networks = {phase.network for phase in learner.system.phases()}
    sent = sum(4 * count for name, count in learner.count_parameters().items() if name in networks)
    return Pieces(counter.get_total_flops() / PICTURES, sent, seconds)


def tell(config: Config, pieces: Pieces, options: argparse.Namespace) -> None:
    """Print the pieces and the table."""
    batch, one = config.train.batch, pieces.core_seconds
    print(f"{config.system.name} at {config.data.image_size} px; {describe_machine(torch.device('cpu'))}\n")
    print(f"counted   {pieces.operations / 1e9:.1f} GFLOP a picture, forward and backward, all phases")
    print(f"counted   {pieces.gradient_bytes / 1e6:.1f} MB of gradient a step")
    print(f"measured  {one:.3f} s of one core a picture, {1 / one:.1f} pictures/s")
    print(f"given     {options.loader:.0f} pictures/s decoded by a core")
    print(f"given     {options.peak:.0f} TFLOP/s peak, {options.share:.0%} of it reached")
    print(f"given     {options.price} USD an hour of a GPU\n")
    columns = ["GPUs", "link", "batch", "step, ms", "of it sending", "pictures/s", "cores to decode, each"]
    print("| " + " | ".join([*columns, "USD a million"]) + " |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for count, name, link in LINKS:
        whole = max(batch, options.least * count)
        computing = pieces.operations * whole / count / (options.peak * 1e12 * options.share)
        sending = 2 * (count - 1) / count * pieces.gradient_bytes / link
        step = computing + sending
        rate = whole / step
        cells = [
            str(count),
            name,
            str(whole),
            f"{1e3 * step:.1f}",
            f"{sending / step:.0%}",
            f"{rate:,.0f}",
            f"{rate / count / options.loader:.1f}",
            f"{count * options.price * 1e6 / rate / 3600:.2f}",
        ]
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    """Find the pieces, print the table."""
    parser = argparse.ArgumentParser(description="The pieces that decide how a run scales.")
    parser.add_argument("config", nargs="?", default="reference")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="change a key of the config"
    )
    parser.add_argument("--steps", type=int, default=2, help="that are timed")
    parser.add_argument("--loader", type=float, default=600.0, help="pictures a second decoded by one core")
    parser.add_argument("--peak", type=float, default=989.0, help="of a GPU in bf16, TFLOP/s")
    parser.add_argument("--share", type=float, default=0.02, help="of the peak that training reaches")
    parser.add_argument("--least", type=int, default=32, help="pictures that a GPU gets at least")
    parser.add_argument("--price", type=float, default=2.5, help="of a GPU, USD an hour")
    options = parser.parse_args()
    config = configs.read_config(options.config, ['train.device="cpu"', *options.set])
    tell(config, find_pieces(config, options.steps), options)


if __name__ == "__main__":
    main()
