"""An ONNX file in ONNX Runtime: opened, described and run, with errors in the words of who has the file."""

import hashlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from infilling.errors import DependencyError, ModelError, SlowModelError, describe_briefly, describe_error
from infilling.filling.contract import parse_device
from infilling.filling.patience import run_patiently
from infilling.machine import count_cores
from infilling.pictures.picture import Array
from infilling.storage import read_file

SILENT = 4
"""ONNX Runtime's log level that leaves standard error to us; failures come as exceptions all the same."""

OPEN_SECONDS = 60.0
"""Time for a graph to open and to answer plain pictures. A hostile one makes either endless."""

NEEDLESS = ("ConstantSharing", "Level1_RuleBasedTransformer", "QuickGeluFusion")
"""Steps of ONNX Runtime's optimiser that gain nothing on graphs of `infill export`, and take an eighth of the
time to open them. Fills are the same bit for bit without."""

_LOCATION = b"\x0a\x08location\x12"
"""How an entry (key "location", value …) of a tensor's external data begins in a protobuf."""


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: as the graph calls it.
        kind: element type: `float`, `float16`, `uint8`, …
        shape: sides; None where any number fits.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"{self.name} {self.kind} [{sides}]"


class Session:
    """An open file. Safe to run from several threads."""

    def __init__(
        self,
        path: Path,
        content: bytes | None = None,
        *,
        threads: int | None = None,
        device: str = "auto",
        spinning: bool = False,
        external_data: bool = False,
        simplified: bool = False,
    ) -> None:
        """Open the file.

        Args:
            path: the ONNX file.
            content: its bytes, known to need no other file; None reads them, and looks for such needs.
            threads: threads for one run; None takes all that this process may run on.
            device: `auto` takes CUDA where ONNX Runtime has it, else the CPU; the others are orders.
            spinning: whether idle threads wait busily. It made a run 5 % faster on two idle cores and no
                faster on busy ones, from which it takes.
            external_data: take weights from files beside this one too.
            simplified: whether `infill export` wrote it, so that less is left to optimise.

        Raises:
            ModelError: unreadable, not ONNX, or needing files that it may not have.
            DependencyError: CUDA was ordered and this ONNX Runtime has none.
        """
        self.path = path
        self.deadline = time.monotonic() + OPEN_SECONDS
        self.external: tuple[str, ...] = ()
        if content is None:
            content = read_file(path, raises=ModelError)
            self.external = _find_external(content)
        if self.external and not external_data:
            names = ", ".join(self.external)
            raise ModelError(
                f"cannot open the model {path}: it keeps its weights in a second file ({names}); "
                "export it as one file"
            )
        _check_external(path, self.external)
        options = _make_options(path, threads, spinning, bool(self.external))
        self._session = _open(path, content, device, options, NEEDLESS if simplified else ())
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inputs = tuple(map(_read_port, self._session.get_inputs()))
        self.outputs = tuple(map(_read_port, self._session.get_outputs()))

    @property
    def device(self) -> str:
        """Where the graph runs: `cpu` or `cuda`."""
        return "cuda" if "CUDAExecutionProvider" in self._session.get_providers() else "cpu"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, and of those beside it that hold its weights, in hexadecimal."""
        return digest_files(self.path, *(self.path.parent / name for name in self.external))

    @property
    def signature(self) -> str:
        """Names, types and shapes of inputs and outputs in one line."""
        return f"{'; '.join(map(str, self.inputs))} → {'; '.join(map(str, self.outputs))}"

    def run(
        self, feed: Mapping[str, Array], output: str, name: str, *, seconds: float | None = None
    ) -> Array:
        """Run the graph and return one of its outputs.

        Args:
            feed: an array for each input.
            output: name of the output.
            name: what messages call the graph.
            seconds: to wait for it at most; None waits as long as it takes.

        Raises:
            ModelError: the graph fails, or is not done in time.
        """
        import onnxruntime

        height, width = next(iter(feed.values())).shape[2:]
        size, options = f"{width}×{height} pixels", onnxruntime.RunOptions()

        def stop() -> None:
            options.terminate = True

        work = partial(self._session.run, [output], dict(feed), options)
        try:
            return np.asarray(run_patiently(work, seconds, stop)[0])
        except TimeoutError as error:
            spent = round(seconds or 0, 1)
            raise SlowModelError(f"{name} was not done with {size} after {spent:g} seconds") from error
        except Exception as error:  # ONNX Runtime's exceptions have no class in common but this
            raise ModelError(f"{name} failed on {size}: {describe_briefly(error)}") from error


def digest_files(*paths: Path) -> str:
    """Return the SHA-256 of a file, or of several one after another, in hexadecimal.

    Raises:
        ModelError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({describe_error(error)})") from error
    return digest.hexdigest()


