"""The feature networks behind the judging figures, and the files that they are read from.

No weights are shipped. `squeezenet` is described in `learning/features.py`. The other two take the files that
their authors publish, as `.safetensors` or as `.pth` state dicts (opened without running any code in them):

- `lpips`: a backbone, torchvision's `alexnet` or `vgg16` (`features.N.weight`, `features.N.bias`), and
  the linear weights of LPIPS 0.1 for it (`lin0.model.1.weight` … `lin4.model.1.weight`). One file or two: the
  tensors of both are joined.
- `inception`: the Inception-v3 of the original FID, as converted for PyTorch (`Conv2d_1a_3x3.conv.weight` …
  `Mixed_7c.branch_pool.bn.running_var`); figures match others' only with this one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infilling.errors import DataError, ModelError
from infilling.learning import features

Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Embedding:
    """What a network sees in N pictures; only what it was opened for.

    Attributes:
        maps: per layer (N, C, h, w), scaled so that LPIPS is their plain squared distance.
        vectors: (N, D), one per picture.
    """

    maps: tuple[Float, ...] = ()
    vectors: Float | None = None


Embed = Callable[[npt.NDArray[np.uint8]], Embedding]
"""(N, H, W, 3) uint8 → what the network sees."""


def open_network(kind: str, files: Sequence[str | Path]) -> Embed:
    """Reads a feature network and returns the function that runs it.

    Args:
        kind: "squeezenet", "lpips" or "inception".
        files: where its tensors are.

    Raises:
        ModelError: a file is missing, unreadable, or holds another network.
    """
    run = NETWORKS[kind](files)

    def embed(pictures: npt.NDArray[np.uint8]) -> Embedding:
        with torch.inference_mode():
            return run(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)

    return embed


def _open_squeezenet(files: Sequence[str | Path]) -> Callable[[Tensor], Embedding]:
    if len(files) != 1:
        raise ModelError(f"SqueezeNet is one feature file, not {len(files)}")
    network = features.load_squeezenet(files[0])

    def run(images: Tensor) -> Embedding:
        found = network.layers(images, features.PERCEPTUAL_LAYERS)
        maps = tuple(features.scale_to_unit(found[name]).numpy() for name in features.PERCEPTUAL_LAYERS)
        return Embedding(maps, found["fire9"].mean((2, 3)).numpy())

    return run


def read_tensors(files: Sequence[str | Path]) -> dict[str, Tensor]:
    """Joins the tensors of several files: `.safetensors`, or what `torch.load` opens with weights only."""
    joined: dict[str, Tensor] = {}
    for file in files:
        try:
            if Path(file).suffix == ".safetensors":
                from safetensors.torch import load_file

                found: Any = load_file(str(file))
            else:
                found = torch.load(file, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise ModelError(f"weights not found: {file}") from None
        except Exception as error:  # both readers raise kinds of their own for a broken file
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(f"weights {file} cannot be read: {reason}") from None
        if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
            raise ModelError(f"weights {file} are not a plain mapping of names to tensors")
        joined |= found
    return joined


def _load(network: nn.Module, tensors: Mapping[str, Tensor], title: str) -> None:
    """Fills a network from tensors of its own names and shapes, and freezes it; others are left alone."""
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name.endswith("num_batches_tracked"):
            continue
        if name not in tensors:
            raise ModelError(f"these weights are no {title}: they have no tensor {name!r}")
        if tensors[name].shape != tensor.shape:
            shapes = f"{tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
            raise ModelError(f"these weights are no {title}: {name!r} has shape {shapes}")
    network.load_state_dict({name: tensors.get(name, tensor) for name, tensor in wanted.items()})
    network.eval().requires_grad_(False)


# ---- LPIPS: Zhang et al., "The Unreasonable Effectiveness of Deep Features", CVPR 2018 ---------------------

_SHIFT = (-0.030, -0.088, -0.188)  # of pictures in [-1, 1], from the authors' release
_SCALE = (0.458, 0.448, 0.450)
_ALEXNET_TAPS = (1, 4, 7, 9, 11)  # the ReLUs that are compared
_VGG16_TAPS = (3, 8, 15, 22, 29)


def alexnet() -> nn.Sequential:
    """The convolutions of torchvision's AlexNet, numbered as there."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
    )  # fmt: skip


def vgg16() -> nn.Sequential:
    """The convolutions of torchvision's VGG-16, numbered as there, up to the last ReLU."""
    layers: list[nn.Module] = []
    width = 3
    for stage, (count, wide) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))):
        if stage:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(count):
            layers += [nn.Conv2d(width, wide, 3, 1, 1), nn.ReLU()]
            width = wide
    return nn.Sequential(*layers)


