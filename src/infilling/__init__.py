"""Fill the missing region of a picture, and train, judge and serve the models that do it.

The names below are the public interface; `docs/api.md` says what is promised of each. They load when they are
first used, so that `import infilling` costs nothing.

>>> import numpy as np
>>> photo = np.full((8, 8, 3), 200, np.uint8)
>>> fill(photo, boxes=[(2, 2, 3, 3)], engine="push-pull")[3, 3].tolist()
[200, 200, 200]
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from infilling.version import VERSION as __version__

if TYPE_CHECKING:
    from infilling.errors import (
        ConfigError,
        DataError,
        DependencyError,
        InfillingError,
        InfillingWarning,
        InputError,
        ModelError,
        StorageError,
    )
    from infilling.filling.batch import batch
    from infilling.filling.comparison import Comparison, compare
    from infilling.filling.contract import Engine
    from infilling.filling.engine import available, open_engine
    from infilling.filling.extend import extend
    from infilling.filling.fill import fill
    from infilling.filling.fills import Fills, fills
    from infilling.filling.options import FillOptions
    from infilling.filling.pipeline import fill_picture, find_hole
    from infilling.pictures.files import decode, encode
    from infilling.pictures.frame import SizeRule
    from infilling.pictures.mask_files import read_mask
    from infilling.pictures.picture import Picture

__all__ = [
    "Comparison",
    "ConfigError",
    "DataError",
    "DependencyError",
    "Engine",
    "FillOptions",
    "Fills",
    "InfillingError",
    "InfillingWarning",
    "InputError",
    "ModelError",
    "Picture",
    "SizeRule",
    "StorageError",
    "__version__",
    "available",
    "batch",
    "compare",
    "decode",
    "encode",
    "extend",
    "fill",
    "fill_picture",
    "fills",
    "find_hole",
    "open_engine",
    "read_mask",
]

# Read when ONNX Runtime is loaded: from 1.29 on it reports sessions and the machine to its makers otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "Comparison": "filling.comparison",
    "ConfigError": "errors",
    "DataError": "errors",
    "DependencyError": "errors",
    "Engine": "filling.contract",
    "FillOptions": "filling.options",
    "Fills": "filling.fills",
    "InfillingError": "errors",
    "InfillingWarning": "errors",
    "InputError": "errors",
    "ModelError": "errors",
    "Picture": "pictures.picture",
    "SizeRule": "pictures.frame",
    "StorageError": "errors",
    "available": "filling.engine",
    "batch": "filling.batch",
    "compare": "filling.comparison",
    "decode": "pictures.files",
    "encode": "pictures.files",
    "extend": "filling.extend",
    "fill": "filling.fill",
    "fill_picture": "filling.pipeline",
    "fills": "filling.fills",
    "find_hole": "filling.pipeline",
    "open_engine": "filling.engine",
    "read_mask": "pictures.mask_files",
}
"""The module of each name."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'infilling' has no attribute {name!r}")
    value = getattr(import_module(f"infilling.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
