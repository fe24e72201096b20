"""The feature networks that judge, and the files that they are read from.

No weights are shipped. `squeezenet` and `efficientnet` are feature files as `learning/features.py` describes
them. The other two are read from the files that their authors publish, as `.safetensors` or as `.pth` state
dicts (opened without running any code in them):

- `lpips`: a backbone, torchvision's `alexnet` or `vgg16` (`features.N.weight`, `features.N.bias`), and the
  linear weights of LPIPS 0.1 for it (`lin0.model.1.weight` … `lin4.model.1.weight`), in one file or two.
- `inception`: the Inception-v3 of the original FID, as converted for PyTorch (`Conv2d_1a_3x3.conv.weight` …
  `Mixed_7c.branch_pool.bn.running_var`). Figures are comparable with others' only with this one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from infilling.errors import DataError, ModelError
from infilling.judging.inception import Inception
from infilling.learning import features
from infilling.learning.features import EfficientNetLite, FeatureNetwork, SqueezeNet
from infilling.learning.weights_file import read_tensors
from infilling.pictures.picture import Floats

LITE_LAYERS = ("stride2", "stride4", "stride8", "stride16")  # the layers that `lpips_lite` compares


class PictureFeatures(NamedTuple):
    """What a network sees in one picture: layers of (1, C, h, w), and a vector (D,); empty if it has none."""

    maps: list[Floats]
    vector: Floats


@dataclass(frozen=True)
class Embedding:
    """What a network sees in N pictures.

    Attributes:
        maps: per layer (N, C, h, w), scaled so that LPIPS is their plain squared distance.
        vectors: (N, D), one per picture; None if the network has none.
    """

    maps: tuple[Floats, ...] = ()
    vectors: Floats | None = None

    def split(self) -> list[PictureFeatures]:
        """Return the features picture by picture."""
        vectors = self.vectors
        if vectors is None:
            vectors = np.zeros((len(self.maps[0]), 0), np.float32)
        parts = []
        for place, vector in enumerate(vectors):
            maps = [layer[place : place + 1] for layer in self.maps]
            parts.append(PictureFeatures(maps, vector))
        return parts


Run = Callable[[Tensor], Embedding]  # (N, 3, H, W) in [0, 1] → what the network sees
Embed = Callable[[npt.NDArray[np.uint8]], Embedding]  # (N, H, W, 3) uint8 → what the network sees


def recognise_features(files: Iterable[str | Path]) -> dict[str, tuple[str, ...]]:
    """Sort feature files by the kind of network they hold.

    Raises:
        ModelError: a file holds no feature network, or two hold the same.
    """
    found: dict[str, tuple[str, ...]] = {}
    for file in files:
        network = features.load_features(file)
        if network.kind in found:
            other = found[network.kind][0]
            raise ModelError(f"both {other} and {file} hold {network.title}: give one of them")
        found[network.kind] = (str(file),)
    return found


def open_feature_network(kind: str, files: Sequence[str | Path]) -> Embed:
    """Read a feature network and return the function that runs it.

    Raises:
        ModelError: a file is missing, unreadable, or holds another network.
    """
    run = NETWORKS[kind](files)

    def embed(pictures: npt.NDArray[np.uint8]) -> Embedding:
        with torch.inference_mode():
            return run(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)

    return embed


def open_networks(files: Mapping[str, Sequence[str | Path]], threads: int) -> dict[str, Embed]:
    """Open the networks of an evaluation, which then run on this number of threads."""
    torch.set_num_threads(threads)
    return {kind: open_feature_network(kind, paths) for kind, paths in files.items()}


def _open_features(kind: type[FeatureNetwork], layers: Sequence[str], files: Sequence[str | Path]) -> Run:
    """Read the one feature file of a network, whose layers are compared; SqueezeNet's last one is the vector.

    Raises:
        ModelError: there are several files, or it holds another network.
    """
    if len(files) != 1:
        raise ModelError(f"{kind.title} is one feature file, not {len(files)}")
    network = features.load_features(files[0])
    if not isinstance(network, kind):
        raise ModelError(f"feature file {files[0]} is {network.title}; this needs {kind.title}")

    def run(images: Tensor) -> Embedding:
        found = network.layers(images, layers)
        maps = tuple(features.scale_to_unit(layer).numpy() for layer in found.values())
        vectors = found["fire9"].mean((2, 3)).numpy() if "fire9" in found else None
        return Embedding(maps, vectors)

    return run


def read_joined(files: Sequence[str | Path]) -> dict[str, Tensor]:
    """Join the tensors of several files; errors as in `read_tensors`."""
    joined: dict[str, Tensor] = {}
    for file in files:
        joined |= read_tensors(file)[0]
    return joined


def _load_weights(network: nn.Module, tensors: Mapping[str, Tensor], title: str) -> None:
    """Fill a network with the tensors of its own names and shapes, and freeze it; ignore all others."""
    state = network.state_dict()
    found = {name: tensor for name, tensor in tensors.items() if name in state}
    found |= {name: tensor for name, tensor in state.items() if name.endswith("num_batches_tracked")}
    if mismatch := features.find_mismatch(state, found):
        raise ModelError(f"these weights are not those of {title}: {mismatch}")
    network.load_state_dict(found)
    network.eval().requires_grad_(False)


# ---- LPIPS: Zhang et al., "The Unreasonable Effectiveness of Deep Features", CVPR 2018 ---------------------

_SHIFT = (-0.030, -0.088, -0.188)  # subtracted from pictures in [-1, 1]; from the authors' release
_SCALE = (0.458, 0.448, 0.450)  # divides them after that
_ALEXNET_TAPS = (1, 4, 7, 9, 11)  # indices of the ReLUs that are compared
_VGG16_TAPS = (3, 8, 15, 22, 29)


def alexnet() -> nn.Sequential:
    """Return the convolutions of torchvision's AlexNet, numbered as there."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
    )  # fmt: skip


