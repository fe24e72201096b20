"""Write a torch network of your own as an ONNX file that `infill` takes as an engine.

    python examples/torch_to_onnx.py my_network.py:Filler filler.onnx [--weights filler.pt] [--multiple-of 8]

The module takes `(image, mask)`, float32 (N, 3, H, W) in [0, 1] and (N, 1, H, W) with 1 in the hole, and
returns the filled image (N, 3, H, W) in [0, 1]. What the hole hides is 0 in `image`. The class is made
without arguments. Needs torch and onnx: `pip install '.[train]'`.
"""

import argparse
import importlib.util
from pathlib import Path

import onnx
import torch

from infilling.filling.network import METADATA_KEY, ModelCard
from infilling.learning.weights_file import read_tensors
from infilling.pictures.frame import SizeRule
from infilling.version import VERSION

EXAMPLE_SIDE = 64  # px, of the picture that the graph is traced with


def main() -> None:
    """Read the command line, write the file, and check that ONNX Runtime opens it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", help="FILE.py:CLASS")
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, help="a state dict: .pt, .pth or .safetensors")
    parser.add_argument("--multiple-of", type=int, default=1, help="sides are multiples of this")
    parser.add_argument(
        "--working-size", type=int, help="side in px that it works best at; larger crops are reduced"
    )
    parser.add_argument("--trained-on", default="not said", help="the pictures it learned from")
    parser.add_argument("--licence", default="not said", help="the terms of the weights")
    asked = parser.parse_args()
    network = load_network(asked.module, asked.weights)
    rule = SizeRule(multiple_of=asked.multiple_of, working_size=asked.working_size)
    card = ModelCard(asked.module, rule, asked.trained_on, asked.licence, VERSION)
    write_model(network, asked.out, card)
    check_model(asked.out)
    print(asked.out)


def load_network(module: str, weights: Path | None) -> torch.nn.Module:
    """Make the network and give it its weights."""
    file, _, name = module.rpartition(":")
    spec = importlib.util.spec_from_file_location("network", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file} is no Python file: write FILE.py:CLASS")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    network: torch.nn.Module = getattr(found, name)()
    if weights is not None:
        network.load_state_dict(read_tensors(weights)[0])
    return network.eval()


def write_model(network: torch.nn.Module, out: Path, card: ModelCard) -> None:
    """Trace the network for any batch and size, and write it with its card."""
    side = -(-EXAMPLE_SIDE // card.size_rule.multiple_of) * card.size_rule.multiple_of
    image, mask = torch.rand(1, 3, side, side), torch.zeros(1, 1, side, side)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    free = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        network,
        (image * (1 - mask), mask),
        str(out),
        input_names=["image", "mask"],
        output_names=["filled"],
        dynamic_axes={"image": free, "mask": free, "filled": free},
        opset_version=17,
        dynamo=False,
    )
    model = onnx.load(str(out))
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, str(out))


def check_model(path: Path) -> None:
    """Fill a small picture with the file, which refuses one that does not keep to the contract."""
    import numpy as np

    import infilling

    infilling.fill(np.full((96, 80, 3), 128, np.uint8), boxes=(20, 20, 24, 24), engine=path)


if __name__ == "__main__":
    main()
