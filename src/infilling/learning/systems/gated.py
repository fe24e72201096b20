"""`gated`: DeepFillv2, Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019.

Two stages, coarse to fine. Every convolution learns where to look: half of its channels are a sigmoid gate
for the other half. The second stage looks twice at the coarse result, once through dilated convolutions and
once through contextual attention, which copies features of the known surroundings into the hole (Yu et al.,
CVPR 2018). The discriminator is a PatchGAN with spectral norm, trained with the hinge loss. Widths, strides
and losses are those of the authors' release (github.com/JiahuiYu/generative_inpainting, v2.0.0).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from infilling.learning.losses import ADVERSARIES, AdversaryName, l1
from infilling.learning.masked_batch import MaskedBatch, paste
from infilling.learning.scalars import D_FAKE_AFTER, D_FAKE_BEFORE, D_REAL, LOSS_G, RECONSTRUCTION
from infilling.learning.system import AnySizeSettings, Channels, Losses, System
from infilling.pictures.frame import SizeRule

REDUCTION = 8  # the attention sees 1/8 of the side
SHARPNESS = 10.0  # of the attention's softmax


class Settings(AnySizeSettings):
    """The release's figures."""

    name: Literal["gated"] = "gated"
    width: int = Field(default=48, ge=8, le=65_536, multiple_of=4)
    """Channels that the first convolution computes; half of them are gates."""
    discriminator_width: Channels = 64
    adversary: AdversaryName = "hinge"
    adversarial_weight: NonNegativeFloat = 1.0
    reconstruction_weight: NonNegativeFloat = 1.0
    """Of the L1 error over the whole picture, of either stage."""


class GatedConv2d(nn.Module):
    """activation(features) · sigmoid(gate), both by one convolution; zero padding keeps the size.

    Args:
        inputs: number of channels.
        outputs: number of channels of the result; twice as many are computed.
        kernel: side of the window, odd.
        stride: step of the window.
        dilation: pixels between the window's places.
        activation: function of the features.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        activation: Callable[[Tensor], Tensor] = F.elu,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.convolution = nn.Conv2d(inputs, 2 * outputs, kernel, stride, padding, dilation)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H / stride, W / stride)."""
        features, gate = self.convolution(x).chunk(2, dim=1)
        gated: Tensor = self.activation(features) * gate.sigmoid()
        return gated


def _make_dilated(width: int) -> nn.Sequential:
    """Return four convolutions with ever wider windows: together they see 121 places across."""
    return nn.Sequential(*(GatedConv2d(width, width, dilation=dilation) for dilation in (2, 4, 8, 16)))


def _make_enlarging(width: int) -> nn.Sequential:
    """Return layers from 1/4 of the side to a picture in [-1, 1]; the last convolution has no gate."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        GatedConv2d(4 * width, 2 * width),
        GatedConv2d(2 * width, 2 * width),
        nn.Upsample(scale_factor=2),
        GatedConv2d(2 * width, width),
        GatedConv2d(width, width // 2),
        nn.Conv2d(width // 2, 3, 3, padding=1),
        nn.Tanh(),
    )


def _make_reducing(width: int, fourth: int) -> nn.Sequential:
    """Return layers from the coarse result to 1/4 of the side; branches differ in the fourth one's width."""
    return nn.Sequential(
        GatedConv2d(3, width, 5),
        GatedConv2d(width, width, stride=2),
        GatedConv2d(width, 2 * width),
        GatedConv2d(2 * width, fourth, stride=2),
        GatedConv2d(fourth, 4 * width),
    )


class Stages(NamedTuple):
    """The pictures of both stages, (N, 3, H, W) in [-1, 1] each."""

    coarse: Tensor
    fine: Tensor


