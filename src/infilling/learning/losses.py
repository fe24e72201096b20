"""Losses: pure functions of tensors that return one scalar, computed in fp32 whatever autocast does.

Adversarial losses take the discriminator's *logits*, of any shape, and average over all of them.
Reconstruction losses take two pictures of one shape and, where it makes sense, a weight for every pixel.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from infilling.learning.scalars import D_FAKE_AFTER, D_FAKE_BEFORE, D_REAL, LOSS_G, RECONSTRUCTION

# -- adversarial ------------------------------------------------------------------------------------------


def bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """−log D(x) − log(1 − D(x̂)), D = sigmoid of the logits (Goodfellow et al. 2014).

    The same as `BCE(D(x), 1) + BCE(D(x̂), 0)`, without the logarithm of a rounded sigmoid.
    """
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """−log D(x̂): the same as `BCE(D(x̂), 1)`; strong where D is sure (Goodfellow et al. 2014)."""
    return F.softplus(-fake.float()).mean()


def saturating_generator(fake: Tensor) -> Tensor:
    """log(1 − D(x̂)): the minimax loss; it fades where the discriminator is sure."""
    return -F.softplus(fake.float()).mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 − x) for real logits plus max(0, 1 + x) for fake ones (Lim & Ye 2017)."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """Return the generator's side of the hinge: −mean(logits)."""
    return -fake.float().mean()


class Adversary(NamedTuple):
    """The two sides of one adversarial loss.

    Attributes:
        discriminator: `(real logits, fake logits) -> scalar`.
        generator: `(fake logits) -> scalar`.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


AdversaryName = Literal["non-saturating", "saturating", "hinge"]
ADVERSARIES: dict[AdversaryName, Adversary] = {
    "non-saturating": Adversary(bce_discriminator, non_saturating_generator),
    "saturating": Adversary(bce_discriminator, saturating_generator),
    "hinge": Adversary(hinge_discriminator, hinge_generator),
}
"""By the name that a system's settings use."""


def measure_chances(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Return how likely a discriminator finds true and generated pictures to be true, from its logits."""
    return {D_REAL: real.float().sigmoid().mean(), D_FAKE_BEFORE: fake.float().sigmoid().mean()}


def add_adversary(
    weights: tuple[float, float], adversarial: Tensor, reconstruction: Tensor, fake: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a generator's weighted loss and its scalars; `fake` are the logits of what was generated."""
    loss = weights[0] * adversarial + weights[1] * reconstruction
    chance = fake.float().sigmoid().mean()
    return loss, {LOSS_G: adversarial, RECONSTRUCTION: reconstruction, D_FAKE_AFTER: chance}


# -- reconstruction ---------------------------------------------------------------------------------------


def l1(filled: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of weight × |filled − target| over all pixels and channels.

    The sum is divided by the number of values, not by the sum of the weights.

    Args:
        filled: (N, C, H, W).
        target: (N, C, H, W).
        weight: broadcasts to them, for example (1, 1, H, W); None: 1 everywhere.
    """
    return _mean((filled.float() - target.float()).abs(), weight)


def l2(filled: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of weight × (filled − target)²; see `l1`."""
    return _mean((filled.float() - target.float()).square(), weight)


Reconstruction = Literal["l1", "l2"]
Distance = Callable[[Tensor, Tensor, Tensor | None], Tensor]
RECONSTRUCTIONS: dict[Reconstruction, Distance] = {"l1": l1, "l2": l2}
"""`(filled, target, weight) -> scalar`, by the name that a system's settings use."""


def weigh_ring(height: int, width: int, *, ring: int = 7, weight: float = 10.0) -> Tensor:
    """Return weights that stress a patch's border, where the seam is: `weight` in a ring, 1 inside it.

    >>> weigh_ring(3, 4, ring=1, weight=10.0)[0, 0].tolist()
    [[10.0, 10.0, 10.0, 10.0], [10.0, 1.0, 1.0, 10.0], [10.0, 10.0, 10.0, 10.0]]

    Args:
        height: height of the patch, pixels.
        width: width of the patch, pixels.
        ring: width of the ring, pixels.
        weight: weight in the ring.

    Returns:
        (1, 1, height, width) float32.
    """
    weights = torch.full((1, 1, height, width), weight)
    weights[..., ring : height - ring, ring : width - ring] = 1.0
    return weights


def total_variation(image: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute step between neighbours, down plus across; with a mask, only steps that touch the hole.

    Args:
        image: (N, C, H, W).
        mask: (N, 1, H, W) in {0, 1}; the mean is over the steps that touch it.
    """
    image = image.float()
    total = image.new_zeros(())
    for axis in (-2, -1):
        steps = image.diff(dim=axis).abs()
        if mask is None:
            total = total + steps.mean()
            continue
        length = mask.shape[axis] - 1
        touching = torch.maximum(mask.narrow(axis, 0, length), mask.narrow(axis, 1, length)).float()
        total = total + (steps * touching).sum() / (touching.sum() * image.shape[1]).clamp_min(1)
    return total


def _mean(difference: Tensor, weight: Tensor | None) -> Tensor:
    return (difference if weight is None else difference * weight).mean()