def vgg16() -> nn.Sequential:
    """Return the convolutions of torchvision's VGG-16 up to the last ReLU, numbered as there."""
    layers: list[nn.Module] = []
    width = 3
    for stage, (count, wide) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))):
        if stage:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(count):
            layers += [nn.Conv2d(width, wide, 3, 1, 1), nn.ReLU()]
            width = wide
    return nn.Sequential(*layers)


def _open_lpips(files: Sequence[str | Path]) -> Run:
    tensors = read_joined(files)
    backbone, taps, title = alexnet(), _ALEXNET_TAPS, "AlexNet"
    if tensors.get("features.0.weight", torch.empty(0)).shape[2:] == (3, 3):
        backbone, taps, title = vgg16(), _VGG16_TAPS, "VGG-16"
    convolutions = [backbone.get_submodule(str(tap - 1)) for tap in taps]
    network = nn.ModuleDict({"features": backbone})
    for layer, convolution in enumerate(convolutions):
        line = nn.Conv2d(int(convolution.out_channels), 1, 1, bias=False)  # type: ignore[arg-type]
        network[f"lin{layer}"] = nn.ModuleDict({"model": nn.Sequential(nn.Dropout(), line)})
    _load_weights(network, tensors, f"LPIPS with {title}")
    # Σ w (a - b)² = Σ (√w a - √w b)²: the maps carry the weights, none of which is negative.
    names = (f"lin{layer}.model.1.weight" for layer in range(len(taps)))
    weights = [network.get_parameter(name).clamp(min=0).view(1, -1, 1, 1).sqrt() for name in names]
    shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (_SHIFT, _SCALE))

    def run(images: Tensor) -> Embedding:
        if min(images.shape[2:]) < features.SMALLEST_SIDE:
            raise DataError(f"LPIPS needs sides of at least {features.SMALLEST_SIDE} px")
        maps: list[Floats] = []
        x = (images * 2 - 1 - shift) / scale
        for index, layer in enumerate(backbone):
            x = layer(x)
            if index in taps:
                maps.append((features.scale_to_unit(x) * weights[len(maps)]).numpy())
        return Embedding(maps=tuple(maps))

    return run


def _open_inception(files: Sequence[str | Path]) -> Run:
    network = Inception()
    _load_weights(network, read_joined(files), "Inception-v3 of FID")
    return lambda images: Embedding(vectors=network(images).numpy())


NETWORKS: dict[str, Callable[[Sequence[str | Path]], Run]] = {
    "squeezenet": partial(_open_features, SqueezeNet, features.PERCEPTUAL_LAYERS),
    "efficientnet": partial(_open_features, EfficientNetLite, LITE_LAYERS),
    "lpips": _open_lpips,
    "inception": _open_inception,
}
