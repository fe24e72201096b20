"""`scene-unet`: a U-Net down to 1/32 of the side with noise, trained by L1 first, then by critics.

It starts from `push-pull-unet`'s weights or its own. The critics of the second stage look through
EfficientNet-Lite: each at one scale of a random mixture of all scales, so that even the finest one knows what
scene it looks at. Filled and true pictures are compared in pairs, since both have the same surroundings.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor
from torch.nn import functional as F

from infilling.learning.critics import (
    Critics,
    Judgement,
    match_features,
    mean_covered,
    shift_together,
    zoom_in,
)
from infilling.learning.features import LITE_LAYERS, FeatureNetwork, scale_to_unit
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.scalars import D_FAKE_BEFORE, D_REAL
from infilling.learning.system import Channels, Depth, Losses, Phase
from infilling.learning.two_stage import TwoStageSettings, TwoStageSystem
from infilling.learning.unet import Generator, Width

CRITIC_LAYERS = ("stride4", "stride8", "stride16", "stride32")
MIX_SEED = 0  # of the random projections through which the critics see
CELL = 4  # side of the cells whose means L1 compares, pixels
BLUR_CELL = 8  # side of the cells over which known pixels are counted, pixels
BLUR_REACH = 5  # cells
PENALTY_INTERVAL = 8  # steps between looks at the critics' steepness


class Settings(TwoStageSettings):
    """Widths, and the weights and stages of the losses."""

    name: Literal["scene-unet"] = "scene-unet"
    deep_widths: Annotated[tuple[Width, ...], Field(max_length=8)] = (256, 384)
    """Channels at 1/16, 1/32 …; multiples of 8."""
    fine_width: Width = 64
    """Channels of the blocks that draw detail at 1/2 of the side; a multiple of 8."""
    fine_depth: Depth = 2
    """Number of these blocks."""
    noisy: bool = True
    """Whether fills depend on noise."""
    critic_width: Channels = 64
    l1_weight: NonNegativeFloat = 3.0
    """In the second stage it compares means of cells of 4 px, so that a fill may have texture of its own."""
    perceptual_weight: NonNegativeFloat = 1.0
    far_weight: float = Field(default=0.3, ge=0.0, le=1.0)
    """Weight of L1 and perceptual distance far inside a hole, where 1 is that at its rim."""
    adversarial_weight: NonNegativeFloat = 0.8
    gradient_penalty: NonNegativeFloat = 0.01
    """Weight of the critics' steepness (R1 and R2), computed every eighth step."""
    adversary_ramp_images: NonNegativeInt = 2_000


class View(NamedTuple):
    """A picture as the losses see it: its pixels, and the layers of the feature network."""

    image: Tensor
    seen: Mapping[str, Tensor]

    def detach(self) -> "View":
        """Return the same without its graph."""
        return View(self.image.detach(), {name: layer.detach() for name, layer in self.seen.items()})


class Masks(NamedTuple):
    """Where the hole is in a view: (N, 1, h, w), 1 inside the hole, of the pixels and of the features."""

    pixels: Tensor
    features: Tensor


class Generated(NamedTuple):
    """What one pass of the generator gives the losses of a step.

    Attributes:
        filled, real: views of the filled and the true picture, from one place; in the first stage the whole
            pictures, which the feature network does not see.
        masks: of both views.
    """

    filled: View
    real: View
    masks: Masks


