"""Drawn pictures in class folders, and network files that need no training."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small networks gain nothing from a second thread, and lose much where the machine is busy."""
    torch.set_num_threads(1)


def draw(seed: int, side: int = 32) -> np.ndarray:
    """A smooth picture with some noise: colours that change across it, a disc."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    slopes = rng.uniform(-1, 1, (2, 3))
    picture = 0.5 + 0.4 * (y[..., None] * slopes[0] + x[..., None] * slopes[1])
    centre = rng.uniform(0.2, 0.8, 2)
    picture[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 0.04] = rng.uniform(0, 1, 3)
    picture += rng.normal(0, 0.02, picture.shape)
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven pictures of 32×32 in three classes, and one that is broken."""
    root = tmp_path_factory.mktemp("pictures")
    for index in range(11):
        path = root / ("beach", "forest", "street")[index % 3] / f"{index:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw(index)).save(path)
    return root


@pytest.fixture(scope="session")
def make_network(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes an ONNX file that paints everything in one grey."""

    def make(path: Path, grey: float = 0.5, holes: str = "any") -> Path:
        size = ["n", 3, "h", "w"]
        graph = helper.make_graph(
            [
                helper.make_node("Mul", ["image", "zero"], ["black"]),
                helper.make_node("Mul", ["mask", "zero"], ["none"]),
                helper.make_node("Add", ["black", "none"], ["both"]),
                helper.make_node("Add", ["both", "grey"], ["filled"]),
            ],
            "paint",
            [
                helper.make_tensor_value_info("image", TensorProto.FLOAT, size),
                helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 1, "h", "w"]),
            ],
            [helper.make_tensor_value_info("filled", TensorProto.FLOAT, size)],
            [
                helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
                helper.make_tensor("grey", TensorProto.FLOAT, [], [grey]),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        rule = {"multiple_of": 1, "working_size": None, "fixed_size": None, "holes": holes}
        card = {
            "system": "paint",
            "size_rule": rule,
            "trained_on": "nothing",
            "licence": "CC0",
            "version": "0",
        }
        helper.set_model_props(model, {"infilling": json.dumps(card)})
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return path

    return make
