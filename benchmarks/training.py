"""Training speed: the reference's plain loop against ours; same networks, pictures, batch and run.

    python benchmarks/training.py [--data DIR] [--batch 64] [--rounds 3] [--seconds 20] [--threads N]

The plain loop is written as the report's listing has it: a data set that opens, resizes, crops and
normalises every picture every time, two workers, no pinned memory, no persistent workers, fp32, Adam as it
comes. Ours is what `infill train` runs. The loops take turns, so that whatever else the machine does hits
them alike; the figure of a loop is the median of its rounds. Pictures are 256×256 JPEGs, the size of
Places365-small, cut from the sample photographs unless a folder is named.
"""

import argparse
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler

from infilling.learning import config as configs
from infilling.learning.device import choose_device, choose_place
from infilling.learning.layers import SelfAttention, init_normal
from infilling.learning.learner import Learner
from infilling.learning.losses import weigh_ring
from infilling.learning.settings import Config
from infilling.learning.systems.reference import IMAGE_SIZE, PATCH_SIZE, Discriminator, Generator
from infilling.learning.training_data import make_batches, open_training_data

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "examples" / "pictures"
SIDE, DRAWN = 256, 512  # of the pictures cut from the samples: pixels, how many
WARM = 2  # untimed steps at the start of a loop's turn

Step = Callable[[], None]
"""Draws a batch and learns from it."""


# -- the plain loop ----------------------------------------------------------------------------------------


class PlainPictures(Dataset[Tensor]):
    """Opens a picture whenever it is asked for: (3, 128, 128) in [-1, 1]."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        image = Image.open(self.paths[index]).convert("RGB")
        scale = IMAGE_SIZE / min(image.size)
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR
        )
        left, top = (image.width - IMAGE_SIZE) // 2, (image.height - IMAGE_SIZE) // 2
        image = image.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE))
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return (tensor - 0.5) / 0.5


class PlainAttention(SelfAttention):
    """The discriminator's attention in the usual lines."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same."""
        count, channels, height, width = x.shape
        query = self.query(x).view(count, -1, height * width).permute(0, 2, 1)
        key = self.key(x).view(count, -1, height * width)
        value = self.value(x).view(count, -1, height * width)
        attention = torch.softmax(torch.bmm(query, key), dim=-1)
        seen = torch.bmm(value, attention.permute(0, 2, 1)).view(count, channels, height, width)
        return self.gamma * seen + x


def make_plain_networks() -> tuple[Generator, Discriminator]:
    """Our networks with the layers as the listing has them, where ours compute the same in another way."""
    generator, discriminator = Generator(), Discriminator()
    generator.bottleneck[0] = nn.Conv2d(512, 2048, 4, bias=False)
    generator.dec1[0] = nn.ConvTranspose2d(2048, 512, 4, bias=False)
    discriminator.attention = PlainAttention(128)
    init_normal(generator)
    init_normal(discriminator)
    return generator, discriminator


def start_plain(folder: Path, batch: int, device: torch.device) -> Callable[[], Step]:
    """The plain loop: returns what starts a new turn of it."""
    torch.manual_seed(999)
    generator, discriminator = (network.to(device) for network in make_plain_networks())
    adam_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    ring = weigh_ring(PATCH_SIZE, PATCH_SIZE).to(device)
    rng = np.random.default_rng(999)
    pictures = PlainPictures(folder)

    def step(batches: Iterator[Tensor]) -> None:
        image = next(batches).to(device)
        masked, target = cut_blocks(image, rng)
        ones, zeros = torch.ones(batch, device=device), torch.zeros(batch, device=device)

        discriminator.zero_grad()
        loss_real = F.binary_cross_entropy(discriminator(target), ones)
        loss_real.backward()
        fake = generator(masked)
        loss_fake = F.binary_cross_entropy(discriminator(fake.detach()), zeros)
        loss_fake.backward()
        adam_d.step()

        generator.zero_grad()
        adversarial = F.binary_cross_entropy(discriminator(fake), ones)
        reconstruction = (ring * (fake - target) ** 2).mean()
        (0.01 * adversarial + 0.99 * reconstruction).backward()
        adam_g.step()

    def turn() -> Step:
        sampler = RandomSampler(pictures, replacement=True, num_samples=10**9)  # an epoch that does not end
        loader = DataLoader(pictures, batch, sampler=sampler, num_workers=2, drop_last=True)
        batches = iter(loader)
        return lambda: step(batches)

    return turn


