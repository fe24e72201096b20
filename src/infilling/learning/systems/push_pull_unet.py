"""`push-pull-unet`: a small U-Net that corrects a push–pull pre-fill, taught by loss first, then by a critic.

The hole is filled by multi-scale averaging (push–pull) inside the network, so that training starts at the
level of the classical methods and every step is gain. The U-Net sees the pre-filled picture, the masked one
and the mask, and predicts what to add inside the hole.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from infilling.learning.data import MaskedBatch
from infilling.learning.features import SqueezeNet, perceptual_distance
from infilling.learning.system import Losses, Phase, System, SystemSettings
from infilling.pictures.frame import SizeRule

GROUPS = 8  # of channels that are normalised together
Width = Annotated[int, Field(gt=0, multiple_of=GROUPS)]

PYRAMID_LEVELS = 7  # 128 px shrink to one cell; beyond that the mean of the known pixels decides


PERCEPTUAL_LAYERS = ("conv1", "fire4", "fire8")
PHASES = 8  # of the pictures against the stride of fire8, pixels
COVERED = 0.3  # share of a critic's cell that the hole must take before the cell is judged


class Settings(SystemSettings):
    """Widths, and the weights and stages of the losses."""

    name: Literal["push-pull-unet"] = "push-pull-unet"
    widths: tuple[Width, Width, Width] = (32, 80, 192)
    """Channels at 1/2, 1/4 and 1/8 of the side; multiples of 8."""
    depth: PositiveInt = 4
    """Residual blocks with self-attention at 1/8."""
    prefill: bool = True
    """False: the hole is grey to begin with; what the pre-fill is worth."""
    attention: bool = True
    """False: dilations up to 8 in its place; what looking everywhere is worth."""
    critic_width: PositiveInt = 48
    l1_weight: NonNegativeFloat = 2.0
    perceptual_weight: NonNegativeFloat = 0.2
    """0 trains without a feature file."""
    adversarial_weight: NonNegativeFloat = 0.6
    feature_matching_weight: NonNegativeFloat = 1.0
    adversary_start_images: NonNegativeInt = 0
    """The first stage: so many pictures of reconstruction alone."""
    adversary_ramp_images: NonNegativeInt = 10_000
    """The adversarial terms reach their weight over so many pictures more."""


def push_pull(image: Tensor, known: Tensor) -> Tensor:
    """Fill what is unknown with smooth averages of what is known, coarse to fine (Gortler et al. 1996).

    Args:
        image: (N, C, H, W), any range.
        known: (N, 1, H, W), 1 where the picture is known, 0 inside the hole.

    Returns:
        (N, C, H, W): `image` where known, a smooth fill elsewhere.
    """
    values, weights = [image * known], [known]
    for _ in range(PYRAMID_LEVELS):
        value = F.avg_pool2d(values[-1], 2, ceil_mode=True)
        weight = F.avg_pool2d(weights[-1], 2, ceil_mode=True)
        value = value / weight.clamp_min(1e-6)  # the mean over known pixels alone
        weight = (weight > 0).to(weight.dtype)
        values.append(value * weight)
        weights.append(weight)
    total = weights[-1].sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    filled = values[-1].sum(dim=(2, 3), keepdim=True) / total
    for value, weight in zip(reversed(values), reversed(weights), strict=True):
        coarse = F.interpolate(filled, size=value.shape[-2:], mode="bilinear", align_corners=False)
        filled = value + (1 - weight) * coarse
    return filled


def _start_at_zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Makes a layer that adds nothing before it has learned something."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ResidualBlock(nn.Module):
    """x + Conv(SiLU(Norm(Conv(SiLU(Norm(x)))))); the second convolution starts at zero."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.norm2 = nn.GroupNorm(GROUPS, width)
        self.conv2 = _start_at_zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return x + y