def _open_lpips(files: Sequence[str | Path]) -> Callable[[Tensor], Embedding]:
    tensors = read_tensors(files)
    first = tensors.get("features.0.weight", torch.empty(0))
    backbone, taps, title = (
        (vgg16(), _VGG16_TAPS, "VGG-16")
        if first.shape[2:] == (3, 3)
        else (alexnet(), _ALEXNET_TAPS, "AlexNet")
    )
    convolutions = [backbone.get_submodule(str(tap - 1)) for tap in taps]
    network = nn.ModuleDict({"features": backbone})
    for layer, convolution in enumerate(convolutions):
        line = nn.Conv2d(int(convolution.out_channels), 1, 1, bias=False)  # type: ignore[arg-type]
        network[f"lin{layer}"] = nn.ModuleDict({"model": nn.Sequential(nn.Dropout(), line)})
    _load(network, tensors, f"LPIPS with {title}")
    # Σ w (a - b)² = Σ (√w a - √w b)²: the maps carry the weights, none of which is negative.
    names = (f"lin{layer}.model.1.weight" for layer in range(len(taps)))
    weights = [network.get_parameter(name).clamp(min=0).view(1, -1, 1, 1).sqrt() for name in names]
    shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (_SHIFT, _SCALE))

    def run(images: Tensor) -> Embedding:
        if min(images.shape[2:]) < features.SMALLEST_SIDE:
            raise DataError(f"LPIPS needs sides of at least {features.SMALLEST_SIDE} px")
        maps: list[Float] = []
        x = (images * 2 - 1 - shift) / scale
        for index, layer in enumerate(backbone):
            x = layer(x)
            if index in taps:
                maps.append((features.scale_to_unit(x) * weights[len(maps)]).numpy())
        return Embedding(maps=tuple(maps))

    return run


# ---- Inception-v3 of FID: Szegedy et al., CVPR 2016; Heusel et al., NeurIPS 2017 ---------------------------

Unit = tuple[str, int, int | tuple[int, int], int]
"""A convolution: name, channels out, kernel, stride."""
UnitPath = Sequence[Unit | str | list[Unit]]
"""Units in a row; "average" or "max": a pool; a list: units side by side."""


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
    """Paths side by side, joined along the channels. A stride of 2 goes without padding, in pools too."""

    def __init__(self, inputs: int, paths: Sequence[UnitPath], stride: int = 1) -> None:
        super().__init__()
        self.paths, self.stride, self.width = paths, stride, 0
        for path in paths:
            width = inputs
            for step in path:
                units = [step] if isinstance(step, tuple) else step if isinstance(step, list) else []
                for name, outputs, kernel, unit_stride in units:
                    self.add_module(name, _ConvUnit(width, outputs, kernel, unit_stride, unit_stride == 1))
                width = sum(unit[1] for unit in units) or width
            self.width += width

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._walk(path, x) for path in self.paths], 1)

    def _walk(self, path: UnitPath, x: Tensor) -> Tensor:
        for step in path:
            if step == "average":  # the original does not count the padding in
                x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            elif step == "max":
                x = F.max_pool2d(x, 3, self.stride, 1 if self.stride == 1 else 0)
            else:
                units = [step] if isinstance(step, tuple) else step
                x = torch.cat([self.get_submodule(unit[0])(x) for unit in units], 1)
        return x


def _row(prefix: str, *units: tuple[int, int | tuple[int, int]], stride: int = 1) -> list[Unit]:
    """Numbers the units of a path as the released names do; the last one takes the stride."""
    last = len(units)
    return [
        (f"{prefix}_{i}", wide, kernel, stride if i == last else 1)
        for i, (wide, kernel) in enumerate(units, 1)
    ]


def _mixed_5(pooled: int) -> list[UnitPath]:
    return [
        [("branch1x1", 64, 1, 1)],
        _row("branch5x5", (48, 1), (64, 5)),
        _row("branch3x3dbl", (64, 1), (96, 3), (96, 3)),
        ["average", ("branch_pool", pooled, 1, 1)],
    ]


def _mixed_6(inner: int) -> list[UnitPath]:
    flat, tall = (1, 7), (7, 1)
    return [
        [("branch1x1", 192, 1, 1)],
        _row("branch7x7", (inner, 1), (inner, flat), (192, tall)),
        _row("branch7x7dbl", (inner, 1), (inner, tall), (inner, flat), (inner, tall), (192, flat)),
        ["average", ("branch_pool", 192, 1, 1)],
    ]


def _mixed_7(pool: str) -> list[UnitPath]:
    def fork(prefix: str) -> list[Unit]:
        return [(f"{prefix}a", 384, (1, 3), 1), (f"{prefix}b", 384, (3, 1), 1)]

    return [
        [("branch1x1", 320, 1, 1)],
        [("branch3x3_1", 384, 1, 1), fork("branch3x3_2")],
        [*_row("branch3x3dbl", (448, 1), (384, 3)), fork("branch3x3dbl_3")],
        [pool, ("branch_pool", 192, 1, 1)],
    ]


_MIXED_6A: list[UnitPath] = [
    [("branch3x3", 384, 3, 2)],
    _row("branch3x3dbl", (64, 1), (96, 3), (96, 3), stride=2),
    ["max"],
]
_MIXED_7A: list[UnitPath] = [
    _row("branch3x3", (192, 1), (320, 3), stride=2),
    _row("branch7x7x3", (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), stride=2),
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
        x = F.interpolate(images, (299, 299), mode="bilinear", align_corners=False) * 2 - 1
        for name, layer in self.named_children():
            x = layer(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, 2)
        return x.mean((2, 3))


def _open_inception(files: Sequence[str | Path]) -> Callable[[Tensor], Embedding]:
    network = Inception()
    _load(network, read_tensors(files), "Inception-v3 of FID")
    return lambda images: Embedding(vectors=network(images).numpy())


NETWORKS: dict[str, Callable[[Sequence[str | Path]], Callable[[Tensor], Embedding]]] = {
    "squeezenet": _open_squeezenet,
    "lpips": _open_lpips,
    "inception": _open_inception,
}
