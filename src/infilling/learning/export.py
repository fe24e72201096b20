"""A trained generator as one ONNX file, which fills without torch.

Inputs `image` (N, 3, H, W) float32 in [0, 1] and `mask` (N, 1, H, W) float32 {0, 1}, for some systems
`noise` (N, 1, H, W) of mean 0 and variance 1; output `filled` like `image`. N is free, H and W too where
the system's size rule allows. The metadata hold a `ModelCard`.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from infilling.errors import DependencyError, ModelError, describe_briefly, install_hint
from infilling.filling import models
from infilling.filling.download import download
from infilling.filling.network import METADATA_KEY, ModelCard
from infilling.filling.session import SILENT
from infilling.learning import features
from infilling.learning.checkpoint import load_system
from infilling.learning.settings import Config
from infilling.learning.system import System
from infilling.pictures.frame import SizeRule
from infilling.storage import write_atomic
from infilling.version import VERSION

log = logging.getLogger(__name__)

OPSET = 17
GENERATOR = "system.generator."  # prefix of the generator's weights in the file
HALF = ".half"  # suffix of weights in 16 bits
TOLERANCE = 1e-4  # largest difference between torch and ONNX Runtime, of the full range
HALF_TOLERANCE = 1e-3  # with weights in 16 bits: share of values that may be off by more than 1/255
HALF_FROM = 256  # fewest values of a weight that is stored in 16 bits
SIDE = 96  # approximate side of the pictures that trace and check a system of free size, pixels


def export_model(source: str | Path, out: str | Path, *, half: bool = False) -> Path:
    """Write the (averaged) generator of a run or a checkpoint as ONNX, checked against torch.

    Args:
        source: folder of a run or a checkpoint, or a weights file.
        out: file to write.
        half: whether weights are stored in 16 bits, for half the size; they are computed with in 32.

    Returns:
        `out`.

    Raises:
        ModelError: no weights there, or the exported model does not compute the same; nothing is written
            then.
        DependencyError: a package that exporting needs is missing.
        StorageError: the file cannot be written.
    """
    check_installed()
    system, weights = load_system(source)
    write_atomic(
        Path(out), to_onnx(system, make_card(system, weights.config, weights.images_seen), half=half)
    )
    return Path(out)


def make_card(system: System, config: Config, images_seen: int) -> ModelCard:
    """Make the description of a system that goes into its file."""
    return ModelCard(
        system=system.name,
        size_rule=system.size_rule,
        trained_on=config.data.trained_on,
        licence=config.data.licence,
        version=VERSION,
        images_seen=images_seen,
        takes_noise=system.takes_noise,
        taught_by=list_teachers(system, config),
    )


def list_teachers(system: System, config: Config) -> tuple[str, ...]:
    """Return the kinds of the feature networks that a run learned from, and those of what it started from."""
    own = features.find_kind(system.feature_layers) if config.features.path else None
    return tuple(sorted({*([own] if own else []), *read_teachers(config.start.weights)}))


def read_teachers(start: str | None) -> tuple[str, ...]:
    """Return the teachers of an ONNX file, a released model or a run; of a file that is gone, warn."""
    if start is None:
        return ()
    if start in models.MODELS and models.MODELS[start].taught_by:
        return models.MODELS[start].taught_by
    try:
        if is_exported(start):
            return _read_onnx(start)[0].taught_by
        system, weights = load_system(start)
    except ModelError as error:
        log.warning("the feature networks that taught %s are not recorded: %s", start, error)
        return ()
    return list_teachers(system, weights.config)


def is_exported(source: str) -> bool:
    """Whether `read_generator` is for this: an ONNX file, or the name of a released model."""
    return source in models.MODELS or source.endswith(".onnx")


def read_generator(source: str) -> tuple[str, dict[str, Tensor]]:
    """Read the weights back from an exported file, to continue training from them.

    Args:
        source: an ONNX file, or the name of a released model.

    Returns:
        The system's name, and the generator's state dict in float32.

    Raises:
        ModelError: not a file of `export`'s.
        DependencyError: onnx is not installed.
    """
    card, arrays = _read_onnx(source)
    return card.system, {
        name.removeprefix(GENERATOR).removesuffix(HALF): torch.from_numpy(values.astype(np.float32))
        for name, values in arrays.items()
        if name.startswith(GENERATOR)
    }


def _read_onnx(source: str) -> tuple[ModelCard, dict[str, NDArray[Any]]]:
    """Return the card and the weights of an ONNX file or a released model; errors as in `read_generator`."""
    check_installed()
    import onnx
    from google.protobuf.message import DecodeError

    path = download(source) if source in models.MODELS else Path(source)
    try:
        model = onnx.load_from_string(path.read_bytes())
        card = {entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY]
        if any(map(onnx.external_data_helper.uses_external_data, model.graph.initializer)):
            raise ModelError(f"cannot read weights from {path}: it keeps its weights in a second file")
        arrays = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    except (OSError, KeyError, ValueError, DecodeError) as error:
        raise ModelError(f"cannot read weights from {path}: {error}") from error
    return ModelCard.from_json(card), arrays


def to_onnx(system: System, card: ModelCard, *, half: bool = False) -> bytes:
    """Trace `system.fill`, and check the result on random pictures of several sizes.

    Args:
        system: system on the CPU, in eval mode.
        card: description of the file.
        half: whether weights are stored in 16 bits.

    Raises:
        ModelError: it cannot be traced, or does not compute the same.
    """
    import onnx

    traced = onnx.load_from_string(_trace_fill(system))
    with _explain_refusals(system):
        model = _simplify_model(traced)
    for output, image in zip(model.graph.output, model.graph.input, strict=False):
        output.type.CopyFrom(image.type)  # the same shape; the tracer only sees sums
    if half:
        _store_half(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card.to_json()
    data: bytes = model.SerializeToString()
    _check_parity(system, data, half=half)
    return data


def check_installed() -> None:
    """Say what to install before hours of training end in a missing package.

    Raises:
        DependencyError: onnx or onnxruntime is not installed.
    """
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise DependencyError(f"exporting needs {' and '.join(missing)}: {install_hint('train')}")


class _Fill(nn.Module):
    """`system.fill` as a module's forward, which is what the tracer takes."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.system.fill(*inputs)


