"""`context-encoder`: Pathak et al., "Context Encoders: Feature Learning by Inpainting", CVPR 2016.

The generator sees the picture round a hole and gives the hole's content; the discriminator judges contents.
One file for three of them, which differ in their settings:

- the release (github.com/pathak22/context-encoder, `train.lua`): 128 px, the central 64 px missing;
- the report's theory chapter: 256 px, the central 128 px missing, L1 · 100 + BCE;
- the random-region variant (`train_random.lua`): the whole picture is generated, so the hole may be anywhere.

One thing differs from the release: it leaves the outer 4 px of the missing square in the encoder's sight, so
that its true hole has 56 px. Here the mask alone says what is hidden, and those 4 px are the ring that weighs
more.
"""

from itertools import pairwise
from typing import Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from infilling.errors import ConfigError
from infilling.learning import systems
from infilling.learning.layers import double, halve, init_normal
from infilling.learning.losses import (
    ADVERSARIES,
    RECONSTRUCTIONS,
    AdversaryName,
    Reconstruction,
    add_adversary,
    measure_chances,
    weigh_ring,
)
from infilling.learning.masked_batch import MaskedBatch, paste
from infilling.learning.system import Channels, Losses, System, SystemSettings
from infilling.pictures.frame import SizeRule

CODE_SIDE = 4  # the encoder halves the picture down to 4×4, the decoder starts from there


class Settings(SystemSettings):
    """The release's figures; the configs have the theory chapter's and the random-region variant's."""

    name: Literal["context-encoder"] = "context-encoder"
    image_size: int = Field(default=128, ge=32, le=4096)
    """Side of the pictures, a power of two; the hole is their central half."""
    width: int = Field(default=64, ge=4, le=65_536)
    """Channels of the first layer of both networks."""
    bottleneck: Channels = 4000
    """Channels of the one place that everything passes through."""
    output: Literal["center", "picture"] = "center"
    """What is generated: the central half, or the whole picture for holes anywhere."""
    discriminates: Literal["region", "completed"] = "region"
    """What the discriminator sees: the generator's output alone, or the picture completed with it."""
    adversary: AdversaryName = "non-saturating"
    adversarial_weight: NonNegativeFloat = 0.001
    reconstruction: Reconstruction = "l2"
    reconstruction_weight: NonNegativeFloat = 0.999
    ring: NonNegativeInt = 4
    """Pixels along the central half's border that weigh `ring_weight`. Of a whole picture, if this is not 0,
    all known pixels do (the release's `useOverlapPred`)."""
    ring_weight: NonNegativeFloat = 10.0
    slope: NonNegativeFloat = 0.2
    """Of the discriminator's LeakyReLU: 0.2 in the release and the report's code, 0.01 in its text."""
    hole_color: tuple[float, float, float] = (117 / 255, 104 / 255, 123 / 255)
    """Colour of the hole for the encoder, RGB in [0, 1]: the mean colour, in the release's own figures."""

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        if self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size must be a power of two, not {self.image_size}")
        return self

    @property
    def output_size(self) -> int:
        """Side of what the generator gives, pixels."""
        return self.image_size // 2 if self.output == "center" else self.image_size


class Generator(nn.Module):
    """Encoder to one place and decoder up to the hole's size, without skips. No convolution has a bias.

    71,124,544 parameters for 128 → 64 px at width 64 with 4000 channels between. The release has biases, and
    sets them to zero before every step.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        down = _list_widths(settings.width, settings.image_size)
        up = _list_widths(settings.width, settings.output_size)[::-1]
        narrow = settings.bottleneck
        self.encoder = nn.Sequential(
            halve(3, down[0], norm=False),
            *(halve(inputs, outputs) for inputs, outputs in pairwise(down)),
        )
        self.bottleneck = nn.Sequential(
            nn.Conv2d(down[-1], narrow, CODE_SIDE, bias=False),
            nn.BatchNorm2d(narrow),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose2d(narrow, up[0], CODE_SIDE, bias=False),
            nn.BatchNorm2d(up[0]),
            nn.ReLU(inplace=True),
        )
        self.decoder = nn.Sequential(
            *(double(inputs, outputs) for inputs, outputs in pairwise(up)),
            nn.ConvTranspose2d(up[-1], 3, 4, stride=2, padding=1, bias=False),
            nn.Tanh(),
        )
        init_normal(self)

    def forward(self, masked: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1], the hole in one colour → (N, 3, output size, output size) in [-1, 1]."""
        filled: Tensor = self.decoder(self.bottleneck(self.encoder(masked)))
        return filled