def cut_blocks(image: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Blank a random block of every picture and resize what was there: (N, 3, 128, 128), (N, 3, 64, 64)."""
    masked, targets = image.clone(), []
    for picture in masked:
        height, width = rng.integers(32, 65, 2)
        top, left = rng.integers(0, IMAGE_SIZE - height + 1), rng.integers(0, IMAGE_SIZE - width + 1)
        block = picture[:, top : top + height, left : left + width]
        targets.append(
            F.interpolate(block[None], (PATCH_SIZE, PATCH_SIZE), mode="bilinear", align_corners=False)
        )
        block.zero_()
    return masked, torch.cat(targets)


# -- ours --------------------------------------------------------------------------------------------------


def start_ours(config: Config, precision: str) -> Callable[[], Step]:
    """The loop of `infill train`, without what it writes."""
    place = replace(choose_place(config.train), bf16=precision == "bf16")
    pictures, _ = open_training_data(config)
    torch.manual_seed(999)
    learner = Learner(config, place)
    batches = make_batches(config, pictures, place, config.train.seed)

    def step() -> None:
        learner.take_step(batches.next(config.train.batch))

    return lambda: step


def make_config(folder: Path, cache: Path, batch: int, device: str) -> Config:
    """The reference as the config `reference` has it, on these pictures."""
    overrides = [
        f'data.paths=["{folder}"]',
        f'data.cache="{cache}"',
        f"train.batch={batch}",
        f'train.device="{device}"',
    ]
    return configs.read_config("reference", overrides)


# -- measuring ---------------------------------------------------------------------------------------------


def measure(loops: dict[str, Callable[[], Step]], options: argparse.Namespace) -> dict[str, float]:
    """Let the loops take turns; returns the median of each one's pictures per second."""
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(options.rounds):
        for name, turn in loops.items():
            step = turn()
            for _ in range(WARM):
                step()
            synchronize()
            began, steps = time.perf_counter(), 0
            while steps < 2 or time.perf_counter() - began < options.seconds:
                step()
                synchronize()
                steps += 1
            rates[name].append(steps * options.batch / (time.perf_counter() - began))
            print(f"round {number + 1}, {name}: {rates[name][-1]:.2f} pictures/s", flush=True)
            del step  # and with it the plain loop's workers
    return {name: statistics.median(found) for name, found in rates.items()}


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def draw_pictures(folder: Path, side: int = SIDE) -> Path:
    """Cut square JPEGs at random places out of the sample photographs."""
    rng = np.random.default_rng(0)
    samples = [Image.open(path).convert("RGB") for path in sorted(SAMPLES.glob("*.jpg"))]
    folder.mkdir()
    for number in range(DRAWN):
        sample = samples[number % len(samples)]
        left, top = (int(rng.integers(0, length - side + 1)) for length in sample.size)
        sample.crop((left, top, left + side, top + side)).save(folder / f"{number:04}.jpg", quality=90)
    return folder


def describe_machine(device: torch.device) -> str:
    """Processor or GPU, cores, torch, commit."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        level = torch.backends.cpu.get_cpu_capability()
        threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
        name = f"{(models or [platform.processor()])[0]} ({level}), {threads}"
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return f"{name}; torch {torch.__version__}; commit {asked.stdout.strip() or 'unknown'}"


def main() -> None:
    """Measure and print one row of a Markdown table."""
    parser = argparse.ArgumentParser(description="Training speed: the plain loop against ours.")
    parser.add_argument("--data", type=Path, help="a folder of pictures; cut from the samples unless given")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each loop's turn")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="of torch; all cores unless given")
    parser.add_argument(
        "--bf16", action="store_true", help="measure bf16 even where `auto` would not take it"
    )
    options = parser.parse_args()
    device = choose_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)

    with tempfile.TemporaryDirectory() as scratch:
        folder = options.data or draw_pictures(Path(scratch) / "pictures")
        config = make_config(folder, Path(scratch) / "cache", options.batch, options.device)
        began = time.perf_counter()
        open_training_data(config)
        prepared = time.perf_counter() - began
        loops = {"plain": start_plain(folder, options.batch, device), "ours fp32": start_ours(config, "fp32")}
        if options.bf16 or choose_place(config.train).bf16:
            loops["ours bf16"] = start_ours(config, "bf16")
        rates = measure(loops, options)

    plain, fp32, bf16 = (rates.get(name, float("nan")) for name in ("plain", "ours fp32", "ours bf16"))
    print(f"\n{describe_machine(device)}; prepared once in {prepared:.1f} s\n")
    print("| batch | plain, pictures/s | ours, fp32 | ours, bf16 | gain in fp32 | bf16 alone | gain in all |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    cells = [f"{plain:.1f}", f"{fp32:.1f}", f"{bf16:.1f}", f"{fp32 / plain:.2f}×", f"{bf16 / fp32:.2f}×"]
    cells.append(f"{max(rates.values()) / plain:.2f}×")
    print(f"| {options.batch} | " + " | ".join("–" if "nan" in cell else cell for cell in cells) + " |")


if __name__ == "__main__":
    main()
