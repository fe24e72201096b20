"""`push-pull-unet`: a small U-Net that corrects a push–pull pre-fill, taught by L1 first, then by critics.

The hole is filled by multi-scale averaging (push–pull) inside the network, so that training starts at the
level of the classical methods and every step is gain. The U-Net sees the pre-filled picture, the masked one
and the mask, and predicts what to add inside the hole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from infilling.learning.data import MaskedBatch
from infilling.learning.features import SMALLEST_SIDE, SqueezeNet, perceptual_distance, scale_to_unit
from infilling.learning.system import Losses, Phase, System, SystemSettings
from infilling.pictures.frame import SizeRule

GROUPS = 8  # of channels that are normalised together
Width = Annotated[int, Field(gt=0, multiple_of=GROUPS)]

SEEN = 3  # cells of 2×2 px that the last four convolutions, two of them at full size, look beyond a hole
FAINTEST = -40  # logits so far below their row's largest weigh 4e-18 of it
PYRAMID_LEVELS = 7  # 128 px shrink to one cell; beyond that the mean of the known pixels decides

PERCEPTUAL_LAYERS = ("conv1", "fire4", "fire8")
CRITIC_LAYERS = {"fire3": 128, "fire4": 256, "fire8": 512}  # and their channels
SEEN_LAYERS = ("conv1", *CRITIC_LAYERS)
PHASES = 8  # of the pictures against the stride of fire8 and of the critic of pixels, pixels
COVERED = 0.3  # share of a critic's cell that the hole must take before the cell is judged


class Settings(SystemSettings):
    """Widths, and the weights and stages of the losses."""

    name: Literal["push-pull-unet"] = "push-pull-unet"
    widths: tuple[Width, Width, Width] = (32, 80, 192)
    """Channels at 1/2, 1/4 and 1/8 of the side; multiples of 8."""
    working_size: PositiveInt = 128
    """Side of the pictures it learns from: the size at which it works best."""
    depth: PositiveInt = 4
    """Residual blocks with self-attention at 1/8."""
    prefill: bool = True
    """False: the hole is grey to begin with; what the pre-fill is worth."""
    attention: bool = True
    """False: dilations up to 8 in its place; what looking everywhere is worth."""
    critic_width: PositiveInt = 48
    l1_weight: NonNegativeFloat = 1.0
    perceptual_weight: NonNegativeFloat = 0.2
    """In the second stage. 0 trains without a feature file: the critics then see pixels alone."""
    adversarial_weight: NonNegativeFloat = 0.5
    feature_matching_weight: NonNegativeFloat = 10.0
    adversary_start_images: NonNegativeInt = 0
    """The first stage: so many pictures of L1 alone, which fills closest to the truth."""
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

    def forward(self, x: Tensor, part: tuple[slice, ...] = ()) -> Tensor:
        """Gives (N, C, H, W), or a part of it, whose outermost pixels then count as the picture's edge."""
        y: Tensor = F.silu(self.norm2(self.conv1(F.silu(self.norm1(x)))))
        x = x[part] + self.conv2(y[part])
        return x


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
        q = q * q.shape[-1] ** -0.5
        if torch.onnx.is_in_onnx_export():
            # One head at a time: its products stay in the cache.
            heads = zip(q.split(1, 1), k.split(1, 1), v.split(1, 1), strict=True)
            seen = torch.cat([_look(*head, clip=True) for head in heads], dim=1)
        else:
            seen = _look(q, k, v)
        out: Tensor = self.to_out(seen.transpose(-1, -2).reshape(n, c, h, w))
        return x + out


