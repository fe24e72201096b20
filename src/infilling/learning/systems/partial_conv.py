"""`partial-conv`: Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", ECCV 2018.

A U-Net whose convolutions see known pixels only: their sum is scaled up for those that the window misses, and
a place is known for the next layer as soon as its window saw anything. There is no adversary: its losses are
those of pixels, total variation and, with a feature file, perceptual distance and style.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional as F

from infilling.learning.features import SqueezeNet
from infilling.learning.losses import l1, total_variation
from infilling.learning.masked_batch import MaskedBatch, paste
from infilling.learning.scalars import RECONSTRUCTION
from infilling.learning.system import AnySizeSettings, Losses, System
from infilling.pictures.frame import SizeRule

KERNELS = (7, 5, 5)  # of the first encoder layers; 3 from the fourth on
LAYERS = ("conv1", "fire4", "fire8")
"""At 1/2, 1/4 and 1/8 of the side, like the paper's pool1 to pool3 of VGG-16."""


class Settings(AnySizeSettings):
    """The paper's figures."""

    name: Literal["partial-conv"] = "partial-conv"
    width: int = Field(default=64, ge=4, le=65_536)
    """Channels of the first layer; the fourth and all after it have 8 times as many."""
    depth: int = Field(default=8, ge=4, le=9)
    """Encoder layers, each halving the side: 8 in the paper, for 512 px, which leaves 2×2."""
    known_weight: NonNegativeFloat = 1.0
    hole_weight: NonNegativeFloat = 6.0
    perceptual_weight: NonNegativeFloat = 0.05
    style_weight: NonNegativeFloat = 120.0
    variation_weight: NonNegativeFloat = 0.1
    freeze_encoder_norm: bool = False
    """The paper's second stage, at a quarter of the rate: the encoder's batch norms neither learn nor adapt,
    since the holes spoil their statistics."""


