"""Feature networks read from a file, for losses and for judging.

There are two: SqueezeNet 1.0 (Iandola et al., 2016) in its Caffe layout, and EfficientNet-Lite (TensorFlow's
variant of Tan & Le, ICML 2019) with folded batch norm. `load_features` recognises them by the names of their
tensors. Features are compared as LPIPS compares those of AlexNet (Zhang et al., CVPR 2018), without learned
weights.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infilling.errors import InputError, ModelError
from infilling.learning.weights_file import read_tensors
from infilling.storage import parse_json

LAYERS = ("conv1", "fire2", "fire3", "fire4", "fire5", "fire6", "fire7", "fire8", "fire9")
"""Every layer that `SqueezeNet.layers` can return, from the picture upwards."""

PERCEPTUAL_LAYERS = ("conv1", "fire4", "fire8", "fire9")
"""The layers that `lpips_like` compares."""

LITE_LAYERS = {"stride2": 16, "stride4": 24, "stride8": 40, "stride16": 112, "stride32": 320}
"""The layers that `EfficientNetLite.layers` can return: the ends of its stages, with their channels."""

SMALLEST_SIDE = 32
"""Smallest side of a picture in pixels: below it the last layers have nothing left to look at."""

_FIRES = {  # name: (channels in, squeezed to, expanded to by each of the two branches)
    "fire2": (96, 16, 64),
    "fire3": (128, 16, 64),
    "fire4": (128, 32, 128),
    "fire5": (256, 32, 128),
    "fire6": (256, 48, 192),
    "fire7": (384, 48, 192),
    "fire8": (384, 64, 256),
    "fire9": (512, 64, 256),
}
_POOLED = ("conv1", "fire4", "fire8")  # layers that a pool follows
_MEAN_BGR = (104.0, 117.0, 123.0)


class FeatureNetwork(nn.Module):
    """A frozen network whose intermediate layers describe a picture.

    Attributes:
        title: its name in messages.
        kind: its name in the cards of models, and among the networks that judge.
        names: layers that `layers` can return, from the picture upwards.
    """

    title: ClassVar[str]
    kind: ClassVar[str]
    names: ClassVar[tuple[str, ...]]

    def layers(self, image: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute the named layers, after their ReLU and before any pool, and nothing above the last of them.

        Args:
            image: (N, 3, H, W) RGB in [0, 1], sides of at least `SMALLEST_SIDE`. Gradients flow back to it.
            names: some of `self.names`; None: all of them.

        Returns:
            name → (N, C, h, w), in the network's order.

        Raises:
            InputError: a side is below `SMALLEST_SIDE`.
            ValueError: there is no such layer.
        """
        if min(image.shape[-2:]) < SMALLEST_SIDE:
            size = f"{image.shape[-1]}×{image.shape[-2]}"
            raise InputError(f"feature networks need sides of at least {SMALLEST_SIDE} px, here is {size}")
        wanted = set(self.names if names is None else names)
        if unknown := sorted(wanted.difference(self.names)):
            raise ValueError(f"no feature layer {unknown[0]!r}; there are {', '.join(self.names)}")
        return self._compute_layers(image, wanted)

    def _compute_layers(self, image: Tensor, names: set[str]) -> dict[str, Tensor]:
        raise NotImplementedError


def load_features(path: str | Path) -> FeatureNetwork:
    """Read a feature network from a safetensors file of any float type.

    Args:
        path: a file with SqueezeNet's tensors (`conv1`, `fire2.squeeze` … `classifier`) or those of
            EfficientNet-Lite (`stem`, `blocks.0.depthwise` … `head`, `classifier`), each with `.weight` and
            `.bias`.

    Returns:
        The network in evaluation mode, its parameters frozen and in float32.

    Raises:
        ModelError: the file is missing, is no safetensors file, or holds another network.
    """
    tensors, metadata = read_tensors(path)
    network: FeatureNetwork
    if "stem.weight" in tensors:
        network = EfficientNetLite(_read_blocks(tensors, metadata, path))
    else:
        network = SqueezeNet()
    if mismatch := find_mismatch(network.state_dict(), tensors):
        advice = "`infill features convert` makes one of published weights"
        raise ModelError(f"feature file {path} is not {network.title}: {mismatch}; {advice}")
    network.load_state_dict(tensors)  # copies, so that fp16 becomes float32
    # Channels-last runs a third faster on a CPU, forward and backward.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


