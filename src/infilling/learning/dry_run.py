"""Measurement of a run before it starts, by a few real steps on noise: size, memory, speed, time."""

import os
import time
import weakref
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from infilling.learning import run_folder
from infilling.learning.batches import find_hole_maker
from infilling.learning.clock import Limits
from infilling.learning.config import config_to_toml, read_config, rescale_config
from infilling.learning.decoding import decode_items
from infilling.learning.device import Place, choose_place
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch, halve_batch
from infilling.learning.picture_sources import find_sources, list_items
from infilling.learning.process_state import fork_random_numbers
from infilling.learning.settings import Config

STEPS = 2  # timed; one more before them warms up
MEASURED = 32  # pictures in a step that is measured on a CPU, where more take as long for each picture
FREE = 0.1  # of the minutes that a recipe is fitted to, for pictures, samples, checkpoints and the export
DECODED = 16  # pictures decoded to predict how long preparing takes


@dataclass(frozen=True)
class DryRun:
    """The size and speed of a run.

    Attributes:
        config: resolved, as TOML.
        place: resolved device, precision and memory layout.
        parameters: number of parameters, by network.
        memory: bytes: weights, gradients, optimisers, average, and what a step keeps for its backward pass.
        images_per_second: of the last stage's step alone, without reading pictures.
        seconds_per_step: the same.
        measured: pictures in the steps that were measured; if fewer than a batch, what a batch takes is
            predicted from them.
        images: pictures of the whole run; None where its end does not say.
        training_seconds: predicted time of all steps and samples; None where `images` is.
        pictures: number of pictures to prepare; 0 where they are streamed, or none are named.
        preparing_seconds: predicted time to prepare them, if they are not yet.
    """

    config: str
    place: Place
    parameters: dict[str, int]
    memory: int
    images_per_second: float
    seconds_per_step: float
    measured: int
    images: int | None
    training_seconds: float | None
    pictures: int
    preparing_seconds: float


def dry_run(config: Config) -> DryRun:
    """Build the networks, and measure a few steps of each stage on noise. Write nothing.

    Raises:
        ConfigError: settings that do not fit together.
        DataError: pictures are named, and there are none.
        DependencyError: the device is missing.
    """
    place = choose_place(config.train)
    pictures, preparing = _predict_preparing(config)
    with fork_random_numbers(place.device, config.train.seed):
        learner = Learner(config, place)
        batch = _make_noise(learner)
        learner.images_seen = max(phase.start_images for phase in learner.system.phases())  # the last stage
        saved = _measure_saved_bytes(learner, batch)
        seconds = _time_step(learner, batch)
        images = Limits(config.train, pictures * (1 - config.data.validation_share)).images
        total = None
        if images is not None:
            total = _predict_steps(learner, batch, images) + _predict_sampling(learner, batch, images)
    parameters = learner.count_parameters()
    # Weights, gradients and Adam's two numbers each; the average; what a step keeps.
    memory = 16 * sum(parameters.values()) + 4 * parameters["generator"] + saved
    if place.device.type == "cuda":
        memory = max(memory, torch.cuda.max_memory_reserved(place.device))
    rate = config.train.batch / seconds
    return DryRun(
        config=config_to_toml(config),
        place=place,
        parameters=parameters,
        memory=memory,
        images_per_second=rate,
        seconds_per_step=seconds,
        measured=len(batch.image),
        images=images,
        training_seconds=total,
        pictures=pictures,
        preparing_seconds=preparing,
    )


def fit_config(config: Config, minutes: float) -> Config:
    """Scale a recipe down to as many pictures as get through all of its stages here in some minutes.

    Args:
        config: a config that sets `train.images`; one that ends sooner is returned as it is.
        minutes: minutes of training.

    Raises:
        ConfigError: as `dry_run`, or there is no number of pictures to scale.
        DependencyError: the device is missing.
    """
    place, images = choose_place(config.train), config.train.images or 0
    with fork_random_numbers(place.device, config.train.seed):
        learner = Learner(config, place)
        seconds = _predict_steps(learner, _make_noise(learner), images)
    share = (1 - FREE) * 60 * minutes / max(seconds, 1e-9)
    return rescale_config(config, max(config.train.batch, int(share * images))) if share < 1 else config


def fit_run(config: Config, folder: Path, minutes: float) -> Config:
    """Scale a run's recipe down by `fit_config`; a run that has begun keeps its number of pictures.

    Args:
        config: config of the run; one without `train.images` is returned as it is.
        folder: folder of the run.
        minutes: minutes of training.
    """
    if config.train.images is None:
        return config
    if not os.path.isfile(folder / run_folder.CONFIG):
        return fit_config(config, minutes)
    known = read_config(folder / run_folder.CONFIG).train.images
    return config if known in (None, config.train.images) else rescale_config(config, known)