class Discriminator(nn.Module):
    """Square picture → one logit, whose sigmoid is D. 2,765,568 parameters for 64 px at width 64."""

    def __init__(self, size: int, width: int = 64, slope: float = 0.2) -> None:
        super().__init__()
        down = _list_widths(width, size)
        self.layers = nn.Sequential(
            halve(3, down[0], norm=False, slope=slope),
            *(halve(a, b, slope=slope) for a, b in pairwise(down)),
            nn.Conv2d(down[-1], 1, CODE_SIDE, bias=False),
        )
        init_normal(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, size, size) in [-1, 1] → (N,)."""
        logits: Tensor = self.layers(image)
        return logits.flatten()


def _list_widths(width: int, size: int) -> list[int]:
    """List the channels after each halving down to 4×4: at last 2, 4, 8 times `width`, before that 1.

    >>> _list_widths(64, 128)
    [64, 64, 128, 256, 512]
    """
    halvings = (size // CODE_SIDE).bit_length() - 1
    return [max(1, 2 ** (3 - back)) * width for back in range(halvings - 1, -1, -1)]


class ContextEncoder(System):
    """Reconstruction plus adversary on the hole's content."""

    generator: Generator
    discriminator: Discriminator
    hole_color: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings: Settings = settings
        holes: Literal["any", "center"] = "center" if settings.output == "center" else "any"
        self.size_rule = SizeRule(fixed_size=settings.image_size, holes=holes)
        self.generator = Generator(settings)
        judged = settings.output_size if settings.discriminates == "region" else settings.image_size
        self.discriminator = Discriminator(judged, settings.width, settings.slope)
        self.adversary = ADVERSARIES[settings.adversary]
        self.register_buffer(
            "hole_color", torch.tensor(settings.hole_color).view(1, 3, 1, 1), persistent=False
        )

    def generate(self, batch: MaskedBatch) -> Tensor:
        """Return the hole's content, or the whole picture, in [-1, 1].

        Raises:
            ConfigError: a hole is not the one that this system fills.
        """
        if self.settings.output == "center" and not torch.equal(batch.mask, self._expected_mask(batch.mask)):
            side, size = self.settings.output_size, self.settings.image_size
            raise ConfigError(
                f"context-encoder fills the central {side}×{side} px and was given other holes: set "
                'holes.kind to "center", or system.output to "picture" for holes anywhere; '
                f"{systems.suggest_systems(size)}"
            )
        return self._run(batch.image, batch.mask)

    def discriminator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """Return the adversary's loss on true contents against generated ones."""
        real = self.discriminator(self._judged(batch, self._target(batch)))
        fake = self.discriminator(self._judged(batch, generated.detach()))
        return self.adversary.discriminator(real, fake), measure_chances(real, fake)

    def generator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """Return the weighted sum of the adversary's loss and the reconstruction's, ring-weighted."""
        settings = self.settings
        fake = self.discriminator(self._judged(batch, generated))
        adversarial = self.adversary.generator(fake)
        distance = RECONSTRUCTIONS[settings.reconstruction]
        reconstruction = distance(generated, self._target(batch), self._weigh(batch))
        weights = (settings.adversarial_weight, settings.reconstruction_weight)
        return add_adversary(weights, adversarial, reconstruction, fake)

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Paste the generated content into the hole."""
        return paste(image, self._place((self._run(image, mask) + 1) / 2), mask)

    def _run(self, image: Tensor, mask: Tensor) -> Tensor:
        filled: Tensor = self.generator(2 * paste(image, self.hole_color, mask) - 1)
        return filled

    def _expected_mask(self, mask: Tensor) -> Tensor:
        """Return the central half, in the shape of `mask`."""
        return self._place(torch.ones_like(mask[..., : mask.shape[-2] // 2, : mask.shape[-1] // 2]))

    def _target(self, batch: MaskedBatch) -> Tensor:
        """Return the target of the generator, in [-1, 1]."""
        image = 2 * batch.image - 1
        if self.settings.output == "picture":
            return image
        start, side = self.settings.image_size // 4, self.settings.output_size
        return image[..., start : start + side, start : start + side]

    def _judged(self, batch: MaskedBatch, content: Tensor) -> Tensor:
        """Return the discriminator's input: the content alone, or the picture completed with it."""
        if self.settings.discriminates == "region":
            return content
        return paste(2 * batch.image - 1, self._place(content), batch.mask)

    def _weigh(self, batch: MaskedBatch) -> Tensor | None:
        settings = self.settings
        if settings.ring == 0:
            return None
        if settings.output == "picture":
            return batch.mask + settings.ring_weight * (1 - batch.mask)
        side = settings.output_size
        return weigh_ring(side, side, ring=settings.ring, weight=settings.ring_weight).to(batch.image.device)

    def _place(self, content: Tensor) -> Tensor:
        """Place a content in the picture's square, zeros around it."""
        if self.settings.output == "picture":
            return content
        margin = self.settings.image_size // 4
        return F.pad(content, (margin, margin, margin, margin))
