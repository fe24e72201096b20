"""Optimisers, learning rates, and the moving average of the weights."""

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from infilling.learning.settings import OptimizerSettings

KINDS: dict[str, type[torch.optim.Adam] | type[torch.optim.AdamW]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(
    parameters: Iterable[Tensor], settings: OptimizerSettings, *, capturable: bool = False
) -> torch.optim.Optimizer:
    """Make a network's optimiser. Its rate is set before every step, by `set_rate` from `find_rate`.

    Args:
        parameters: weights that it moves, all on one device.
        settings: kind and numbers of the optimiser.
        capturable: whether a step can be captured as a CUDA graph; the rate is then a tensor.
    """
    parameters = list(parameters)
    rate: float | Tensor = settings.lr
    if capturable:
        rate = torch.tensor(settings.lr, device=parameters[0].device)
    return KINDS[settings.kind](
        parameters,
        lr=rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,  # one pass over memory, on the CPU too
        capturable=capturable,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of another run's optimiser, which may not have been capturable, or on another device.

    Raises:
        ValueError, KeyError: it is of other parameters.
    """
    own = [(group["lr"], group["capturable"]) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, (rate, capturable) in zip(optimizer.param_groups, own, strict=True):
        group.update(lr=rate, capturable=capturable)


def find_rate(settings: OptimizerSettings, images_seen: int) -> float:
    """Return the learning rate after N pictures: a linear rise, then constant, half a cosine, or two.

    >>> settings = OptimizerSettings(lr=1.0, schedule="cosine", warmup_images=10, decay_images=110)
    >>> [round(find_rate(settings, seen), 3) for seen in (0, 5, 10, 60, 110, 500)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """
    if images_seen < settings.warmup_images:
        return settings.lr * images_seen / settings.warmup_images
    if settings.schedule == "constant" or settings.decay_images is None:
        return settings.lr
    begin, end, highest = settings.warmup_images, settings.decay_images, settings.lr
    if settings.restart_images and images_seen < settings.restart_images:
        end = settings.restart_images
    elif settings.restart_images:
        begin, highest = settings.restart_images, settings.lr * settings.restart_share
    cosine = 0.5 * (1 + math.cos(math.pi * min((images_seen - begin) / (end - begin), 1.0)))
    return highest * (settings.final_share + (1 - settings.final_share) * cosine)


class Ema:
    """A copy of the generator whose weights are moving averages.

    Buffers, such as those of batch norm, are copied as they are.

    Args:
        generator: network to follow; the average starts as its copy.
        half_life_images: pictures after which a weight's share has halved; 0: an exact copy.
        ramp: the half-life is at most this share of the pictures seen.
    """

    def __init__(self, generator: nn.Module, half_life_images: float, ramp: float) -> None:
        self.generator = copy.deepcopy(generator).eval().requires_grad_(False)
        self._half_life_images = half_life_images
        self._ramp = ramp

    @torch.no_grad()
    def update(self, generator: nn.Module, batch: int, images_seen: int) -> None:
        """Follow one step of `batch` pictures, before which `images_seen` were seen."""
        half_life = min(self._half_life_images, self._ramp * images_seen)
        share = 1 - 0.5 ** (batch / half_life) if half_life > 0 else 1.0
        torch._foreach_lerp_(list(self.generator.parameters()), list(generator.parameters()), share)
        for mine, theirs in zip(self.generator.buffers(), generator.buffers(), strict=True):
            mine.copy_(theirs)
