"""What a run would be, found out with a few real steps on noise: size, memory, speed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from infilling.learning import config as configs
from infilling.learning.config import Config
from infilling.learning.data import MaskedBatch
from infilling.learning.device import Place, choose_place
from infilling.learning.feed import make_holes
from infilling.learning.learner import Learner

STEPS = 2  # timed; one more before them warms up


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
        _wait(place)
        begun = time.perf_counter()
        for _ in range(STEPS):
            learner.take_step(batch)
        _wait(place)
        seconds = (time.perf_counter() - begun) / STEPS
    parameters = learner.count_parameters()
    weights = 4 * sum(parameters.values())
    # Weights, gradients and Adam's two; the average; what a step keeps.
    memory = 4 * weights + 4 * parameters["generator"] + activations.peak
    if place.device.type == "cuda":
        memory = max(memory, torch.cuda.max_memory_reserved(place.device))
    return DryRun(configs.to_toml(config), place, parameters, memory, config.train.batch / seconds, seconds)


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