def _predict_steps(learner: Learner, batch: MaskedBatch, images: int) -> float:
    """Return the seconds that all steps of a run take, from one of each stage.

    Stages differ by half the side or the whole, and by the phases that are due.
    """
    half = learner.config.data.half_size_images
    starts = [half, *(phase.start_images for phase in learner.system.phases())]
    bounds = sorted({0, images, *(min(each, images) for each in starts)})
    seconds = 0.0
    for start, end in pairwise(bounds):
        learner.images_seen = start
        part = halve_batch(batch) if start < half else batch
        learner.take_step(part)
        seconds += (end - start) / learner.config.train.batch * _time_step(learner, part)
    return seconds


def _time_step(learner: Learner, batch: MaskedBatch) -> float:
    """Return the seconds of a step of the config's batch, once the first was taken."""
    _synchronize(learner.place)
    begun = time.perf_counter()
    for _ in range(STEPS):
        learner.take_step(batch)
    _synchronize(learner.place)
    return (time.perf_counter() - begun) / STEPS * learner.config.train.batch / len(batch.image)


def _measure_saved_bytes(learner: Learner, batch: MaskedBatch) -> int:
    """Return the bytes that a step of the config's batch keeps for its backward pass.

    They are a constant and as much for each picture, so that two steps of other sizes predict them.
    """
    count, train = len(batch.image), learner.config.train
    saved = _take_counted_step(learner, batch)
    if count == train.batch:
        return saved
    half = count // train.accumulate // 2 * train.accumulate
    few = _take_counted_step(learner, MaskedBatch(batch.image[:half].clone(), batch.mask[:half].clone()))
    return saved + (saved - few) * (train.batch - count) // (count - half)


def _take_counted_step(learner: Learner, batch: MaskedBatch) -> int:
    saved = _SavedBytes()
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, saved.unpack):
        learner.take_step(batch)
    return saved.peak


def _predict_sampling(learner: Learner, batch: MaskedBatch, images: int) -> float:
    """Return the seconds that all sample grids of a run take."""
    train = learner.config.train
    count = min(train.samples, len(batch.image))
    few = MaskedBatch(batch.image[:count], batch.mask[:count])
    _synchronize(learner.place)
    begun = time.perf_counter()
    learner.fill(few)
    _synchronize(learner.place)
    seconds = (time.perf_counter() - begun) * train.samples / count
    return seconds * (images / train.batch // train.sample_every + 1)


def _predict_preparing(config: Config) -> tuple[int, float]:
    """Return the number of pictures to prepare, and the seconds that takes, from a few of them."""
    data = config.data
    if data.streamed or not data.paths:
        return 0, 0.0
    items, _ = list_items(find_sources(data.paths))
    few = items[:: max(1, len(items) // DECODED)][:DECODED]
    begun = time.perf_counter()
    for _ in decode_items(few, data.decoded_size, data.workers):
        pass
    return len(items), (time.perf_counter() - begun) / max(1, len(few)) * len(items)


class _Holder:
    """A tensor that autograd saves; its life is that of the saving."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _SavedBytes:
    """Number of bytes that autograd keeps for the backward pass, each piece of memory once."""

    def __init__(self) -> None:
        self.peak = 0
        self._now = 0
        self._users: Counter[int] = Counter()

    def pack(self, tensor: Tensor) -> Tensor | _Holder:
        """Hold a tensor that autograd saves; weights are not counted, as they are there anyway."""
        if isinstance(tensor, nn.Parameter):
            return tensor
        holder, storage = _Holder(tensor), tensor.untyped_storage()
        self._change(storage.data_ptr(), storage.nbytes(), 1)
        weakref.finalize(holder, self._change, storage.data_ptr(), storage.nbytes(), -1)
        return holder

    @staticmethod
    def unpack(held: Tensor | _Holder) -> Tensor:
        """Return what was packed."""
        return held.tensor if isinstance(held, _Holder) else held

    def _change(self, place: int, size: int, users: int) -> None:
        before = bool(self._users[place])
        self._users[place] += users
        self._now += size * (bool(self._users[place]) - before)
        self.peak = max(self.peak, self._now)


def _make_noise(learner: Learner) -> MaskedBatch:
    """Make a batch of noise with the config's holes; on a CPU of `MEASURED` pictures at most."""
    config, place = learner.config, learner.place
    count, side = config.train.batch, config.data.image_size
    if place.device.type == "cpu":
        parts = config.train.accumulate
        count = min(count, parts * max(2, MEASURED // parts))
    masks = find_hole_maker(config.holes)(np.random.default_rng(config.train.seed), count, side, side)
    image = torch.rand(count, 3, side, side).to(place.device)
    if place.channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    return MaskedBatch(image, torch.from_numpy(masks[:, None]).float().to(place.device))


def _synchronize(place: Place) -> None:
    if place.device.type == "cuda":
        torch.cuda.synchronize(place.device)