class Generator(nn.Module):
    """Both stages. 4,052,478 parameters at width 48, as the release has."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        w = width // 2  # channels without the gates
        self.coarse = nn.Sequential(
            GatedConv2d(5, w, 5),
            GatedConv2d(w, 2 * w, stride=2),
            GatedConv2d(2 * w, 2 * w),
            GatedConv2d(2 * w, 4 * w, stride=2),
            GatedConv2d(4 * w, 4 * w),
            GatedConv2d(4 * w, 4 * w),
            _make_dilated(4 * w),
            GatedConv2d(4 * w, 4 * w),
            GatedConv2d(4 * w, 4 * w),
            _make_enlarging(w),
        )
        self.imagine = nn.Sequential(
            _make_reducing(w, 2 * w), GatedConv2d(4 * w, 4 * w), _make_dilated(4 * w)
        )
        self.look = nn.Sequential(_make_reducing(w, 4 * w), GatedConv2d(4 * w, 4 * w, activation=F.relu))
        self.look_again = nn.Sequential(GatedConv2d(4 * w, 4 * w), GatedConv2d(4 * w, 4 * w))
        self.join = nn.Sequential(GatedConv2d(8 * w, 4 * w), GatedConv2d(4 * w, 4 * w), _make_enlarging(w))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor, mask: Tensor) -> Stages:
        """Fill twice: coarse, then fine.

        Args:
            image: (N, 3, H, W) in [-1, 1], sides multiples of 8.
            mask: (N, 1, H, W) in {0, 1}, 1 = hole.
        """
        known = image * (1 - mask)
        coarse = self.coarse(torch.cat([known, torch.ones_like(mask), mask], dim=1))
        guess = known + coarse * mask
        imagined = self.imagine(guess)
        copied = self.look_again(attend(self.look(guess), F.max_pool2d(mask, REDUCTION)))
        return Stages(coarse, self.join(torch.cat([imagined, copied], dim=1)))


def attend(features: Tensor, mask: Tensor) -> Tensor:
    """Rebuild every place from known places that look like it: contextual attention (Yu et al. 2018).

    At half the size, 3×3 patches are compared: the scalar product with each known patch, which is scaled to
    unit length first. Scores are fused with those of neighbours that shift alike, so that whole regions are
    copied. By their softmax, 4×4 patches of the full size are averaged where they overlap. The release sets
    the scores of unknown patches to 0, so that they take part in the softmax; here they do not.

    Args:
        features: (N, C, 2h, 2w).
        mask: (N, 1, h, w) in {0, 1}, 1 where any of it is hole.

    Returns:
        (N, C, 2h, 2w); zeros where no patch is wholly known.
    """
    height, width = mask.shape[-2:]
    patches = _cut_patches(features[..., ::2, ::2], 3)  # (N, C · 9, h · w)
    known = _cut_patches(mask, 3).amax(dim=1, keepdim=True) == 0  # (N, 1, h · w)
    with torch.autocast(features.device.type, enabled=False):  # the softmax would magnify what bf16 rounds
        patches = patches.float()
        unit = patches / patches.square().sum(dim=1, keepdim=True).clamp_min(1e-8).sqrt()
        scores = fuse(patches.transpose(1, 2) @ unit, height, width)  # (N, to, from)
        weights = (SHARPNESS * scores).masked_fill(~known, -1e4).softmax(dim=-1) * known
        sources = _cut_patches(features.float(), 4, stride=2)
        return _place_patches(sources @ weights.transpose(1, 2), height, width)


def fuse(scores: Tensor, height: int, width: int) -> Tensor:
    """Add the scores of neighbours whose sources are neighbours too: along rows, then along columns.

    Args:
        scores: (N, height · width, height · width), between places to fill and sources.
        height: of the feature map, in cells.
        width: of the feature map, in cells.

    Returns:
        The same shape.
    """
    n = scores.shape[0]
    scores = _add_diagonal(scores).reshape(n, height, width, height, width).permute(0, 2, 1, 4, 3)
    scores = _add_diagonal(scores.reshape(n, height * width, height * width))
    scores = scores.reshape(n, width, height, width, height).permute(0, 2, 1, 4, 3)
    return scores.reshape(n, height * width, height * width)


def _add_diagonal(scores: Tensor) -> Tensor:
    """s[i, j] + s[i − 1, j − 1] + s[i + 1, j + 1], zeros beyond the edge."""
    wide = F.pad(scores, (1, 1, 1, 1))
    return wide[:, :-2, :-2] + scores + wide[:, 2:, 2:]


def _cut_patches(features: Tensor, side: int, stride: int = 1) -> Tensor:
    """Cut patches around every place, or every second, with zeros beyond the edge: (N, C · side², places).

    The order is channel, row, column, as of `F.unfold`, which exports to far more operators.
    """
    padding = (side - 1) // 2
    wide = F.pad(features, (padding, padding, padding, padding))
    height, width = features.shape[-2], features.shape[-1]
    rows = [wide[..., y : y + height : stride, :] for y in range(side)]
    parts = [row[..., x : x + width : stride] for row in rows for x in range(side)]
    return torch.stack(parts, dim=2).flatten(1, 2).flatten(2)


def _place_patches(patches: Tensor, height: int, width: int) -> Tensor:
    """Fold 4×4 patches at every second position back into a picture: the mean where they overlap.

    (N, C · 16, height · width) → (N, C, 2 · height, 2 · width). Sums are divided by 4 everywhere, as in the
    release, also along the edge, where fewer patches overlap.
    """
    n = patches.shape[0]
    grid = patches.reshape(n, -1, 2, 2, 2, 2, height, width)  # C, (down, y), (right, x), place
    total: Tensor | float = 0.0
    for down in range(2):
        for right in range(2):  # the 2×2 quarter of every patch, `down` and `right` of its first one
            quarter = grid[:, :, down, :, right].flatten(1, 3)  # (N, C · 4, h, w)
            whole = F.pad(F.pixel_shuffle(quarter, 2), (2 * right, 2 - 2 * right, 2 * down, 2 - 2 * down))
            total = total + whole
    assert isinstance(total, Tensor)
    return total[..., 1:-1, 1:-1] / 4


class HalvingConv2d(nn.Conv2d):
    """5×5, stride 2: half the side, rounded up.

    A picture of 1 px gets its border of zeros by hand: oneDNN leaves the gradient of the weights that meet
    nothing but its own border undefined in bf16.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 5, stride=2, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, ⌈H / 2⌉, ⌈W / 2⌉)."""
        if min(x.shape[-2:]) > 1:
            return super().forward(x)
        return F.conv2d(F.pad(x, (2, 2, 2, 2)), self.weight, self.bias, stride=2)


class Discriminator(nn.Module):
    """Picture and mask → a logit for every channel of every patch: 1/64 of the side, 4 · width channels."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [4, width, 2 * width, *[4 * width] * 4]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            convolution = HalvingConv2d(inputs, outputs)
            nn.init.xavier_uniform_(convolution.weight)
            layers += [spectral_norm(convolution), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1], (N, 1, H, W) → (N, 4 · width, H / 64, W / 64), rounded up."""
        logits: Tensor = self.layers(torch.cat([image, mask], dim=1))
        return logits


class Gated(System):
    """L1 on both stages, and the hinge on the completed picture."""

    generator: Generator
    discriminator: Discriminator

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings: Settings = settings
        self.size_rule = SizeRule(multiple_of=REDUCTION, working_size=settings.working_size)
        self.generator = Generator(settings.width)
        self.discriminator = Discriminator(settings.discriminator_width)
        self.adversary = ADVERSARIES[settings.adversary]

    def generate(self, batch: MaskedBatch) -> Stages:
        """Both stages' pictures."""
        stages: Stages = self.generator(2 * batch.image - 1, batch.mask)
        return stages

    def discriminator_loss(self, batch: MaskedBatch, generated: Stages) -> Losses:
        """Return the hinge on true against completed pictures, each with the mask."""
        image, mask = 2 * batch.image - 1, batch.mask
        real = self.discriminator(image, mask)
        fake = self.discriminator(paste(image, generated.fine.detach(), mask), mask)
        return self.adversary.discriminator(real, fake), {
            D_REAL: real.float().mean(),
            D_FAKE_BEFORE: fake.float().mean(),
        }

    def generator_loss(self, batch: MaskedBatch, generated: Stages) -> Losses:
        """Adversary + L1 of the coarse picture + L1 of the fine one, in [-1, 1]."""
        settings, target = self.settings, 2 * batch.image - 1
        fake = self.discriminator(paste(target, generated.fine, batch.mask), batch.mask)
        adversarial = self.adversary.generator(fake)
        coarse, fine = l1(generated.coarse, target), l1(generated.fine, target)
        loss = settings.adversarial_weight * adversarial + settings.reconstruction_weight * (coarse + fine)
        return loss, {
            LOSS_G: adversarial,
            RECONSTRUCTION: coarse + fine,
            "coarse": coarse,
            "fine": fine,
            D_FAKE_AFTER: fake.float().mean(),
        }

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the second stage's picture, inside the hole."""
        filled: Tensor = (self.generator(2 * image - 1, mask).fine + 1) / 2
        return paste(image, filled, mask)