def _look(q: Tensor, k: Tensor, v: Tensor, *, clip: bool = False) -> Tensor:
    """Attention softmax(q kᵀ) v.

    In plain products: on a CPU these learn three times faster than the fused kernel.

    Args:
        q: (…, cells, width), scaled.
        k: like q.
        v: like q.
        clip: lift weights below e^FAINTEST of a row's largest to that, which is nothing beside it. Trained
            logits lie thousands apart, and their weights are in part denormal numbers, with which an Intel
            processor computes a hundred times slower: it spent half of the network's time on them.
    """
    logits = q @ k.transpose(-1, -2)
    if clip:
        logits = torch.maximum(logits, logits.amax(-1, keepdim=True) + FAINTEST)
    return logits.softmax(-1).to(v.dtype) @ v


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
        half = self.down_half(_convolve_cells(self.stem, seen))
        quarter = self.down_quarter(self.to_quarter(half))
        x = self.middle(self.to_eighth(quarter))
        x = F.interpolate(self.from_eighth(x), scale_factor=2, mode="nearest")
        x = self.up_quarter(self.join_quarter(torch.cat([x, quarter], dim=1)))
        x = F.interpolate(self.from_quarter(x), scale_factor=2, mode="nearest")
        x = self.join_half(torch.cat([x, half], dim=1))
        if torch.onnx.is_in_onnx_export():
            filled = self._finish_holes(x, prefill, mask)
        else:
            filled = self._finish(self.up_half(x), prefill, mask)
        return (image * known + filled * mask) * 0.5 + 0.5

    def _finish(self, x: Tensor, prefill: Tensor, mask: Tensor) -> Tensor:
        x = F.pixel_shuffle(self.to_full(x), 2)
        x = F.silu(self.full(torch.cat([x, prefill, mask], dim=1)))
        filled: Tensor = prefill + self.residual(x)
        return filled

    def _finish_holes(self, x: Tensor, prefill: Tensor, mask: Tensor) -> Tensor:
        """As `_finish` of `up_half`, around the holes alone, 0 elsewhere: what is not put in is not made."""
        top, bottom = _find_ends(mask.amax((0, 1, 3)))
        left, right = _find_ends(mask.amax((0, 1, 2)))
        small = ..., slice(top, bottom), slice(left, right)
        large = ..., slice(2 * top, 2 * bottom), slice(2 * left, 2 * right)
        filled = self._finish(self.up_half(x, small), prefill[large], mask[large])
        height, width = mask.shape[2:]
        around: list[Any] = [2 * left, width - 2 * right, 2 * top, height - 2 * bottom]  # tensors, as traced
        return F.pad(filled, around)