def _trace_fill(system: System) -> bytes:
    """Run the tracing exporter: 30 times faster than the other one; the check finds what it freezes."""
    free = {0: "batch"} if system.size_rule.fixed_size else {0: "batch", 2: "height", 3: "width"}
    example = _make_inputs(system, *list_sizes(system.size_rule)[0])
    with TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        path = Path(folder) / "traced.onnx"
        warnings.simplefilter("ignore")  # the exporter warns of its age and of every Python number
        try:
            torch.onnx.export(
                _Fill(system).eval(),
                tuple(map(torch.from_numpy, example.values())),
                path,
                input_names=list(example),
                output_names=["filled"],
                dynamic_axes=dict.fromkeys((*example, "filled"), free),
                opset_version=OPSET,
                do_constant_folding=False,  # it renames weights
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = describe_briefly(error)
            raise ModelError(f"system {system.name} cannot be exported: {reason}") from error
        return path.read_bytes()


def _simplify_model(model: Any) -> Any:
    """Compute beforehand what depends on neither input nor weights, which is half of the nodes.

    A session would do so at every start, for a third of the time that it takes to open. The basic level keeps
    to the operators of ONNX. The weights are inputs meanwhile: so each stays in the file once, as it was
    traced, for `read_generator`. Operator sets that no node uses are removed: another runtime might not have
    them.
    """
    import onnx
    import onnxruntime

    weights = [each for each in model.graph.initializer if each.name.startswith(GENERATOR)]
    names = {weight.name for weight in weights}
    _set_values(model.graph.initializer, [each for each in model.graph.initializer if each.name not in names])
    for weight in weights:
        value = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))
        model.graph.input.append(value)
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = SILENT
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "simple.onnx")
        providers = ["CPUExecutionProvider"]
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        simple = onnx.load_from_string(Path(options.optimized_model_filepath).read_bytes())
    _set_values(simple.graph.input, [each for each in simple.graph.input if each.name not in names])
    simple.graph.initializer.extend(weights)
    used = {node.domain for node in simple.graph.node}
    _set_values(simple.opset_import, [each for each in simple.opset_import if each.domain in used])
    return simple


