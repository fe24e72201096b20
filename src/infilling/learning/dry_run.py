"""What a run would be, found out with a few real steps on noise: size, memory, speed, how far it comes."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from infilling.learning import config as configs
from infilling.learning import run_folder
from infilling.learning.device import Place, choose_place
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch, halve_batch
from infilling.learning.settings import Config
from infilling.learning.training_data import make_holes

STEPS = 2  # timed; one more before them warms up
FREE = 0.1  # of the minutes that a recipe is fitted to, for pictures, samples, checkpoints and the export


@dataclass(frozen=True)
class DryRun:
    """What a run would be.

    Attributes:
        config: resolved, as TOML.
        place: device, precision and memory layout that `auto` came to.
        parameters: by network.
        memory: bytes: weights, gradients, optimisers, average, and what a step keeps for its backward pass.
        images_per_second: of the training step alone, without reading pictures.
        seconds_per_step: the same.
    """

    config: str
    place: Place
    parameters: dict[str, int]
    memory: int
    images_per_second: float
    seconds_per_step: float


def dry_run(config: Config) -> DryRun:
    """Builds the networks, takes three steps of the last stage on noise and measures two of them.

    Reads no picture, writes nothing.

    Raises:
        ConfigError: settings that do not fit together.
        DependencyError: the device is not here.
    """
    place = choose_place(config.train)
    with torch.random.fork_rng(devices=[place.device] if place.device.type == "cuda" else []):
        torch.manual_seed(config.train.seed)
        learner = Learner(config, place)
        learner.images_seen = max(phase.start_images for phase in learner.system.phases())  # the last stage
        batch = _make_noise(config, place)
        activations = _Activations()
        with torch.autograd.graph.saved_tensors_hooks(activations.pack, activations.unpack):
            learner.take_step(batch)
        seconds = _time_step(learner, batch, place)
    parameters = learner.count_parameters()
    weights = 4 * sum(parameters.values())
    # Weights, gradients and Adam's two; the average; what a step keeps.
    memory = 4 * weights + 4 * parameters["generator"] + activations.peak
    if place.device.type == "cuda":
        memory = max(memory, torch.cuda.max_memory_reserved(place.device))
    return DryRun(
        configs.config_to_toml(config), place, parameters, memory, config.train.batch / seconds, seconds
    )


def fit_config(config: Config, minutes: float) -> Config:
    """The recipe scaled down to as many pictures as get through all of its stages here in some minutes.

    Args:
        config: a config that says `train.images`; one that ends sooner comes back as it is.
        minutes: of training.

    Raises:
        ConfigError: as `dry_run`, or there is no number of pictures to scale.
        DependencyError: the device is not here.
    """
    place, images = choose_place(config.train), config.train.images or 0
    with torch.random.fork_rng(devices=[place.device] if place.device.type == "cuda" else []):
        learner = Learner(config, place)
        batch = _make_noise(config, place)
        starts = [phase.start_images for phase in learner.system.phases()]
        bounds = sorted({0, images, *(min(each, images) for each in (config.data.half_size_images, *starts))})
        seconds = 0.0
        for start, end in pairwise(bounds):
            learner.images_seen = start
            part = halve_batch(batch) if start < config.data.half_size_images else batch
            learner.take_step(part)
            seconds += (end - start) / config.train.batch * _time_step(learner, part, place)
    share = (1 - FREE) * 60 * minutes / max(seconds, 1e-9)
    return (
        configs.rescale_config(config, max(config.train.batch, int(share * images))) if share < 1 else config
    )


def fit_run(config: Config, folder: Path, minutes: float) -> Config:
    """A run's recipe, scaled down by `fit_config`; a run that is there keeps its number of pictures.

    Args:
        config: one without `train.images` comes back as it is.
        folder: the run's.
        minutes: of training.

    Raises:
        ConfigError, DependencyError: as `fit_config`.
    """
    if config.train.images is None:
        return config
    if not (folder / run_folder.CONFIG).is_file():
        return fit_config(config, minutes)
    known = configs.read_config(folder / run_folder.CONFIG).train.images
    return config if known in (None, config.train.images) else configs.rescale_config(config, known)


def _time_step(learner: Learner, batch: MaskedBatch, place: Place) -> float:
    """Seconds of a step, once the first was taken."""
    _wait(place)
    begun = time.perf_counter()
    for _ in range(STEPS):
        learner.take_step(batch)
    _wait(place)
    return (time.perf_counter() - begun) / STEPS


class _Kept:
    """What autograd keeps of one tensor, from its saving to its release."""

    def __init__(self, tensor: Tensor, activations: _Activations) -> None:
        self.tensor, self._activations = tensor, activations
        self._storage = tensor.untyped_storage()
        activations.add(self._storage.data_ptr(), self._storage.nbytes())

    def __del__(self) -> None:
        self._activations.remove(self._storage.data_ptr(), self._storage.nbytes())


class _Activations:
    """Counts the bytes that autograd keeps for the backward pass, each piece of memory once."""

    def __init__(self) -> None:
        self.peak = 0
        self._now = 0
        self._users: Counter[int] = Counter()

    def pack(self, tensor: Tensor) -> Tensor | _Kept:
        """Takes over a tensor that autograd saves; weights are not counted, as they are there anyway."""
        return tensor if isinstance(tensor, nn.Parameter) else _Kept(tensor, self)

    def unpack(self, kept: Tensor | _Kept) -> Tensor:
        """Gives it back."""
        return kept.tensor if isinstance(kept, _Kept) else kept

    def add(self, place: int, size: int) -> None:
        """One more user of a piece of memory."""
        self._users[place] += 1
        if self._users[place] == 1:
            self._now += size
            self.peak = max(self.peak, self._now)

    def remove(self, place: int, size: int) -> None:
        """One user less."""
        self._users[place] -= 1
        if self._users[place] == 0:
            self._now -= size


def _make_noise(config: Config, place: Place) -> MaskedBatch:
    """A batch of noise with the config's holes."""
    count, side = config.train.batch, config.data.image_size
    masks = make_holes(config).make(np.random.default_rng(config.train.seed), count, side)
    image = torch.rand(count, 3, side, side).to(place.device)
    if place.channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    return MaskedBatch(image, torch.from_numpy(masks[:, None]).float().to(place.device))


def _wait(place: Place) -> None:
    if place.device.type == "cuda":
        torch.cuda.synchronize(place.device)