def has_gpu(device: str = "auto") -> bool:
    """Return whether networks that are opened on a device may run on a GPU."""
    import onnxruntime

    return device != "cpu" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _read_port(value: Any) -> Port:
    kind = re.sub(r"tensor\((.*)\)", r"\1", value.type)
    return Port(value.name, kind, tuple(side if isinstance(side, int) else None for side in value.shape))


def _make_options(path: Path, threads: int | None, spinning: bool, external: bool) -> Any:
    """Return `onnxruntime.SessionOptions`; see `Session`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = threads or count_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    # Without this line, weights named in another file would be looked for in the working directory.
    folder = str(path.resolve().parent) if external else os.devnull
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return options


def _open(path: Path, content: bytes, device: str, options: Any, needless: Sequence[str]) -> Any:
    """Return an `onnxruntime.InferenceSession` for the bytes of a file, optimised without some steps."""
    import onnxruntime

    providers = _find_providers(device, onnxruntime.get_available_providers())
    make = partial(
        onnxruntime.InferenceSession,
        content,
        options,
        providers=providers,
        # Its fallback tries the CPU where CUDA failed, and says so on stdout, damaged files on the CPU too.
        enable_fallback=len(providers) > 1,
        disabled_optimizers=needless,
    )
    try:
        session = run_patiently(make, OPEN_SECONDS)
    except TimeoutError as error:
        raise SlowModelError(f"the model {path} was not open after {OPEN_SECONDS:g} seconds") from error
    except Exception as error:  # ONNX Runtime's exceptions have no class in common but this
        raise ModelError(f"cannot open the model {path}: {_explain(error)}") from error
    if parse_device(device)[0] == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise DependencyError(f"device {device} is not usable here: ONNX Runtime could not start CUDA")
    return session


def _find_providers(device: str, present: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return ONNX Runtime's names for a device, best first."""
    kind, index = parse_device(device)
    cpu: tuple[str, dict[str, Any]] = ("CPUExecutionProvider", {})
    if kind == "cpu":
        return [cpu]
    if "CUDAExecutionProvider" in present:
        return [("CUDAExecutionProvider", {"device_id": index}), cpu]
    if kind == "auto":
        return [cpu]
    raise DependencyError(
        f"device {device} needs ONNX Runtime with CUDA: pip install onnxruntime-gpu, or take device 'cpu'"
    )


def _find_external(content: bytes) -> tuple[str, ...]:
    """Return the names of the files that a graph takes weights from."""
    names: dict[str, None] = {}
    start = content.find(_LOCATION)
    while start >= 0:
        size, place = _read_varint(content, start + len(_LOCATION))
        names[content[place : place + size].decode("utf-8", "replace")] = None
        start = content.find(_LOCATION, start + 1)
    return tuple(names)


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    """Read a protobuf's number: its value, and the place after it."""
    value = shift = 0
    while place < len(content) and shift < 64:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            break
    return value, place


def _check_external(path: Path, names: Sequence[str]) -> None:
    """Refuse weights that are missing, or in another folder than the graph's.

    Raises:
        ModelError: the message names the file.
    """
    folder = path.resolve().parent
    for name in names:
        try:
            target = (folder / name).resolve()
            is_beside, is_there = target.is_relative_to(folder), target.is_file()
        except (OSError, ValueError):  # a null byte, or a name that is too long
            is_beside = is_there = False
        if "\0" in name or not is_beside:
            raise ModelError(f"{path} takes weights from {name!r}, outside of its own folder: refused")
        if not is_there:
            raise ModelError(f"{path} keeps its weights in {name}, which is not beside it: download that too")


def _explain(error: Exception) -> str:
    """Return ONNX Runtime's complaint in the words of the person who has the file."""
    text = describe_briefly(error)
    if re.search("not a registered function/op|unrecognized", text, re.IGNORECASE):
        return f"it needs operators that ONNX Runtime does not have ({text.rpartition('error: ')[2]})"
    if re.search("IR version|released onnx opset", text):
        return "it is of a newer ONNX than ONNX Runtime has here: update that, or export an older opset"
    if re.search("INVALID_PROTOBUF|No graph", text) or isinstance(error, UnicodeDecodeError):
        return "it is damaged or not an ONNX file"
    if "xternal" in text:
        return f"the file with its weights is damaged or of another version ({text.rpartition(': ')[2]})"
    return text
