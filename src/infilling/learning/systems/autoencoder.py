"""`autoencoder`: the baseline without an adversary.

It encodes the masked picture, decodes a whole one, and is judged by the distance between the two alone, so it
fills with means: smooth, without texture.

Its widths are those of `context-encoder`, but it is convolutional throughout: any size, a hole anywhere.
"""

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from infilling.learning.layers import double, halve, init_normal
from infilling.learning.losses import RECONSTRUCTIONS, Reconstruction
from infilling.learning.masked_batch import MaskedBatch, paste
from infilling.learning.scalars import RECONSTRUCTION
from infilling.learning.system import AnySizeSettings, Losses, System
from infilling.pictures.frame import SizeRule

REDUCTION = 32  # pixels of the picture per place of the code, along each side


class Settings(AnySizeSettings):
    """The report names the system without figures; these are our choice."""

    name: Literal["autoencoder"] = "autoencoder"
    width: int = Field(default=64, ge=4, le=65_536)
    """Channels of the first layer; the code has 8 times as many."""
    reconstruction: Reconstruction = "l1"
    hole_weight: NonNegativeFloat = 6.0
    """Weight of an error inside the hole."""
    known_weight: NonNegativeFloat = 1.0
    """Weight of an error outside it, where an autoencoder learns to see."""


class Generator(nn.Module):
    """Encoder to 1/32 of the side and decoder back, without skips. 10,366,851 parameters at width 64."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = width
        self.encoder = nn.Sequential(
            halve(4, w, norm=False), halve(w, w), halve(w, 2 * w), halve(2 * w, 4 * w), halve(4 * w, 8 * w)
        )
        # Wide enough that every place of the code has seen past a hole of half the picture's side.
        self.code = nn.Sequential(*(_look_round(8 * w) for _ in range(2)))
        self.decoder = nn.Sequential(
            double(8 * w, 4 * w),
            double(4 * w, 2 * w),
            double(2 * w, w),
            double(w, w),
            nn.ConvTranspose2d(w, 3, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        init_normal(self)

    def forward(self, masked: Tensor, mask: Tensor) -> Tensor:
        """Encode and decode the known part of a picture.

        Args:
            masked: (N, 3, H, W) in [-1, 1], hole 0, sides multiples of 32.
            mask: (N, 1, H, W) in {0, 1}, 1 = hole.

        Returns:
            (N, 3, H, W) in [-1, 1].
        """
        seen = torch.cat([masked, mask], dim=1)
        filled: Tensor = self.decoder(self.code(self.encoder(seen)))
        return filled


def _look_round(channels: int) -> nn.Sequential:
    """Return a 3×3 convolution, batch norm, LeakyReLU."""
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, inplace=True))


class Autoencoder(System):
    """One network, one loss: L1 or L2, weighing the hole more."""

    generator: Generator

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings: Settings = settings
        self.size_rule = SizeRule(multiple_of=REDUCTION, working_size=settings.working_size)
        self.generator = Generator(settings.width)

    def generate(self, batch: MaskedBatch) -> Tensor:
        """(N, 3, H, W) in [-1, 1]."""
        filled: Tensor = self.generator((2 * batch.image - 1) * (1 - batch.mask), batch.mask)
        return filled

    def generator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """Return the mean over all pixels of hole or known weight × |error| or error², in [-1, 1]."""
        settings = self.settings
        weight = settings.hole_weight * batch.mask + settings.known_weight * (1 - batch.mask)
        loss = RECONSTRUCTIONS[settings.reconstruction](generated, 2 * batch.image - 1, weight)
        return loss, {RECONSTRUCTION: loss}

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the decoded picture, inside the hole."""
        filled: Tensor = (self.generator((2 * image - 1) * (1 - mask), mask) + 1) / 2
        return paste(image, filled, mask)
