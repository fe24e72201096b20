"""The Inception-v3 of the original FID (Szegedy et al., CVPR 2016; Heusel et al., NeurIPS 2017)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Unit = tuple[str, int, int | tuple[int, int], int]  # a convolution: name, channels out, kernel, stride
UnitPath = Sequence[
    Unit | str | list[Unit]
]  # units in a row; "average" or "max": a pool; a list: side by side


class _ConvUnit(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int, padded: bool
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Paths side by side, joined along the channels. With a stride of 2 nothing is padded, pools included."""

    def __init__(self, inputs: int, paths: Sequence[UnitPath], stride: int = 1) -> None:
        super().__init__()
        self.paths, self.stride, self.width = paths, stride, 0
        for path in paths:
            width = inputs
            for step in path:
                units = _list_units(step)
                for name, outputs, kernel, unit_stride in units:
                    self.add_module(name, _ConvUnit(width, outputs, kernel, unit_stride, unit_stride == 1))
                width = sum(unit[1] for unit in units) or width
            self.width += width

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._walk(path, x) for path in self.paths], 1)

    def _walk(self, path: UnitPath, x: Tensor) -> Tensor:
        for step in path:
            if step == "average":  # the original leaves the padding out of the mean
                x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            elif step == "max":
                x = F.max_pool2d(x, 3, self.stride, 1 if self.stride == 1 else 0)
            else:
                x = torch.cat([self.get_submodule(unit[0])(x) for unit in _list_units(step)], 1)
        return x


def _list_units(step: Unit | str | list[Unit]) -> list[Unit]:
    """Return the units of one step of a path; a pool has none."""
    if isinstance(step, str):
        return []
    return [step] if isinstance(step, tuple) else step


def _list_chain(prefix: str, *units: tuple[int, int | tuple[int, int]], stride: int = 1) -> list[Unit]:
    """Return the units of a path, numbered as the released names do; the last one gets the stride."""
    last = len(units)
    return [
        (f"{prefix}_{i}", wide, kernel, stride if i == last else 1)
        for i, (wide, kernel) in enumerate(units, 1)
    ]


def _mixed_5(pooled: int) -> list[UnitPath]:
    return [
        [("branch1x1", 64, 1, 1)],
        _list_chain("branch5x5", (48, 1), (64, 5)),
        _list_chain("branch3x3dbl", (64, 1), (96, 3), (96, 3)),
        ["average", ("branch_pool", pooled, 1, 1)],
    ]


def _mixed_6(inner: int) -> list[UnitPath]:
    flat, tall = (1, 7), (7, 1)
    return [
        [("branch1x1", 192, 1, 1)],
        _list_chain("branch7x7", (inner, 1), (inner, flat), (192, tall)),
        _list_chain("branch7x7dbl", (inner, 1), (inner, tall), (inner, flat), (inner, tall), (192, flat)),
        ["average", ("branch_pool", 192, 1, 1)],
    ]


def _mixed_7(pool: str) -> list[UnitPath]:
    def fork(prefix: str) -> list[Unit]:
        return [(f"{prefix}a", 384, (1, 3), 1), (f"{prefix}b", 384, (3, 1), 1)]

    return [
        [("branch1x1", 320, 1, 1)],
        [("branch3x3_1", 384, 1, 1), fork("branch3x3_2")],
        [*_list_chain("branch3x3dbl", (448, 1), (384, 3)), fork("branch3x3dbl_3")],
        [pool, ("branch_pool", 192, 1, 1)],
    ]


_MIXED_6A: list[UnitPath] = [
    [("branch3x3", 384, 3, 2)],
    _list_chain("branch3x3dbl", (64, 1), (96, 3), (96, 3), stride=2),
    ["max"],
]
_MIXED_7A: list[UnitPath] = [
    _list_chain("branch3x3", (192, 1), (320, 3), stride=2),
    _list_chain("branch7x7x3", (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), stride=2),
    ["max"],
]


class Inception(nn.Module):
    """The Inception-v3 of the original FID up to its last pool: (N, 3, H, W) in [0, 1] → (N, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _ConvUnit(3, 32, 3, 2, padded=False)
        self.Conv2d_2a_3x3 = _ConvUnit(32, 32, 3, 1, padded=False)
        self.Conv2d_2b_3x3 = _ConvUnit(32, 64, 3, 1, padded=True)
        self.Conv2d_3b_1x1 = _ConvUnit(64, 80, 1, 1, padded=False)
        self.Conv2d_4a_3x3 = _ConvUnit(80, 192, 3, 1, padded=False)
        width = 192
        for name, paths in (
            ("5b", _mixed_5(32)), ("5c", _mixed_5(64)), ("5d", _mixed_5(64)), ("6a", _MIXED_6A),
            ("6b", _mixed_6(128)), ("6c", _mixed_6(160)), ("6d", _mixed_6(160)), ("6e", _mixed_6(192)),
            ("7a", _MIXED_7A), ("7b", _mixed_7("average")), ("7c", _mixed_7("max")),
        ):  # fmt: skip
            block = _Mixed(width, paths, stride=2 if name in ("6a", "7a") else 1)
            self.add_module(f"Mixed_{name}", block)
            width = block.width

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled features of pictures of any size."""
        x = F.interpolate(images, (299, 299), mode="bilinear", align_corners=False) * 2 - 1
        for name, layer in self.named_children():
            x = layer(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, 2)
        return x.mean((2, 3))
