"""The table of systems, one file each; a config may also name a class of your own."""

import importlib
import re
import reprlib
from typing import TYPE_CHECKING, Any

from infilling.errors import ConfigError, InfillingError, describe_briefly, did_you_mean

if TYPE_CHECKING:
    from infilling.learning.system import System, SystemSettings

SYSTEMS: dict[str, str] = {
    "autoencoder": "infilling.learning.systems.autoencoder:Autoencoder",
    "context-encoder": "infilling.learning.systems.context_encoder:ContextEncoder",
    "gated": "infilling.learning.systems.gated:Gated",
    "partial-conv": "infilling.learning.systems.partial_conv:PartialConv",
    "push-pull-unet": "infilling.learning.systems.push_pull_unet:PushPullUNet",
    "reference": "infilling.learning.systems.reference:Reference",
    "scene-unet": "infilling.learning.systems.scene_unet:SceneUNet",
}
"""Name to `module:class`; the module also holds the system's `Settings`. Imported when asked for."""

MULTIPLES: dict[str, int] = {
    "autoencoder": 32,
    "gated": 8,
    "partial-conv": 256,
    "push-pull-unet": 8,
    "scene-unet": 32,
}
"""Systems that fill holes anywhere in pictures of any size: the sides' common divisor, pixels."""

MOST_PARAMETERS = 2_000_000_000  # of one system, 8 GB


def build_system(settings: "SystemSettings") -> "System":
    """Make a system from its settings, with fresh weights from torch's global generator.

    Raises:
        ConfigError: the settings do not fit together, or make networks beyond reason.
    """
    build = _find_classes(settings.name)[1]
    count = _count_parameters(build, settings)
    if count > MOST_PARAMETERS:
        most = f"{count:,} parameters with these settings; at most {MOST_PARAMETERS:,} are allowed"
        raise ConfigError(f"system {settings.name} would have {most}")
    try:
        system: System = build(settings)
    except InfillingError:
        raise
    except (ValueError, RuntimeError, ArithmeticError, LookupError, MemoryError) as error:
        reason = describe_briefly(error)
        raise ConfigError(f"system {settings.name} cannot be made from these settings: {reason}") from error
    return system


_COUNTS: dict[tuple[Any, str], int] = {}
"""Parameters by class and settings: to count them takes up to 30 times as long as to make the system."""


def _count_parameters(build: Any, settings: "SystemSettings") -> int:
    """Count a system's parameters without memory for them; 0 where it cannot be made so."""
    import torch

    key = build, repr(settings)
    if key not in _COUNTS:
        try:
            with torch.device("meta"):
                _COUNTS[key] = sum(parameter.numel() for parameter in build(settings).parameters())
        except Exception:  # making it says what is wrong
            _COUNTS[key] = 0
    return _COUNTS[key]


def find_system_settings(name: str) -> "type[SystemSettings]":
    """Return the class of the settings that the named system's `[system]` table must fit.

    Args:
        name: a name of `SYSTEMS`, or `package.module:Class` of a subclass of `System`.

    Raises:
        ConfigError: no system has this name; the message has the near ones.
    """
    settings: type[SystemSettings] = _find_classes(name)[0]
    return settings


def suggest_systems(size: int) -> str:
    """Return the end of a message that refuses a size or a hole: the systems that can do it.

    >>> suggest_systems(96)
    'autoencoder, gated, push-pull-unet fill holes anywhere in pictures of 96 px'
    >>> suggest_systems(100)
    'gated, push-pull-unet fill holes anywhere in pictures whose sides are multiples of 8 px'
    """
    pictures, fitting = f"pictures of {size} px", _list_fitting(size)
    if not fitting:
        least = min(MULTIPLES.values())
        pictures, fitting = f"pictures whose sides are multiples of {least} px", _list_fitting(least)
    return f"{', '.join(fitting)} fill holes anywhere in {pictures}"


def _list_fitting(size: int) -> list[str]:
    return [name for name, multiple in MULTIPLES.items() if size % multiple == 0]


def _find_classes(name: str) -> tuple[Any, Any]:
    """Return the `Settings` and the class of a system."""
    if name in SYSTEMS:
        module_path, class_name = SYSTEMS[name].split(":")
        module = importlib.import_module(module_path)
        return module.Settings, getattr(module, class_name)
    if re.fullmatch(r"[A-Za-z_][\w.]{,199}:[A-Za-z_]\w{,99}", name):
        return _find_own_classes(name)
    raise ConfigError(f"no system is called {reprlib.repr(name)}{did_you_mean(name[:100], SYSTEMS)}")


def _find_own_classes(name: str) -> tuple[Any, Any]:
    """Return the `Settings` and the class of a system outside the package."""
    from infilling.learning.system import System, SystemSettings

    module_path, class_name = name.split(":")
    try:
        module = importlib.import_module(module_path)
        system, settings = getattr(module, class_name), module.Settings
    except ImportError as error:
        advice = "is its folder in PYTHONPATH?"
        raise ConfigError(f"cannot import the system {name}: {error}; {advice}") from error
    except AttributeError as error:
        advice = "it needs the class and Settings"
        raise ConfigError(f"cannot use the system {name}: {error}; {advice}") from error
    for found, title, wanted in ((system, class_name, System), (settings, "Settings", SystemSettings)):
        if not (isinstance(found, type) and issubclass(found, wanted)):
            raise ConfigError(f"cannot use the system {name}: {title} is no subclass of {wanted.__name__}")
    return settings, system
