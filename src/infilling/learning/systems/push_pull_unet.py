"""`push-pull-unet`: a U-Net that corrects a push–pull pre-fill, trained by L1 first, then by critics."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn
from torch.nn import functional as F

from infilling.learning.critics import (
    PHASES,
    FeatureCritic,
    Judgement,
    PixelCritic,
    match_features,
    mean_covered,
    shift,
)
from infilling.learning.features import SMALLEST_SIDE, SqueezeNet, perceptual_distance
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.system import Channels, Depth, Losses, Phase, Side, System, SystemSettings
from infilling.learning.unet import Generator, Width
from infilling.pictures.frame import SizeRule

PERCEPTUAL_LAYERS = ("conv1", "fire4", "fire8")
CRITIC_LAYERS = {"fire3": 128, "fire4": 256, "fire8": 512}  # and their channels
SEEN_LAYERS = ("conv1", *CRITIC_LAYERS)


class Settings(SystemSettings):
    """Widths, and the weights and stages of the losses."""

    name: Literal["push-pull-unet"] = "push-pull-unet"
    widths: tuple[Width, Width, Width] = (32, 80, 192)
    """Channels at 1/2, 1/4 and 1/8 of the side; multiples of 8."""
    working_size: Side = 128
    """Side of the pictures it learns from: the size at which it works best."""
    depth: Depth = 4
    """Residual blocks with self-attention at 1/8."""
    prefill: bool = True
    """False: the hole is grey to begin with; what the pre-fill is worth."""
    attention: bool = True
    """False: dilations up to 8 in its place; what looking everywhere is worth."""
    critic_width: Channels = 48
    l1_weight: NonNegativeFloat = 1.0
    perceptual_weight: NonNegativeFloat = 0.2
    """In the second stage. 0 trains without a feature file: the critics then see pixels alone."""
    adversarial_weight: NonNegativeFloat = 0.5
    feature_matching_weight: NonNegativeFloat = 10.0
    adversary_start_images: NonNegativeInt = 0
    """The first stage: pictures of L1 alone, which fills closest to the truth."""
    adversary_ramp_images: NonNegativeInt = 10_000
    """Pictures over which the adversarial terms then reach their weight."""


class Discriminator(nn.Module):
    """Critics of one picture: of its pixels, and of each layer of a feature network where there is one."""

    def __init__(self, width: int = 48, *, with_features: bool = True) -> None:
        super().__init__()
        self.pixels = PixelCritic(width)
        layers = CRITIC_LAYERS if with_features else {}
        self.heads = nn.ModuleDict({name: FeatureCritic(count, width) for name, count in layers.items()})

    def forward(self, image: Tensor, mask: Tensor, seen: Mapping[str, Tensor]) -> list[Judgement]:
        """Asks every critic.

        Args:
            image: (N, 3, H, W) in [0, 1], the composited picture.
            mask: (N, 1, H, W), 1 inside the hole.
            seen: name → (N, C, h, w), the layers of `CRITIC_LAYERS`; empty without a feature network.
        """
        return [self.pixels(image, mask), *(head(seen[name], mask) for name, head in self.heads.items())]


class PushPullUNet(System):
    """L1 first; from `adversary_start_images` on also perceptual distance, and critics with feature matching.

    Its loss is the non-saturating one: the generator's side of a hinge crosses zero, so that nobody could say
    whether it is steady.

    The critics see the composited picture, so that seams count (lama#78), and judge only the cells that the
    hole covers: elsewhere true and filled are the same. Perceptual loss and critics see pictures from another
    pixel on in every step: a fixed grid of their strides would show in the fills.
    """

    generator: Generator
    discriminator: Discriminator
    features: SqueezeNet

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings: Settings = settings
        self.size_rule = SizeRule(multiple_of=8, working_size=settings.working_size)
        self.needs_features = settings.perceptual_weight > 0
        self.feature_layers = SEEN_LAYERS if self.needs_features else ()
        self.smallest_side = (SMALLEST_SIDE if self.needs_features else PHASES) + PHASES - 1
        self.generator = Generator(
            settings.widths, settings.depth, prefill=settings.prefill, attention=settings.attention
        )
        self.discriminator = Discriminator(settings.critic_width, with_features=self.needs_features)

    def phases(self) -> tuple[Phase, ...]:
        """Return the steps; the critics' begin with the second stage."""
        start = self.settings.adversary_start_images
        return (
            Phase("discriminator", "discriminator", self.discriminator_loss, start_images=start),
            Phase("generator", "generator", self.generator_loss),
        )

    def generate(self, batch: MaskedBatch) -> Tensor:
        """Return the composited picture (N, 3, H, W) in about [0, 1]."""
        composited: Tensor = self.generator(batch.image, batch.mask)
        return composited

    def discriminator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """−log σ(D(x)) − log(1 − σ(D(x̂))) over covered cells, σ of their scores, as a mean over critics."""
        image, generated, mask = shift(batch.image, generated.detach(), batch.mask)
        with torch.no_grad():
            seen_real, seen_fake = self._see(image), self._see(generated)
        real = [scores.float() for scores, _ in self.discriminator(image, mask, seen_real)]
        fake = [scores.float() for scores, _ in self.discriminator(generated, mask, seen_fake)]
        loss = mean_covered([F.softplus(-each) for each in real], mask)
        loss = loss + mean_covered([F.softplus(each) for each in fake], mask)
        return loss, {
            "D(x)": mean_covered([each.sigmoid() for each in real], mask).detach(),
            "D(G(z)) before": mean_covered([each.sigmoid() for each in fake], mask).detach(),
        }

    def generator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """L1 over the hole; in the second stage also perceptual distance, and the critics' terms, ramped."""
        settings, hole = self.settings, batch.mask.float()
        error = (generated.float() - batch.image).abs().sum(dim=(1, 2, 3))
        l1 = (error / (3 * hole.sum(dim=(1, 2, 3)).clamp_min(1))).mean()
        total = settings.l1_weight * l1
        scalars = {"l1": l1.detach()}
        if self.images_seen < settings.adversary_start_images:
            return total, scalars | {"reconstruction": total.detach()}
        image, generated, mask = shift(batch.image, generated, hole)
        with torch.no_grad():
            target = self._see(image)
        seen = self._see(generated)
        if self.needs_features:
            perceptual = perceptual_distance(seen, target, PERCEPTUAL_LAYERS, mask).mean()
            total = total + settings.perceptual_weight * perceptual
            scalars["perceptual"] = perceptual.detach()
        scalars["reconstruction"] = total.detach()
        if settings.adversarial_weight or settings.feature_matching_weight:
            ramp = self._ramp()
            with torch.no_grad():
                wanted = self.discriminator(image, mask, target)
            found = self.discriminator(generated, mask, seen)
            scores = [scores.float() for scores, _ in found]
            adversarial = mean_covered([F.softplus(-each) for each in scores], mask)
            matching = match_features(found, wanted)
            total = total + ramp * settings.adversarial_weight * adversarial
            total = total + ramp * settings.feature_matching_weight * matching
            scalars |= {"Loss_G": adversarial.detach(), "feature_matching": matching.detach()}
            scalars["D(G(z)) after"] = mean_covered([each.sigmoid() for each in scores], mask).detach()
        return total, scalars

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill any holes of pictures whose sides are multiples of 8."""
        filled: Tensor = self.generator(image, mask).clamp(0, 1)
        return filled

    def _see(self, image: Tensor) -> dict[str, Tensor]:
        """Return the features of a picture; none without a feature network."""
        return self.features.layers(image, SEEN_LAYERS) if self.needs_features else {}

    def _ramp(self) -> Tensor:
        """Return the share of their weight that the critics' terms have, rising to 1."""
        begun = self.seen - self.settings.adversary_start_images + 1
        return (begun / max(1, self.settings.adversary_ramp_images)).clamp(0, 1).float()