class MixingCritics(Critics):
    """Critics of pixels, and of each scale of a feature network where there is one.

    Args:
        width: number of channels of each critic.
        with_features: False leaves the critic of pixels alone.
    """

    def __init__(self, width: int = 64, *, with_features: bool = True) -> None:
        layers = CRITIC_LAYERS if with_features else ()
        super().__init__(width, dict.fromkeys(layers, width))
        random = torch.Generator().manual_seed(MIX_SEED)
        for name in layers:
            channels = LITE_LAYERS[name]
            mix = torch.randn(width, channels, 1, 1, generator=random) * channels**-0.5
            self.register_buffer(f"mix_{name}", mix)

    def mix(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mix the scales from the coarsest to the finest: each one gets the ones above, enlarged.

        Args:
            seen: name → (N, C, h, w), the layers of `CRITIC_LAYERS`; empty without a feature network.

        Returns:
            name → (N, width, h, w), of about unit variance.
        """
        mixed: dict[str, Tensor] = {}
        above: Tensor | None = None
        for name in reversed(list(self.heads)):
            layer = scale_to_unit(seen[name].float()) * seen[name].shape[1] ** 0.5
            x = F.conv2d(layer, self.get_buffer(f"mix_{name}"))
            if above is not None:
                size = (x.shape[-2], x.shape[-1])
                above = F.interpolate(above, size=size, mode="bilinear", align_corners=False)
                x = (x + above) * 0.5**0.5
            mixed[name] = above = x
        return mixed


class SceneUNet(TwoStageSystem):
    """A deep U-Net with noise, whose critics look through EfficientNet-Lite, each step by another window."""

    starts_from = ("push-pull-unet",)

    generator: Generator
    discriminator: MixingCritics
    features: FeatureNetwork

    def __init__(self, settings: Settings) -> None:
        levels = len(settings.deep_widths)
        super().__init__(settings, multiple_of=8 * 2**levels, feature_layers=tuple(LITE_LAYERS))
        self.settings: Settings = settings
        self.takes_noise = settings.noisy
        self.generator = Generator(
            settings.widths,
            settings.depth,
            settings.deep_widths,
            fine=(settings.fine_width, settings.fine_depth),
            noisy=settings.noisy,
        )
        self.discriminator = MixingCritics(settings.critic_width, with_features=self.needs_features)

    def phases(self) -> tuple[Phase, ...]:
        """Return the steps; the critics' begin with the second stage."""
        critics, generator = super().phases()
        if not self.settings.gradient_penalty:
            return critics, generator
        start = self.discriminator_start_images
        penalty = Phase("penalty", "discriminator", self.penalty_loss, PENALTY_INTERVAL, start_images=start)
        return critics, penalty, generator

    def generate(self, batch: MaskedBatch) -> Generated:
        """Fill the pictures; in the second stage also look at both through the feature network, once."""
        noise = (torch.rand_like(batch.mask) - 0.5) * 12**0.5  # of variance 1
        composited: Tensor = self.generator(batch.image, batch.mask, noise)
        if self.is_first_stage:
            masks = Masks(batch.mask, batch.mask)
            return Generated(View(composited, {}), View(batch.image, {}), masks)
        image, filled, mask = shift_together(batch.image, composited, batch.mask)
        if not self.needs_features:
            return Generated(View(filled, {}), View(image, {}), Masks(mask, mask))
        near_image, near_filled, near_mask = zoom_in(batch.image, composited, batch.mask)
        with torch.no_grad():
            real = View(image, self.features.layers(near_image, tuple(LITE_LAYERS)))
        seen = View(filled, self.features.layers(near_filled, tuple(LITE_LAYERS)))
        return Generated(seen, real, Masks(mask, near_mask))

    def discriminator_loss(self, batch: MaskedBatch, generated: Generated) -> Losses:
        """Judge the critics by log(1 + exp(D(x̂) − D(x))) over covered cells."""
        masks = generated.masks
        real = self._judge(generated.real, masks)
        fake = self._judge(generated.filled.detach(), masks)
        loss = _average_critics([F.softplus(b - a) for (a, _), (b, _) in zip(real, fake, strict=True)], masks)
        return loss, {
            D_REAL: _find_chance(real, masks).detach(),
            D_FAKE_BEFORE: _find_chance(fake, masks).detach(),
        }

    def penalty_loss(self, batch: MaskedBatch, generated: Generated) -> Losses:
        """Judge the critics by how steep they are at true (R1) and filled pictures (R2), in float32.

        The squared norm of a score's gradient, averaged over a critic's cells, summed over critics. Features
        count as inputs, so that the feature network need not be differentiated twice.
        """
        penalty, masks = batch.mask.new_zeros(()), generated.masks
        with torch.autocast(batch.image.device.type, enabled=False):
            for view in (generated.real, generated.filled.detach()):
                mixed = self.discriminator.mix(view.seen)
                inputs = [each.float().detach().requires_grad_() for each in (view.image, *mixed.values())]
                named = dict(zip(mixed, inputs[1:], strict=True))
                judged = self.discriminator(inputs[0], masks.pixels, named, masks.features)
                total = torch.stack([scores.sum() for scores, _ in judged]).sum()
                steepness = torch.autograd.grad(total, inputs, create_graph=True)
                for (scores, _), gradient in zip(judged, steepness, strict=True):
                    penalty = penalty + gradient.square().sum() / scores.numel()
        weight = 0.5 * PENALTY_INTERVAL * self.settings.gradient_penalty
        return weight * penalty, {"steepness": penalty.detach()}

    def generator_loss(self, batch: MaskedBatch, generated: Generated) -> Losses:
        """Judge the fill by L1; in the second stage also by perceptual distance and the critics, ramped."""
        filled, real, masks = generated
        if self.is_first_stage:
            return self.compare(_compare_pixels(filled.image, real.image, masks.pixels, 1, 1.0))
        far = self.settings.far_weight
        l1 = _compare_pixels(filled.image, real.image, masks.pixels, CELL, far)
        perceptual = None
        if self.needs_features:
            perceptual = _compare_layers(filled.seen, real.seen, masks.features, far)
        with torch.no_grad():
            wanted = self._judge(real, masks)
        found = self._judge(filled, masks)
        adversarial = _average_critics(
            [F.softplus(a - b) for (a, _), (b, _) in zip(wanted, found, strict=True)], masks
        )
        matching = match_features(found, wanted)
        compared = self.compare(l1, perceptual)
        return self.add_critics(compared, adversarial, matching, _find_chance(found, masks))

    def _judge(self, view: View, masks: Masks) -> list[Judgement]:
        """Return every critic's scores, in float32, and features."""
        mixed = self.discriminator.mix(view.seen)
        judged = self.discriminator(view.image, masks.pixels, mixed, masks.features)
        return [(scores.float(), features) for scores, features in judged]


def _find_chance(judged: list[Judgement], masks: Masks) -> Tensor:
    """Return how likely the critics find covered cells to be true."""
    return _average_critics([scores.sigmoid() for scores, _ in judged], masks)


def _average_critics(values: list[Tensor], masks: Masks) -> Tensor:
    """Average what the critics say of their covered cells: that of pixels counts as much as all others."""
    pixels, *heads = values
    of_pixels = mean_covered([pixels], masks.pixels)
    return (of_pixels + mean_covered(heads, masks.features)) / 2 if heads else of_pixels


def _weigh_hole(mask: Tensor, far: float) -> Tensor:
    """Weigh the pixels of a hole: 1 where half of the surroundings are known, down to `far` where none are.

    Returns:
        (N, 1, H, W), 0 outside of the hole.
    """
    known = F.avg_pool2d(1 - mask, BLUR_CELL, ceil_mode=True)
    known = F.avg_pool2d(known, BLUR_REACH, stride=1, padding=BLUR_REACH // 2, count_include_pad=False)
    known = F.interpolate(known, size=mask.shape[-2:], mode="bilinear", align_corners=False)
    return mask * (far + (1 - far) * (2 * known).clamp_max(1))


def _compare_pixels(filled: Tensor, real: Tensor, mask: Tensor, cell: int, far: float) -> Tensor:
    """Return the mean over pictures of the L1 of the cells' mean errors, per pixel of the hole.

    Args:
        filled: (N, 3, H, W), from another pixel on in every step: a fixed grid of cells would show in it.
        real: (N, 3, H, W), from the same.
        mask: (N, 1, H, W), 1 inside the hole.
        cell: side of a cell, pixels.
        far: weight far inside a hole.
    """
    mask = mask.float()
    error = F.avg_pool2d((filled.float() - real) * _weigh_hole(mask, far), cell, ceil_mode=True)
    sums = error.abs().sum(dim=(1, 2, 3)) * cell**2
    return (sums / (3 * mask.sum(dim=(1, 2, 3)).clamp_min(1))).mean()


def _compare_layers(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], mask: Tensor, far: float
) -> Tensor:
    """Return the distance of two pictures' layers over the hole, weighed by nearness, summed over layers."""
    weight = _weigh_hole(mask.float(), far)
    total = mask.new_zeros((), dtype=torch.float32)
    for name, layer in found.items():
        difference = (
            (scale_to_unit(layer.float()) - scale_to_unit(wanted[name].float())).square().sum(1, keepdim=True)
        )
        size = (layer.shape[-2], layer.shape[-1])
        reach, hole = F.adaptive_max_pool2d(weight, size), F.adaptive_max_pool2d(mask, size)
        total = total + ((difference * reach).sum((1, 2, 3)) / hole.sum((1, 2, 3)).clamp_min(1)).mean()
    return total