class SelfAttention(nn.Module):
    """Every cell looks at every cell, so that a hole can copy from afar; positions are a learned map."""

    def __init__(self, width: int, heads: int = 6, position_side: int = 16) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, width)
        self.position = nn.Parameter(torch.randn(1, width, position_side, position_side) * 0.02)
        self.to_qkv = nn.Conv2d(width, 3 * width, 1)
        self.to_out = _start_at_zero(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        position = F.interpolate(self.position, size=(h, w), mode="bilinear", align_corners=False)
        qkv = self.to_qkv(self.norm(x) + position)
        q, k, v = qkv.reshape(n, 3, self.heads, c // self.heads, h * w).transpose(-1, -2).unbind(1)
        # In plain products: on a CPU these learn three times faster than the fused kernel.
        weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1)
        seen = (weights.to(v.dtype) @ v).transpose(-1, -2).reshape(n, c, h, w)
        out: Tensor = self.to_out(seen)
        return x + out


class Generator(nn.Module):
    """U-Net at 1/2, 1/4 and 1/8 of the side over the pre-filled picture; predicts what to add in the hole."""

    def __init__(
        self,
        widths: tuple[int, int, int] = (32, 80, 192),
        depth: int = 4,
        *,
        prefill: bool = True,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.prefill = prefill
        half, quarter, eighth = widths
        self.stem = nn.Conv2d(7 * 4, half, 3, padding=1)
        self.down_half = ResidualBlock(half)
        self.to_quarter = nn.Conv2d(half, quarter, 4, stride=2, padding=1)
        self.down_quarter = nn.Sequential(ResidualBlock(quarter), ResidualBlock(quarter))
        self.to_eighth = nn.Conv2d(quarter, eighth, 4, stride=2, padding=1)
        if attention:
            blocks = [
                nn.Sequential(ResidualBlock(eighth, dilation=1 + i % 2), SelfAttention(eighth))
                for i in range(depth)
            ]
        else:
            blocks = [nn.Sequential(ResidualBlock(eighth, dilation=2 ** (i % 4))) for i in range(depth)]
        self.middle = nn.Sequential(*blocks)
        self.from_eighth = nn.Conv2d(eighth, quarter, 1)
        self.join_quarter = nn.Conv2d(2 * quarter, quarter, 1)
        self.up_quarter = nn.Sequential(ResidualBlock(quarter), ResidualBlock(quarter))
        self.from_quarter = nn.Conv2d(quarter, half, 1)
        self.join_half = nn.Conv2d(2 * half, half, 1)
        self.up_half = ResidualBlock(half)
        # Pixel-shuffle carries the detail to full size; two small convolutions there take out its cell grid.
        self.to_full = nn.Conv2d(half, 8 * 4, 3, padding=1)
        self.full = nn.Conv2d(8 + 4, 16, 3, padding=1)
        self.residual = _start_at_zero(nn.Conv2d(16, 3, 3, padding=1))

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill the hole and put it into the picture.

        Args:
            image: (N, 3, H, W) in [0, 1], H and W multiples of 8; what lies inside the hole is ignored.
            mask: (N, 1, H, W), 1 inside the hole.

        Returns:
            (N, 3, H, W): the composited picture, not clipped; known pixels are those of `image`.
        """
        known = 1 - mask
        image = image * 2 - 1
        prefill = push_pull(image, known) if self.prefill else image * known
        seen = torch.cat([prefill, image * known, mask], dim=1)
        half = self.down_half(self.stem(F.pixel_unshuffle(seen, 2)))
        quarter = self.down_quarter(self.to_quarter(half))
        x = self.middle(self.to_eighth(quarter))
        x = F.interpolate(self.from_eighth(x), scale_factor=2, mode="nearest")
        x = self.up_quarter(self.join_quarter(torch.cat([x, quarter], dim=1)))
        x = F.interpolate(self.from_quarter(x), scale_factor=2, mode="nearest")
        x = self.up_half(self.join_half(torch.cat([x, half], dim=1)))
        x = F.pixel_shuffle(self.to_full(x), 2)
        x = F.silu(self.full(torch.cat([x, prefill, mask], dim=1)))
        filled: Tensor = prefill + self.residual(x)
        return (image * known + filled * mask) * 0.5 + 0.5


class Discriminator(nn.Module):
    """Patch critic, spectral norm below its score: (composited picture, mask) → a score for each 8×8 cell."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                spectral_norm(nn.Conv2d(4, width, 4, stride=2, padding=1)),
                spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
                spectral_norm(nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1)),
                spectral_norm(nn.Conv2d(4 * width, 4 * width, 3, padding=1)),
            ]
        )
        self.score = nn.Conv2d(4 * width, 1, 3, padding=1)  # free: held to norm 1, scores stay near zero

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores a picture.

        Args:
            image: (N, 3, H, W) in [0, 1].
            mask: (N, 1, H, W), 1 inside the hole.

        Returns:
            Scores (N, 1, H/8, W/8), and the features of each layer.
        """
        x = torch.cat([image * 2 - 1, mask], dim=1)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


class PushPullUNet(System):
    """Reconstruction first; from `adversary_start_images` on also a critic with feature matching.

    Its loss is the non-saturating one: the generator's side of a hinge crosses zero, so that nobody could say
    whether it is steady.

    The critic sees the composited picture, so that seams count (lama#78), and judges only the cells that the
    hole covers: elsewhere true and filled are the same.
    """

    name = "push-pull-unet"

    generator: Generator
    discriminator: Discriminator
    features: SqueezeNet

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings: Settings = settings
        self.size_rule = SizeRule(multiple_of=8, working_size=256)
        self.needs_features = settings.perceptual_weight > 0
        self.generator = Generator(
            settings.widths, settings.depth, prefill=settings.prefill, attention=settings.attention
        )
        self.discriminator = Discriminator(settings.critic_width)

    def phases(self) -> tuple[Phase, ...]:
        """The critic's steps begin with the second stage."""
        start = self.settings.adversary_start_images
        return (
            Phase("discriminator", "discriminator", self.discriminator_loss, start_images=start),
            Phase("generator", "generator", self.generator_loss),
        )

    def generate(self, batch: MaskedBatch) -> Tensor:
        """Returns the composited picture (N, 3, H, W) in about [0, 1]."""
        composited: Tensor = self.generator(batch.image, batch.mask)
        return composited

    def discriminator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """−log σ(D(x)) − log(1 − σ(D(x̂))) over the covered cells, σ of their scores."""
        covered = self._covered(batch.mask)
        real = self.discriminator(batch.image, batch.mask)[0].float()
        fake = self.discriminator(generated.detach(), batch.mask)[0].float()
        loss = _mean_where(F.softplus(-real), covered) + _mean_where(F.softplus(fake), covered)
        return loss, {
            "D(x)": _mean_where(real.sigmoid(), covered).detach(),
            "D(G(z)) before": _mean_where(fake.sigmoid(), covered).detach(),
        }

    def generator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """L1 over the hole and perceptual distance; in the second stage the critic's terms, ramped in."""
        settings, mask = self.settings, batch.mask.float()
        error = (generated.float() - batch.image).abs().sum(dim=(1, 2, 3))
        l1 = (error / (3 * mask.sum(dim=(1, 2, 3)).clamp_min(1))).mean()
        total = settings.l1_weight * l1
        scalars = {"l1": l1.detach()}
        if self.needs_features:
            # The features' strides lie elsewhere in every step: a fixed grid of theirs shows in the fills.
            y, x = torch.randint(0, PHASES, (2,)).tolist()
            with torch.no_grad():
                target = self.features.layers(batch.image[..., y:, x:], PERCEPTUAL_LAYERS)
            seen = self.features.layers(generated[..., y:, x:], PERCEPTUAL_LAYERS)
            reach = mask[..., y:, x:]
            perceptual = perceptual_distance(seen, target, PERCEPTUAL_LAYERS, reach).mean()
            total = total + settings.perceptual_weight * perceptual
            scalars["perceptual"] = perceptual.detach()
        scalars["reconstruction"] = total.detach()
        ramp = self._ramp()
        if ramp > 0:
            adversarial, matching, after = self._criticize(batch, generated)
            total = total + ramp * settings.adversarial_weight * adversarial
            total = total + ramp * settings.feature_matching_weight * matching
            scalars |= {"Loss_G": adversarial.detach(), "feature_matching": matching.detach()}
            scalars["D(G(z)) after"] = after
        return total, scalars

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fills any holes of pictures whose sides are multiples of 8."""
        filled: Tensor = self.generator(image, mask).clamp(0, 1)
        return filled

    def _criticize(self, batch: MaskedBatch, generated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """−log σ(D(x̂)), the L1 between the critic's features of true and filled, and σ(D(x̂))."""
        with torch.no_grad():
            real_features = self.discriminator(batch.image, batch.mask)[1]
        scores, features = self.discriminator(generated, batch.mask)
        scores, covered = scores.float(), self._covered(batch.mask)
        adversarial = _mean_where(F.softplus(-scores), covered)
        pairs = zip(features, real_features, strict=True)
        matching = torch.stack([F.l1_loss(fake.float(), real.float()) for fake, real in pairs]).mean()
        return adversarial, matching, _mean_where(scores.sigmoid(), covered).detach()

    def _ramp(self) -> float:
        """0 in the first stage, then rising to 1."""
        seen = self.images_seen - self.settings.adversary_start_images
        if seen < 0 or self.settings.adversarial_weight == self.settings.feature_matching_weight == 0:
            return 0.0
        return min(1.0, (seen + 1) / max(1, self.settings.adversary_ramp_images))

    @staticmethod
    def _covered(mask: Tensor) -> Tensor:
        """(N, 1, H/8, W/8): 1 for the cells that the hole takes enough of."""
        return (F.avg_pool2d(mask.float(), 8) >= COVERED).float()


def _mean_where(values: Tensor, weight: Tensor) -> Tensor:
    """The mean of `values` where `weight` is 1; 0 where it is 1 nowhere."""
    return (values * weight).sum() / weight.sum().clamp_min(1)
