"""`push-pull-unet`: a U-Net that corrects a push–pull pre-fill, trained by L1 first, then by critics."""

from typing import Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt
from torch import Tensor
from torch.nn import functional as F

from infilling.learning.critics import (
    Critics,
    match_features,
    mean_covered,
    shift_together,
)
from infilling.learning.features import SqueezeNet, perceptual_distance
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.scalars import D_FAKE_BEFORE, D_REAL
from infilling.learning.system import Channels, Losses
from infilling.learning.two_stage import TwoStageSettings, TwoStageSystem
from infilling.learning.unet import Generator

PERCEPTUAL_LAYERS = ("conv1", "fire4", "fire8")
CRITIC_LAYERS = {"fire3": 128, "fire4": 256, "fire8": 512}  # and their channels
SEEN_LAYERS = ("conv1", *CRITIC_LAYERS)


class Settings(TwoStageSettings):
    """Widths, and the weights and stages of the losses."""

    name: Literal["push-pull-unet"] = "push-pull-unet"
    prefill: bool = True
    """False: the hole is grey to begin with; what the pre-fill is worth."""
    attention: bool = True
    """False: dilations up to 8 in its place; what looking everywhere is worth."""
    critic_width: Channels = 48
    l1_weight: NonNegativeFloat = 1.0
    perceptual_weight: NonNegativeFloat = 0.2
    adversarial_weight: NonNegativeFloat = 0.5
    adversary_ramp_images: NonNegativeInt = 10_000


class PushPullUNet(TwoStageSystem):
    """A U-Net over a pre-fill, whose critics look through SqueezeNet.

    Its loss is the non-saturating one: the generator's side of a hinge crosses zero, so that nobody could say
    whether it is steady.
    """

    generator: Generator
    discriminator: Critics
    features: SqueezeNet

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, multiple_of=8, feature_layers=SEEN_LAYERS)
        self.settings: Settings = settings
        self.generator = Generator(
            settings.widths, settings.depth, prefill=settings.prefill, attention=settings.attention
        )
        self.discriminator = Critics(settings.critic_width, CRITIC_LAYERS if self.needs_features else {})

    def generate(self, batch: MaskedBatch) -> Tensor:
        """Return the composited picture (N, 3, H, W) in about [0, 1]."""
        composited: Tensor = self.generator(batch.image, batch.mask)
        return composited

    def discriminator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """−log σ(D(x)) − log(1 − σ(D(x̂))) over covered cells, σ of their scores, as a mean over critics."""
        image, generated, mask = shift_together(batch.image, generated.detach(), batch.mask)
        with torch.no_grad():
            seen_real, seen_fake = self._see(image), self._see(generated)
        real = [scores.float() for scores, _ in self.discriminator(image, mask, seen_real)]
        fake = [scores.float() for scores, _ in self.discriminator(generated, mask, seen_fake)]
        loss = mean_covered([F.softplus(-each) for each in real], mask)
        loss = loss + mean_covered([F.softplus(each) for each in fake], mask)
        return loss, {D_REAL: _find_chance(real, mask), D_FAKE_BEFORE: _find_chance(fake, mask)}

    def generator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """L1 over the hole; in the second stage also perceptual distance, and the critics' terms, ramped."""
        settings, hole = self.settings, batch.mask.float()
        error = (generated.float() - batch.image).abs().sum(dim=(1, 2, 3))
        l1 = (error / (3 * hole.sum(dim=(1, 2, 3)).clamp_min(1))).mean()
        if self.is_first_stage:
            return self.compare(l1)
        image, generated, mask = shift_together(batch.image, generated, hole)
        with torch.no_grad():
            target = self._see(image)
        seen = self._see(generated)
        perceptual = None
        if self.needs_features:
            perceptual = perceptual_distance(seen, target, PERCEPTUAL_LAYERS, mask).mean()
        compared = self.compare(l1, perceptual)
        if not (settings.adversarial_weight or settings.feature_matching_weight):
            return compared
        with torch.no_grad():
            wanted = self.discriminator(image, mask, target)
        found = self.discriminator(generated, mask, seen)
        scores = [scores.float() for scores, _ in found]
        adversarial = mean_covered([F.softplus(-each) for each in scores], mask)
        return self.add_critics(
            compared, adversarial, match_features(found, wanted), _find_chance(scores, mask)
        )

    def _see(self, image: Tensor) -> dict[str, Tensor]:
        """Return the features of a picture; none without a feature network."""
        return self.features.layers(image, SEEN_LAYERS) if self.needs_features else {}


def _find_chance(scores: list[Tensor], mask: Tensor) -> Tensor:
    """Return how likely the critics find covered cells to be true, for the log alone."""
    return mean_covered([each.sigmoid() for each in scores], mask).detach()
