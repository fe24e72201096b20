"""Tiny ONNX files with the names, shapes and types of networks that others publish; see docs/foreign.md.

Each fills the hole with the mean colour of the known pixels, computed inside its own convention, so that a
mistake in the adapter (polarity, range, order of channels) shows as another colour.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FREE: tuple[int | str, int | str] = ("h", "w")
FIXED: tuple[int | str, int | str] = (512, 512)
FLOAT, HALF, BYTES = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


class Graph:
    """Nodes and constants of a graph in the making; each method adds one node and returns its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, out: str | None = None, **attributes: object) -> str:
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def constant(self, value: object, dtype: object = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def mean_of_known(self, image: str, known: str) -> str:
        """(n, 3, 1, 1): the sum over known pixels over their number."""
        axes = self.constant([2, 3], np.int64)
        total = self.add("ReduceSum", self.add("Mul", image, known), axes, keepdims=1)
        return self.add("Div", total, self.add("ReduceSum", known, axes, keepdims=1))

    def blend(self, image: str, known: str, fill: str) -> str:
        """The image where it is known, the fill elsewhere."""
        hole = self.add("Sub", self.constant(1), known)
        return self.add("Add", self.add("Mul", image, known), self.add("Mul", fill, hole))

    def take(self, packed: str, start: int, end: int) -> str:
        """Channels from start to end."""
        return self.add(
            "Slice",
            packed,
            self.constant([start], np.int64),
            self.constant([end], np.int64),
            self.constant([1], np.int64),
        )

    def save(
        self,
        path: Path,
        inputs: Sequence[tuple[str, int, Sequence[int | str]]],
        outputs: Sequence[tuple[str, int, Sequence[int | str]]],
        **options: object,
    ) -> Path:
        def describe(ports: Sequence[tuple[str, int, Sequence[int | str]]]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(*port) for port in ports]

        graph = helper.make_graph(self.nodes, "tiny", describe(inputs), describe(outputs), self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, path, **options)
        return path


def lama(
    path: Path,
    *,
    sides: Sequence[int | str] = FIXED,
    top: float = 255.0,
    names: tuple[str, str, str] = ("image", "mask", "output"),
    kind: int = FLOAT,
    batch: int | str = "batch",
    mask_first: bool = False,
    white: float = 1,
    mask_values: tuple[float, float] = (0, 1),
    step: int = 1,
    **options: object,
) -> Path:
    """Family A (and B with `top` 1): image 0..1, mask 1 = hole, answer 0..top, composited.

    Other exporters' take the image in 0..`white`, other values for known and hole, and sides that are
    multiples of `step`; those that take bytes answer in whole levels.
    """
    g = Graph()
    image, mask, output = names
    given = [g.add("Cast", name, to=FLOAT) for name in (image, mask)] if kind != FLOAT else [image, mask]
    if white != 1:
        given[0] = g.add("Div", given[0], g.constant(white))
    known_value, hole_value = mask_values
    known = g.add("Div", g.add("Sub", given[1], g.constant(hole_value)), g.constant(known_value - hole_value))
    filled = g.blend(given[0], known, g.mean_of_known(given[0], known))
    if step != 1:
        filled = g.add("DepthToSpace", g.add("SpaceToDepth", filled, blocksize=step), blocksize=step)
    row = np.full((1, 1, 1, sides[1] if isinstance(sides[1], int) else 1), top)
    scaled = g.add("Mul", filled, g.constant(row))
    if white != 1:
        scaled = g.add("Round", scaled)
    g.add("Cast", scaled, out=output, to=kind)
    inputs = [(image, kind, [batch, 3, *sides]), (mask, kind, [batch, 1, *sides])]
    outputs = [(output, kind, [batch, 3, *sides])]
    return g.save(path, inputs[::-1] if mask_first else inputs, outputs, **options)


def lama_packed(path: Path, *, sides: Sequence[int | str] = FIXED) -> Path:
    """Family C: RGB 0..1 with 0 in the hole, then the mask; not composited; sides are multiples of 32."""
    g = Graph()
    image, mask = g.take("input", 0, 3), g.take("input", 3, 4)
    known = g.add("Sub", g.constant(1), mask)
    mean = g.mean_of_known(image, known)  # wrong if the hole is not 0 in the image
    lost = g.add("ReduceMax", g.add("Mul", image, mask), keepdims=1)
    g.add("Add", g.add("Add", g.add("Mul", image, g.constant(0)), mean), lost, out="flat")
    deep = g.add("SpaceToDepth", "flat", blocksize=32)  # fails on other sides
    g.add("DepthToSpace", deep, out="output", blocksize=32)
    return g.save(path, [("input", FLOAT, [1, 4, *sides])], [("output", FLOAT, [1, 3, *sides])])


def migan_pipeline(path: Path) -> Path:
    """Family D1: uint8, 255 = known, any size, the mask declared first; it shrinks the hole by a pixel."""
    g = Graph()
    image, mask = g.add("Cast", "image", to=FLOAT), g.add("Cast", "mask", to=FLOAT)
    known = g.add("MaxPool", g.add("Div", mask, g.constant(255)), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    sure = g.add("Div", mask, g.constant(255))
    filled = g.blend(image, known, g.mean_of_known(image, sure))
    g.add("Cast", g.add("Add", filled, g.constant(0.5)), out="result", to=BYTES)
    inputs = [("mask", BYTES, ["n", 1, "h", "w"]), ("image", BYTES, ["n", 3, "h", "w"])]
    return g.save(path, inputs, [("result", BYTES, ["n", 3, "h", "w"])])


def migan(path: Path) -> Path:
    """Family D2: known - 0.5, then RGB -1..1 with 0 in the hole; answer -1..1, not composited."""
    g = Graph()
    known, image = g.add("Add", g.take("input", 0, 1), g.constant(0.5)), g.take("input", 1, 4)
    g.add("Add", g.add("Mul", image, g.constant(0)), g.mean_of_known(image, known), out="output")
    return g.save(path, [("input", FLOAT, [1, 4, *FIXED])], [("output", FLOAT, [1, 3, *FIXED])])


def aot(path: Path, *, names: tuple[str, str, str] = ("img", "mask", "out"), least: int = 128) -> Path:
    """Family E: image -1..1 with 0 in the hole, mask 1 = hole, answer -1..1; sides are at least 128."""
    g = Graph()
    image, mask, output = names
    known = g.add("Sub", g.constant(1), mask)
    lost = g.add("ReduceMax", g.add("Abs", g.add("Mul", image, mask)), keepdims=1)
    mean = g.add("Add", g.mean_of_known(image, known), lost)  # wrong if the hole is not 0
    small = g.add("AveragePool", image, kernel_shape=[least, least], strides=[least, least])
    nothing = g.add("Mul", g.add("ReduceSum", small, keepdims=1), g.constant(0))
    g.add("Add", g.add("Add", g.add("Mul", image, g.constant(0)), mean), nothing, out=output)
    inputs = [(image, FLOAT, ["n", 3, *FREE]), (mask, FLOAT, ["n", 1, *FREE])]
    return g.save(path, inputs, [(output, FLOAT, ["n", 3, *FREE])])


def deepfill(path: Path, *, outputs: Sequence[str] = ("coarse", "fine")) -> Path:
    """Family F: RGB -1..1 with 0 in the hole, ones, the mask; of two answers the second counts."""
    g = Graph()
    image, ones, mask = g.take("input", 0, 3), g.take("input", 3, 4), g.take("input", 4, 5)
    known = g.add("Sub", ones, mask)
    g.add("Mul", image, g.constant(0), out="coarse")
    g.add("Add", "coarse", g.mean_of_known(image, known), out="fine")
    sides = (256, 256)
    answers = [(name, FLOAT, [1, 3, *sides]) for name in outputs]
    return g.save(path, [("input", FLOAT, [1, 5, *sides])], answers)


def bounded(path: Path, low: float, high: float = 1) -> Path:
    """As `lama`, but of 512 px, and from `low` to `high`: what is outside is cut off, as tanh would do."""
    g = Graph()
    known = g.add("Sub", g.constant(1), "mask")
    image = g.add("Clip", "image", g.constant(low), g.constant(high))
    g.add("Identity", g.blend(image, known, g.mean_of_known(image, known)), out="output")
    inputs = [("image", FLOAT, [1, 3, *FIXED]), ("mask", FLOAT, [1, 1, *FIXED])]
    return g.save(path, inputs, [("output", FLOAT, [1, 3, *FIXED])])


def half_blended(path: Path) -> Path:
    """As `lama_packed`, but the mask is 0.5 where known and -0.5 in the hole, and the answer composited."""
    g = Graph()
    image, mask = g.take("input", 0, 3), g.take("input", 3, 4)
    known = g.add("Add", mask, g.constant(0.5))
    g.add("Identity", g.blend(image, known, g.mean_of_known(image, known)), out="output")
    return g.save(path, [("input", FLOAT, [1, 4, *FIXED])], [("output", FLOAT, [1, 3, *FIXED])])


def constant_lama(path: Path, value: float, top: float) -> Path:
    """As `lama`, but the hole gets one value, in the range of the answer."""
    g = Graph()
    known = g.add("Sub", g.constant(1), "mask")
    scaled = g.add("Mul", "image", g.constant(top))
    g.add("Add", g.add("Mul", scaled, known), g.add("Mul", "mask", g.constant(value)), out="output")
    inputs = [("image", FLOAT, [1, 3, *FIXED]), ("mask", FLOAT, [1, 1, *FIXED])]
    return g.save(path, inputs, [("output", FLOAT, [1, 3, *FIXED])])


def nothing(path: Path) -> Path:
    """As `lama` of any size, but the image comes back as it was given."""
    g = Graph()
    g.add("Add", "image", g.add("Mul", "mask", g.constant(0)), out="output")
    inputs = [("image", FLOAT, ["n", 3, *FREE]), ("mask", FLOAT, ["n", 1, *FREE])]
    return g.save(path, inputs, [("output", FLOAT, ["n", 3, *FREE])])


def two_pictures(path: Path) -> Path:
    """As `lama` of 0..1, but a mask and a coarse picture are outputs, too."""
    g = Graph()
    known = g.add("Sub", g.constant(1), "mask")
    g.add("Identity", g.blend("image", known, g.mean_of_known("image", known)), out="coarse")
    g.add("Identity", "coarse", out="fine")
    g.add("Identity", "mask", out="hole")
    inputs = [("image", FLOAT, ["n", 3, *FIXED]), ("mask", FLOAT, ["n", 1, *FIXED])]
    outputs = [("coarse", FLOAT, ["n", 3, *FIXED]), ("fine", FLOAT, ["n", 3, *FIXED])]
    return g.save(path, inputs, [*outputs, ("hole", FLOAT, ["n", 1, *FIXED])])


def no_family(path: Path) -> Path:
    """Two pictures in, one out: no mask anywhere."""
    g = Graph()
    g.add("Add", "left", "right", out="sum")
    shape = ["n", 3, "h", "w"]
    return g.save(path, [("left", FLOAT, shape), ("right", FLOAT, shape)], [("sum", FLOAT, shape)])
