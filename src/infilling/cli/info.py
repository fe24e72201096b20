"""`infill info`: versions, devices, engines, and why some are not available."""

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infilling.cli import console
from infilling.cli.options import Verbose
from infilling.errors import install_hint
from infilling.version import VERSION

if TYPE_CHECKING:
    from infilling.pictures.frame import SizeRule

PACKAGES = ["numpy", "pillow", "onnxruntime", "opencv-python-headless", "scikit-image", "torch"]


def info(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE.onnx]", help="Describe this network instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verbose: Verbose = False,
) -> None:
    """Print versions, devices and engines, and why some cannot be used here; or describe a network's file."""
    about = _describe_here() if file is None else describe_file(file)
    if as_json:
        console.put_json(about)
    elif file is None:
        _put_tables(about)
    else:
        console.put_table(["network", ""], about.items())


def _put_tables(about: dict[str, Any]) -> None:
    """Print what `_describe_here` found, a table each."""
    versions = [(name, text or "not installed") for name, text in about["versions"].items()]
    console.put_table(["what", "version"], versions)
    console.put("")
    console.put_table(["device", ""], about["devices"].items())
    console.put("")
    rows = [(name, row["summary"], row["missing"] or "yes") for name, row in about["engines"].items()]
    console.put_table(["engine", "", "available"], rows)
    console.put("")
    console.put_table(["folder", ""], [("models", about["models"])])
    if about["hint"]:
        console.put("")
        console.put(about["hint"])


def describe_file(path: Path) -> dict[str, str]:
    """Return what there is to know about the file of a network.

    Raises:
        ModelError: it cannot be opened, or is of no known family.
    """
    from infilling.filling.engine import open_engine
    from infilling.filling.foreign import ForeignEngine
    from infilling.filling.models import Model, find_by_file
    from infilling.filling.network import ModelCard, NetworkEngine

    engine = open_engine(path)
    assert isinstance(engine, ForeignEngine | NetworkEngine)
    about = {"file": str(path), "family": "infilling"}
    if isinstance(engine, ForeignEngine):
        about["family"] = f"{engine.family.name} ({engine.family.title})"
    about["inputs"] = "; ".join(map(str, engine.session.inputs))
    about["outputs"] = "; ".join(map(str, engine.session.outputs))
    about["sizes"] = _describe_sizes(engine.size_rule)
    terms: ModelCard | Model | None = None
    if isinstance(engine, NetworkEngine):
        terms = engine.card
    else:
        known, hole = engine.family.masks[0]
        about["mask"] = f"{hole:g} in the hole, {known:g} elsewhere"
        about["range"] = f"{engine.result[0]:g} to {engine.result[1]:g}"
        is_kept = "as they were" if engine.family.composited else "drawn again, and put back"
        about["known pixels"] = f"{is_kept} (by its family)"
        about["licence"] = "not known: see where the file was published"
        terms = find_by_file(path)
    if terms:
        about["licence"] = f"{terms.licence}; learned from {terms.trained_on}"
    return {**about, "sha256": engine.digest}


def _describe_sizes(rule: "SizeRule") -> str:
    if rule.fixed_size:
        side = f"{rule.fixed_size}×{rule.fixed_size}"
        return f"{side} px only; pictures of any size are cut into such crops"
    return f"multiples of {rule.multiple_of} px, best at {rule.working_size or 'any'} px"


def _describe_here() -> dict[str, Any]:
    from infilling.filling import engine, models

    engines = {}
    for name, entry in engine.list_engines().items():
        engines[name] = {"summary": entry.summary, "missing": engine.available(name)}
    return {
        "versions": {
            "infilling": VERSION,
            "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            **{name: _find_version(name) for name in PACKAGES},
        },
        "devices": _find_devices(),
        "engines": engines,
        "hint": models.suggest_download(),
        "models": str(models.cache_folder()),
    }


def _find_version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _find_devices() -> dict[str, str]:
    """List the CPU and what else ONNX Runtime (filling) and torch (training) can use."""
    devices = {"cpu": f"{os.cpu_count()} cores"}
    import onnxruntime

    found = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    devices["filling"] = ", ".join(name for name in found if name != "Azure")  # that one is a web service
    if _find_version("torch") is None:
        devices["training"] = f"torch is not installed: {install_hint('train')}"
        return devices
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    devices["training"] = ", ".join(f"cuda:{index} {name}" for index, name in enumerate(names)) or "cpu"
    return devices
