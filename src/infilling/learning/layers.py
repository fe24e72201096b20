"""Blocks that several systems share."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def halve(inputs: int, outputs: int, *, norm: bool = True, slope: float = 0.2) -> nn.Sequential:
    """4×4 convolution with stride 2, batch norm, LeakyReLU: half the side. No bias: the norm has one."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.LeakyReLU(slope, inplace=True))


def double(inputs: int, outputs: int) -> nn.Sequential:
    """4×4 transposed convolution with stride 2, batch norm, ReLU: twice the side. Without bias."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class ToPoint(nn.Conv2d):
    """A convolution whose kernel is as large as its input, computed as the matrix product that it is.

    Convolution libraries are made for small kernels: at 4×4 on a CPU this is six times as fast.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(inputs, outputs, side, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, side, side) → (N, outputs, 1, 1)."""
        return F.linear(x.flatten(1), self.weight.flatten(1))[:, :, None, None]


class FromPoint(nn.ConvTranspose2d):
    """The way back from `ToPoint`: a transposed convolution of one point, as a matrix product."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(inputs, outputs, side, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, inputs, 1, 1) → (N, outputs, side, side)."""
        return (x.flatten(1) @ self.weight.flatten(1)).view(-1, *self.weight.shape[1:])


class SelfAttention(nn.Module):
    """Every place looks at every place (SAGAN, Zhang et al. 2019): x + γ · attention(x), with γ from 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 8
        self.query = nn.Conv2d(channels, narrow, 1)
        self.key = nn.Conv2d(channels, narrow, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same."""
        # (N, places, channels), the layout of channels-last pictures in memory: no copies there
        tokens = (layer(x).permute(0, 2, 3, 1).flatten(1, 2) for layer in (self.query, self.key, self.value))
        query, key, value = tokens
        attention = (query @ key.transpose(1, 2)).softmax(dim=-1)  # (N, from, to)
        seen: Tensor = (attention @ value).transpose(1, 2).reshape(x.shape)
        return x + self.gamma * seen


def init_normal(module: nn.Module) -> None:
    """DCGAN's start (Radford et al. 2016): convolutions N(0, 0.02), norm weights N(1, 0.02), every bias 0.

    Draws from torch's global generator, in the order of the modules.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


# -- cut a box out of every picture of a batch, and put it back --------------------------------------------
#
# Bilinear interpolation at the place s weighs pixel j by max(0, 1 − |s − j|). Written as two matrix
# products it takes another box for every picture, has a gradient, and exports to plain ONNX operators.


def find_boxes(mask: Tensor) -> Tensor:
    """Find the bounding boxes of the holes.

    Args:
        mask: holes, (N, 1, H, W) in {0, 1}.

    Returns:
        (N, 4) float32: top, left, height, width in pixels; the whole picture where a mask is empty.
    """
    top, height = _find_span(mask.amax(dim=(1, 3)))
    left, width = _find_span(mask.amax(dim=(1, 2)))
    return torch.stack([top, left, height, width], dim=1)


def crop_boxes(image: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut each picture's box out and resize it to (size, size).

    Equal to `F.interpolate(box, (size, size), mode="bilinear", align_corners=False)`, without antialias: the
    border of the box is repeated, and nothing outside it is read.

    Args:
        image: pictures, (N, C, H, W).
        boxes: (N, 4), as `find_boxes` gives them.
        size: side of the patches, pixels.

    Returns:
        (N, C, size, size).
    """
    top, left, height, width = boxes.unsqueeze(-1).unbind(dim=1)  # each (N, 1)
    rows = top + _map_to_box(size, height)
    columns = left + _map_to_box(size, width)
    return (
        _weigh_pixels(rows, image.shape[-2])
        @ image
        @ _weigh_pixels(columns, image.shape[-1]).transpose(-1, -2)
    )


def paste_patches(patch: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Resize patches to their boxes' sizes (bilinear, align_corners=False) and place them in pictures.

    Args:
        patch: patches, (N, C, size, size).
        boxes: (N, 4), as `find_boxes` gives them.
        height: height of the pictures, pixels.
        width: width of the pictures, pixels.

    Returns:
        (N, C, height, width); outside the box, its border continues.
    """
    size = patch.shape[-1]
    top, left, box_height, box_width = boxes.unsqueeze(-1).unbind(dim=1)
    rows = _map_to_patch(torch.arange(height, device=patch.device) - top, box_height, size)
    columns = _map_to_patch(torch.arange(width, device=patch.device) - left, box_width, size)
    return _weigh_pixels(rows, size) @ patch @ _weigh_pixels(columns, size).transpose(-1, -2)


def _find_span(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first occupied place of (N, L) and the extent up to the last; all where none is."""
    length = occupied.shape[1]
    places = torch.arange(length, device=occupied.device, dtype=torch.float32)
    occupied = occupied.float()
    end = (occupied * (places + 1)).amax(dim=1)
    start = length - (occupied * (length - places)).amax(dim=1)
    empty = end == 0
    return torch.where(empty, 0.0, start), torch.where(empty, float(length), end - start)


def _map_to_box(size: int, extent: Tensor) -> Tensor:
    """Return where `size` pixels of a patch are in a box of `extent` (N, 1): (N, size) in [0, extent − 1]."""
    places = torch.arange(size, device=extent.device) + 0.5
    return torch.minimum((places * (extent / size) - 0.5).clamp_min(0.0), extent - 1)


def _map_to_patch(offset: Tensor, extent: Tensor, size: int) -> Tensor:
    """Return where pixels of a box (N, L), counted from its edge, are in a patch: in [0, size − 1]."""
    return ((offset + 0.5) * (size / extent) - 0.5).clamp(0.0, size - 1.0)


def _weigh_pixels(places: Tensor, length: int) -> Tensor:
    """Return the bilinear weights of `length` pixels at places (N, L): (N, 1, L, length)."""
    pixels = torch.arange(length, device=places.device)
    return (1 - (places.unsqueeze(-1) - pixels).abs()).clamp_min(0.0).unsqueeze(1)
