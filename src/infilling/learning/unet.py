"""The U-Net over a push–pull pre-fill that several systems share, and its blocks.

The hole is filled by multi-scale averaging (push–pull) inside the network, so that training starts at the
level of the classical methods and every step is gain. The U-Net sees the pre-filled picture, the masked one
and the mask, and predicts what to add inside the hole.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8  # of channels that are normalised together
Width = Annotated[int, Field(gt=0, le=8192, multiple_of=GROUPS)]

SEEN = 3  # cells of 2×2 px that the last four convolutions, two of them at full size, look beyond a hole
FAINTEST = -40  # logits so far below their row's largest weigh 4e-18 of it
PYRAMID_LEVELS = 7  # 128 px shrink to one cell; beyond that the mean of the known pixels decides


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


def start_at_zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Set a layer's weights to zero, so that it adds nothing before it has learned something."""
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
        self.conv2 = start_at_zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, part: tuple[slice, ...] = ()) -> Tensor:
        """Compute (N, C, H, W), or a part of it, whose outermost pixels then count as the picture's edge."""
        y: Tensor = F.silu(self.norm2(self.conv1(F.silu(self.norm1(x)))))
        x = x[part] + self.conv2(y[part])
        return x


class CellAttention(nn.Module):
    """Attention between all cells, so that a hole can copy from afar; positions are a learned map."""

    def __init__(self, width: int, heads: int = 6, position_side: int = 16) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, width)
        self.position = nn.Parameter(torch.randn(1, width, position_side, position_side) * 0.02)
        self.to_qkv = nn.Conv2d(width, 3 * width, 1)
        self.to_out = start_at_zero(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus the attention of each position to all others, (N, C, H, W)."""
        n, c, h, w = x.shape
        position = F.interpolate(self.position, size=(h, w), mode="bilinear", align_corners=False)
        qkv = self.to_qkv(self.norm(x) + position)
        q, k, v = qkv.reshape(n, 3, self.heads, c // self.heads, h * w).transpose(-1, -2).unbind(1)
        q = q * q.shape[-1] ** -0.5
        if torch.onnx.is_in_onnx_export():
            # One head at a time: its products stay in the cache.
            heads = zip(q.split(1, 1), k.split(1, 1), v.split(1, 1), strict=True)
            seen = torch.cat([_attend(*head, clip=True) for head in heads], dim=1)
        else:
            seen = _attend(q, k, v)
        out: Tensor = self.to_out(seen.transpose(-1, -2).reshape(n, c, h, w))
        return x + out


def _attend(q: Tensor, k: Tensor, v: Tensor, *, clip: bool = False) -> Tensor:
    """Compute attention, softmax(q kᵀ) v.

    In plain products: on a CPU these train three times faster than the fused kernel.

    Args:
        q: (…, cells, width), scaled.
        k: like q.
        v: like q.
        clip: raise weights below e^FAINTEST of a row's largest to that, which is nothing beside it. Trained
            logits are thousands apart, and some weights are denormal numbers, with which an Intel processor
            computes a hundred times slower: they took half of the network's time.
    """
    logits = q @ k.transpose(-1, -2)
    if clip:
        logits = torch.maximum(logits, logits.amax(-1, keepdim=True) + FAINTEST)
    return logits.softmax(-1).to(v.dtype) @ v


class DeepLevels(nn.Module):
    """Levels below a U-Net's lowest one, which add what they find out to it; at first that is nothing.

    Args:
        inputs: number of channels of the level above.
        widths: number of channels of each level, from the top down; each has half the side of the one above.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        width, *below = widths
        self.down = nn.Conv2d(inputs, width, 4, stride=2, padding=1)
        self.before = ResidualBlock(width)
        self.deeper = DeepLevels(width, below) if below else nn.Identity()
        self.after = ResidualBlock(width)
        self.up = start_at_zero(nn.Conv2d(width, inputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Compute x plus what the deeper levels see in it: (N, inputs, H, W), sides multiples of 2^levels."""
        y = self.up(self.after(self.deeper(self.before(self.down(x)))))
        return x + F.interpolate(y, scale_factor=2, mode="nearest")


class WideBlocks(nn.Module):
    """Residual blocks beside a narrow level, which add what they draw to it; at first that is nothing.

    Args:
        inputs: number of channels of the level.
        width: number of channels of the blocks.
        depth: number of blocks.
    """

    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, width, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
        self.leave = start_at_zero(nn.Conv2d(width, inputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Compute x plus what the blocks make of it: (N, inputs, H, W)."""
        out: Tensor = x + self.leave(self.blocks(self.enter(x)))
        return out


class Noise(nn.Module):
    """A picture's noise, brought to one level of a U-Net: every pixel of a cell is a channel of its own.

    Args:
        channels: number of channels of the level.
        cell: side of the level's cells, pixels.
    """

    def __init__(self, channels: int, cell: int) -> None:
        super().__init__()
        self.cell = cell
        self.weigh = start_at_zero(nn.Conv2d(cell * cell, channels, 1, bias=False))

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Add the weighed noise (N, 1, H, W) to x (N, channels, H / cell, W / cell)."""
        return x if noise is None else x + self.weigh(F.pixel_unshuffle(noise, self.cell))


class Generator(nn.Module):
    """U-Net at 1/2, 1/4, 1/8 and below over the pre-filled picture; predicts what to add in the hole.

    Args:
        widths: number of channels at 1/2, 1/4 and 1/8 of the side.
        depth: number of residual blocks at 1/8.
        deep_widths: number of channels at 1/16, 1/32 …; none: 1/8 is the lowest level.
        fine: number of channels and of blocks that draw detail at 1/2; None: one narrow block does.
        noisy: whether it takes noise, from which it invents.
        prefill: False leaves the hole grey at first.
        attention: False puts dilations up to 8 in its place.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (32, 80, 192),
        depth: int = 4,
        deep_widths: Sequence[int] = (),
        *,
        fine: tuple[int, int] | None = None,
        noisy: bool = False,
        prefill: bool = True,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.prefill, self.noisy = prefill, noisy
        half, quarter, eighth = widths
        self.stem = nn.Conv2d(7 * 4, half, 3, padding=1)
        self.down_half = ResidualBlock(half)
        self.to_quarter = nn.Conv2d(half, quarter, 4, stride=2, padding=1)
        self.down_quarter = nn.Sequential(ResidualBlock(quarter), ResidualBlock(quarter))
        self.to_eighth = nn.Conv2d(quarter, eighth, 4, stride=2, padding=1)
        self.deep = DeepLevels(eighth, deep_widths) if deep_widths else nn.Identity()
        self.middle = nn.Sequential(*(_make_middle(eighth, index, attention) for index in range(depth)))
        self.from_eighth = nn.Conv2d(eighth, quarter, 1)
        self.join_quarter = nn.Conv2d(2 * quarter, quarter, 1)
        self.up_quarter = nn.Sequential(ResidualBlock(quarter), ResidualBlock(quarter))
        self.from_quarter = nn.Conv2d(quarter, half, 1)
        self.join_half = nn.Conv2d(2 * half, half, 1)
        self.fine = WideBlocks(half, *fine) if fine else nn.Identity()
        self.up_half = ResidualBlock(half)
        # Pixel-shuffle carries the detail to full size; two small convolutions there take out its cell grid.
        self.to_full = nn.Conv2d(half, 8 * 4, 3, padding=1)
        self.full = nn.Conv2d(8 + 4, 16, 3, padding=1)
        self.residual = start_at_zero(nn.Conv2d(16, 3, 3, padding=1))
        if noisy:
            self.noise_eighth = Noise(eighth, 8)
            self.noise_quarter = Noise(quarter, 4)
            self.noise_half = Noise(half, 2)

    def forward(self, image: Tensor, mask: Tensor, noise: Tensor | None = None) -> Tensor:
        """Fill the hole and put it into the picture.

        Args:
            image: (N, 3, H, W) in [0, 1], H and W multiples of 8 · 2^levels below 1/8; what is inside the
                hole is ignored.
            mask: (N, 1, H, W), 1 inside the hole.
            noise: (N, 1, H, W) of mean 0 and variance 1, for a generator that is `noisy`; None: no noise.

        Returns:
            (N, 3, H, W): the composited picture, not clipped; known pixels are those of `image`.
        """
        known = 1 - mask
        noise = noise * mask if self.noisy and noise is not None else None
        image = image * 2 - 1
        prefill = push_pull(image, known) if self.prefill else image * known
        seen = torch.cat([prefill, image * known, mask], dim=1)
        half = self.down_half(_convolve_cells(self.stem, seen))
        quarter = self.down_quarter(self.to_quarter(half))
        x = self.deep(self.to_eighth(quarter))
        x = self.middle(self.noise_eighth(x, noise) if self.noisy else x)
        x = F.interpolate(self.from_eighth(x), scale_factor=2, mode="nearest")
        x = self.join_quarter(torch.cat([x, quarter], dim=1))
        x = self.up_quarter(self.noise_quarter(x, noise) if self.noisy else x)
        x = F.interpolate(self.from_quarter(x), scale_factor=2, mode="nearest")
        x = self.join_half(torch.cat([x, half], dim=1))
        x = self.fine(self.noise_half(x, noise) if self.noisy else x)
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
        """Compute `_finish` of `up_half` around the holes alone, and 0 elsewhere."""
        top, bottom = _find_ends(mask.amax((0, 1, 3)))
        left, right = _find_ends(mask.amax((0, 1, 2)))
        small = ..., slice(top, bottom), slice(left, right)
        large = ..., slice(2 * top, 2 * bottom), slice(2 * left, 2 * right)
        filled = self._finish(self.up_half(x, small), prefill[large], mask[large])
        height, width = mask.shape[2:]
        around: list[Any] = [2 * left, width - 2 * right, 2 * top, height - 2 * bottom]  # tensors, as traced
        return F.pad(filled, around)


def _make_middle(width: int, index: int, attention: bool) -> nn.Module:
    """Make one of the blocks at 1/8: with attention, or with dilations that grow from block to block."""
    if attention:
        return nn.Sequential(ResidualBlock(width, dilation=1 + index % 2), CellAttention(width))
    return nn.Sequential(ResidualBlock(width, dilation=2 ** (index % 4)))


def _convolve_cells(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve the pixel-unshuffled x by 3×3, as one convolution of 6×6 at stride 2 that moves no pixels."""
    count = layer.weight.shape[0]
    cells = layer.weight.reshape(count, -1, 2, 2, 3, 3)  # (out, in, row and column in a cell, 3, 3)
    weight = cells.permute(0, 1, 4, 2, 5, 3).reshape(count, -1, 6, 6)
    return F.conv2d(x, weight, layer.bias, stride=2, padding=2)


def _find_ends(hole: Tensor) -> tuple[Tensor, Tensor]:
    """Find the pairs of lines that the layers after `up_half.norm2` look at to fill a hole.

    Args:
        hole: (lines,), 1 where a line has a hole; if there is none, all count.

    Returns:
        The first pair, and the one after the last.
    """
    lines = hole.shape[0]  # not len(), which is no part of the traced graph
    first, last = hole.argmax(), lines - hole.flip(0).argmax()
    return (first // 2 - SEEN).clamp_min(0), ((last + 1) // 2 + SEEN).clamp_max(lines // 2)