class SqueezeNet(FeatureNetwork):
    """SqueezeNet 1.0 with ReLU after every layer, ceil-mode pools, and its ImageNet head."""

    title = "SqueezeNet 1.0"
    kind = "squeezenet"
    names = LAYERS

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        for name, widths in _FIRES.items():
            self.add_module(name, _Fire(*widths))
        self.classifier = nn.Conv2d(512, 1000, 1, padding=1)
        self.register_buffer("mean", torch.tensor(_MEAN_BGR).view(1, 3, 1, 1), persistent=False)

    def _compute_layers(self, image: Tensor, names: set[str]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        x = image.flip(1) * 255 - self.mean
        for name in LAYERS[: 1 + max(map(LAYERS.index, names), default=-1)]:
            layer = self.get_submodule(name)
            x = F.relu(layer(x)) if name == "conv1" else layer(x)
            if name in names:
                found[name] = x
            if name in _POOLED:
                x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        return found

    def forward(self, image: Tensor) -> Tensor:
        """Compute the ImageNet logits.

        Args:
            image: (N, 3, H, W) RGB in [0, 1]; trained at 227×227.

        Returns:
            (N, 1000); the softmax of these are the class probabilities.
        """
        return F.relu(self.classifier(self.layers(image, ("fire9",))["fire9"])).mean((2, 3))


class _Fire(nn.Module):
    """A 1×1 squeeze, then 1×1 and 3×3 expansions side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


class Block(NamedTuple):
    """Sizes of an inverted bottleneck: channels in, inside and out, kernel side, stride, skip."""

    inputs: int
    inner: int
    outputs: int
    side: int
    stride: int
    skip: bool


class EfficientNetLite(FeatureNetwork):
    """EfficientNet-Lite: inverted bottlenecks with ReLU6 and TensorFlow's "same" padding.

    It computes in float32 on a CPU even under autocast: there bfloat16 depthwise convolutions are slower.

    Args:
        blocks: sizes of its blocks, from the picture upwards.
    """

    title = "EfficientNet-Lite"
    kind = "efficientnet"
    names = tuple(LITE_LAYERS)

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.stem = _SameConv(3, blocks[0].inputs, 3, stride=2)
        self.blocks = nn.ModuleList([_InvertedBottleneck(block) for block in blocks])
        self.head = nn.Conv2d(blocks[-1].outputs, 1280, 1)
        self.classifier = nn.Linear(1280, 1000)
        self._ends = _find_ends(blocks)

    def _compute_layers(self, image: Tensor, names: set[str]) -> dict[str, Tensor]:
        if image.is_cuda:
            return self._compute_stages(image, names)
        with torch.autocast("cpu", enabled=False):
            return self._compute_stages(image.float(), names)

    def _compute_stages(self, image: Tensor, names: set[str]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        x: Tensor = F.relu6(self.stem((image * 255 - 127) / 128))
        start = 0
        for name, end in zip(self.names, self._ends, strict=True):
            if found.keys() == names:
                break
            for block in self.blocks[start : end + 1]:
                x = block(x)
            if name in names:
                found[name] = x
            start = end + 1
        return found

    def forward(self, image: Tensor) -> Tensor:
        """Compute the ImageNet logits.

        Args:
            image: (N, 3, H, W) RGB in [0, 1]; Lite1 was trained at 240×240.

        Returns:
            (N, 1000); the softmax of these are the class probabilities.
        """
        x = F.relu6(self.head(self.layers(image, ("stride32",))["stride32"]))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


class _SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow does: at stride 2 the odd row and column are added at the end."""

    def __init__(self, inputs: int, outputs: int, side: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, side, stride=stride, groups=groups)
        self._even = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        side, stride = self.kernel_size[0], self.stride[0]
        if self._even:
            return F.conv2d(x, self.weight, self.bias, padding=side // 2, groups=self.groups)
        margins = []
        for length in (x.shape[-1], x.shape[-2]):
            missing = max((-(-length // stride) - 1) * stride + side - length, 0)
            margins += [missing // 2, missing - missing // 2]
        return F.conv2d(F.pad(x, margins), self.weight, self.bias, stride=stride, groups=self.groups)


class _InvertedBottleneck(nn.Module):
    """A 1×1 expansion, a depthwise convolution and a 1×1 projection without activation."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        inner = block.inner
        self.expand = nn.Conv2d(block.inputs, inner, 1) if inner != block.inputs else None
        self.depthwise = _SameConv(inner, inner, block.side, stride=block.stride, groups=inner)
        self.project = nn.Conv2d(inner, block.outputs, 1)
        self.skip = block.skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.skip else y


def _find_ends(blocks: Sequence[Block]) -> list[int]:
    """Return the index of each stage's last block: the next one halves the side, or there is none."""
    ends = [index for index, block in enumerate(blocks[1:]) if block.stride > 1]
    return [*ends, len(blocks) - 1]


def find_kind(layers: Sequence[str]) -> str | None:
    """Return the kind of the network that has these layers; None for no layers, or where none has them."""
    for network in (SqueezeNet, EfficientNetLite):
        if layers and set(layers) <= set(network.names):
            return network.kind
    return None


def perceptual_distance(
    features_a: Mapping[str, Tensor],
    features_b: Mapping[str, Tensor],
    layers: Sequence[str] = PERCEPTUAL_LAYERS,
    mask: Tensor | None = None,
) -> Tensor:
    """Measure how different two pictures look to the network: 0 for the same picture.

    Features are scaled to unit length at each place, their squared difference is summed over channels,
    averaged over space and summed over layers (Zhang et al., CVPR 2018, eq. 1, all weights 1).

    Args:
        features_a: name → (N, C, h, w), from `FeatureNetwork.layers`.
        features_b: the same of the other picture.
        layers: names of the layers to compare.
        mask: (N, 1, H, W) in {0, 1}; only places of a layer whose patch of the mask holds some hole count.

    Returns:
        (N,) distances ≥ 0, with gradient to both pictures.
    """
    total = torch.zeros(())
    for name in layers:
        a, b = features_a[name], features_b[name]
        difference = (scale_to_unit(a) - scale_to_unit(b)).square().sum(1)
        if mask is None:
            total = total.to(difference) + difference.mean((1, 2))
        else:
            reach = F.adaptive_max_pool2d(mask, (a.shape[-2], a.shape[-1])).squeeze(1)
            total = total.to(difference) + (difference * reach).sum((1, 2)) / reach.sum((1, 2)).clamp(min=1)
    return total


def scale_to_unit(features: Tensor) -> Tensor:
    """Scale the channel vector at each place to length 1; (N, C, h, w) in and out."""
    # Under the root, so that a vector of zeros stays zero and has a finite gradient.
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + 1e-8)


def _read_blocks(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: str | Path) -> list[Block]:
    """Read the blocks of an EfficientNet-Lite: widths from the tensors, strides from the metadata."""
    refusal = f"feature file {path} is not {EfficientNetLite.title}"
    blocks = []
    try:
        for index, entry in enumerate(parse_json(metadata["blocks"])):
            depthwise = tensors[f"blocks.{index}.depthwise.weight"]
            outputs = len(tensors[f"blocks.{index}.project.weight"])
            inner, side = len(depthwise), depthwise.shape[-1]
            expand = tensors.get(f"blocks.{index}.expand.weight")
            inputs = inner if expand is None else expand.shape[1]
            blocks.append(Block(inputs, inner, outputs, side, int(entry["stride"]), bool(entry["skip"])))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ModelError(f"{refusal}: {error!r}") from None
    channels = [blocks[end].outputs for end in _find_ends(blocks)]
    if channels != list(LITE_LAYERS.values()):
        raise ModelError(f"{refusal}: its stages end in {channels} channels")
    return blocks


def find_mismatch(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Return the first difference in names and shapes of a file's tensors from a network's; None for none."""
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            return f"{name!r} is not in the file"
        if name not in wanted:
            return f"{name!r} is unknown to the network"
        if found[name].shape != wanted[name].shape:
            return f"{name!r} has shape {tuple(found[name].shape)}, not {tuple(wanted[name].shape)}"
    return None
