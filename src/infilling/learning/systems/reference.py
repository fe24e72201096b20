"""`reference`: the GAN of the report this project began with, for one block in a picture of 128 px.

The generator sees the masked picture and gives a 64×64 patch, the content of the block. The discriminator
sees patches only: the true content of the block, resized to 64×64, or the generator's. `Settings` and `docs/`
say what was chosen where the report is silent.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn

from infilling.learning.layers import (
    FromPoint,
    SelfAttention,
    ToPoint,
    crop_boxes,
    double,
    find_boxes,
    halve,
    init_normal,
    paste_patches,
)
from infilling.learning.losses import (
    RECONSTRUCTIONS,
    Reconstruction,
    add_adversary,
    bce_discriminator,
    measure_chances,
    non_saturating_generator,
    weigh_ring,
)
from infilling.learning.masked_batch import MaskedBatch, paste
from infilling.learning.system import Losses, System, SystemSettings
from infilling.pictures.frame import SizeRule

IMAGE_SIZE = 128
PATCH_SIZE = 64


class Settings(SystemSettings):
    """The report's figures; the ring is ours, as it never shows its weights."""

    name: Literal["reference"] = "reference"
    width: int = Field(default=64, ge=4, le=65_536)
    """Channels of the first layer of both networks; less than 64 only where the result does not matter."""
    adversarial_weight: NonNegativeFloat = 0.01
    reconstruction: Reconstruction = "l2"
    reconstruction_weight: NonNegativeFloat = 0.99
    ring: NonNegativeInt = 7
    """Pixels along the patch's border that weigh more, so that the seam fits."""
    ring_weight: NonNegativeFloat = 10.0
    """What they weigh; inside it is 1."""


class Generator(nn.Module):
    """Encoder to one point and back up to half the input's side, with skips from the encoder.

    41,894,656 parameters at width 64. No convolution has a bias.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = width
        self.enc1 = halve(3, w, norm=False)
        self.enc2 = halve(w, w)
        self.enc3 = halve(w, 2 * w)
        self.enc4 = halve(2 * w, 4 * w)
        self.enc5 = halve(4 * w, 8 * w)
        self.bottleneck = nn.Sequential(
            ToPoint(8 * w, 32 * w, 4),
            nn.BatchNorm2d(32 * w),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.dec1 = nn.Sequential(
            FromPoint(32 * w, 8 * w, 4),
            nn.BatchNorm2d(8 * w),
            nn.ReLU(inplace=True),
            nn.Dropout(0.2),
        )
        self.dec2 = double(16 * w, 4 * w)
        self.dec3 = double(8 * w, 2 * w)
        self.dec4 = double(4 * w, w)
        self.dec5 = nn.Sequential(nn.ConvTranspose2d(2 * w, 3, 4, stride=2, padding=1, bias=False), nn.Tanh())
        init_normal(self)

    def forward(self, masked: Tensor) -> Tensor:
        """(N, 3, 128, 128) in [-1, 1], hole 0 → (N, 3, 64, 64) in [-1, 1]."""
        enc2 = self.enc2(self.enc1(masked))
        enc3 = self.enc3(enc2)
        enc4 = self.enc4(enc3)
        enc5 = self.enc5(enc4)
        x: Tensor = self.dec1(self.bottleneck(enc5))
        for decode, skip in [(self.dec2, enc5), (self.dec3, enc4), (self.dec4, enc3), (self.dec5, enc2)]:
            x = decode(torch.cat([x, skip], dim=1))
        return x


class Discriminator(nn.Module):
    """64×64 patch → one probability of being true. 2,786,209 parameters at width 64."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = width
        self.layer1 = halve(3, w, norm=False)
        self.layer2 = nn.Sequential(*halve(w, 2 * w), nn.Dropout2d(0.25))
        self.attention = SelfAttention(2 * w)
        self.layer3 = halve(2 * w, 4 * w)
        self.layer4 = halve(4 * w, 8 * w)
        self.layer5 = nn.Conv2d(8 * w, 1, 4, bias=False)
        init_normal(self)

    def forward(self, patch: Tensor, *, logits: bool = False) -> Tensor:
        """(N, 3, 64, 64) in [-1, 1] → (N,) in [0, 1].

        With `logits`, the values before the sigmoid: from them the losses' logarithms are exact where D is
        near 0 or 1.
        """
        x: Tensor = self.attention(self.layer2(self.layer1(patch)))
        x = self.layer5(self.layer4(self.layer3(x))).flatten()
        return x if logits else x.sigmoid()


class Patches(NamedTuple):
    """The patches of one step, both (N, 3, 64, 64) in [-1, 1]."""

    filled: Tensor
    target: Tensor


class Reference(System):
    """The report's losses, and the crop and paste that a patch generator needs.

    A hole that is not one block is filled through its bounding box: the whole box is generated, and only the
    hole's pixels are read.
    """

    size_rule = SizeRule(fixed_size=IMAGE_SIZE, holes="block")

    generator: Generator
    discriminator: Discriminator
    ring: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings: Settings = settings
        self.generator = Generator(settings.width)
        self.discriminator = Discriminator(settings.width)
        ring = weigh_ring(PATCH_SIZE, PATCH_SIZE, ring=settings.ring, weight=settings.ring_weight)
        self.register_buffer("ring", ring)

    def generate(self, batch: MaskedBatch) -> Patches:
        """Generate the block, and cut out the true one."""
        image = 2 * batch.image - 1
        with torch.autocast(image.device.type, enabled=False):  # pictures stay exact whatever the networks do
            target = crop_boxes(image, find_boxes(batch.mask), PATCH_SIZE)
        return Patches(self.generator(image * (1 - batch.mask)), target)

    def discriminator_loss(self, batch: MaskedBatch, generated: Patches) -> Losses:
        """BCE(D(true), 1) + BCE(D(generated), 0)."""
        real = self.discriminator(generated.target, logits=True)
        fake = self.discriminator(generated.filled.detach(), logits=True)
        return bce_discriminator(real, fake), measure_chances(real, fake)

    def generator_loss(self, batch: MaskedBatch, generated: Patches) -> Losses:
        """0.01 · BCE(D(generated), 1) + 0.99 · MSE (or L1) weighted by the ring."""
        fake = self.discriminator(generated.filled, logits=True)
        adversarial = non_saturating_generator(fake)
        settings = self.settings
        distance = RECONSTRUCTIONS[settings.reconstruction]
        reconstruction = distance(generated.filled, generated.target, self.ring)
        weights = (settings.adversarial_weight, settings.reconstruction_weight)
        return add_adversary(weights, adversarial, reconstruction, fake)

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Generate the content of the hole's bounding box, resize it to the box, paste it into the hole."""
        patch = self.generator((2 * image - 1) * (1 - mask))
        boxes = find_boxes(mask)
        filled = paste_patches((patch + 1) / 2, boxes, image.shape[-2], image.shape[-1])
        return paste(image, filled, mask)
