"""Feature networks from a file, for losses and for judging.

The one network here is SqueezeNet 1.0 (Iandola et al., 2016) in its original Caffe layout, read from a
safetensors file. Its features are compared the way LPIPS compares those of AlexNet (Zhang et al., CVPR 2018),
without learned weights.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infilling.errors import InputError, ModelError

LAYERS = ("conv1", "fire2", "fire3", "fire4", "fire5", "fire6", "fire7", "fire8", "fire9")
"""Every layer that `SqueezeNet.layers` can give, from the picture upwards."""

PERCEPTUAL_LAYERS = ("conv1", "fire4", "fire8", "fire9")
"""The layers that `lpips_like` compares."""

SMALLEST_SIDE = 32
"""Under this many pixels the last pools have nothing left to look at."""

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
_POOLED = ("conv1", "fire4", "fire8")  # a pool follows these
_MEAN_BGR = (104.0, 117.0, 123.0)


def load(path: str | Path) -> "SqueezeNet":
    """Reads a SqueezeNet 1.0 from a safetensors file of any float type; its parameters are frozen float32.

    Args:
        path: a file with `conv1`, `fire2.squeeze`, `fire2.expand1x1`, `fire2.expand3x3` … `classifier`, each
            with `.weight` and `.bias`.

    Raises:
        ModelError: the file is missing, is no safetensors file, or holds another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(path))
    except FileNotFoundError:
        raise ModelError(f"feature file not found: {path}") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"feature file {path} cannot be read as safetensors: {error}") from None
    network = SqueezeNet()
    _check_layout(tensors, network.state_dict(), path)
    network.load_state_dict(tensors)  # copies, so fp16 becomes float32 here
    # Channels-last runs a third faster on a CPU, forward and backward.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0 with ReLU after every layer, ceil-mode pools, and its ImageNet head."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        for name, widths in _FIRES.items():
            self.add_module(name, _Fire(*widths))
        self.classifier = nn.Conv2d(512, 1000, 1, padding=1)
        self.register_buffer("mean", torch.tensor(_MEAN_BGR).view(1, 3, 1, 1), persistent=False)

    def layers(self, image: Tensor, names: Sequence[str] = LAYERS) -> dict[str, Tensor]:
        """Computes the named layers (after ReLU, before any pool) and nothing above the last of them.

        Args:
            image: (N, 3, H, W) RGB in [0, 1], sides of at least 32. Gradients flow back to it.
            names: some of `LAYERS`.

        Returns:
            name → (N, C, h, w), in the network's order.

        Raises:
            InputError: a side is under 32 px.
        """
        if min(image.shape[-2:]) < SMALLEST_SIDE:
            size = f"{image.shape[-1]}×{image.shape[-2]}"
            raise InputError(f"feature networks need sides of at least {SMALLEST_SIDE} px, here is {size}")
        unknown = sorted(set(names) - set(LAYERS))
        if unknown:
            raise ValueError(f"no feature layer {unknown[0]!r}; there are {', '.join(LAYERS)}")
        kept: dict[str, Tensor] = {}
        x = image.flip(1) * 255 - self.mean
        for name in LAYERS:
            layer = self.get_submodule(name)
            x = F.relu(layer(x)) if name == "conv1" else layer(x)
            if name in names:
                kept[name] = x
                if len(kept) == len(set(names)):
                    break
            if name in _POOLED:
                x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        return kept

    def forward(self, image: Tensor) -> Tensor:
        """Gives the ImageNet logits.

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


def perceptual_distance(
    features_a: Mapping[str, Tensor],
    features_b: Mapping[str, Tensor],
    layers: Sequence[str] = PERCEPTUAL_LAYERS,
    mask: Tensor | None = None,
) -> Tensor:
    """Measures how different two pictures look to the network: 0 for the same picture.

    Features are scaled to unit length at each place, their squared difference is summed over channels,
    averaged over space and summed over layers (Zhang et al., CVPR 2018, eq. 1, all weights 1).

    Args:
        features_a: name → (N, C, h, w), from `SqueezeNet.layers`.
        features_b: the same of the other picture.
        layers: the names to compare.
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
            reach = F.adaptive_max_pool2d(mask, cast(tuple[int, int], a.shape[-2:])).squeeze(1)
            total = total.to(difference) + (difference * reach).sum((1, 2)) / reach.sum((1, 2)).clamp(min=1)
    return total


def scale_to_unit(features: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Scales the channel vector at each place to length 1; (N, C, h, w) in and out.

    `epsilon` stands under the root, so that a vector of zeros stays zero and has a finite gradient.
    """
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + epsilon)


def _check_layout(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path) -> None:
    """Compares names and shapes, and names the first that differs."""
    refusal = f"feature file {path} is not a SqueezeNet 1.0"
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            raise ModelError(f"{refusal}: it has no tensor {name!r}")
        if name not in wanted:
            raise ModelError(f"{refusal}: tensor {name!r} has no place in it")
        if found[name].shape != wanted[name].shape:
            shapes = f"{tuple(found[name].shape)}, not {tuple(wanted[name].shape)}"
            raise ModelError(f"{refusal}: {name!r} has shape {shapes}")