def _convolve_cells(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 3×3 convolution of the pixel-unshuffled x, as one of 6×6 at stride 2, which need not move pixels."""
    count = layer.weight.shape[0]
    cells = layer.weight.reshape(count, -1, 2, 2, 3, 3)  # (out, in, row and column in a cell, 3, 3)
    weight = cells.permute(0, 1, 4, 2, 5, 3).reshape(count, -1, 6, 6)
    return F.conv2d(x, weight, layer.bias, stride=2, padding=2)


def _find_ends(hole: Tensor) -> tuple[Tensor, Tensor]:
    """Between which pairs of lines lies all that the layers after `up_half.norm2` look at to fill a hole.

    Args:
        hole: (lines,), 1 where a line has a hole; if there is none, all count.

    Returns:
        The first, and the one after the last.
    """
    lines = hole.shape[0]  # not len(), which is no part of the traced graph
    first, last = hole.argmax(), lines - hole.flip(0).argmax()
    return (first // 2 - SEEN).clamp_min(0), ((last + 1) // 2 + SEEN).clamp_max(lines // 2)


Judgement = tuple[Tensor, list[Tensor]]
"""A critic's scores (N, 1, h, w), one for each of its cells, and the features of its layers."""


class PixelCritic(nn.Module):
    """(picture, mask) → a score for each 8×8 cell; spectral norm below the score."""

    def __init__(self, width: int) -> None:
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

    def forward(self, image: Tensor, mask: Tensor) -> Judgement:
        """Scores a picture (N, 3, H, W) in [0, 1] with its mask (N, 1, H, W)."""
        x = torch.cat([image * 2 - 1, mask], dim=1)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


class FeatureCritic(nn.Module):
    """(a layer of a frozen feature network, mask) → a score for each of the layer's cells.

    What texture is need not be learned from nothing here (Projected GANs, Sauer et al., NeurIPS 2021): after
    2,000 pictures such a critic tells fills that one of pixels still takes for true.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = spectral_norm(nn.Conv2d(channels + 1, width, 1))
        self.layers = nn.ModuleList([spectral_norm(nn.Conv2d(width, width, 3, padding=1)) for _ in range(2)])
        self.score = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, seen: Tensor, mask: Tensor) -> Judgement:
        """Scores what the layer sees (N, C, h, w) of a picture with this mask (N, 1, H, W)."""
        seen = scale_to_unit(seen.float()) * seen.shape[1] ** 0.5  # each place by its direction alone
        covered = F.adaptive_avg_pool2d(mask, (seen.shape[-2], seen.shape[-1]))
        x = F.leaky_relu(self.enter(torch.cat([seen, covered], dim=1)), 0.2)
        features = [x]
        for layer in self.layers:
            x = x + F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


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

    name = "push-pull-unet"

    generator: Generator
    discriminator: Discriminator
    features: SqueezeNet

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings: Settings = settings
        self.size_rule = SizeRule(multiple_of=8, working_size=settings.working_size)
        self.needs_features = settings.perceptual_weight > 0
        self.feature_layers = SEEN_LAYERS
        self.smallest_side = (SMALLEST_SIDE if self.needs_features else PHASES) + PHASES - 1
        self.generator = Generator(
            settings.widths, settings.depth, prefill=settings.prefill, attention=settings.attention
        )
        self.discriminator = Discriminator(settings.critic_width, with_features=self.needs_features)

    def phases(self) -> tuple[Phase, ...]:
        """The critics' steps begin with the second stage."""
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
        """−log σ(D(x)) − log(1 − σ(D(x̂))) over covered cells, σ of their scores, as a mean over critics."""
        image, generated, mask = _shift(batch.image, generated.detach(), batch.mask)
        with torch.no_grad():
            seen_real, seen_fake = self._see(image), self._see(generated)
        real = [scores.float() for scores, _ in self.discriminator(image, mask, seen_real)]
        fake = [scores.float() for scores, _ in self.discriminator(generated, mask, seen_fake)]
        loss = _mean_covered([F.softplus(-each) for each in real], mask)
        loss = loss + _mean_covered([F.softplus(each) for each in fake], mask)
        return loss, {
            "D(x)": _mean_covered([each.sigmoid() for each in real], mask).detach(),
            "D(G(z)) before": _mean_covered([each.sigmoid() for each in fake], mask).detach(),
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
        image, generated, mask = _shift(batch.image, generated, hole)
        with torch.no_grad():
            target = self._see(image)
        seen = self._see(generated)
        if self.needs_features:
            perceptual = perceptual_distance(seen, target, PERCEPTUAL_LAYERS, mask).mean()
            total = total + settings.perceptual_weight * perceptual
            scalars["perceptual"] = perceptual.detach()
        scalars["reconstruction"] = total.detach()
        ramp = self._ramp()
        if ramp > 0:
            with torch.no_grad():
                wanted = self.discriminator(image, mask, target)
            found = self.discriminator(generated, mask, seen)
            scores = [scores.float() for scores, _ in found]
            adversarial = _mean_covered([F.softplus(-each) for each in scores], mask)
            matching = _match_features(found, wanted)
            total = total + ramp * settings.adversarial_weight * adversarial
            total = total + ramp * settings.feature_matching_weight * matching
            scalars |= {"Loss_G": adversarial.detach(), "feature_matching": matching.detach()}
            scalars["D(G(z)) after"] = _mean_covered([each.sigmoid() for each in scores], mask).detach()
        return total, scalars

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fills any holes of pictures whose sides are multiples of 8."""
        filled: Tensor = self.generator(image, mask).clamp(0, 1)
        return filled

    def _see(self, image: Tensor) -> dict[str, Tensor]:
        """What the feature network sees of a picture; nothing without one."""
        return self.features.layers(image, SEEN_LAYERS) if self.needs_features else {}

    def _ramp(self) -> float:
        """How far the critics are heard in the second stage: rising to 1; 0 without their terms."""
        seen = self.images_seen - self.settings.adversary_start_images
        if self.settings.adversarial_weight == self.settings.feature_matching_weight == 0:
            return 0.0
        return min(1.0, (seen + 1) / max(1, self.settings.adversary_ramp_images))


def _shift(image: Tensor, generated: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Leaves seven rows and columns out of all three, the same random 0–7 of them at the top and the left."""
    y, x = torch.randint(0, PHASES, (2,)).tolist()
    height, width = (side - PHASES + 1 for side in image.shape[-2:])  # one size, so that it compiles once
    rows, columns = slice(y, y + height), slice(x, x + width)
    return image[..., rows, columns], generated[..., rows, columns], mask[..., rows, columns]


def _mean_covered(values: list[Tensor], mask: Tensor) -> Tensor:
    """The mean over critics of each one's mean over the cells that the hole covers.

    Args:
        values: each (N, 1, h, w), a value for every cell of a critic.
        mask: (N, 1, H, W), 1 inside the hole.
    """
    means = []
    for value in values:
        share = F.adaptive_avg_pool2d(mask.float(), (value.shape[-2], value.shape[-1]))
        covered = (share >= COVERED).float()
        means.append((value * covered).sum() / covered.sum().clamp_min(1))  # 0 where it covers none
    return torch.stack(means).mean()


def _match_features(found: list[Judgement], wanted: list[Judgement]) -> Tensor:
    """The L1 between the critics' features of filled and of true pictures, as a mean over all layers."""
    pairs = [
        pair
        for (_, fake), (_, real) in zip(found, wanted, strict=True)
        for pair in zip(fake, real, strict=True)
    ]
    return torch.stack([F.l1_loss(fake.float(), real.float()) for fake, real in pairs]).mean()
