"""`infill info`: versions, devices, engines, and why some are not available."""

import json
import os
import platform
from typing import Annotated, Any

import typer

from infilling.cli import console
from infilling.cli.options import Verbose
from infilling.version import VERSION

PACKAGES = ["numpy", "pillow", "onnxruntime", "opencv-python-headless", "scikit-image", "torch"]


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, verbose: Verbose = False
) -> None:
    """Print versions, devices and engines.

    And why some engines cannot be used here.
    """
    about = _find_out()
    if as_json:
        console.put(json.dumps(about, indent=2))
        return
    console.put_table(
        ["what", "version"], [(name, text or "not installed") for name, text in about["versions"].items()]
    )
    console.put("")
    console.put_table(["device", ""], [(name, text) for name, text in about["devices"].items()])
    console.put("")
    rows = [(name, row["summary"], row["missing"] or "yes") for name, row in about["engines"].items()]
    console.put_table(["engine", "", "available"], rows)
    console.put("")
    console.put_table(["folder", ""], [("models", about["models"])])


def _find_out() -> dict[str, Any]:
    from infilling.filling import engine, models

    table = {name: entry.summary for name, entry in engine.ENGINES.items()}
    table |= {state.name: state.model.summary for state in models.list_models()}
    return {
        "versions": {
            "infilling": VERSION,
            "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            **{name: _find_version(name) for name in PACKAGES},
        },
        "devices": _find_devices(),
        "engines": {
            name: {"summary": summary, "missing": engine.available(name)} for name, summary in table.items()
        },
        "models": str(models.cache_folder()),
    }


def _find_version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _find_devices() -> dict[str, str]:
    """The CPU, and what ONNX Runtime (filling) and torch (training) may use besides."""
    devices = {"cpu": f"{os.cpu_count()} cores"}
    import onnxruntime

    found = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    devices["filling"] = ", ".join(name for name in found if name != "Azure")  # that one is a web service
    if _find_version("torch") is None:
        devices["training"] = "torch is not installed: pip install 'infilling[train]'"
        return devices
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    devices["training"] = ", ".join(f"cuda:{index} {name}" for index, name in enumerate(names)) or "cpu"
    return devices