class PartialConv2d(nn.Module):
    """Convolution over known values only, and the update of what is known (the paper's eq. 1 and 2).

    W·(X ⊙ M) · size / known + b where the window holds any known value, 0 where it holds none. `size` is all
    values of a window, kernel² times channels; padding counts as unknown, as in the authors' own code.

    Args:
        inputs: number of channels of each part of the input, which has a mask of its own (skip connections).
        outputs: number of channels of the result.
        kernel: side of the window, odd.
        stride: step of the window.
    """

    counts: Tensor

    def __init__(self, inputs: Sequence[int], outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(sum(inputs), outputs, kernel, stride, kernel // 2)
        nn.init.kaiming_normal_(self.convolution.weight)
        nn.init.zeros_(_get_bias(self.convolution))
        counts = torch.tensor(inputs, dtype=torch.float32).view(1, -1, 1, 1).repeat(1, 1, kernel, kernel)
        self.register_buffer("counts", counts, persistent=False)

    def forward(self, parts: Sequence[Tensor], known: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Convolve the parts side by side.

        Args:
            parts: each (N, C, H, W); what they hold where they are not known does not matter.
            known: a mask for each, (N, 1, H, W) in {0, 1}, 1 = known.

        Returns:
            (N, outputs, h, w), and what is known of it, (N, 1, h, w) in {0, 1}.
        """
        layer = self.convolution
        x = torch.cat([part * mask for part, mask in zip(parts, known, strict=True)], dim=1)
        with torch.autocast(x.device.type, enabled=False):  # bf16 cannot count so far
            mask = torch.cat([each.float() for each in known], dim=1)
            seen = F.conv2d(mask, self.counts, stride=layer.stride, padding=layer.padding)
        any_seen = (seen > 0).float()
        share = seen.clamp_min(1) / self.counts.sum()
        summed = F.conv2d(x, layer.weight, stride=layer.stride, padding=layer.padding)
        return (summed / share + _get_bias(layer).view(1, -1, 1, 1)) * any_seen, any_seen


def _get_bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


class _Block(nn.Module):
    """Partial convolution, batch norm by default, and ReLU, LeakyReLU or nothing."""

    def __init__(self, convolution: PartialConv2d, activation: nn.Module, *, norm: bool = True) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.convolution.out_channels) if norm else nn.Identity()
        self.activation = activation

    def forward(self, parts: Sequence[Tensor], known: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        x, mask = self.convolution(parts, known)
        return self.activation(self.norm(x)), mask


class Generator(nn.Module):
    """U-Net of partial convolutions; its skips bring the picture itself to the last layer.

    32,865,236 learned parameters at width 64 and depth 8: the paper's table with a bias in every convolution.
    """

    def __init__(self, width: int = 64, depth: int = 8, *, freeze_encoder_norm: bool = False) -> None:
        super().__init__()
        self.freeze_encoder_norm = freeze_encoder_norm
        widths = [3, *(width * min(2**level, 8) for level in range(depth))]
        kernels = [*KERNELS, *[3] * (depth - len(KERNELS))]
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level in range(depth):
            convolution = PartialConv2d([widths[level]], widths[level + 1], kernels[level], stride=2)
            self.encoder.append(_Block(convolution, nn.ReLU(inplace=True), norm=level > 0))
        for level in reversed(range(1, depth)):
            convolution = PartialConv2d([widths[level + 1], widths[level]], widths[level], 3)
            self.decoder.append(_Block(convolution, nn.LeakyReLU(0.2, inplace=True)))
        last = PartialConv2d([widths[1], widths[0]], 3, 3)
        self.decoder.append(_Block(last, nn.Identity(), norm=False))
        if freeze_encoder_norm:
            for layer in self._encoder_norms():
                layer.requires_grad_(False)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill from the known pixels.

        Args:
            image: (N, 3, H, W) in [-1, 1], sides multiples of 2 to the depth.
            mask: (N, 1, H, W) in {0, 1}, 1 = hole.

        Returns:
            (N, 3, H, W), about in [-1, 1]: the last layer is linear.
        """
        x, known = image * (1 - mask), 1 - mask
        skips = [(x, known)]
        for block in self.encoder:
            x, known = block([x], [known])
            skips.append((x, known))
        skips.pop()
        for block in self.decoder:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            known = F.interpolate(known, scale_factor=2, mode="nearest")
            skip, skip_known = skips.pop()
            x, known = block([x, skip], [known, skip_known])
        return x

    def train(self, mode: bool = True) -> Self:
        """Keep the encoder's norms in evaluation mode, if they are frozen."""
        super().train(mode)
        if self.freeze_encoder_norm:
            for layer in self._encoder_norms():
                layer.eval()
        return self

    def _encoder_norms(self) -> list[nn.Module]:
        return [layer for layer in self.encoder.modules() if isinstance(layer, nn.BatchNorm2d)]


class FeatureLosses(NamedTuple):
    """Two scalars: how far features are apart, and how far their correlations are."""

    perceptual: Tensor
    style: Tensor


def compare_features(features: SqueezeNet, filled: Tensor, result: Tensor, target: Tensor) -> FeatureLosses:
    """Sum, over `LAYERS`, raw output and result, the mean absolute difference from the target.

    Perceptual compares features, style their Gram matrices over C·H·W (the paper's eq. 4 to 6). Every layer
    is first divided by the mean of the target's, so that the paper's weights, made for VGG-16, keep their
    measure with another network.

    Args:
        features: frozen network.
        filled: raw output, (N, 3, H, W), about in [0, 1].
        result: output with the known pixels put back.
        target: true picture.
    """
    perceptual = style = filled.new_zeros((), dtype=torch.float32)
    with torch.autocast(filled.device.type, enabled=False):  # small differences of large sums
        layers = features.layers(torch.cat([filled, result, target]).float(), LAYERS)
        for layer in layers.values():
            *found, wanted = layer.chunk(3)
            scale = wanted.mean().clamp_min(1e-6)
            for each in found:
                perceptual = perceptual + l1(each, wanted) / scale
                style = style + l1(correlate(each), correlate(wanted)) / scale**2
    return FeatureLosses(perceptual, style)


def correlate(features: Tensor) -> Tensor:
    """Return Gram matrices: (N, C, H, W) → (N, C, C), sums over places, divided by C·H·W."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


class PartialConv(System):
    """Pixels inside and outside the hole, total variation at the hole, and what a feature network sees."""

    generator: Generator
    features: SqueezeNet | None

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings: Settings = settings
        self.size_rule = SizeRule(multiple_of=2**settings.depth, working_size=settings.working_size)
        self.feature_layers = LAYERS
        self.generator = Generator(
            settings.width, settings.depth, freeze_encoder_norm=settings.freeze_encoder_norm
        )

    def generate(self, batch: MaskedBatch) -> Tensor:
        """(N, 3, H, W), about in [0, 1]."""
        return self._run(batch.image, batch.mask)

    def generator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        """Return known + 6 hole + 0.05 perceptual + 120 style + 0.1 variation; pixel terms in [0, 1]."""
        settings, mask = self.settings, batch.mask
        result = paste(batch.image, generated, mask)
        known = l1(generated, batch.image, 1 - mask)
        hole = l1(generated, batch.image, mask)
        variation = total_variation(result, mask)
        reconstruction = settings.known_weight * known + settings.hole_weight * hole
        loss = reconstruction + settings.variation_weight * variation
        scalars = {RECONSTRUCTION: reconstruction, "known": known, "hole": hole, "variation": variation}
        if self.features is not None:
            perceptual, style = compare_features(self.features, generated, result, batch.image)
            loss = loss + settings.perceptual_weight * perceptual + settings.style_weight * style
            scalars |= {"perceptual": perceptual, "style": style}
        return loss, scalars

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the network's picture, inside the hole."""
        return paste(image, self._run(image, mask).clamp(0, 1), mask)

    def _run(self, image: Tensor, mask: Tensor) -> Tensor:
        filled: Tensor = (self.generator(2 * image - 1, mask) + 1) / 2
        return filled