def _set_values(field: Any, values: list[Any]) -> None:
    """Replace the values of a repeated field of a protocol buffer."""
    del field[:]
    field.extend(values)


@contextmanager
def _explain_refusals(system: System) -> Iterator[None]:
    """Raise ONNX Runtime's complaint about a model as a ModelError."""
    try:
        yield
    except Exception as error:  # onnxruntime's classes share no other parent
        reason = describe_briefly(error)
        raise ModelError(f"system {system.name}: ONNX Runtime refuses what was exported: {reason}") from error


def list_sizes(rule: SizeRule) -> list[tuple[int, int, int]]:
    """Return (batch, height, width) of the pictures that a system is traced and checked with."""
    if rule.fixed_size:
        return [(2, rule.fixed_size, rule.fixed_size), (1, rule.fixed_size, rule.fixed_size)]
    side = -(-SIDE // rule.multiple_of) * rule.multiple_of
    longer = side + max(rule.multiple_of, 16 // rule.multiple_of * rule.multiple_of)
    return [(2, side, longer), (3, longer, side), (1, side, side)]


def _make_inputs(system: System, count: int, height: int, width: int) -> dict[str, NDArray[np.float32]]:
    """Make the file's inputs by name: noise with a block as hole, another in each picture."""
    rng = np.random.default_rng((count, height, width))
    image = rng.random((count, 3, height, width), dtype=np.float32)
    mask = np.zeros((count, 1, height, width), np.float32)
    for picture in mask:
        block = rng.integers((height // 4, width // 4), (height // 2 + 1, width // 2 + 1))
        top, left = rng.integers(0, (height, width) - block)
        picture[:, top : top + block[0], left : left + block[1]] = 1
    inputs = {"image": image, "mask": mask}
    if system.takes_noise:
        inputs["noise"] = rng.standard_normal((count, 1, height, width), dtype=np.float32)
    return inputs


def _store_half(model: Any) -> None:
    """Store large float32 weights as float16 with a cast behind them, which runtimes fold on loading."""
    import onnx

    casts = []
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < HALF_FROM:
            continue
        name, stored = weight.name, f"{weight.name}{HALF}"
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    _set_values(model.graph.node, [*casts, *model.graph.node])


def _check_parity(system: System, data: bytes, *, half: bool) -> None:
    """Refuse a model that does not compute what torch computes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    for size in list_sizes(system.size_rule):
        inputs = _make_inputs(system, *size)
        with torch.no_grad():
            expected = system.fill(*map(torch.from_numpy, inputs.values())).numpy()
        with _explain_refusals(system):
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            (filled,) = session.run(["filled"], inputs)
        found = float("inf")
        if filled.shape == expected.shape:
            difference = np.abs(filled - expected)
            inside = difference[np.broadcast_to(inputs["mask"] > 0, filled.shape)]
            found = float(np.mean(~(inside <= 1 / 255)) if half else difference.max())
        if not found <= (tolerance := HALF_TOLERANCE if half else TOLERANCE):
            finding = "differs by more than 1/255 in a share of" if half else "differs from torch by"
            raise ModelError(
                f"system {system.name}: the exported model {finding} {found:.2g} "
                f"on pictures of {size[2]}×{size[1]}, more than {tolerance:g}; nothing was written"
            )
